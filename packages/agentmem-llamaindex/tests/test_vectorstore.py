"""The store at the seam: what it sends, and what it makes of the answers."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client import AgentMemError, NotAllStored
from agentmem_client.vectors import pack, to_base64
from agentmem_llamaindex import AgentMemVectorStore
from agentmem_llamaindex._convert import to_items
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

PETS = MetadataFilters(filters=[MetadataFilter(key="topic", value="pets")])


def stored(*ids: str) -> dict[str, Any]:
    return {"results": [{"id": id_, "status": "stored"} for id_ in ids]}


def packed(*numbers: float) -> str:
    return to_base64(pack(numbers))


def told(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says beside the defaults, which are the client's to send or to leave out."""
    return {name: value for name, value in body.items() if value is not False and name != "offset"}


def as_memory(node: Any, **more: Any) -> dict[str, Any]:
    (item,) = to_items([node])
    now = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    return item | {"collection": "c", "created_at": now, "updated_at": now} | more


async def test_add(seam: Any, call: Any, make_node: Any) -> None:
    seam.answer("/batch", stored("a", "b"))
    store = seam.store(collection="c")
    nodes = [make_node("a", [1.0, 0.5], topic="pets"), make_node("b", [0.0, 1.0], doc="d")]
    assert await call(store, "add", nodes) == ["a", "b"]
    ((method, path, body),) = seam.requests
    assert (method, path) == ("POST", "/api/v1/memories/batch")
    first, second = body["memories"]
    assert first["collection"] == "c"
    assert (first["id"], first["content"]) == ("a", "text of a")
    assert first["embedding"] == packed(1.0, 0.5)
    assert first["metadata"]["topic"] == "pets"
    assert second["metadata"]["ref_doc_id"] == "d"


async def test_add_raises_after_the_good_ones(seam: Any, call: Any, make_node: Any) -> None:
    error = {"code": "dimension_mismatch", "message": "2 numbers, the collection has 3"}
    failure = {"id": "b", "status": "failed", "error": error}
    seam.answer("/batch", {"results": [{"id": "a", "status": "stored"}, failure]})
    with pytest.raises(NotAllStored, match="'b': 2 numbers, the collection has 3") as raised:
        await call(seam.store(), "add", [make_node("a", [1.0]), make_node("b", [1.0])])
    assert raised.value.stored == ["a"]
    (outcome,) = raised.value.failures
    assert outcome.error is not None
    assert outcome.error.code == "dimension_mismatch"


async def test_what_the_client_refuses_fails_alone(seam: Any, call: Any, make_node: Any) -> None:
    seam.answer("/batch", stored("good"))
    bad = [make_node("nul", [1.0], text="a\0b"), make_node("nan", [float("nan")])]
    with pytest.raises(NotAllStored, match="2 of 3 were not stored") as raised:
        await call(seam.store(), "add", [bad[0], make_node("good", [1.0]), bad[1]])
    assert raised.value.stored == ["good"]
    assert [memory["id"] for memory in seam.sent[0]["memories"]] == ["good"]


async def test_nothing_is_sent_without_an_embedding(seam: Any, call: Any, make_node: Any) -> None:
    with pytest.raises(ValueError, match="no embedding"):
        await call(seam.store(), "add", [make_node("a", [1.0]), make_node("b", None)])
    assert seam.requests == []


async def test_no_nodes_need_no_request(seam: Any, call: Any) -> None:
    assert await call(seam.store(), "add", []) == []
    assert seam.requests == []


async def test_delete(seam: Any, call: Any) -> None:
    seam.answer("/delete", {"deleted": 3})
    assert await call(seam.store(collection="c"), "delete", "doc.1") is None
    (body,) = seam.sent
    assert told(body) == {"collection": "c", "filters": {"ref_doc_id": {"$eq": "doc.1"}}}


async def test_query(seam: Any, call: Any, make_node: Any) -> None:
    hits = [
        as_memory(make_node("a", [1.0, 0.0], topic="pets"), score=0.9, embedding=None),
        as_memory(make_node("b", [0.0, 1.0]), score=-0.25, embedding=None),
    ]
    seam.answer("/search", {"hits": hits})
    query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=2, filters=PETS)
    result = await call(seam.store(collection="c"), "query", query)
    assert (result.ids, result.similarities) == (["a", "b"], [0.9, -0.25])
    assert [node.get_content() for node in result.nodes] == ["text of a", "text of b"]
    assert result.nodes[0].metadata == {"topic": "pets"}
    (body,) = seam.sent
    assert told(body) == {
        "collection": "c",
        "mode": "dense",
        "embedding": packed(1.0, 0.0),
        "limit": 2,
        "filters": {"topic": {"$eq": "pets"}},
    }


async def test_hybrid_with_alpha_zero(seam: Any, call: Any) -> None:
    seam.answer("/search", {"hits": []})
    query = VectorStoreQuery(
        query_embedding=[1.0],
        query_str="cat",
        mode=VectorStoreQueryMode.HYBRID,
        alpha=0.0,
        hybrid_top_k=4,
    )
    await call(seam.store(), "query", query)
    (body,) = seam.sent
    assert (body["mode"], body["alpha"], body["query"], body["limit"]) == ("hybrid", 0.0, "cat", 4)


async def test_mmr_threshold_in_keywords(seam: Any, call: Any) -> None:
    seam.answer("/search", {"hits": []})
    query = VectorStoreQuery(query_embedding=[1.0], mode=VectorStoreQueryMode.MMR)
    await call(seam.store(), "query", query, mmr_threshold=0.0)
    assert seam.sent[0]["mmr"] == {"fetch_k": 50, "lambda_mult": 0.0}


