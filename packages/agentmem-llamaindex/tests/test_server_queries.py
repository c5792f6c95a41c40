"""Queries in every mode on a real server, with everything that restricts them."""

from typing import Any

import pytest
from agentmem_client import DimensionMismatch
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core.vector_stores.types import (
    ExactMatchFilter,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

FOXES = {
    "lorem": ("lorem ipsum", [0.1, 1.0], "a"),
    "dolor": ("dolor sit amet", [1.0, 1.0], "b"),
    "quick": ("The quick brown fox jumped over the lazy dog, a fox indeed.", [5.0, 1.0], "c"),
    "hound": ("The fox and the hound", [10.0, 1.0], "b"),
}
MODES = ["default", "hybrid", "text_search", "sparse", "mmr"]


@pytest.fixture
def foxes(store: AgentMemVectorStore, make_node: Any) -> AgentMemVectorStore:
    store.add(
        [
            make_node(id_, vector, text=text, doc=f"doc {group}", group=group, size=len(text))
            for id_, (text, vector, group) in FOXES.items()
        ]
    )
    return store


def ask(mode: str = "default", **fields: Any) -> VectorStoreQuery:
    given: dict[str, Any] = {
        "query_embedding": [0.1, 1.0],
        "query_str": "fox",
        "similarity_top_k": 10,
    } | fields
    if mode in ("text_search", "sparse"):
        given["query_embedding"] = None  # as LlamaIndex's retriever has it
    return VectorStoreQuery(mode=VectorStoreQueryMode(mode), **given)


def eq(key: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[ExactMatchFilter(key=key, value=value)])


@pytest.mark.parametrize("mode", MODES)
async def test_filters_bind_before_the_limit(
    foxes: AgentMemVectorStore, call: Any, mode: str
) -> None:
    # The best ones are others in every mode, so a limit that came first would leave nothing.
    query = ask(mode, query_embedding=[5.0, 1.0], filters=eq("group", "b"), similarity_top_k=1)
    assert (await call(foxes, "query", query)).ids == ["hound"]


@pytest.mark.parametrize("mode", MODES)
async def test_ids_documents_and_filters_intersect(
    foxes: AgentMemVectorStore, call: Any, mode: str
) -> None:
    async def ids(**restrictions: Any) -> set[str]:
        result = await call(foxes, "query", ask(mode, **restrictions))
        assert len(result.ids) == len(result.nodes) == len(result.similarities)
        return set(result.ids)

    found = await ids()
    assert found >= {"quick", "hound"}
    assert await ids(node_ids=["quick", "unknown"]) == {"quick"}
    assert await ids(doc_ids=["doc b"]) == found & {"dolor", "hound"}
    assert await ids(doc_ids=["doc b"], node_ids=["quick", "hound"]) == {"hound"}
    assert await ids(doc_ids=["doc b"], node_ids=["hound"], filters=eq("group", "c")) == set()
    assert await ids(doc_ids=[]) == set()
    assert await ids(node_ids=[]) == found


@pytest.mark.parametrize("mode", MODES)
async def test_nested_filters_in_every_mode(
    foxes: AgentMemVectorStore, call: Any, mode: str
) -> None:
    either = MetadataFilters(
        condition=FilterCondition.OR,
        filters=[
            MetadataFilter(key="size", value=50, operator=FilterOperator.GT),
            MetadataFilters(
                condition=FilterCondition.AND,
                filters=[
                    MetadataFilter(key="group", value=["b"], operator=FilterOperator.IN),
                    MetadataFilters(
                        condition=FilterCondition.NOT,
                        filters=[MetadataFilter(key="size", value=14)],
                    ),
                ],
            ),
        ],
    )
    assert set((await call(foxes, "query", ask(mode, filters=either))).ids) == {"quick", "hound"}


@pytest.mark.parametrize("mode", ["text_search", "sparse"])
async def test_a_sentence_looks_for_its_words(
    foxes: AgentMemVectorStore, call: Any, mode: str
) -> None:
    result = await call(foxes, "query", ask(mode, query_str="Who is the fox?", sparse_top_k=2))
    assert set(result.ids) == {"quick", "hound"}
    for nothing in ("", "?!", "zebra"):
        assert (await call(foxes, "query", ask(mode, query_str=nothing))).ids == []


async def test_keywords_of_other_scripts(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    texts = {"de": "die Straße nach Zürich", "fr": "un café crème", "ru": "Привет, мир"}
    await call(store, "add", [make_node(id_, [1.0], text=texts[id_]) for id_ in texts])
    for query, expected in (("straße", "de"), ("CAFÉ", "fr"), ("мир", "ru")):
        assert (await call(store, "query", ask("sparse", query_str=query))).ids == [expected]


async def test_hybrid_from_keywords_to_vectors(foxes: AgentMemVectorStore, call: Any) -> None:
    async def ids(alpha: float) -> list[str]:
        found: list[str] = (await call(foxes, "query", ask("hybrid", alpha=alpha))).ids
        return found

    by_vector = (await call(foxes, "query", ask())).ids
    by_keyword = (await call(foxes, "query", ask("sparse"))).ids
    assert await ids(1.0) == by_vector
    assert (await ids(0.0))[:2] == by_keyword
    assert set((await ids(0.5))[:2]) != set(by_vector[:2])


async def test_sizes_of_a_hybrid_answer(foxes: AgentMemVectorStore, call: Any) -> None:
    async def count(**sizes: int) -> int:
        return len((await call(foxes, "query", ask("hybrid", **sizes))).ids)

    assert await count(similarity_top_k=2) == 2
    assert await count(similarity_top_k=1, hybrid_top_k=3) == 3
    assert await count(similarity_top_k=3, sparse_top_k=1) == 3
    assert await count(similarity_top_k=3, sparse_top_k=1, hybrid_top_k=2) == 2


async def test_mmr_chooses_among_what_the_filters_admit(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    nodes = [make_node("best", [1.0, 0.0], kept=1), make_node("twin", [1.0, 0.01], kept=1)]
    nodes += [make_node("other", [0.6, 0.8], kept=1), make_node("left out", [0.0, 1.0], kept=0)]
    await call(store, "add", nodes)

    async def ids(threshold: float | None, **keywords: Any) -> list[str]:
        query = ask(
            "mmr",
            query_embedding=[1.0, 0.0],
            similarity_top_k=2,
            mmr_threshold=threshold,
            filters=eq("kept", 1),
        )
        found: list[str] = (await call(store, "query", query, **keywords)).ids
        return found

    assert await ids(1.0) == ["best", "twin"]
    assert await ids(0.1) == ["best", "other"]
    assert await ids(1.0, mmr_threshold=0.1) == ["best", "other"]  # a keyword goes first
    assert await ids(0.1, mmr_prefetch_k=2) == ["best", "twin"]
    with pytest.raises(ValueError, match="not both"):
        await ids(0.1, mmr_prefetch_k=2, mmr_prefetch_factor=2.0)


@pytest.mark.parametrize("mode", ["default", "hybrid", "mmr"])
async def test_a_vector_of_another_model_is_refused(
    foxes: AgentMemVectorStore, call: Any, mode: str
) -> None:
    with pytest.raises(DimensionMismatch):
        await call(foxes, "query", ask(mode, query_embedding=[1.0, 0.0, 0.0]))


async def test_a_limit_above_what_there_is(foxes: AgentMemVectorStore, call: Any) -> None:
    result = await call(foxes, "query", ask(similarity_top_k=1000))
    assert len(result.ids) == len(FOXES)
