"""The store on a real server process."""

import asyncio
import math
import random
from typing import Any

import pytest
from agentmem_client import NotAllStored
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import MetadataMode, NodeRelationship, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)


def eq(key: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def random_vectors(count: int, dimension: int = 8, seed: int = 1) -> list[list[float]]:
    numbers = random.Random(seed)
    return [[numbers.gauss(0, 1) for _ in range(dimension)] for _ in range(count)]


def ask(mode: str = "default", **fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(mode=VectorStoreQueryMode(mode), **fields)


async def test_an_unwritten_collection_is_empty(store: AgentMemVectorStore, call: Any) -> None:
    for query in (
        ask(query_embedding=[1.0, 0.0]),
        ask("sparse", query_str="cat"),
        ask("hybrid", query_str="cat", query_embedding=[1.0, 0.0]),
        ask("mmr", query_embedding=[1.0, 0.0]),
        ask(filters=eq("a", 1)),
    ):
        result = await call(store, "query", query)
        assert (result.nodes, result.similarities, result.ids) == ([], [], [])
    assert await call(store, "get_nodes") == []
    assert await call(store, "get_nodes", ["1"]) == []
    for method, arguments in (("delete", ["d"]), ("delete_nodes", [["1"]]), ("clear", [])):
        await call(store, method, *arguments)


async def test_nodes_come_back_as_they_were(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    node = make_node(
        "id/with ü?#", [0.25, -0.5], text="  two\nlines ", doc="doc", deep={"a": [1, None, True]}
    )
    node.relationships[NodeRelationship.NEXT] = make_node("2", None).as_related_node_info()
    node.excluded_llm_metadata_keys = ["deep"]
    await call(store, "add", [node])
    (got,) = await call(store, "get_nodes", [node.node_id])
    assert got.model_dump() == node.model_dump()
    result = await call(store, "query", ask(query_embedding=[0.25, -0.5]))
    (found,) = result.nodes
    found.embedding = node.embedding  # a query leaves it out
    assert found.model_dump() == node.model_dump()
    assert result.similarities == [pytest.approx(1.0)]


async def test_ids_are_replaced(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    await call(store, "add", [make_node("1", [1.0, 0.0], text="old"), make_node("2", [1.0, 0.0])])
    await call(store, "add", [make_node("1", [0.0, 1.0], text="new")])
    nodes = await call(store, "get_nodes")
    assert sorted((node.node_id, node.text) for node in nodes) == [("1", "new"), ("2", "text of 2")]
    result = await call(store, "query", ask(query_embedding=[0.0, 1.0]))
    assert result.ids == ["1"]


async def test_a_bad_node_fails_alone(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    nodes = [
        make_node("1", [1.0, 0.0]),
        make_node("2", [1.0, 0.0, 0.0]),
        make_node("3", [1.0, 0.0], text="nul \0"),
        make_node("4", [1.0, 0.0]),
    ]
    with pytest.raises(NotAllStored) as raised:
        await call(store, "add", nodes)
    assert raised.value.stored == ["1", "4"]
    codes = [(one.id, one.error and one.error.code) for one in raised.value.failures]
    assert codes == [("2", "dimension_mismatch"), ("3", "invalid_request")]
    assert [node.node_id for node in await call(store, "get_nodes")] == ["1", "4"]


async def test_a_collection_that_the_server_embeds_refuses_nodes(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    store.client.add("The cat is called Mia.", collection=store.collection)
    with pytest.raises(NotAllStored) as raised:
        await call(store, "add", [make_node("1", [1.0, 0.0])])
    (failure,) = raised.value.failures
    assert failure.error is not None
    assert failure.error.code == "embedder_mismatch"


async def test_default_mode_ranks_like_the_simple_store(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    vectors = random_vectors(40)
    nodes = [
        make_node(str(number), vector, doc=str(number % 3), group=number % 4)
        for number, vector in enumerate(vectors)
    ]
    await call(store, "add", nodes)
    simple = SimpleVectorStore()
    simple.add(nodes)
    for seed, filters in ((2, None), (3, eq("group", 1)), (4, eq("group", 9))):
        query = ask(
            query_embedding=random_vectors(1, seed=seed)[0], similarity_top_k=12, filters=filters
        )
        ours, theirs = await call(store, "query", query), simple.query(query)
        assert ours.ids == theirs.ids
        assert ours.similarities == pytest.approx(theirs.similarities, abs=1e-6)


async def test_keyword_modes(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    texts = {"1": "The cat is called Mia.", "2": "A dog barks.", "3": "cat cat cat"}
    await call(store, "add", [make_node(id_, [1.0, 0.0], text=texts[id_]) for id_ in texts])
    for mode in ("sparse", "text_search"):
        result = await call(store, "query", ask(mode, query_str="cat", similarity_top_k=10))
        assert set(result.ids) == {"1", "3"}
        assert min(result.similarities) > 0
        assert result.similarities == sorted(result.similarities, reverse=True)
        bounded = ask(mode, query_str="cat", similarity_top_k=10, sparse_top_k=1)
        assert (await call(store, "query", bounded)).ids == result.ids[:1]


async def test_hybrid_mode(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    await call(
        store,
        "add",
        [
            make_node("word", [0.0, 1.0], text="the cat"),
            make_node("near", [1.0, 0.0], text="something else"),
            make_node("far", [-1.0, 0.0], text="nothing of it"),
        ],
    )

    async def hybrid(alpha: float | None, **more: Any) -> Any:
        query = ask("hybrid", query_str="cat", query_embedding=[1.0, 0.1], alpha=alpha, **more)
        return await call(store, "query", query)

    assert (await hybrid(0.0)).ids == ["word"]
    assert (await hybrid(1.0)).ids == ["near"]
    both = await hybrid(None, similarity_top_k=1, hybrid_top_k=2)
    assert set(both.ids) == {"word", "near"}
    assert all(0 <= similarity <= 1 for similarity in both.similarities)


async def test_mmr_mode(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    vectors = random_vectors(30, dimension=4)
    ids = [str(number) for number in range(len(vectors))]
    nodes = [make_node(id_, vector) for id_, vector in zip(ids, vectors, strict=True)]
    await call(store, "add", nodes)
    target = random_vectors(1, dimension=4, seed=9)[0]

    async def mmr(threshold: float, top_k: int) -> Any:
        query = ask("mmr", query_embedding=target, similarity_top_k=top_k)
        return await call(store, "query", query, mmr_threshold=threshold)

    by_relevance = await call(store, "query", ask(query_embedding=target, similarity_top_k=10))
    assert (await mmr(1.0, 10)).ids == by_relevance.ids
    for threshold in (0.2, 0.5, 0.8):
        # With two, "unlike the last one" (LlamaIndex) and "unlike all before" are the same.
        _, expected = get_top_k_mmr_embeddings(
            target, vectors, similarity_top_k=2, embedding_ids=ids, mmr_threshold=threshold
        )
        assert (await mmr(threshold, 2)).ids == expected
    assert len(set((await mmr(0.0, 10)).ids)) == 10


async def test_restrictions(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    nodes = [make_node(str(n), [1.0, n / 10], doc=f"d{n % 2}", odd=str(n % 2)) for n in range(6)]
    await call(store, "add", nodes)

    async def ids(**fields: Any) -> set[str]:
        result = await call(store, "query", ask(similarity_top_k=10, **fields))
        return set(result.ids)

    for ranked in ({"query_embedding": [1.0, 0.0]}, {}):
        assert await ids(**ranked) == set("012345")
        assert await ids(node_ids=[], **ranked) == set("012345")
        assert await ids(node_ids=["1", "2", "x"], **ranked) == set("12")
        assert await ids(doc_ids=["d1"], **ranked) == set("135")
        assert await ids(doc_ids=[], **ranked) == set()
        assert await ids(node_ids=["1", "2"], filters=eq("odd", "1"), **ranked) == {"1"}
    listed = await call(store, "query", ask(filters=eq("odd", "0"), similarity_top_k=2))
    assert (listed.ids, listed.similarities) == (["0", "2"], [1.0, 1.0])


async def test_get_nodes(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    await call(store, "add", [make_node(str(n), [1.0, n / 4], even=n % 2 == 0) for n in range(4)])

    async def got(*criteria: Any) -> list[tuple[str, list[float]]]:
        nodes = await call(store, "get_nodes", *criteria)
        return [(node.node_id, node.embedding) for node in nodes]

    everything = [(str(n), [1.0, n / 4]) for n in range(4)]
    assert await got() == everything
    assert await got(["3", "x", "1"]) == [everything[3], everything[1]]
    text = MetadataFilters(filters=[MetadataFilter(key="doc_id", value="None")])
    assert await got(["2", "1"], text) == everything[1:3]
    assert await got([]) == []


async def test_delete(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    await call(store, "add", [make_node(str(n), [1.0, 0.0], doc=f"d{n % 3}") for n in range(9)])

    async def left() -> str:
        return "".join(node.node_id for node in await call(store, "get_nodes"))

    await call(store, "delete", "d0")
    assert await left() == "124578"
    await call(store, "delete", "unknown")
    await call(store, "delete_nodes")
    await call(store, "delete_nodes", [])
    assert await left() == "124578"
    await call(store, "delete_nodes", ["1", "2"], eq("doc_id", "d1"))
    assert await left() == "24578"
    await call(store, "delete_nodes", ["2", "x"])
    assert await left() == "4578"
    await call(store, "delete_nodes", filters=eq("doc_id", "d2"))
    assert await left() == "47"
    await call(store, "clear")
    assert await left() == ""
    await call(store, "add", [make_node("again", [1.0, 0.0])])
    assert await left() == "again"


async def test_a_batch_of_2048_nodes(store: AgentMemVectorStore, call: Any, make_node: Any) -> None:
    vectors = random_vectors(2048, dimension=64)
    nodes = [make_node(f"n{n}", vector, number=n) for n, vector in enumerate(vectors)]
    ids = [node.node_id for node in nodes]
    assert await call(store, "add", nodes) == ids
    assert store.client.get_collection(store.collection).memories == 2048
    result = await call(store, "query", ask(query_embedding=vectors[77], similarity_top_k=1000))
    assert (result.ids[0], len(result.ids)) == ("n77", 1000)
    everything = await call(store, "get_nodes")
    assert [node.node_id for node in everything] == ids
    assert everything[5].embedding == pytest.approx(vectors[5], rel=1e-6)
    some = ids[::2]
    assert [node.node_id for node in await call(store, "get_nodes", some)] == some
    some_filtered = await call(store, "get_nodes", some, eq("doc_id", "None"))
    assert [node.node_id for node in some_filtered] == some


async def test_a_query_sees_every_answered_add(store: AgentMemVectorStore, make_node: Any) -> None:
    async def add_and_look(number: int) -> bool:
        angle = number / 7
        vector = [math.cos(angle), math.sin(angle)]
        await store.async_add([make_node(str(number), vector)])
        result = await store.aquery(ask(query_embedding=vector, similarity_top_k=1000))
        return str(number) in (result.ids or [])

    seen = await asyncio.gather(*(add_and_look(number) for number in range(40)))
    assert all(seen)
    await store.aclose()


def test_one_store_in_several_event_loops(store: AgentMemVectorStore, make_node: Any) -> None:
    async def add(number: int) -> list[str]:
        return await store.async_add([make_node(str(number), [1.0, 0.0])])

    assert [asyncio.run(add(number)) for number in range(3)] == [["0"], ["1"], ["2"]]
    assert len(store.get_nodes()) == 3


def test_a_memory_of_another_client_is_found(store: AgentMemVectorStore) -> None:
    store.client.add(
        "said elsewhere", metadata={"topic": "x"}, embedding=[1.0, 0.0], collection=store.collection
    )
    result = store.query(ask(query_embedding=[1.0, 0.0], filters=eq("topic", "x")))
    assert result.nodes is not None
    (node,) = result.nodes
    assert isinstance(node, TextNode)
    assert node.get_content(MetadataMode.NONE) == "said elsewhere"
