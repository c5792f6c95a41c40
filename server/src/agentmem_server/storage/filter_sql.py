"""Filters as SQL: one condition on a record.

Every expression is true or false, never null, so that ``NOT`` means what it says. Where two
databases differ, their `Dialect` says how.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agentmem_client.filters import (
    And,
    Condition,
    Filter,
    Not,
    Or,
    Path,
    RecordField,
)

from .. import times
from . import tags
from .sql import Dialect, Sql

_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


_FALSE = Sql("1 = 0")
_FULL_TEXT = """CASE "full" WHEN '' THEN value ELSE "full" END"""


def compile_filter(node: Filter, collection: int, dialect: Dialect) -> Sql:
    """The SQL condition that holds for the records of a collection that the filter admits."""
    match node:
        case And(parts):
            return _join(" AND ", [compile_filter(part, collection, dialect) for part in parts])
        case Or(parts):
            return _join(" OR ", [compile_filter(part, collection, dialect) for part in parts])
        case Not(inner):
            return _negate(compile_filter(inner, collection, dialect))
        case Condition(Path() as path, operator, value):
            return _MetadataCondition(str(path), collection, dialect).compile(operator, value)
        case Condition(RecordField() as record_field, operator, value):
            return _field_condition(record_field, operator, value, dialect)
    raise TypeError(f"not a filter: {node!r}")  # the types above are all there are


class _MetadataCondition:
    """Conditions on one path of the metadata, each a look-up of tags."""

    def __init__(self, path: str, collection: int, dialect: Dialect) -> None:
        self._where = (collection, dialect.path(path))
        self._dialect = dialect

    def compile(self, operator: str, value: Any) -> Sql:
        match operator:
            case "$eq":
                return self._equal([value], 0)
            case "$ne":
                return _negate(self._equal([value], 0))
            case "$in":
                return self._equal(value, 0)
            case "$nin":
                return _negate(self._equal(value, 0))
            case "$gt" | "$gte" | "$lt" | "$lte":
                return self._ordered(operator, value)
            case "$between":
                bounds = zip(("$gte", "$lte"), value, strict=True)
                return _join(" AND ", [self._ordered(*bound) for bound in bounds])
            case "$contains":
                return self._contains(value)
            case "$any":
                return _join(" OR ", [self._contains(element) for element in value])
            case "$all":
                return _join(" AND ", [self._contains(element) for element in value])
            case "$like" | "$ilike":
                return self._string(_match_text(_FULL_TEXT, operator, value, self._dialect))
            case "$exists":
                found = self._tagged(Sql(f"kind < {tags.ELEMENT}"))
                return found if value else _negate(found)
        empty = self._empty()  # $empty: the parser lets no other operator through
        return empty if value else _negate(empty)

    def _tagged(self, condition: Sql) -> Sql:
        return Sql(
            f"m.rid IN (SELECT rid FROM tag WHERE cid = ? AND path = ? AND {condition.text})",
            (*self._where, *condition.parameters),
        )

    def _string(self, condition: Sql) -> Sql:
        return self._tagged(Sql(f"kind = {tags.STRING} AND {condition.text}", condition.parameters))

    def _equal(self, values: Sequence[Any], kind_offset: int) -> Sql:
        """Equal to one of the values: one look-up for each kind of value among them."""
        short: dict[int, list[tags.Value]] = {}
        long: list[tags.Value] = []
        for value in map(tags.encode, values):
            (long if value.full else short.setdefault(value.kind, [])).append(value)
        lookups = [
            Sql(
                f"kind = {kind + kind_offset} AND \"full\" = '' AND value IN ({_marks(of_kind)})",
                tuple(self._dialect.value(value.value) for value in of_kind),
            )
            for kind, of_kind in short.items()
        ]
        if long:
            pairs = ", ".join(["(?, ?)"] * len(long))
            lookups.append(
                Sql(
                    f'kind = {tags.STRING + kind_offset} AND (value, "full") IN (VALUES {pairs})',
                    tuple(part for value in long for part in (value.value, value.full)),
                )
            )
        return _join(" OR ", [self._tagged(lookup) for lookup in lookups]) if lookups else _FALSE

    def _ordered(self, operator: str, value: Any) -> Sql:
        sign = _ORDER[operator]
        encoded = tags.encode(value)
        if encoded.kind == tags.NUMBER:
            number = self._dialect.value(encoded.value)
            return self._tagged(Sql(f"kind = {tags.NUMBER} AND value {sign} ?", (number,)))
        if encoded.kind == tags.STRING:
            # The index holds a beginning of the string: it narrows, the whole string decides.
            narrow = f"value {sign[0]}= ?"
            return self._string(Sql(f"{narrow} AND {_FULL_TEXT} {sign} ?", (encoded.value, value)))
        return _FALSE

    def _contains(self, value: Any) -> Sql:
        element = self._equal([value], tags.ELEMENT)
        if not isinstance(value, str):
            return element
        substring = self._string(Sql(self._dialect.contains(_FULL_TEXT), (value,)))
        return _join(" OR ", [element, substring])

    def _empty(self) -> Sql:
        missing = _negate(self._tagged(Sql(f"kind < {tags.ELEMENT}")))
        return _join(" OR ", [missing, self._equal([None, "", []], 0)])


def _field_condition(target: RecordField, operator: str, value: Any, dialect: Dialect) -> Sql:
    """A condition on a column; a null column is a field that is not set."""
    column = dialect.seq if target.name == "seq" else f"m.{target.name}"
    values = value if isinstance(value, list) else [value]
    marked = [_column_value(v) for v in values]
    match operator:
        case "$eq":
            return _column_in(column, marked)
        case "$ne":
            return _negate(_column_in(column, marked))
        case "$in":
            return _column_in(column, marked)
        case "$nin":
            return _negate(_column_in(column, marked))
        case "$gt" | "$gte" | "$lt" | "$lte":
            return _column_ordered(column, operator, marked[0])
        case "$between":
            bounds = zip(("$gte", "$lte"), marked, strict=True)
            return _join(" AND ", [_column_ordered(column, *bound) for bound in bounds])
        case "$contains" | "$any":
            return _join(" OR ", [_column_contains(column, v, dialect) for v in marked])
        case "$all":
            return _join(" AND ", [_column_contains(column, v, dialect) for v in marked])
        case "$like" | "$ilike":
            return _if_set(column, _match_text(column, operator, value, dialect))
        case "$exists":
            return Sql(f"{column} IS {'NOT ' if value else ''}NULL")
    blank = f"({column} IS NULL OR {column} = '')" if target.kind == "string" else None
    empty = Sql(blank or f"{column} IS NULL")
    return empty if value else _negate(empty)


def _column_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return times.to_microseconds(value)
    return tags.number(value) if isinstance(value, int | float) else value


def _column_in(column: str, values: Sequence[Any]) -> Sql:
    marks = [value for value in values if value is not None]
    listed = Sql(f"{column} IN ({_marks(marks)})", tuple(marks))
    parts = [_if_set(column, listed)] if marks else []
    if len(marks) < len(values):
        parts.append(Sql(f"{column} IS NULL"))
    return _join(" OR ", parts) if parts else _FALSE


def _column_ordered(column: str, operator: str, value: Any) -> Sql:
    if value is None:
        return _FALSE
    return _if_set(column, Sql(f"{column} {_ORDER[operator]} ?", (value,)))


def _column_contains(column: str, value: Any, dialect: Dialect) -> Sql:
    if value is None:
        return _FALSE
    return _if_set(column, Sql(dialect.contains(column), (value,)))


def _match_text(expression: str, operator: str, pattern: str, dialect: Dialect) -> Sql:
    if operator == "$ilike":
        expression, pattern = dialect.lower(expression), pattern.lower()
    return Sql(dialect.matches(expression), (dialect.pattern(pattern),))


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _if_set(column: str, condition: Sql) -> Sql:
    return Sql(f"({column} IS NOT NULL AND {condition.text})", condition.parameters)


def _negate(condition: Sql) -> Sql:
    return Sql(f"NOT ({condition.text})", condition.parameters)


def _join(joiner: str, parts: Sequence[Sql]) -> Sql:
    if len(parts) == 1:
        return parts[0]
    return Sql(
        "(" + joiner.join(part.text for part in parts) + ")",
        tuple(parameter for part in parts for parameter in part.parameters),
    )
