"""Every filter admits what its docstring says: random ones against a plain Python oracle.

The oracle is written from the docstring of `agentmem_client.filters`, and shares no code with it.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
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
    return isinstance(value, str) and re.fullmatch(expression, value, re.DOTALL) is not None


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
            return exists == x
        case "$empty":
            return (value is MISSING or value is None or value in ("", [])) == x
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
            vector=st.just(ANYWHERE),
        )


def storable(text: str) -> bool:
    return "\0" not in text


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


@st.composite
def filters(draw: st.DrawFn, pool: Pool, records: list[Record]) -> Node:
    """A filter whose names and values mostly are those of the records."""
    known = [pair for one in records for pair in known_paths(one.metadata)]
    seen = [value for _, value in known] + [
        element for _, value in known if isinstance(value, list) for element in value
    ]
    values = pool.values | st.sampled_from(seen) if seen else pool.values
    paths: st.SearchStrategy[Any] = st.lists(pool.keys, min_size=1, max_size=3).map(tuple)
    if known:
        paths = st.sampled_from([path for path, _ in known]) | paths
    wheres = (
        st.tuples(paths, st.dictionaries(st.sampled_from(sorted(ANY_VALUE)), st.just(None)))
        if False
        else conditions(pool, paths, values, records)
    )
    tree = st.recursive(
        wheres,
        lambda inner: (
            st.builds(
                Combined,
                st.sampled_from(["$and", "$or"]),
                st.lists(inner, min_size=1, max_size=3),
                st.booleans(),
            )
            | st.builds(Negated, inner)
        ),
        max_leaves=5,
    )
    return draw(wheres | tree)


ANY_VALUE = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"}
PIECES = ["%", "_", "\\%", "\\_", "\\\\", "\\a", "\\", "*", "?", "[", "]", "^", "a", "b", "B", "é"]
