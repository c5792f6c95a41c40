"""Every filter admits what its docstring says: random ones against a plain Python oracle.

The oracle is written from the docstring of `agentmem_client.filters`, and shares no code with it.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import count, product
from typing import Any, TypeAlias

import numpy as np
import pytest
from agentmem_client.errors import InvalidFilter
from agentmem_client.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_PATTERN, MAX_VALUES, parse
from agentmem_client.models import MAX_IDS
from agentmem_server import times
from agentmem_server.storage import (
    Collection,
    Delete,
    Deleted,
    DropCollection,
    Embedding,
    ListRequest,
    Put,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Store,
    open_store,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EMBEDDING = Embedding("client", None, 2, "cosine")
ANYWHERE = np.array([1, 0], dtype="<f4").tobytes()


# The oracle

Json: TypeAlias = Any
MISSING = object()


@dataclass(frozen=True)
class Where:
    """Operators on one name, all of which must hold: a path's keys, or a field as "@name"."""

    target: tuple[str, ...] | str
    tests: dict[str, Json]
    short: bool = False

    def admits(self, one: Record) -> bool:
        value, exists = look_up(self.target, one)
        return all(holds(operator, value, exists, x) for operator, x in self.tests.items())

    def name(self) -> str:
        if isinstance(self.target, str):
            return self.target
        return ".".join(re.sub(r"([.@$\\])", r"\\\1", key) for key in self.target)

    def raw(self) -> dict[str, Json]:
        operand = self.tests.get("$eq")
        looks_like_operators = isinstance(operand, dict) and any(
            key.startswith("$") for key in operand
        )
        if self.short and list(self.tests) == ["$eq"] and not looks_like_operators:
            return {self.name(): spelled(operand)}
        return {self.name(): {operator: spelled(x) for operator, x in self.tests.items()}}


@dataclass(frozen=True)
class Combined:
    operator: str
    parts: "list[Node]"
    merged: bool = False

    def admits(self, one: Record) -> bool:
        held = [part.admits(one) for part in self.parts]
        return all(held) if self.operator == "$and" else any(held)

    def raw(self) -> dict[str, Json]:
        parts = [part.raw() for part in self.parts]
        merged = {name: value for part in parts for name, value in part.items()}
        if self.merged and self.operator == "$and" and len(merged) == sum(map(len, parts)):
            return merged
        return {self.operator: parts}


@dataclass(frozen=True)
class Negated:
    part: "Node"

    def admits(self, one: Record) -> bool:
        return not self.part.admits(one)

    def raw(self) -> dict[str, Json]:
        return {"$not": self.part.raw()}


Node: TypeAlias = Where | Combined | Negated


def look_up(target: tuple[str, ...] | str, one: Record) -> tuple[Json, bool]:
    """A value, and whether there is one. A field that is not set is null and doesn't exist."""
    if isinstance(target, str):
        value = getattr(one, target.removeprefix("@"))
        if value is not None and target.endswith("_at"):
            value = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
        return value, value is not None
    value = one.metadata
    for key in target:
        if not isinstance(value, dict) or key not in value:
            return MISSING, False
        value = value[key]
    return value, True


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: float) -> float:
    """As JSON's numbers are held: what no 64-bit integer holds is a double."""
    return value if -(2**63) <= value < 2**63 else float(value)


