"""Records and filters that are drawn at random, filters mostly of what the records hold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from agentmem_server import times
from agentmem_server.storage import Record
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.storage.filters.filling import ANYWHERE
from tests.storage.filters.oracle import Combined, Json, Negated, Node, Where

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
