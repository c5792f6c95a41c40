"""Filters on a real server, beside the function with which LlamaIndex's own store filters."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from agentmem_llamaindex import AgentMemVectorStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

STRINGS = ["", "a", "ab", "b%", "A_", "a\\", "äÖ", "ÄÖ", "straße", "日本", "3", "None"]
NUMBERS = [0, 1, 1.0, 1.5, -2, 2**53, 2**53 + 1, 10**20, -0.1]
LISTS: list[list[Any]] = [[], ["a"], ["a", "ab"], ["äÖ", ""], [1, 2], [1.5], [0]]
KEYS = ["s", "n", "l", "mixed", "a.b", "@id", "$or", "back\\slash", "missing"]

RECORDS: list[dict[str, Any]] = [
    {
        "s": STRINGS[i % len(STRINGS)],
        "n": NUMBERS[i % len(NUMBERS)],
        "l": LISTS[i % len(LISTS)],
        "mixed": [None, *STRINGS, *NUMBERS, *LISTS][i],
        "a.b": i % 3,
        "a": {"b": "nested, and not meant"},
        "@id": STRINGS[-i % len(STRINGS)],
        "$or": i % 2,
        "back\\slash": "yes",
    }
    for i in range(1 + len(STRINGS) + len(NUMBERS) + len(LISTS))
] + [{}, {"s": None, "n": None, "l": None}]


@pytest.fixture(scope="module")
def filled(api_url: str) -> Iterator[AgentMemVectorStore]:
    store = AgentMemVectorStore(api_url=api_url, collection=f"filters-{uuid.uuid4().hex[:12]}")
    nodes = [
        TextNode(id_=str(number), text="text", metadata=metadata, embedding=[1.0, 0.0])
        for number, metadata in enumerate(RECORDS)
    ]
    store.add(nodes)
    yield store
    store.client.delete_collection(store.collection)
    store.close()


def meets(part: MetadataFilter | MetadataFilters, metadata: dict[str, Any]) -> bool:
    """LlamaIndex's own judgement, of one condition at a time: it refuses nested groups."""
    if isinstance(part, MetadataFilter):
        alone = MetadataFilters(filters=[part])
        try:
            return build_metadata_filter_fn(lambda _: metadata, alone)("")
        except TypeError:
            return False  # values of types that it can't compare: here they don't match
    if not part.filters:
        return True
    verdicts = [meets(one, metadata) for one in part.filters]
    match part.condition:
        case FilterCondition.OR:
            return any(verdicts)
        case FilterCondition.NOT:
            return not any(verdicts)
        case _:
            return all(verdicts)


strings, numbers = st.sampled_from(STRINGS), st.sampled_from(NUMBERS)
scalars = strings | numbers
# Lists of one type each, as MetadataFilter has them.
lists = st.one_of(
    st.lists(strings, max_size=3),
    st.lists(st.sampled_from([n for n in NUMBERS if isinstance(n, int)]), max_size=3),
    st.lists(st.sampled_from([n for n in NUMBERS if isinstance(n, float)]), max_size=3),
)
values = {
    FilterOperator.EQ: scalars | lists,
    FilterOperator.NE: scalars | lists,
    FilterOperator.GT: scalars,
    FilterOperator.GTE: scalars,
    FilterOperator.LT: scalars,
    FilterOperator.LTE: scalars,
    FilterOperator.IN: lists,
    FilterOperator.NIN: lists,
    FilterOperator.ANY: lists.filter(bool),
    FilterOperator.ALL: lists.filter(bool),
    FilterOperator.TEXT_MATCH: strings,
    FilterOperator.TEXT_MATCH_INSENSITIVE: strings,
    FilterOperator.CONTAINS: scalars,
    FilterOperator.IS_EMPTY: st.none(),
}
leaves = st.sampled_from(list(FilterOperator)).flatmap(
    lambda operator: st.builds(
        MetadataFilter,
        key=st.sampled_from(KEYS),
        value=values[operator],
        operator=st.just(operator),
    )
)
conditions = st.sampled_from([None, *FilterCondition])


def groups(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[MetadataFilters]:
    return st.builds(MetadataFilters, filters=st.lists(parts, max_size=3), condition=conditions)


trees = groups(st.recursive(leaves, groups, max_leaves=6))


def matching(store: AgentMemVectorStore, filters: MetadataFilters) -> set[str]:
    result = store.query(VectorStoreQuery(filters=filters, similarity_top_k=1000))
    return set(result.ids or [])


def expected(filters: MetadataFilters) -> set[str]:
    return {str(number) for number, record in enumerate(RECORDS) if meets(filters, record)}


def test_values_cover_every_operator() -> None:
    assert set(values) == set(FilterOperator)


@given(leaf=leaves)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_one_condition(filled: AgentMemVectorStore, leaf: MetadataFilter) -> None:
    filters = MetadataFilters(filters=[leaf])
    assert matching(filled, filters) == expected(filters)


@given(filters=trees)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_nesting(filled: AgentMemVectorStore, filters: MetadataFilters) -> None:
    assert matching(filled, filters) == expected(filters)


@pytest.mark.parametrize(
    ("metadata", "operator", "value", "matches"),
    [
        # Where AgentMem is stricter than Python, or clearer: JSON's types, and null.
        ({"k": True}, "==", 1, False),
        ({"k": True}, "in", [1], False),
        ({"k": 1}, "in", [True], False),
        ({"k": "3"}, "==", 3, False),
        ({"k": None}, "==", None, True),
        ({}, "==", None, False),
        ({"k": None}, "!=", None, False),
        ({}, "!=", None, True),
        ({}, "!=", 1, True),
        ({}, "nin", [1], True),
        ({"k": None}, "is_empty", None, True),
        ({}, "is_empty", None, True),
        ({"k": 0}, "is_empty", None, False),
        ({"k": {"inner": 1}}, "contains", "inner", False),
    ],
)
def test_where_python_is_no_oracle(
    store: AgentMemVectorStore, metadata: dict[str, Any], operator: str, value: Any, matches: bool
) -> None:
    store.add([TextNode(id_="1", metadata=metadata, embedding=[1.0])])
    # MetadataFilter itself refuses true and false as values.
    one = MetadataFilter.model_construct(key="k", value=value, operator=FilterOperator(operator))
    assert (matching(store, MetadataFilters(filters=[one])) == {"1"}) is matches
