"""LlamaIndex's metadata filters as AgentMem's: pure functions.

None stands for "no restriction", as everywhere in both systems.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from agentmem_client.errors import InvalidFilter
from agentmem_client.filters import And, F, Filter, Not, Or, escape, escape_like
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

REF_DOC_ID = "ref_doc_id"
"""The metadata key under which LlamaIndex keeps the id of the document that a node is of."""

SLICE = 200
"""How many ids a listing names at a time: its filter travels in a URL."""

_NOTHING = Not(F("@id").exists())  # every record has an id


def to_filter(filters: MetadataFilters | None) -> Filter | None:
    """A group of filters, nested to any depth.

    A key is one literal key of the metadata, whatever characters it has: LlamaIndex has no
    paths. A group with nothing in it restricts nothing.

    Raises:
        InvalidFilter: when an operator and its value can't go together.
    """
    if filters is None:
        return None
    parts = [
        to_filter(part) if isinstance(part, MetadataFilters) else _to_condition(part)
        for part in filters.filters
    ]
    restricting = [part for part in parts if part is not None]
    if not restricting:
        return _NOTHING if parts and filters.condition is FilterCondition.NOT else None
    open_ended = len(restricting) < len(parts)  # a part that every record meets
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return _and(restricting)
        case FilterCondition.OR:
            return None if open_ended else _or(restricting)
        case FilterCondition.NOT:
            return _NOTHING if open_ended else Not(_or(restricting))


def narrow(
    filters: MetadataFilters | None,
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
) -> Filter | None:
    """Everything that restricts a request to some records, as one filter.

    Args:
        filters: on the metadata.
        node_ids: these records alone; an empty list admits none.
        doc_ids: the nodes of these documents alone; an empty list admits none.

    Raises:
        InvalidFilter: when the filters or the ids can't be honoured.
    """
    parts = [to_filter(filters)]
    if node_ids is not None:
        parts.append(F("@id").in_(list(node_ids)))
    if doc_ids is not None:
        parts.append(F(REF_DOC_ID).in_(list(doc_ids)))
    restricting = [part for part in parts if part is not None]
    return _and(restricting) if restricting else None


def slices(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> list[Filter | None]:
    """The filters of the listings that together answer the nodes with these ids and filters.

    Raises:
        InvalidFilter: when an operator and its value can't go together.
    """
    if node_ids is None:
        return [to_filter(filters)]
    wanted = list(dict.fromkeys(node_ids))
    return [
        narrow(filters, node_ids=wanted[start : start + SLICE])
        for start in range(0, len(wanted), SLICE)
    ]


class Criteria(TypedDict, total=False):
    """What to delete."""

    ids: Sequence[str]
    filters: Filter


def to_criteria(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Criteria:
    """The criteria of a deletion; empty where nothing is to be deleted.

    Raises:
        InvalidFilter: when an operator and its value can't go together.
    """
    criteria = Criteria()
    condition = to_filter(filters)
    if condition is not None:
        criteria["filters"] = condition
    if node_ids is not None:
        criteria["ids"] = node_ids
    return Criteria() if node_ids is not None and not node_ids else criteria


def _and(parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _or(parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _to_condition(part: MetadataFilter) -> Filter:
    return _OPERATORS[part.operator](F(escape(part.key)), part)


def _list(part: MetadataFilter) -> list[Any]:
    if not isinstance(part.value, list):  # a string is not the list of its characters
        raise InvalidFilter(
            f"the operator {part.operator.value!r} on {part.key!r} takes a list, not {part.value!r}"
        )
    return part.value


def _text(part: MetadataFilter) -> str:
    if not isinstance(part.value, str):
        raise InvalidFilter(
            f"the operator {part.operator.value!r} on {part.key!r} takes a string, "
            f"not {part.value!r}"
        )
    return f"%{escape_like(part.value)}%"


_OPERATORS: dict[FilterOperator, Callable[[F, MetadataFilter], Filter]] = {
    FilterOperator.EQ: lambda key, part: key == part.value,
    FilterOperator.NE: lambda key, part: key != part.value,
    FilterOperator.GT: lambda key, part: key > part.value,
    FilterOperator.GTE: lambda key, part: key >= part.value,
    FilterOperator.LT: lambda key, part: key < part.value,
    FilterOperator.LTE: lambda key, part: key <= part.value,
    FilterOperator.IN: lambda key, part: key.in_(_list(part)),
    FilterOperator.NIN: lambda key, part: key.not_in(_list(part)),
    FilterOperator.ANY: lambda key, part: key.any(_list(part)),
    FilterOperator.ALL: lambda key, part: key.all(_list(part)),
    FilterOperator.CONTAINS: lambda key, part: key.contains(part.value),
    FilterOperator.TEXT_MATCH: lambda key, part: key.like(_text(part)),
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda key, part: key.ilike(_text(part)),
    FilterOperator.IS_EMPTY: lambda key, part: key.empty(),
}
