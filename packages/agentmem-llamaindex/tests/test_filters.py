from typing import Any

import pytest
from agentmem_client import InvalidFilter
from agentmem_client.filters import parse
from agentmem_llamaindex._filters import SLICE, narrow, slices, to_criteria, to_filter
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

AND, OR, NOT = FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT
NOTHING = {"$not": {"@id": {"$exists": True}}}


def only(key: str, operator: str, value: Any) -> MetadataFilters:
    one = MetadataFilter(key=key, value=value, operator=FilterOperator(operator))
    return MetadataFilters(filters=[one])


def group(
    condition: FilterCondition | None, *parts: MetadataFilter | MetadataFilters
) -> MetadataFilters:
    return MetadataFilters(filters=list(parts), condition=condition)


def eq(key: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, value=value)


def as_dict(filters: MetadataFilters | None) -> dict[str, Any] | None:
    made = to_filter(filters)
    if made is None:
        return None
    raw = made.to_dict()
    assert parse(raw) == made  # what the server will read is what was meant
    return raw


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("==", "a", {"$eq": "a"}),
        ("==", None, {"$eq": None}),
        ("!=", 1, {"$ne": 1}),
        (">", 1.5, {"$gt": 1.5}),
        (">=", "b", {"$gte": "b"}),
        ("<", 1, {"$lt": 1}),
        ("<=", 1, {"$lte": 1}),
        ("in", ["a", "b"], {"$in": ["a", "b"]}),
        ("in", [], {"$in": []}),
        ("nin", [1, 2], {"$nin": [1, 2]}),
        ("any", ["a"], {"$any": ["a"]}),
        ("all", ["a", "b"], {"$all": ["a", "b"]}),
        ("contains", "a", {"$contains": "a"}),
        ("text_match", "50%_\\", {"$like": "%50\\%\\_\\\\%"}),
        ("text_match_insensitive", "Cat", {"$ilike": "%Cat%"}),
        ("is_empty", None, {"$empty": True}),
    ],
)
def test_operators(operator: str, value: Any, expected: dict[str, Any]) -> None:
    assert as_dict(only("key", operator, value)) == {"key": expected}


def test_every_operator_is_known() -> None:
    for operator in FilterOperator:
        value = ["a"] if operator.value in ("in", "nin", "any", "all") else "a"
        assert as_dict(only("key", operator.value, value)) is not None


@pytest.mark.parametrize("operator", ["in", "nin", "any", "all"])
@pytest.mark.parametrize("value", ["abc", 1, None])
def test_what_takes_a_list_takes_no_other(operator: str, value: Any) -> None:
    with pytest.raises(InvalidFilter, match="takes a list"):
        to_filter(only("key", operator, value))


@pytest.mark.parametrize("operator", ["text_match", "text_match_insensitive"])
@pytest.mark.parametrize("value", [1, ["a"], None])
def test_what_takes_a_string_takes_no_other(operator: str, value: Any) -> None:
    with pytest.raises(InvalidFilter, match="takes a string"):
        to_filter(only("key", operator, value))


@pytest.mark.parametrize("operator", ["any", "all"])
def test_empty_any_and_all_are_refused(operator: str) -> None:
    with pytest.raises(InvalidFilter, match="at least one value"):
        to_filter(only("key", operator, []))


@pytest.mark.parametrize("key", ["a.b", "@id", "$or", "a\\.b", "", "ü x", "\\"])
def test_a_key_is_one_literal_key(key: str) -> None:
    made = to_filter(only(key, "==", 1))
    assert getattr(made, "target").keys == (key,)  # noqa: B009  # of a condition alone
    assert as_dict(only(key, "==", 1)) is not None


def test_conditions() -> None:
    a, b = eq("a", 1), eq("b", 2)
    plain = [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]
    assert as_dict(group(AND, a, b)) == {"$and": plain}
    assert as_dict(group(None, a, b)) == {"$and": plain}
    assert as_dict(group(OR, a, b)) == {"$or": plain}
    assert as_dict(group(NOT, a, b)) == {"$not": {"$or": plain}}
    assert as_dict(group(NOT, a)) == {"$not": plain[0]}


def test_nesting() -> None:
    inner = group(OR, eq("b", 2), group(NOT, eq("c", 3), eq("d", 4)))
    assert as_dict(group(AND, eq("a", 1), inner)) == {
        "$and": [
            {"a": {"$eq": 1}},
            {
                "$or": [
                    {"b": {"$eq": 2}},
                    {"$not": {"$or": [{"c": {"$eq": 3}}, {"d": {"$eq": 4}}]}},
                ]
            },
        ]
    }


def test_an_empty_group_restricts_nothing() -> None:
    a, everything = eq("a", 1), group(AND)
    assert as_dict(None) is None
    assert [as_dict(group(condition)) for condition in (None, AND, OR, NOT)] == [None] * 4
    assert as_dict(group(AND, a, everything)) == {"a": {"$eq": 1}}
    assert as_dict(group(OR, a, everything)) is None
    assert as_dict(group(NOT, a, everything)) == NOTHING
    assert as_dict(group(NOT, everything)) == NOTHING
    assert as_dict(group(AND, everything, everything)) is None


def test_ids_and_documents_narrow() -> None:
    def as_raw(**restrictions: Any) -> dict[str, Any] | None:
        made = narrow(**restrictions)
        return None if made is None else made.to_dict()

    assert as_raw(filters=None) is None
    assert as_raw(filters=None, node_ids=["1"]) == {"@id": {"$in": ["1"]}}
    assert as_raw(filters=None, doc_ids=[]) == {"ref_doc_id": {"$in": []}}
    assert as_raw(filters=only("a", "==", 1), node_ids=["1"], doc_ids=["d"]) == {
        "$and": [{"a": {"$eq": 1}}, {"@id": {"$in": ["1"]}}, {"ref_doc_id": {"$in": ["d"]}}]
    }


def test_slices_name_each_id_once() -> None:
    ids = [str(number) for number in range(SLICE + 1)]
    first, second = slices([*ids, "0"], None)
    assert first is not None
    assert second is not None
    assert first.to_dict() == {"@id": {"$in": ids[:SLICE]}}
    assert second.to_dict() == {"@id": {"$in": ids[SLICE:]}}
    assert slices([], only("a", "==", 1)) == []
    assert slices(None, None) == [None]


def test_nothing_is_deleted_by_an_empty_criterion() -> None:
    a = only("a", "==", 1)
    assert to_criteria(None, None) == {}
    assert to_criteria([], None) == {}
    assert to_criteria([], a) == {}
    assert to_criteria(None, group(AND)) == {}
    assert to_criteria(None, group(OR, eq("a", 1), group(AND))) == {}
    assert to_criteria(["1"], None) == {"ids": ["1"]}
    assert to_criteria(["1"], a) == {"ids": ["1"], "filters": to_filter(a)}
