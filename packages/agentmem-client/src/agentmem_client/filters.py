"""The filter grammar: conditions on a memory's metadata and record fields.

A filter is a JSON object, the same over HTTP, in the client and behind every adapter::

    {"topic": "pets"}                                  equality
    {"age": {"$gte": 3, "$lt": 9}}                     operators, all of which must hold
    {"$or": [{"topic": "pets"}, {"$not": {"draft": true}}]}
    {"@created_at": {"$gte": "2026-01-01T00:00:00Z"}}  a field of the record

or the same thing built in Python::

    (F("topic") == "pets") | ~(F("draft") == True)

A name is a path into the metadata: ``address.city`` goes into the object ``address``, and a
backslash makes a following ``.``, ``@``, ``$`` or backslash literal (`escape` does that for a key).
A name that starts with ``@`` is a field of the record; `RECORD_FIELDS` lists them.

What the operators mean, for a value that may be missing:

================  =============================================================================
``$eq``           equal as JSON: ``true`` is not 1, ``"3"`` is not 3, 1 is 1.0; ``null`` matches an
                  explicit null alone
``$ne``           not ``$eq``: a missing value matches
``$gt $gte``      order among numbers, and among strings by code point; anything else doesn't match
``$lt $lte``
``$between``      ``[low, high]``, both included
``$in $nin``      equal to one of the list; to none of it (a missing value matches)
``$contains``     an array with this element, or a string with this substring
``$any $all``     ``$contains`` for one of the list; for each of it
``$like``         a string that the pattern matches: ``%`` any characters, ``_`` one, a backslash
                  makes the next one literal
``$ilike``        the same, both sides lower-cased first
``$exists``       true: there is a value, an explicit null included; false: there is none
``$empty``        true: missing, null, ``""`` or ``[]``; false: anything else
================  =============================================================================

A record field that is not set counts as null (``$eq: null`` matches) and as not existing.
Times are compared as instants; a value for them is an ISO 8601 string with a UTC offset.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_
from typing import Any, Literal, TypeAlias

from .errors import InvalidFilter, shown
from .instants import parse_instant
from .json_values import check_json, check_text

FieldKind = Literal["string", "number", "time", "boolean"]

RECORD_FIELDS: Mapping[str, FieldKind] = {
    "id": "string",
    "seq": "number",
    "content": "string",
    "type": "string",
    "user_id": "string",
    "agent_id": "string",
    "session_id": "string",
    "importance": "number",
    "event_at": "time",
    "created_at": "time",
    "updated_at": "time",
    "expires_at": "time",
    "archived": "boolean",
}
"""The fields that a name with ``@`` can address, and what kind of value each holds."""

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


class _Combinable:
    """Gives every node ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: "Filter") -> "And":
        return And((*_parts(self, And), *_parts(other, And)))

    def __or__(self, other: "Filter") -> "Or":
        return Or((*_parts(self, Or), *_parts(other, Or)))

    def __invert__(self) -> "Not":
        return Not(self)  # type: ignore[arg-type]  # only the four nodes inherit from here

    def __bool__(self) -> bool:
        raise TypeError("a filter has no truth value: combine filters with &, | and ~")


