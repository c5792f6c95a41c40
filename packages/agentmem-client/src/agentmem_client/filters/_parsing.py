"""Filters read as they came over the wire."""

from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import Any

from ..errors import InvalidFilter, shown
from ._conditions import MAX_DEPTH, check_size, kind, parse_condition, parse_name
from ._nodes import And, Condition, Filter, Not, Or


def parse(raw: object) -> Filter | None:
    """Read a filter as it came over the wire.

    Args:
        raw: the JSON of a filter, or a filter built with `F`.

    Returns:
        The checked filter, or None for ``{}``, which admits everything.

    Raises:
        InvalidFilter: with what is wrong and what would be right.
    """
    if isinstance(raw, Condition | And | Or | Not):
        check_size(raw)
        return raw
    if not isinstance(raw, Mapping):
        raise InvalidFilter(
            f"a filter is a JSON object such as {{'topic': 'pets'}}, not {kind(raw)}"
        )
    if not raw:
        return None
    parsed = _parse_object(raw, depth=1)
    check_size(parsed)
    return parsed


def joined(*filters: object) -> Filter | None:
    """A filter that admits what all of them admit; None and ``{}`` restrict nothing.

    Raises:
        InvalidFilter: one of them, which are as `parse` takes them, can't be honoured.
    """
    parsed = [parse(one) for one in filters if one is not None]
    parts = [one for one in parsed if one is not None]
    return reduce(and_, parts) if parts else None


def _parse_object(raw: Mapping[Any, Any], depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"a filter may nest at most {MAX_DEPTH} levels deep")
    parts: list[Filter] = []
    for name, value in raw.items():
        if not isinstance(name, str):
            raise InvalidFilter(f"a name in a filter is a string, not {kind(name)}")
        if name in ("$and", "$or"):
            branches = _parse_branches(name, value, depth)
            parts.append(And(branches) if name == "$and" else Or(branches))
        elif name == "$not":
            parts.append(Not(_parse_inner(name, value, depth)))
        elif name.startswith("$"):
            raise InvalidFilter(
                f"unknown operator {shown(name)} where a name is expected: the combining operators "
                "are $and, $or, $not; before a key that starts with $, write a backslash"
            )
        else:
            parts.extend(_parse_name_value(name, value))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_branches(name: str, value: object, depth: int) -> tuple[Filter, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidFilter(f"{name} needs a list with at least one filter in it")
    return tuple(_parse_inner(name, branch, depth) for branch in value)


def _parse_inner(name: str, value: object, depth: int) -> Filter:
    if isinstance(value, Condition | And | Or | Not):
        return value
    if not isinstance(value, Mapping) or not value:
        raise InvalidFilter(f"inside {name} stands a filter with at least one condition")
    return _parse_object(value, depth + 1)


def _parse_name_value(name: str, value: object) -> list[Filter]:
    target = parse_name(name)
    if not isinstance(value, Mapping) or not value:
        return [parse_condition(target, "$eq", value)]
    operators = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return [parse_condition(target, "$eq", value)]
    if len(operators) != len(value):
        raise InvalidFilter(
            f"{shown(name)} mixes operators and plain keys: write conditions on the keys as paths "
            "(name.key), or compare the whole object with $eq"
        )
    return [parse_condition(target, operator, value[operator]) for operator in operators]