def same(a: Json, b: Json) -> bool:
    if is_number(a) and is_number(b):
        return number(a) == number(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def below(a: Json, b: Json) -> bool:
    if is_number(a) and is_number(b):
        return number(a) < number(b)
    if type(a) is type(b) and isinstance(a, str | datetime):
        return bool(a < b)
    return False


def ordered(a: Json, b: Json) -> bool:
    kinds = (str, datetime)
    return (is_number(a) and is_number(b)) or any(
        isinstance(a, kind) and isinstance(b, kind) for kind in kinds
    )


def contains(value: Json, part: Json) -> bool:
    if isinstance(value, list):
        return any(same(element, part) for element in value)
    return isinstance(value, str) and isinstance(part, str) and part in value


def like(value: Json, pattern: str) -> bool:
    expression, characters = "", iter(pattern)
    for character in characters:
        match character:
            case "%":
                expression += ".*"
            case "_":
                expression += "."
            case "\\":
                expression += re.escape(next(characters, "\\"))
            case _:
                expression += re.escape(character)
    return isinstance(value, str) and bool(re.fullmatch(expression, value, re.DOTALL))


def holds(operator: str, value: Json, exists: bool, x: Json) -> bool:
    match operator:
        case "$eq":
            return same(value, x)
        case "$ne":
            return not same(value, x)
        case "$gt":
            return below(x, value)
        case "$gte":
            return ordered(value, x) and not below(value, x)
        case "$lt":
            return below(value, x)
        case "$lte":
            return ordered(value, x) and not below(x, value)
        case "$between":
            return holds("$gte", value, exists, x[0]) and holds("$lte", value, exists, x[1])
        case "$in":
            return any(same(value, one) for one in x)
        case "$nin":
            return not any(same(value, one) for one in x)
        case "$contains":
            return contains(value, x)
        case "$any":
            return any(contains(value, one) for one in x)
        case "$all":
            return all(contains(value, one) for one in x)
        case "$like":
            return like(value, x)
        case "$ilike":
            return isinstance(value, str) and like(value.lower(), x.lower())
        case "$exists":
            return exists is x
        case "$empty":
            return (value is MISSING or value is None or value in ("", [])) is x
    raise ValueError(operator)


def spelled(value: Json) -> Json:
    """A value as JSON; only times need it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return [spelled(one) for one in value] if isinstance(value, list) else value


# What is drawn

BASE = "long " * 26  # 130 characters, of which the index holds the first 128
LONG = [BASE, BASE + "a", BASE + "b", BASE[:128], BASE[:127], BASE[:128] + "zz", BASE + "%_*"]
TEXTS = [
    *("", "a", "A", "ab", "b", "B", "1", "true", "null", "aé", "AÉ", "ae\u0301", "İ", "ß", "ẞ"),
    *("*", "?", "[a]", "[", "]", "%", "_", "\\", "^", "a*b", "a?b", "a%b", "a_b", "a\\b", "a[b]"),
    *("'", '"', "a'b", "--", "; DROP TABLE memory", "?1", ":a", "\n", "a\nb", " ", "a b", "𝄞", "ǅ"),
]
NUMBERS = [
    *(0, 1, -1, 2, 3, 0.0, -0.0, 1.0, 0.5, -0.5, 2.0, 1e300, -1e300, 5e-324, 1e16),
    *(2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63, 2**63 + 1, -(2**63), -(2**63) - 1),
    *(float(2**63), -float(2**63), 10**300, 2**64),
]
KEYS = ["a", "b", "a.b", "", ".", "@id", "$eq", "\\", "\\.", "it's", '"', "k k", "é", "%", "a@b"]
START = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = [
    START,
    START + timedelta(microseconds=1),
    START + timedelta(hours=2),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
LATER = [datetime(year, 1, 1, tzinfo=UTC) for year in (2200, 2300, 9999)]
STRING_FIELDS = ["@id", "@content", "@type", "@user_id", "@agent_id", "@session_id"]
TIME_FIELDS = ["@event_at", "@created_at", "@updated_at", "@expires_at"]


@dataclass
class Pool:
    """The keys and values that records and filters are made of."""

    keys: st.SearchStrategy[str]
    texts: st.SearchStrategy[str]
    numbers: st.SearchStrategy[float]
    values: st.SearchStrategy[Json] = field(init=False)
    metadata: st.SearchStrategy[dict[str, Json]] = field(init=False)

    def __post_init__(self) -> None:
        scalars = st.none() | st.booleans() | self.numbers | self.texts

        def deeper(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
            return st.lists(inner, max_size=3) | st.dictionaries(self.keys, inner, max_size=3)

        self.values = scalars | st.recursive(scalars, deeper, max_leaves=5)
        self.metadata = st.dictionaries(self.keys, self.values, max_size=4)

    def records(self) -> st.SearchStrategy[Record]:
        names = st.none() | self.texts.filter(len)
        moments = st.sampled_from(TIMES).map(times.to_microseconds)
        return st.builds(
            Record,
            id=st.just(""),  # numbered later
            content=self.texts,
            metadata=self.metadata,
            user_id=names,
            agent_id=names,
            session_id=names,
            type=names,
            importance=st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1),
            event_at=st.none() | moments,
            expires_at=st.none() | st.sampled_from(LATER).map(times.to_microseconds),
            created_at=moments,
            updated_at=moments,
            archived=st.booleans(),
            vectors=st.just(ANYWHERE),
        )


anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
WILD = Pool(
    keys=st.sampled_from(KEYS) | anything,
    texts=st.sampled_from(TEXTS) | st.sampled_from(LONG) | anything,
    numbers=st.sampled_from(NUMBERS)
    | st.integers(-(2**66), 2**66)
    | st.floats(allow_nan=False, allow_infinity=False),
)
SMALL = Pool(
    keys=st.sampled_from(["a", "b", "a.b"]),
    texts=st.sampled_from(["", "a", "b", "ab", "AB", BASE + "a", BASE + "b"]),
    numbers=st.sampled_from([0, 1, 1.0, -0.0, 2, 2**53, 2**53 + 1, float(2**53)]),
)


def known_paths(metadata: dict[str, Json], above: tuple[str, ...] = ()) -> Iterator[Any]:
    """Every (path, value) of a record's metadata."""
    for key, value in metadata.items():
        yield (*above, key), value
        if isinstance(value, dict):
            yield from known_paths(value, (*above, key))


PIECES = ["%", "_", "\\%", "\\_", "\\\\", "\\a", "\\", "*", "?", "[", "]", "^", "a", "b", "B", "É"]
ON_VALUES = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$between", "$in", "$nin"]
ON_STRINGS = ["$contains", "$any", "$all", "$like", "$ilike"]
ON_ALL = ["$exists", "$empty"]


def patterns(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pieces = st.sampled_from(PIECES) | texts.map(lambda text: text[:3])
    return st.lists(pieces, max_size=4).map("".join) | texts.map(lambda text: f"%{text}%")


def operands(operator: str, values: st.SearchStrategy[Json], texts: st.SearchStrategy[str]) -> Any:
    match operator:
        case "$between":
            return st.lists(values, min_size=2, max_size=2)
        case "$in" | "$nin":
            return st.lists(values, max_size=4)
        case "$any" | "$all":
            return st.lists(values, min_size=1, max_size=3)
        case "$like" | "$ilike":
            return patterns(texts)
        case "$exists" | "$empty":
            return st.booleans()
    return values


def conditions(
    target: tuple[str, ...] | str,
    operators: list[str],
    values: st.SearchStrategy[Json],
    texts: st.SearchStrategy[str],
) -> st.SearchStrategy[Where]:
    """One or two operators on a name."""
    chosen = st.lists(st.sampled_from(operators), min_size=1, max_size=2, unique=True)
    tests = chosen.flatmap(
        lambda some: st.fixed_dictionaries({one: operands(one, values, texts) for one in some})
    )
    return st.builds(Where, st.just(target), tests, st.booleans())


def on_field(name: str, pool: Pool, records: list[Record]) -> st.SearchStrategy[Where]:
    if name in TIME_FIELDS:
        zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
        moments = st.sampled_from(TIMES[:3] + LATER[:2])
        values = st.none() | st.builds(datetime.astimezone, moments, zones)
        return conditions(name, ON_VALUES + ON_ALL, values, pool.texts)
    if name == "@importance":
        return conditions(name, ON_VALUES + ON_ALL, st.none() | pool.numbers, pool.texts)
    if name == "@archived":
        unordered = ["$eq", "$ne", "$in", "$nin", *ON_ALL]
        return conditions(name, unordered, st.none() | st.booleans(), pool.texts)
    known = [getattr(one, name[1:]) for one in records]
    strings = st.none() | pool.texts | st.sampled_from([x for x in known if x is not None] or [""])
    return conditions(name, ON_VALUES + ON_STRINGS + ON_ALL, strings, pool.texts)


def on_path(pool: Pool, records: list[Record]) -> st.SearchStrategy[Where]:
    """Conditions on names and values that mostly are those of the records."""
    known = [pair for one in records for pair in known_paths(one.metadata)]
    operators = ON_VALUES + ON_STRINGS + ON_ALL
    unknown = st.lists(pool.keys, min_size=1, max_size=3).map(tuple)
    if not known:
        return unknown.flatmap(lambda path: conditions(path, operators, pool.values, pool.texts))
    seen = [value for _, value in known]
    elements = [element for value in seen if isinstance(value, list) for element in value]
    values = st.sampled_from(seen + elements) | pool.values
    paths = st.sampled_from([path for path, _ in known]) | unknown
    there = st.sampled_from(known).flatmap(
        lambda pair: conditions(pair[0], operators, st.just(pair[1]) | values, pool.texts)
    )
    return there | paths.flatmap(lambda path: conditions(path, operators, values, pool.texts))


def filters(pool: Pool, records: list[Record]) -> st.SearchStrategy[Node]:
    fields = st.sampled_from([*STRING_FIELDS, *TIME_FIELDS, "@importance", "@archived"])
    leaves: st.SearchStrategy[Node] = on_path(pool, records) | fields.flatmap(
        lambda name: on_field(name, pool, records)
    )

    def deeper(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        operators = st.sampled_from(["$and", "$or"])
        parts = st.lists(inner, min_size=1, max_size=3)
        return st.builds(Combined, operators, parts, st.booleans()) | st.builds(Negated, inner)

    return leaves | st.recursive(leaves, deeper, max_leaves=6)


def drawn(pool: Pool, size: int) -> list[Record]:
    """Records of a pool, the same ones each time."""
    records: list[Record] = []

    @settings(
        max_examples=size,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(pool.records())
    def collect(one: Record) -> None:
        one.id = f"r{len(records)}"
        records.append(one)

    collect()
    return records


# The stores


@dataclass
class World:
    """A collection, what is in it, and a way to wait for what the store does."""

    store: Store
    collection: Collection
    pool: Pool
    records: list[Record]
    wait: Callable[[Coroutine[Any, Any, Any]], Any]

    def admitted(self, raw: dict[str, Json]) -> set[str]:
        """The ids that a filter, as it comes over the wire, admits; by all ways to ask."""
        return self.wait(admitted(self.store, self.collection, raw))  # type: ignore[no-any-return]  # JSON


async def admitted(store: Store, collection: Collection, raw: dict[str, Json]) -> set[str]:
    selection = Selection(filter=parse(json.loads(json.dumps(raw))))
    page = await store.page(collection, ListRequest(selection, "seq", "asc", 1_000))
    found = await store.search(
        collection,
        SearchRequest(selection, ANYWHERE, [], 1_000, lambda c: (c.ids, c.similarities)),
    )
    ids = {one.id for one in page.records}
    assert page.total == len(page.records) == len(ids)
    assert {one.id for one, _ in found} == ids
    return ids


async def filled(store: Store, name: str, records: list[Record]) -> Collection:
    (outcome,) = await store.write([Put("tenant", name, EMBEDDING, records)])
    assert not isinstance(outcome, Exception), outcome
    collection = await store.collection("tenant", name)
    assert collection is not None
    return collection


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples: hypothesis runs each as a plain function."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def lasting(runner: asyncio.Runner, new_url: Callable[[], str]) -> Iterator[Store]:
    """One store for all examples."""
    store = runner.run(open_store(new_url(), readers=1))
    yield store
    runner.run(store.close())


def world_of(name: str, pool: Pool, runner: asyncio.Runner, store: Store) -> World:
    records = drawn(pool, 200)
    # Another collection has the same: nothing of it may come.
    runner.run(filled(store, f"like {name}", records))
    collection = runner.run(filled(store, name, records))
    return World(store, collection, pool, records, runner.run)


@pytest.fixture(scope="module")
def small(runner: asyncio.Runner, lasting: Store) -> World:
    """200 records of few values, so that filters match."""
    return world_of("small", SMALL, runner, lasting)


@pytest.fixture(scope="module")
def wild(runner: asyncio.Runner, lasting: Store) -> World:
    """200 records of many values, and strange ones."""
    return world_of("wild", WILD, runner, lasting)


def check_random_filters(world: World) -> float:
    """Runs many filters on a world; returns the share that some records meet and some don't."""
    sizes: list[int] = []

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(filters(world.pool, world.records))
    def check(node: Node) -> None:
        expected = {one.id for one in world.records if node.admits(one)}
        sizes.append(len(expected))
        assert world.admitted(node.raw()) == expected

    check()
    assert len(world.records) == 200
    return sum(0 < size < 200 for size in sizes) / len(sizes)


# The shares are about .3 and .2; less than this would be a test that tests nothing.


def test_random_filters_on_records_of_few_values(small: World) -> None:
    assert check_random_filters(small) > 0.1


def test_random_filters_on_records_of_strange_values(wild: World) -> None:
    assert check_random_filters(wild) > 0.05


@pytest.mark.parametrize("operator", ON_VALUES + ON_STRINGS + ON_ALL)
def test_every_operator_tells_records_apart(small: World, operator: str) -> None:
    """Each operator, with what is there: some records meet it, and some don't."""
    known = [pair for one in small.records for pair in known_paths(one.metadata)]
    pairs = {repr(pair): pair for pair in known}  # each once: repr tells 1 from 1.0 and True
    sizes: list[int] = []
    for path, value in list(pairs.values())[:40]:
        element = value[0] if isinstance(value, list) and value else value
        match operator:
            case "$between":
                operand: Json = [value, value]
            case "$in" | "$nin":
                operand = [value, "no"]
            case "$any" | "$all":
                operand = [element, element]
            case "$like" | "$ilike":
                operand = f"%{value}" if isinstance(value, str) else "a%"
            case "$exists" | "$empty":
                operand = True
            case _:
                operand = element if operator == "$contains" else value
        node = Where(path, {operator: operand})
        expected = {one.id for one in small.records if node.admits(one)}
        sizes.append(len(expected))
        assert small.admitted(node.raw()) == expected
    assert any(0 < size < len(small.records) for size in sizes)


def test_random_records_are_admitted_as_the_oracle_says(
    lasting: Store, runner: asyncio.Runner
) -> None:
    numbers = count()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(WILD.records(), min_size=1, max_size=6), st.data())
    def check(records: list[Record], data: st.DataObject) -> None:
        name = f"few {next(numbers)}"
        for number, one in enumerate(records):
            one.id = f"r{number}"
        collection = runner.run(filled(lasting, name, records))
        few = World(lasting, collection, WILD, records, runner.run)
        for node in data.draw(st.lists(filters(WILD, records), min_size=1, max_size=4)):
            assert few.admitted(node.raw()) == {one.id for one in records if node.admits(one)}
        runner.run(lasting.write([DropCollection("tenant", name)]))

    check()


# Single cases


def record(identity: str, metadata: dict[str, Json], content: str = "") -> Record:
    nothing: dict[str, Any] = dict.fromkeys(
        ("user_id", "agent_id", "session_id", "type", "importance", "event_at", "expires_at")
    )
    return Record(
        identity, content, metadata, **nothing, created_at=1, updated_at=1, vectors=ANYWHERE
    )


ALIKE: list[list[Json]] = [
    [1, 1.0],
    [0, -0.0],
    [True],
    ["1"],
    [None],
    [[1], [1.0]],
    [[True]],
    [["1"]],
    [[1, 2]],
    [[2, 1]],
    [[[1]], [[1.0]]],
    [{"a": 1}, {"a": 1.0}],
    [{"a": True}],
    [{"a": 1, "b": [0]}, {"b": [-0.0], "a": 1.0}],
    [[{"a": 1}], [{"a": 1.0}]],
    [2**63, float(2**63)],
    [2**63 - 1],
    [[2**63], [float(2**63)]],
    [[], []],
    [{}],
    [""],
]


async def test_only_what_json_calls_equal_is_equal(store: Store) -> None:
    values = [value for alike in ALIKE for value in alike]
    records = [record(str(n), {"a": value, "in": [value]}) for n, value in enumerate(values)]
    collection = await filled(store, "notes", records)
    everything = {one.id for one in records}
    for alike in ALIKE:
        for value in alike:
            equal = {str(n) for n, one in enumerate(values) if any(one is x for x in alike)}
            assert await admitted(store, collection, {"a": {"$eq": value}}) >= equal
            for name, operator in (("a", "$eq"), ("a", "$ne"), ("in", "$contains")):
                node = Where((name,), {operator: value})
                expected = {one.id for one in records if node.admits(one)}
                assert await admitted(store, collection, node.raw()) == expected
            assert await admitted(store, collection, {"a": {"$in": [value, value]}}) == (
                await admitted(store, collection, {"a": {"$eq": value}})
            )
            assert await admitted(store, collection, {"a": {"$nin": [value]}}) == everything - (
                await admitted(store, collection, {"a": {"$eq": value}})
            )


LETTERS = ["", "a", "B", "*", "?", "[", "]", "^", "%", "_", "\\", "-", "!", "é"]


@pytest.mark.parametrize("operator", ["$like", "$ilike"])
@pytest.mark.parametrize("name", ["t", "@content"])
async def test_patterns_of_every_special_character(store: Store, operator: str, name: str) -> None:
    texts = sorted({a + b for a, b in product(LETTERS, LETTERS)} | {"aBa", "a\nB", "[a]", "[^a]"})
    records = [record(str(n), {"t": text}, text) for n, text in enumerate(texts)]
    collection = await filled(store, "notes", records)
    for pattern in {*texts, "%a%", "_%_", "[a-é]", "[!a]", "[*]", "\\%%", "%\\", "a\\", "__", "%%"}:
        node = Where((name,) if name == "t" else name, {operator: pattern})
        expected = {one.id for one in records if node.admits(one)}
        assert await admitted(store, collection, node.raw()) == expected, pattern


async def test_a_pattern_takes_the_longest_text_and_cannot_be_made_slow(store: Store) -> None:
    text = "a" * 100_000
    collection = await filled(store, "notes", [record("r", {"t": text}, text)])
    for pattern in ("%a" * (MAX_PATTERN // 2), "%" + "_" * (MAX_PATTERN - 1), "%" * MAX_PATTERN):
        for operator in ("$like", "$ilike"):
            for name in ("t", "@content"):
                assert await admitted(store, collection, {name: {operator: pattern}}) == {"r"}
                assert await admitted(store, collection, {name: {operator: pattern[1:] + "b"}}) == (
                    set()
                )


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("ÀÉÎ", "àéî"),
        ("straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("ẞ", "ß"),
        ("İ", "i\u0307"),
        ("İ", "_"),
        ("İ", "__"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ", "ΟΔΟΣ"),
        ("ΟΔΟΣ", "ΟΔΟΣ%"),
        ("ΟΔΟΣΑ", "ΟΔΟΣ%"),
        ("ДА", "д_"),
        ("Ǆ", "ǆ"),
        ("K", "k"),
        ("𐐀", "𐐨"),
        ("𐐀", "_"),
        ("É", "e\u0301"),
        ("é\nÉ", "É%é"),
    ],
)
async def test_case_is_pythons(store: Store, text: str, pattern: str) -> None:
    one = record("r", {"t": text}, text)
    collection = await filled(store, "notes", [one])
    for operator in ("$ilike", "$like"):
        for target in (("t",), "@content"):
            node = Where(target, {operator: pattern})
            expected = {"r"} if node.admits(one) else set()
            assert await admitted(store, collection, node.raw()) == expected


ATTACKS = [
    "' OR '1'='1",
    "') OR 1=1 --",
    '" OR 1=1 --',
    "x'; DROP TABLE memory; --",
    "a') UNION SELECT rid FROM tag --",
    "1) OR (1=1",
    "? ?1 :x @x $x",
    "%' OR '%'='",
    "NULL",
    "m.rid",
    "json_extract(metadata, '$.a')",
    "$.a",
    "a[0]",
    "a->>'b'",
    "\\",
    "\\'",
    "`",
    ";",
    "/* */",
    "%s %d {0} {x}",
    "\u02bc OR 1=1",
    "\uff07 OR 1=1",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_names_and_values_are_never_sql(store: Store, attack: str) -> None:
    records = [
        record("value", {"a": attack, "list": [attack]}, attack),
        record("name", {attack: 1, "in": {attack: 2}}),
        record("other", {"a": "other", "list": ["other"]}, "other"),
    ]
    for one, also in zip(records, (attack, None, None), strict=True):
        one.user_id = one.type = also
    collection = await filled(store, "notes", records)
    tests: list[Where] = [
        *(Where(("a",), {operator: attack}) for operator in ("$eq", "$ne", "$gt", "$lte")),
        *(Where((attack,), {operator: 1}) for operator in ("$eq", "$ne", "$gte")),
        *(Where(target, {"$exists": True}) for target in ((attack,), ("in", attack))),
        *(
            Where(target, {operator: attack})
            for target in (("list",), ("a",), "@content", "@user_id", "@type")
            for operator in ("$contains", "$like", "$ilike", "$eq", "$ne")
        ),
        *(Where(("a",), {operator: [attack, "'"]}) for operator in ("$in", "$nin", "$any")),
        *(Where("@id", {operator: [attack, "'"]}) for operator in ("$in", "$nin", "$any")),
        Where(("a",), {"$between": [attack, attack]}),
    ]
    for node in tests:
        expected = {one.id for one in records if node.admits(one)}
        assert await admitted(store, collection, node.raw()) == expected, node.raw()
    for scope in (Scope(user_id=attack), Scope(agent_id=attack), Scope(session_id=attack)):
        request = SearchRequest(
            Selection(scope), ANYWHERE, ["other"], 9, lambda c: (c.ids, c.similarities)
        )
        found = await store.search(collection, request)
        assert [one.id for one, _ in found] == (["value"] if scope.user_id else [])

    going = Selection(filter=parse({"@content": {"$eq": attack}}))
    assert await store.write([Delete("tenant", "notes", going)]) == [Deleted(1)]
    assert await admitted(store, collection, {"@id": {"$exists": True}}) == {"name", "other"}


async def test_the_deepest_filter_works(store: Store) -> None:
    records = [record("r", {"a": 1}), record("s", {"a": 2}), record("t", {"b": "x"})]
    collection = await filled(store, "notes", records)

    def same_again(inner: Node, _level: int) -> Node:
        return Negated(inner)

    def among_others(inner: Node, level: int) -> Node:
        first = Where(("b",), {"$contains": "x", "$nin": [level]})
        last = Where(("a",), {"$between": [0, level]})
        return Combined("$and" if level % 3 else "$or", [first, Negated(inner), last])

    for deeper, each in ((same_again, 1), (among_others, 2)):
        node: Node = Where(("a",), {"$eq": 1})
        for level in range(1, 1 + (MAX_DEPTH - 1) // each):
            node = deeper(node, level)
            expected = {one.id for one in records if node.admits(one)}
            assert await admitted(store, collection, node.raw()) == expected
        with pytest.raises(InvalidFilter):
            parse(deeper(deeper(node, 1), 2).raw())


@pytest.mark.parametrize("combining", ["$and", "$or"])
@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("$eq", "x" * 200),
        ("$ne", 1),
        ("$between", ["a", "x" * 200]),
        ("$contains", "x"),
        ("$any", ["x"]),
        ("$ilike", "%X%"),
        ("$in", [1, "x", None]),
        ("$exists", False),
        ("$empty", True),
        ("$empty", False),
    ],
)
async def test_the_most_conditions_work(
    store: Store, combining: str, operator: str, value: Json
) -> None:
    records = [
        record("all", {f"k{n}": "x" * 200 for n in range(MAX_CONDITIONS)}),
        record("last", {f"k{MAX_CONDITIONS - 1}": "x" * 200}),
        record("none", {}),
    ]
    collection = await filled(store, "notes", records)
    branches = [Where((f"k{n}",), {operator: value}) for n in range(MAX_CONDITIONS)]
    node = Combined(combining, list(branches))
    expected = {one.id for one in records if node.admits(one)}
    assert await admitted(store, collection, node.raw()) == expected


async def test_the_most_values_work(store: Store) -> None:
    records = [
        record("number", {"a": MAX_VALUES - 1}),
        record("text", {"a": f"{BASE}{MAX_VALUES - 1}"}),
        record("other", {"a": -1}),
        record("list", {"a": ["x"]}),
    ]
    collection = await filled(store, "notes", records)
    everything = {one.id for one in records}
    some: list[Json] = list(range(MAX_VALUES))
    for values, found in ((some, "number"), ([f"{BASE}{n}" for n in some], "text")):
        assert await admitted(store, collection, {"a": {"$in": values}}) == {found}
        assert await admitted(store, collection, {"a": {"$nin": values}}) == everything - {found}
    names = [f"x{n}" for n in range(MAX_VALUES - 1)]
    assert await admitted(store, collection, {"@id": {"$in": [*names, "other"]}}) == {"other"}
    times_ = ["2026-01-01T00:00:00Z"] * MAX_VALUES
    assert await admitted(store, collection, {"@event_at": {"$nin": times_}}) == everything

    words = [f"no{n}" for n in range(MAX_CONDITIONS - 1)]
    assert await admitted(store, collection, {"a": {"$any": [*words, "x"]}}) == {"list"}
    assert await admitted(store, collection, {"a": {"$any": [*words, BASE]}}) == {"text"}
    assert await admitted(store, collection, {"a": {"$all": ["x"] * MAX_CONDITIONS}}) == {"list"}
    assert await admitted(store, collection, {"@id": {"$any": [*words, "umb"]}}) == {"number"}


@pytest.mark.parametrize("beside", [{"$empty": True}, {"$between": [BASE, BASE + "z"]}])
@pytest.mark.parametrize("long", [False, True])
async def test_all_limits_may_be_reached_at_once(
    store: Store, beside: dict[str, Json], long: bool
) -> None:
    first = BASE if long else 0
    collection = await filled(
        store, "notes", [record("r0", {"a": first}), record("r1", {"a": first})]
    )
    values = [f"{BASE}{n}" if long else n for n in range(MAX_VALUES - 1)]
    raw = {
        "$and": [
            {"a": {"$in": [first, *values]}},
            *({"$or": [{"@id": "r0"}, {f"k{n}": beside}]} for n in range(MAX_CONDITIONS // 2 - 1)),
            {"@id": {"$ne": "r1"}},
        ]
    }
    assert await admitted(store, collection, raw) == {"r0"}
    ids = ["r0", "r1", *(f"x{n}" for n in range(MAX_IDS - 2))]
    selection = Selection(Scope(), parse(raw), ids)
    page = await store.page(collection, ListRequest(selection, "created_at", "asc", 9))
    assert [one.id for one in page.records] == ["r0"]
    assert await store.write([Delete("tenant", "notes", selection)]) == [Deleted(1)]
    got = await store.get(collection, ids)
    assert [one.id for one in got] == ["r1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("@id", "x"), ("@content", "x"), ("@importance", 1), ("@created_at", "2026-01-01T00:00:00Z")],
)
def test_a_list_is_no_value_of_a_field(name: str, value: Json) -> None:
    """A field holds one value: comparing it with a list can't be meant, and is refused."""
    for listed in ([], [value], [value, value], [None]):
        with pytest.raises(InvalidFilter):
            parse({name: listed})
        for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"):
            with pytest.raises(InvalidFilter):
                parse({name: {operator: listed}})
        for operator in ("$between", "$in", "$nin", "$any", "$all"):
            with pytest.raises(InvalidFilter):
                parse({name: {operator: [listed, listed]}})