@dataclass(frozen=True, slots=True)
class Path:
    """A path into the metadata: the key of each object on the way."""

    keys: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(escape(key) for key in self.keys)


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of the record itself."""

    name: str
    kind: FieldKind

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True, slots=True)
class Condition(_Combinable):
    """One operator on one value.

    ``value`` is JSON as the operator wants it, checked; for a time field, datetimes.
    """

    target: Path | RecordField
    operator: str
    value: Any

    def to_dict(self) -> dict[str, Any]:
        """This condition as JSON."""
        return {str(self.target): {self.operator: _to_json(self.value)}}


@dataclass(frozen=True, slots=True)
class And(_Combinable):
    """Every one of the filters holds."""

    filters: "tuple[Filter, ...]"

    def to_dict(self) -> dict[str, Any]:
        """This combination as JSON."""
        return {"$and": [part.to_dict() for part in self.filters]}


@dataclass(frozen=True, slots=True)
class Or(_Combinable):
    """At least one of the filters holds."""

    filters: "tuple[Filter, ...]"

    def to_dict(self) -> dict[str, Any]:
        """This combination as JSON."""
        return {"$or": [part.to_dict() for part in self.filters]}


@dataclass(frozen=True, slots=True)
class Not(_Combinable):
    """The filter does not hold."""

    filter: "Filter"

    def to_dict(self) -> dict[str, Any]:
        """This negation as JSON."""
        return {"$not": self.filter.to_dict()}


Filter: TypeAlias = Condition | And | Or | Not
"""A checked filter, as `F` builds and `parse` reads it; ``&``, ``|`` and ``~`` combine it."""


class F:
    """Builds conditions on one name: ``F("age") >= 3``, ``F("tags").contains("red")``.

    Raises:
        InvalidFilter: when the name or the value can't be what the operator needs.
    """

    __slots__ = ("_target",)

    def __init__(self, name: str) -> None:
        self._target = _parse_name(name)

    def _condition(self, operator: str, value: Any) -> Condition:
        condition = _parse_condition(self._target, operator, value)
        _check_size(condition)
        return condition

    def __eq__(self, value: Any) -> Condition:  # type: ignore[override]  # builds, not compares
        return self._condition("$eq", value)

    def __ne__(self, value: Any) -> Condition:  # type: ignore[override]  # builds, not compares
        return self._condition("$ne", value)

    __hash__ = None  # type: ignore[assignment]  # == builds a condition, so no hashing

    def __gt__(self, value: Any) -> Condition:
        return self._condition("$gt", value)

    def __ge__(self, value: Any) -> Condition:
        return self._condition("$gte", value)

    def __lt__(self, value: Any) -> Condition:
        return self._condition("$lt", value)

    def __le__(self, value: Any) -> Condition:
        return self._condition("$lte", value)

    def between(self, low: Any, high: Any) -> Condition:
        """Between the two, both included."""
        return self._condition("$between", [low, high])

    def in_(self, values: Sequence[Any]) -> Condition:
        """Equal to one of the values."""
        return self._condition("$in", list(values))

    def not_in(self, values: Sequence[Any]) -> Condition:
        """Equal to none of the values, or missing."""
        return self._condition("$nin", list(values))

    def contains(self, value: Any) -> Condition:
        """An array with this element, or a string with this substring."""
        return self._condition("$contains", value)

    def any(self, values: Sequence[Any]) -> Condition:
        """Contains at least one of the values."""
        return self._condition("$any", list(values))

    def all(self, values: Sequence[Any]) -> Condition:
        """Contains each of the values."""
        return self._condition("$all", list(values))

    def like(self, pattern: str) -> Condition:
        """A string that the pattern matches: ``%`` any characters, ``_`` one."""
        return self._condition("$like", pattern)

    def ilike(self, pattern: str) -> Condition:
        """Like `like`, lower and upper case alike."""
        return self._condition("$ilike", pattern)

    def exists(self, flag: bool = True) -> Condition:
        """There is a value, an explicit null included."""
        return self._condition("$exists", flag)

    def empty(self, flag: bool = True) -> Condition:
        """Missing, null, an empty string or an empty array."""
        return self._condition("$empty", flag)


def escape(key: str) -> str:
    """A metadata key as a name in a filter, whatever characters it has."""
    escaped = key.replace("\\", "\\\\").replace(".", "\\.")
    return f"\\{escaped}" if escaped.startswith(("@", "$")) else escaped


def escape_like(text: str) -> str:
    """Text as a literal part of a ``$like`` or ``$ilike`` pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def like_tokens(pattern: str) -> Iterator[tuple[bool, str]]:
    """The pattern's characters as (is a wildcard, character), escapes resolved."""
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            yield False, next(characters, "\\")
        else:
            yield character in "%_", character


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
        _check_size(raw)
        return raw
    if not isinstance(raw, Mapping):
        raise InvalidFilter(
            f"a filter is a JSON object such as {{'topic': 'pets'}}, not {_kind(raw)}"
        )
    if not raw:
        return None
    parsed = _parse_object(raw, depth=1)
    _check_size(parsed)
    return parsed


def joined(*filters: object) -> Filter | None:
    """A filter that admits what all of them admit; None and ``{}`` restrict nothing.

    Raises:
        InvalidFilter: one of them, which are as `parse` takes them, can't be honoured.
    """
    parsed = [parse(one) for one in filters if one is not None]
    parts = [one for one in parsed if one is not None]
    return reduce(and_, parts) if parts else None


def conditions(node: Filter) -> Iterator[Condition]:
    """Every condition in a filter."""
    match node:
        case Condition():
            yield node
        case Not(inner):
            yield from conditions(inner)
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)


def _parse_object(raw: Mapping[Any, Any], depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"a filter may nest at most {MAX_DEPTH} levels deep")
    parts: list[Filter] = []
    for name, value in raw.items():
        if not isinstance(name, str):
            raise InvalidFilter(f"a name in a filter is a string, not {_kind(name)}")
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
    target = _parse_name(name)
    if not isinstance(value, Mapping) or not value:
        return [_parse_condition(target, "$eq", value)]
    operators = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return [_parse_condition(target, "$eq", value)]
    if len(operators) != len(value):
        raise InvalidFilter(
            f"{shown(name)} mixes operators and plain keys: write conditions on the keys as paths "
            "(name.key), or compare the whole object with $eq"
        )
    return [_parse_condition(target, operator, value[operator]) for operator in operators]


def _parse_name(name: str) -> Path | RecordField:
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


def _parse_condition(target: Path | RecordField, operator: str, value: Any) -> Condition:
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
        raise InvalidFilter(f"{where} takes true or false, not {_kind(value)}")
    if operator in LIST_OPERATORS and not isinstance(value, list | tuple):
        raise InvalidFilter(f"{where} takes a list, not {_kind(value)}")
    if operator in ("$any", "$all") and not value:
        raise InvalidFilter(f"{where} needs at least one value")
    if operator == "$between" and (not isinstance(value, list | tuple) or len(value) != 2):
        raise InvalidFilter(f"{where} takes a list of two values, [low, high]")
    if operator in PATTERN_OPERATORS:
        if not isinstance(value, str):
            raise InvalidFilter(f"{where} takes a pattern as a string, not {_kind(value)}")
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
    raise InvalidFilter(f"{target} is a {target.kind}: it can't be compared with {_kind(value)}")


def _check_size(node: Filter) -> None:
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


def _parts(node: Any, combination: type[And] | type[Or]) -> "tuple[Filter, ...]":
    """The branches of a node of this combination, so that ``a & b & c`` stays flat."""
    return node.filters if isinstance(node, combination) else (node,)


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_to_json(element) for element in value]
    return value


def _kind(value: object) -> str:
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
