"""LangGraph's filters as AgentMem's: pure functions, no I/O.

A filter means what it means to LangGraph's `InMemoryStore`, in JSON's types: ``true`` is not 1, and
comparing a number with a text doesn't match. A key with a dot is the key itself or a path, and one
of the two must hold. Keys and values are data, never syntax.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from agentmem_client import F, Filter, escape
from agentmem_client.errors import shown
from agentmem_client.filters import And, Or
from agentmem_client.json_values import LARGEST_NUMBER, check_text

Path: TypeAlias = tuple[str, ...]
"""The keys on the way to a value."""

_ORDER: Mapping[str, Callable[[F, Any], Filter]] = {
    "$gt": F.__gt__,
    "$gte": F.__ge__,
    "$lt": F.__lt__,
    "$lte": F.__le__,
}
_OPERATORS = ("$eq", "$ne", *_ORDER)
_LARGEST_FLOAT = sys.float_info.max
_NOTHING: Filter = F("@id").in_([])
_EVERYTHING: Filter = F("@id").not_in([])


def to_filter(raw: Mapping[str, Any] | None) -> Filter | None:
    """A search's ``filter``; None where there is nothing to filter.

    Raises:
        ValueError: an unknown operator, or what can't be honoured.
        InvalidFilter: a value that is not JSON.
    """
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise ValueError(f"a filter is a mapping such as {{'topic': 'pets'}}, not {shown(raw)}")
    if not raw:
        return None
    return _all(_field((), name, wanted) for name, wanted in raw.items())


def _field(parent: Path, name: object, wanted: Any) -> Filter:
    """What is wanted of the value below a name."""
    paths = _paths(parent, name)
    if not _has_operators(wanted):
        return _matches(paths, wanted)
    return _all(_compared(paths, operator, operand) for operator, operand in wanted.items())


def _paths(parent: Path, name: object) -> list[Path]:
    """Where a name may lead; nowhere, if it is one that no stored key can have."""
    if not isinstance(name, str):
        raise ValueError(f"the keys of a filter are strings, not {shown(name)}")
    if not _can_be_stored(name):
        return []
    path = tuple(name.split("."))
    return [(*parent, name)] if path == (name,) else [(*parent, name), (*parent, *path)]


def _matches(paths: list[Path], wanted: Any) -> Filter:
    """An object matches by its keys, others may stand beside them; anything else as a whole."""
    if not isinstance(wanted, Mapping):
        return _equals(paths, wanted)
    if not any(map(_needs_a_value, wanted.values())):
        raise ValueError(
            f"the filter {shown(wanted)} asks for an object by what it does not have, which can't "
            'be looked for: use a path to the key, such as {"a.b": {"$ne": 1}}, or compare the '
            'whole object, such as {"a": {"$eq": {}}}'
        )
    return _any(_all(_field(path, name, inner) for name, inner in wanted.items()) for path in paths)


def _needs_a_value(wanted: Any) -> bool:
    """Whether a missing value fails the condition."""
    if not _has_operators(wanted):
        return wanted is not None
    return any((operand is None) == (operator == "$ne") for operator, operand in wanted.items())


def _has_operators(wanted: Any) -> bool:
    return isinstance(wanted, Mapping) and any(
        isinstance(name, str) and name.startswith("$") for name in wanted
    )


def _compared(paths: list[Path], operator: object, operand: Any) -> Filter:
    if operator == "$eq":
        return _equals(paths, operand)
    if operator == "$ne":
        return ~_equals(paths, operand)
    if operator not in _ORDER:
        known = ", ".join(_OPERATORS)
        raise ValueError(f"unknown operator {shown(operator)} in a filter: there are {known}")
    bound = _finite_bound(str(operator), operand)
    if bound is None:
        return _NOTHING
    compare = _ORDER[bound[0]]
    return _any(compare(_at(path), bound[1]) for path in paths)


def _equals(paths: list[Path], wanted: Any) -> Filter:
    if wanted is None:  # a missing value is None too
        return _all(_at(path).exists(False) | _at(path).in_([None]) for path in paths)
    if not _can_be_stored(wanted):
        return _NOTHING
    return _any(_at(path) == wanted for path in paths)


def _at(path: Path) -> F:
    return F(".".join(map(escape, path)))


def _can_be_stored(value: Any) -> bool:
    """Whether a stored value can equal it; one that is not JSON is left for `F` to refuse."""
    match value:
        case str():
            try:
                check_text(value)
            except ValueError:
                return False
            return True
        case bool():
            return True
        case int():
            return abs(value) <= LARGEST_NUMBER
        case float():
            return math.isfinite(value)
        case list() | tuple():
            return all(map(_can_be_stored, value))
        case Mapping():
            return all(_can_be_stored(key) and _can_be_stored(value[key]) for key in value)
        case _:
            return True


def _finite_bound(operator: str, operand: Any) -> tuple[str, Any] | None:
    """A comparison that means the same among finite numbers; None where none of them meets it."""
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        return operator, operand
    try:
        number = float(operand)
    except OverflowError:
        number = math.inf if operand > 0 else -math.inf
    if math.isfinite(number):
        return operator, number if abs(operand) > LARGEST_NUMBER else operand
    if number > 0 and operator in ("$lt", "$lte"):
        return "$lte", _LARGEST_FLOAT
    if number < 0 and operator in ("$gt", "$gte"):
        return "$gte", -_LARGEST_FLOAT
    return None


def _all(parts: Iterable[Filter]) -> Filter:
    several = tuple(parts)
    if len(several) == 1:
        return several[0]
    return And(several) if several else _EVERYTHING


def _any(parts: Iterable[Filter]) -> Filter:
    several = tuple(parts)
    if len(several) == 1:
        return several[0]
    return Or(several) if several else _NOTHING
