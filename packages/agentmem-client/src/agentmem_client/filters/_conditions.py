"""One condition: names, operators, and the values that fit them; and how many a filter may hold."""

from datetime import datetime
from typing import Any

from ..errors import InvalidFilter, shown
from ..instants import parse_instant
from ..json_values import check_json, check_text
from ._nodes import RECORD_FIELDS, Condition, Filter, Path, RecordField, conditions

ORDER_OPERATORS = frozenset({"$gt", "$gte", "$lt", "$lte"})
LIST_OPERATORS = frozenset({"$in", "$nin", "$any", "$all"})
PATTERN_OPERATORS = frozenset({"$like", "$ilike"})
FLAG_OPERATORS = frozenset({"$exists", "$empty"})
STRING_OPERATORS = PATTERN_OPERATORS | {"$contains", "$any", "$all"}
OPERATORS = (
    ORDER_OPERATORS
    | LIST_OPERATORS
    | PATTERN_OPERATORS
    | FLAG_OPERATORS
    | {"$eq", "$ne", "$between", "$contains"}
)

MAX_DEPTH = 32
"""How deep ``$and``, ``$or`` and ``$not`` may nest."""
MAX_CONDITIONS = 256
"""How many conditions one filter may hold; each value of ``$any`` and ``$all`` counts as one."""
MAX_VALUES = 10_000
"""How many values one filter may list, over all its ``$in`` and ``$nin``."""
MAX_PATTERN = 1_000
"""How many characters a ``$like`` or ``$ilike`` pattern may have."""


def parse_name(name: str) -> Path | RecordField:
    """What a name addresses.

    Raises:
        InvalidFilter: there is no such record field, or it is no text.
    """
    if name.startswith("@"):
        field = name[1:]
        if field not in RECORD_FIELDS:
            known = ", ".join(f"@{known}" for known in RECORD_FIELDS)
            raise InvalidFilter(
                f"unknown record field {shown(name)}: there are {known}; before a metadata key "
                "that starts with @, write a backslash"
            )
        return RecordField(field, RECORD_FIELDS[field])
    try:
        check_text(name)
    except ValueError as error:
        raise InvalidFilter(f"a name in a filter {error}") from None
    keys = [""]
    characters = iter(name)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            keys[-1] += following if following in (".", "@", "$", "\\") else character + following
        elif character == ".":
            keys.append("")
        else:
            keys[-1] += character
    return Path(tuple(keys))


def parse_condition(target: Path | RecordField, operator: str, value: Any) -> Condition:
    """The condition that an operator and its value make.

    Raises:
        InvalidFilter: the operator is unknown, or the value can't be what it needs.
    """
    if operator not in OPERATORS:
        known = " ".join(sorted(OPERATORS))
        raise InvalidFilter(
            f"unknown operator {shown(operator)} on {shown(str(target))}: there are {known}"
        )
    _check_shape(target, operator, value)
    return Condition(target, operator, _checked(target, operator, value))


def _check_shape(target: Path | RecordField, operator: str, value: Any) -> None:
    where = f"{operator} on {shown(str(target))}"
    if operator in FLAG_OPERATORS and not isinstance(value, bool):
        raise InvalidFilter(f"{where} takes true or false, not {kind(value)}")
    if operator in LIST_OPERATORS and not isinstance(value, list | tuple):
        raise InvalidFilter(f"{where} takes a list, not {kind(value)}")
    if operator in ("$any", "$all") and not value:
        raise InvalidFilter(f"{where} needs at least one value")
    if operator == "$between" and (not isinstance(value, list | tuple) or len(value) != 2):
        raise InvalidFilter(f"{where} takes a list of two values, [low, high]")
    if operator in PATTERN_OPERATORS:
        if not isinstance(value, str):
            raise InvalidFilter(f"{where} takes a pattern as a string, not {kind(value)}")
        if len(value) > MAX_PATTERN:
            raise InvalidFilter(f"{where} takes a pattern of at most {MAX_PATTERN} characters")


def _checked(target: Path | RecordField, operator: str, value: Any) -> Any:
    """The value as the target compares it.

    Raises:
        InvalidFilter: when it is no JSON, or the target's kind can't honour it.
    """
    try:
        if isinstance(target, RecordField) and operator not in FLAG_OPERATORS:
            return _fitted(target, operator, value)
        check_json(value, max_depth=MAX_DEPTH)
    except ValueError as error:
        raise InvalidFilter(f"{operator} on {shown(str(target))} {error}") from None
    return value


def _fitted(target: RecordField, operator: str, value: Any) -> Any:
    if target.kind != "string" and operator in STRING_OPERATORS:
        raise ValueError(f"works on strings and arrays, and this is a {target.kind}")
    if target.kind == "boolean" and operator in ORDER_OPERATORS | {"$between"}:
        raise ValueError("works on what has an order, and this is true or false")
    if operator in LIST_OPERATORS or operator == "$between":
        return [_fitted_scalar(target, element) for element in value]
    return _fitted_scalar(target, value)


def _fitted_scalar(target: RecordField, value: Any) -> Any:
    match target.kind, value:
        case _, None:
            return None
        case "string", str():
            return check_text(value)
        case "time", str() | datetime():
            return parse_instant(value)
        case "boolean", bool():
            return value
        case "number", int() | float() if not isinstance(value, bool):
            check_json(value, max_depth=0)
            return value
    raise InvalidFilter(f"{target} is a {target.kind}: it can't be compared with {kind(value)}")


def check_size(node: Filter) -> None:
    """Refuse a filter that holds too much.

    Raises:
        InvalidFilter: there are more conditions or values than one may hold.
    """
    count = listed = 0
    for condition in conditions(node):
        # Each value of $any and $all is a look-up of its own; $in and $nin are one for all.
        count += len(condition.value) if condition.operator in ("$any", "$all") else 1
        listed += len(condition.value) if condition.operator in ("$in", "$nin") else 0
        if count > MAX_CONDITIONS:
            raise InvalidFilter(
                f"a filter may hold at most {MAX_CONDITIONS} conditions, each value of $any and "
                "$all counted as one"
            )
        if listed > MAX_VALUES:
            raise InvalidFilter(f"a filter may list at most {MAX_VALUES} values in $in and $nin")


def kind(value: object) -> str:
    """What a value is, in JSON's words, for messages."""
    names = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
