"""What a checked filter consists of: conditions, and what combines them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from ._escapes import escape

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


def _parts(node: Any, combination: type[And] | type[Or]) -> "tuple[Filter, ...]":
    """The branches of a node of this combination, so that ``a & b & c`` stays flat."""
    return node.filters if isinstance(node, combination) else (node,)


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_to_json(element) for element in value]
    return value
