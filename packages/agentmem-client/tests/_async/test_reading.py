"""Getting, searching, listing and counting: what is sent, and what becomes of the answer."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    MMR,
    AsyncAgentMemClient,
    Explanation,
    F,
    ImportanceWeight,
    InvalidFilter,
    InvalidRequest,
    NotFound,
    RecencyWeight,
    Rerank,
)

from .calls import API, MemoryJson, body, query


async def test_get(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = memory_json(embedding=[0.5], metadata={"a": 1})
    route = respx_mock.get(f"{API}/memories/m1").respond(json=answer)
    memory = await client.get("m1", collection="c d", include_embeddings=True)
    assert query(route) == {"collection": "c d", "include_embeddings": "true"}
    assert (memory.embedding, memory.metadata) == ([0.5], {"a": 1})


async def test_get_of_nothing(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: Callable[..., dict[str, Any]],
) -> None:
    answer = error_json("not_found", "there is no memory 'm2'")
    respx_mock.get(f"{API}/memories/m2").respond(404, json=answer)
    with pytest.raises(NotFound, match="there is no memory 'm2'"):
        await client.get("m2")


async def test_get_many_asks_as_often_as_it_takes(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        ids = json.loads(request.content)["ids"]
        return httpx.Response(200, json={"memories": [memory_json(id=ids[0])]})

    route = respx_mock.post(f"{API}/memories/get").mock(side_effect=answer)
    memories = await client.get_many((f"m{number}" for number in range(20_001)), collection="c")
    assert [memory.id for memory in memories] == ["m0", "m10000", "m20000"]
    assert [len(body(route, call)["ids"]) for call in range(3)] == [10_000, 10_000, 1]
    assert body(route) == {"ids": ["m20000"], "collection": "c", "include_embeddings": False}


async def test_get_many_of_none_asks_nothing(client: AsyncAgentMemClient) -> None:
    assert await client.get_many([]) == []


async def test_one_string_is_not_several_ids(client: AsyncAgentMemClient) -> None:
    with pytest.raises(InvalidRequest, match="several"):
        await client.get_many("abc")
    with pytest.raises(InvalidRequest, match="several"):
        await client.delete_all(ids="abc")


async def test_search(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"hits": [memory_json(score=0.9, metadata={"topic": "pets"})]}
    route = respx_mock.post(f"{API}/memories/search").respond(json=answer)
    [hit] = await client.search("cat")
    assert (hit.id, hit.content, hit.metadata, hit.score) == (
        "m1",
        "The cat is called Mia.",
        {"topic": "pets"},
        0.9,
    )
    assert body(route) == {
        "query": "cat",
        "limit": 10,
        "offset": 0,
        "include_embeddings": False,
        "collection": "default",
    }


async def test_what_a_score_is_made_of_is_read(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    explanation = {"parts": {"similarity": 0.3, "later": 0.6}, "relevance": 0.9, "rank": 2}
    hits = [memory_json(score=0.9, explanation={**explanation, "another": 1}), memory_json(score=0)]
    respx_mock.post(f"{API}/memories/search").respond(json={"hits": hits})
    explained, plain = await client.search("cat", explain=True)
    assert explained.explanation == Explanation.model_validate(explanation)
    assert explained.explanation.parts == {"similarity": 0.3, "later": 0.6}
    assert plain.explanation is None


async def test_search_sends_every_argument(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{API}/memories/search").respond(json={"hits": []})
    hits = await client.search(
        "cat",
        embedding=[1.0],
        limit=5,
        offset=2,
        filters=(F("topic") == "pets") & (F("age") >= 3),
        mode="hybrid",
        alpha=0.25,
        min_score=-1,
        rerank=Rerank(speaker=0),
        mmr=MMR(fetch_k=20, lambda_mult=0.1),
        recency=RecencyWeight(weight=0.2, half_life=3_600, by="created_at"),
        importance=ImportanceWeight(weight=0.1),
        explain=True,
        include_embeddings=True,
        collection="c",
        user_id="u",
        agent_id="a",
        session_id="s",
    )
    assert hits == []
    assert body(route) == {
        "query": "cat",
        "embedding": "AACAPw==",
        "limit": 5,
        "offset": 2,
        "filters": {"$and": [{"topic": {"$eq": "pets"}}, {"age": {"$gte": 3}}]},
        "mode": "hybrid",
        "alpha": 0.25,
        "min_score": -1.0,
        "rerank": {"speaker": 0.0},
        "mmr": {"fetch_k": 20, "lambda_mult": 0.1},
        "recency": {"weight": 0.2, "half_life": 3_600, "by": "created_at"},
        "importance": {"weight": 0.1},
        "explain": True,
        "include_embeddings": True,
        "collection": "c",
        "user_id": "u",
        "agent_id": "a",
        "session_id": "s",
    }


async def test_search_refuses_bad_filters_unsent(client: AsyncAgentMemClient) -> None:
    with pytest.raises(InvalidFilter, match=r"\$regex"):
        await client.search("cat", filters={"name": {"$regex": "^M"}})
    with pytest.raises(InvalidRequest):
        await client.search("cat", filters={"name": "lone \ud800"})


async def test_list_puts_all_into_the_query_string(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"memories": [memory_json()], "total": 7, "next_cursor": "next"}
    route = respx_mock.get(f"{API}/memories").respond(json=answer)
    page = await client.list(
        limit=1,
        offset=3,
        cursor="a&b=c",
        filters={"topic": "cats & dogs", "age": {"$gt": 1.5}},
        user_id="ann",
        order_by="created_at",
        order="desc",
        include_total=False,
    )
    assert ([memory.id for memory in page.memories], page.total) == (["m1"], 7)
    assert page.next_cursor == "next"
    sent = query(route)
    assert json.loads(sent.pop("filters")) == {
        "$and": [{"topic": {"$eq": "cats & dogs"}}, {"age": {"$gt": 1.5}}]
    }
    assert sent == {
        "limit": "1",
        "offset": "3",
        "cursor": "a&b=c",
        "user_id": "ann",
        "order_by": "created_at",
        "order": "desc",
        "include_embeddings": "false",
        "include_total": "false",
        "collection": "default",
    }


async def test_list_leaves_out_a_filter_that_admits_everything(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{API}/memories").respond(json={"memories": []})
    await client.list(filters={})
    assert "filters" not in query(route)


async def test_list_refuses_what_a_url_cannot_hold(client: AsyncAgentMemClient) -> None:
    with pytest.raises(InvalidRequest, match="don't fit into a URL"):
        await client.list(filters={"n": {"$in": list(range(10_000))}, "s": {"$ne": "x" * 20_000}})
    with pytest.raises(InvalidRequest):
        await client.list(filters={"name": "lone \ud800"})


async def test_iterate_goes_through_all_pages(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    pages = [
        {"memories": [memory_json(id="1"), memory_json(id="2")], "next_cursor": "c1"},
        {"memories": [], "next_cursor": "c2"},
        {"memories": [memory_json(id="3")], "next_cursor": None},
    ]
    route = respx_mock.get(f"{API}/memories").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    found = [
        memory.id async for memory in client.iterate(page_size=2, filters={"a": 1}, user_id="ann")
    ]
    assert found == ["1", "2", "3"]
    sent = [query(route, call) for call in range(3)]
    assert [fields.pop("cursor", None) for fields in sent] == [None, "c1", "c2"]
    assert sent[0] == sent[1] == sent[2]
    assert sent[0] == {
        "limit": "2",
        "offset": "0",
        "filters": '{"a":{"$eq":1}}',
        "user_id": "ann",
        "order_by": "seq",
        "order": "asc",
        "include_embeddings": "false",
        "include_total": "false",
        "collection": "default",
    }


async def test_iterate_fetches_no_page_before_it_is_needed(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"memories": [memory_json()], "next_cursor": "more"}
    route = respx_mock.get(f"{API}/memories").respond(json=answer)
    async for _ in client.iterate():
        break
    assert route.call_count == 1


async def test_reads_ask_for_a_namespace_and_for_new_life(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    got = respx_mock.get(url__startswith=f"{API}/memories/m1").respond(json=memory_json())
    listed = respx_mock.get(url__startswith=f"{API}/memories?").respond(json={"memories": []})
    many = respx_mock.post(f"{API}/memories/get").respond(json={"memories": []})
    found = respx_mock.post(f"{API}/memories/search").respond(json={"hits": []})
    await client.get("m1", refresh_ttl=True)
    await client.get_many(["m1"], refresh_ttl=True)
    await client.search("x", namespace=("a", "b"), refresh_ttl=True)
    await client.list(namespace=["a"], refresh_ttl=True)
    assert query(got)["refresh_ttl"] == "true"
    assert body(many)["refresh_ttl"] is True
    assert (body(found)["namespace"], body(found)["refresh_ttl"]) == (["a", "b"], True)
    assert (query(listed)["namespace"], query(listed)["refresh_ttl"]) == ('["a"]', "true")


async def test_count_is_the_total_of_a_listing(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.get(url__startswith=f"{API}/memories").respond(
        json={"memories": [memory_json()], "total": 41}
    )
    assert await client.count(namespace=("a",), session_id="s", filters={"a": 1}) == 41
    assert query(route)["limit"] == "1"
    assert query(route)["namespace"] == '["a"]'
