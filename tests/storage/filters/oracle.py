"""What a filter admits, in plain Python.

Written from the docstring of `agentmem_client.filters`; it shares no code with it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from agentmem_server.storage import Record

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