async def test_query_with_filters_alone(seam: Any, call: Any, make_node: Any) -> None:
    seam.answer("", {"memories": [as_memory(make_node("a", [1.0]), embedding=None)]})
    result = await call(seam.store(), "query", VectorStoreQuery(filters=PETS, similarity_top_k=5))
    assert (result.ids, result.similarities) == (["a"], [1.0])
    assert [node.node_id for node in result.nodes] == ["a"]
    ((method, _, query),) = seam.requests
    assert (method, query["limit"]) == ("GET", "5")
    assert json.loads(query["filters"]) == {"topic": {"$eq": "pets"}}


async def test_get_nodes_by_ids(seam: Any, call: Any, make_node: Any) -> None:
    seam.answer("/get", {"memories": [as_memory(make_node("b", [0.5, 0.25]))]})
    (node,) = await call(seam.store(), "get_nodes", ["b", "missing"])
    assert (node.node_id, node.embedding) == ("b", [0.5, 0.25])
    assert seam.sent[0]["ids"] == ["b", "missing"]
    assert seam.sent[0]["include_embeddings"] is True


async def test_get_nodes_of_all_pages(seam: Any, call: Any, make_node: Any) -> None:
    pages = [
        {"memories": [as_memory(make_node("a", [1.0]))], "next_cursor": "more"},
        {"memories": [as_memory(make_node("b", [1.0]))], "next_cursor": None},
    ]
    seam.answer("", *pages)
    nodes = await call(seam.store(), "get_nodes", filters=PETS)
    assert [node.node_id for node in nodes] == ["a", "b"]
    assert [query.get("cursor") for query in seam.sent] == [None, "more"]


async def test_get_nodes_by_ids_and_filters(seam: Any, call: Any) -> None:
    seam.answer("", {"memories": []})
    ids = [str(number) for number in range(500)]
    assert await call(seam.store(), "get_nodes", ids, PETS) == []
    asked = [json.loads(query["filters"])["$and"] for query in seam.sent]
    assert [condition[0] for condition in asked] == [{"topic": {"$eq": "pets"}}] * 3
    assert [id_ for condition in asked for id_ in condition[1]["@id"]["$in"]] == ids


async def test_no_ids_get_no_nodes(seam: Any, call: Any) -> None:
    assert await call(seam.store(), "get_nodes", []) == []
    assert await call(seam.store(), "get_nodes", [], PETS) == []
    assert seam.requests == []


async def test_delete_nodes(seam: Any, call: Any) -> None:
    seam.answer("/delete", {"deleted": 1})
    store = seam.store(collection="c")
    await call(store, "delete_nodes", ["a"])
    await call(store, "delete_nodes", filters=PETS)
    await call(store, "delete_nodes", ["a"], PETS)
    filters = {"filters": {"topic": {"$eq": "pets"}}}
    assert [told(body) for body in seam.sent] == [
        {"collection": "c", "ids": ["a"]},
        {"collection": "c"} | filters,
        {"collection": "c", "ids": ["a"]} | filters,
    ]


async def test_delete_nodes_of_nothing_deletes_nothing(seam: Any, call: Any) -> None:
    store = seam.store()
    none = MetadataFilters(filters=[])
    criteria: list[list[Any]] = [[], [None, None], [[]], [[], PETS], [None, none], [[], none]]
    for arguments in criteria:
        await call(store, "delete_nodes", *arguments)
    assert seam.requests == []


async def test_clear(seam: Any, call: Any) -> None:
    seam.answer("/delete", {"deleted": 9})
    await call(seam.store(collection="c"), "clear")
    assert [told(body) for body in seam.sent] == [{"collection": "c", "everything": True}]


async def test_a_filter_that_cannot_be_honoured_sends_nothing(seam: Any, call: Any) -> None:
    part = MetadataFilter.model_validate({"key": "k", "value": "abc", "operator": "in"})
    filters = MetadataFilters(filters=[part], condition=FilterCondition.OR)
    for method in ("get_nodes", "delete_nodes"):
        with pytest.raises(AgentMemError, match="takes a list"):
            await call(seam.store(), method, filters=filters)
    with pytest.raises(AgentMemError, match="takes a list"):
        await call(seam.store(), "query", VectorStoreQuery([1.0], filters=filters))
    assert seam.requests == []


def test_what_llama_index_asks_of_a_store() -> None:
    store = AgentMemVectorStore()
    assert isinstance(store, BasePydanticVectorStore)
    assert (store.stores_text, store.is_embedding_query, store.flat_metadata) == (
        True,
        True,
        False,
    )
    assert store.class_name() == "AgentMemVectorStore"


def test_every_method_has_a_native_twin() -> None:
    base, own = vars(BasePydanticVectorStore), vars(AgentMemVectorStore)
    coroutines = {name for name, value in base.items() if asyncio.iscoroutinefunction(value)}
    assert coroutines <= own.keys()


async def test_the_key_is_sent(seam: Any, call: Any) -> None:
    seam.answer("/delete", {"deleted": 0})
    await call(seam.store(), "clear")
    assert seam.headers[0]["X-API-Key"] == "k-1"


def test_a_store_comes_back_from_what_llama_index_writes() -> None:
    store = AgentMemVectorStore(api_url="http://one.test", collection="c")
    for other in (
        AgentMemVectorStore.from_dict(store.to_dict()),
        AgentMemVectorStore.from_json(store.to_json()),
    ):
        assert (other.api_url, other.collection) == ("http://one.test", "c")
        assert "http://one.test" in repr(other.client)


async def test_close_leaves_ready_clients_open(seam: Any, call: Any) -> None:
    seam.answer("/delete", {"deleted": 0})
    store = seam.store()
    store.close()
    await store.aclose()
    await call(store, "clear")
    assert len(seam.requests) == 1
