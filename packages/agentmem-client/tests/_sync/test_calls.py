# Generated from tests/_async/test_calls.py by scripts/generate_sync.py: do not edit.
"""Each method: what it sends, and what it makes of the answer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import httpx
import pytest
import respx
from agentmem_client import (
    MMR,
    UNSET,
    AgentMemClient,
    Explanation,
    F,
    Health,
    ImportanceWeight,
    InvalidFilter,
    InvalidRequest,
    NotFound,
    RecencyWeight,
    Rerank,
)

MemoryJson = Callable[..., dict[str, Any]]

API = "http://agentmem.test/api/v1"


def body(route: respx.Route, call: int = -1) -> Any:
    return json.loads(route.calls[call].request.content)


def query(route: respx.Route, call: int = -1) -> dict[str, str]:
    fields = parse_qs(route.calls[call].request.url.query.decode(), keep_blank_values=True)
    return {name: value for name, (value,) in fields.items()}


def test_add_sends_what_was_given_and_an_id(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json(user_id="ann"))
    memory = client.add("The cat is called Mia.", user_id="ann")
    sent = body(route)
    assert UUID(sent.pop("id")).version == 7
    assert sent == {
        "content": "The cat is called Mia.",
        "collection": "default",
        "user_id": "ann",
    }
    assert (memory.id, memory.user_id, memory.metadata) == ("m1", "ann", {})
    assert memory.created_at == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def test_add_sends_every_field(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    client.add(
        "text",
        id="mine",
        collection="c",
        user_id="u",
        agent_id="a",
        session_id="s",
        type="episodic",
        metadata={"deep": {"n": [1, 2.5, None, True]}},
        importance=0.5,
        event_at=datetime(2026, 1, 31, tzinfo=UTC),
        expires_at="2027-01-31T00:00:00+01:00",
        embedding=[1.0, -2.0],
    )
    assert body(route) == {
        "content": "text",
        "id": "mine",
        "collection": "c",
        "user_id": "u",
        "agent_id": "a",
        "session_id": "s",
        "type": "episodic",
        "metadata": {"deep": {"n": [1, 2.5, None, True]}},
        "importance": 0.5,
        "event_at": "2026-01-31T00:00:00Z",
        "expires_at": "2027-01-31T00:00:00+01:00",
        "embedding": "AACAPwAAAMA=",
    }


def test_every_request_says_who_asks(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    client.add("text")
    headers = route.calls.last.request.headers
    assert headers["X-API-Key"] == "am_secret-key"
    assert headers["User-Agent"].startswith("agentmem-client/0.")
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(route.calls.last.request.content))


def test_without_a_key_there_is_no_key_header(
    respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    with AgentMemClient("http://agentmem.test/", "") as client:
        client.add("text")
    assert "X-API-Key" not in route.calls.last.request.headers


def test_a_path_in_the_address_is_kept(
    respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    url = "https://gateway.test/memory/api/v1/memories/m1?collection=default"
    route = respx_mock.get(url__startswith=url).respond(json=memory_json())
    with AgentMemClient("https://gateway.test/memory/") as client:
        client.get("m1")
    assert route.called


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"content": 1}, "content"),
        ({"content": "nul \0"}, "content"),
        ({"content": "lone \ud800"}, "content"),
        ({"content": "x", "id": ""}, "id"),
        ({"content": "x", "user_id": 7}, "user_id"),
        ({"content": "x", "metadata": {"when": datetime(2026, 1, 1, tzinfo=UTC)}}, "metadata"),
        ({"content": "x", "metadata": {"n": float("nan")}}, "metadata"),
        ({"content": "x", "importance": 2}, "importance"),
        ({"content": "x", "event_at": "yesterday"}, "event_at"),
        ({"content": "x", "event_at": "2026-01-01T00:00:00"}, "event_at"),
        ({"content": "x", "embedding": []}, "embedding"),
    ],
)
def test_add_refuses_bad_arguments_unsent(
    client: AgentMemClient, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.add(**arguments)
    assert [problem["field"] for problem in caught.value.details["errors"]] == [field]
    assert caught.value.message.startswith(f"{field}: ")


ODD_NAMES = [
    ("a/b", b"a%2Fb"),
    ("..", b"%2E%2E"),
    (".", b"%2E"),
    ("a.b", b"a%2Eb"),
    ("?q=1#f", b"%3Fq%3D1%23f"),
    ("100%", b"100%25"),
    ("%2F", b"%252F"),
    ("a b+c", b"a%20b%2Bc"),
    ("кошка", b"%D0%BA%D0%BE%D1%88%D0%BA%D0%B0"),
    ("\\..\\;x=1", b"%5C%2E%2E%5C%3Bx%3D1"),
    ("line\nbreak", b"line%0Abreak"),
    ("search", b"search"),
]


@pytest.mark.parametrize(("name", "encoded"), ODD_NAMES)
def test_any_id_is_one_segment_of_the_path(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    name: str,
    encoded: bytes,
) -> None:
    get = respx_mock.get(host="agentmem.test").respond(json=memory_json(id=name))
    patch = respx_mock.patch(host="agentmem.test").respond(json=memory_json(id=name))
    delete = respx_mock.delete(host="agentmem.test").respond(json={"deleted": 1})
    assert (client.get(name)).id == name
    client.update(name, content="x")
    client.delete(name)
    for route in (get, patch, delete):
        path, _, sent = route.calls.last.request.url.raw_path.partition(b"?")
        assert path == b"/api/v1/memories/" + encoded
        assert sent.startswith(b"collection=default")


@pytest.mark.parametrize(("name", "encoded"), ODD_NAMES)
def test_any_collection_name_is_one_segment_of_the_path(
    client: AgentMemClient, respx_mock: respx.MockRouter, name: str, encoded: bytes
) -> None:
    route = respx_mock.delete(host="agentmem.test").respond(json={"deleted": 3})
    assert client.delete_collection(name) == 3
    assert route.calls.last.request.url.raw_path == b"/api/v1/collections/" + encoded


@pytest.mark.parametrize("bad", ["", "nul \0", "x" * 513, "\ud800", 7, None])
def test_impossible_ids_are_refused_unsent(client: AgentMemClient, bad: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.get(bad)
    assert caught.value.details["errors"][0]["field"] == "id"


def test_get(client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson) -> None:
    answer = memory_json(embedding=[0.5], metadata={"a": 1})
    route = respx_mock.get(f"{API}/memories/m1").respond(json=answer)
    memory = client.get("m1", collection="c d", include_embeddings=True)
    assert query(route) == {"collection": "c d", "include_embeddings": "true"}
    assert (memory.embedding, memory.metadata) == ([0.5], {"a": 1})


def test_get_of_nothing(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: Callable[..., dict[str, Any]],
) -> None:
    answer = error_json("not_found", "there is no memory 'm2'")
    respx_mock.get(f"{API}/memories/m2").respond(404, json=answer)
    with pytest.raises(NotFound, match="there is no memory 'm2'"):
        client.get("m2")


def test_get_many_asks_as_often_as_it_takes(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        ids = json.loads(request.content)["ids"]
        return httpx.Response(200, json={"memories": [memory_json(id=ids[0])]})

    route = respx_mock.post(f"{API}/memories/get").mock(side_effect=answer)
    memories = client.get_many((f"m{number}" for number in range(20_001)), collection="c")
    assert [memory.id for memory in memories] == ["m0", "m10000", "m20000"]
    assert [len(body(route, call)["ids"]) for call in range(3)] == [10_000, 10_000, 1]
    assert body(route) == {"ids": ["m20000"], "collection": "c", "include_embeddings": False}


def test_get_many_of_none_asks_nothing(client: AgentMemClient) -> None:
    assert client.get_many([]) == []


def test_one_string_is_not_several_ids(client: AgentMemClient) -> None:
    with pytest.raises(InvalidRequest, match="several"):
        client.get_many("abc")
    with pytest.raises(InvalidRequest, match="several"):
        client.delete_all(ids="abc")


def test_search(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"hits": [memory_json(score=0.9, metadata={"topic": "pets"})]}
    route = respx_mock.post(f"{API}/memories/search").respond(json=answer)
    [hit] = client.search("cat")
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


def test_what_a_score_is_made_of_is_read(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    explanation = {"parts": {"similarity": 0.3, "later": 0.6}, "relevance": 0.9, "rank": 2}
    hits = [memory_json(score=0.9, explanation={**explanation, "another": 1}), memory_json(score=0)]
    respx_mock.post(f"{API}/memories/search").respond(json={"hits": hits})
    explained, plain = client.search("cat", explain=True)
    assert explained.explanation == Explanation.model_validate(explanation)
    assert explained.explanation.parts == {"similarity": 0.3, "later": 0.6}
    assert plain.explanation is None


def test_search_sends_every_argument(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{API}/memories/search").respond(json={"hits": []})
    hits = client.search(
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


def test_search_refuses_bad_filters_unsent(client: AgentMemClient) -> None:
    with pytest.raises(InvalidFilter, match=r"\$regex"):
        client.search("cat", filters={"name": {"$regex": "^M"}})
    with pytest.raises(InvalidRequest):
        client.search("cat", filters={"name": "lone \ud800"})


def test_list_puts_all_into_the_query_string(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"memories": [memory_json()], "total": 7, "next_cursor": "next"}
    route = respx_mock.get(f"{API}/memories").respond(json=answer)
    page = client.list(
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


def test_list_leaves_out_a_filter_that_admits_everything(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{API}/memories").respond(json={"memories": []})
    client.list(filters={})
    assert "filters" not in query(route)


def test_list_refuses_what_a_url_cannot_hold(client: AgentMemClient) -> None:
    with pytest.raises(InvalidRequest, match="don't fit into a URL"):
        client.list(filters={"n": {"$in": list(range(10_000))}, "s": {"$ne": "x" * 20_000}})
    with pytest.raises(InvalidRequest):
        client.list(filters={"name": "lone \ud800"})


def test_iterate_goes_through_all_pages(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    pages = [
        {"memories": [memory_json(id="1"), memory_json(id="2")], "next_cursor": "c1"},
        {"memories": [], "next_cursor": "c2"},
        {"memories": [memory_json(id="3")], "next_cursor": None},
    ]
    route = respx_mock.get(f"{API}/memories").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    found = [memory.id for memory in client.iterate(page_size=2, filters={"a": 1}, user_id="ann")]
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


def test_iterate_fetches_no_page_before_it_is_needed(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    answer = {"memories": [memory_json()], "next_cursor": "more"}
    route = respx_mock.get(f"{API}/memories").respond(json=answer)
    for _ in client.iterate():
        break
    assert route.call_count == 1


def test_update_sends_what_changes(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.patch(f"{API}/memories/m1").respond(json=memory_json(content="new"))
    memory = client.update("m1", content="new", type=None, importance=UNSET, collection="c")
    assert memory.content == "new"
    assert body(route) == {"content": "new", "type": None}
    assert query(route) == {"collection": "c"}
    client.update(
        "m1",
        metadata={"a": 1},
        importance=1,
        event_at=None,
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        embedding=[0.0],
    )
    assert body(route) == {
        "metadata": {"a": 1},
        "importance": 1.0,
        "event_at": None,
        "expires_at": "2027-01-01T00:00:00Z",
        "embedding": "AAAAAA==",
    }


@pytest.mark.parametrize(("deleted", "was_there"), [(1, True), (0, False)])
def test_delete_tells_whether_there_was_one(
    client: AgentMemClient, respx_mock: respx.MockRouter, deleted: int, was_there: bool
) -> None:
    respx_mock.delete(f"{API}/memories/m1").respond(json={"deleted": deleted})
    assert client.delete("m1") is was_there


def test_delete_all_by_criteria(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{API}/memories/delete").respond(json={"deleted": 4})
    assert client.delete_all(filters=F("draft") == True, user_id="ann") == 4  # noqa: E712  # a filter
    assert body(route) == {
        "filters": {"draft": {"$eq": True}},
        "user_id": "ann",
        "everything": False,
        "collection": "default",
    }
    assert client.delete_all(everything=True, collection="c") == 4
    assert body(route) == {"everything": True, "collection": "c"}


def test_delete_all_by_many_ids(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"deleted": len(json.loads(request.content)["ids"])})

    route = respx_mock.post(f"{API}/memories/delete").mock(side_effect=answer)
    ids = [f"m{number}" for number in range(10_001)]
    assert client.delete_all(ids=ids, user_id="ann") == 10_001
    assert [body(route, call)["ids"] for call in range(2)] == [ids[:10_000], ids[10_000:]]
    assert body(route, 0)["user_id"] == body(route, 1)["user_id"] == "ann"


def test_delete_all_of_no_ids_deletes_nothing(client: AgentMemClient) -> None:
    assert client.delete_all(ids=[], user_id="ann") == 0


def test_delete_all_checks_every_id_before_it_deletes_any(
    client: AgentMemClient,
) -> None:
    with pytest.raises(InvalidRequest):
        client.delete_all(ids=[*(f"m{number}" for number in range(10_000)), ""])


COLLECTION = {
    "name": "c",
    "embedder": "client",
    "model": None,
    "dimension": 3,
    "metric": "dot",
    "memories": 5,
    "created_at": "2026-01-31T09:30:00Z",
}


def test_create_collection(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.put(f"{API}/collections/c").respond(json=COLLECTION)
    made = client.create_collection("c", dimension=3, metric="dot", embedder="client")
    assert (made.name, made.dimension, made.metric, made.memories) == ("c", 3, "dot", 5)
    assert body(route) == {"dimension": 3, "metric": "dot", "embedder": "client"}
    client.create_collection("c")
    assert body(route) == {"metric": "cosine", "embedder": "server"}
    client.create_collection("c", default_ttl=60)
    assert body(route)["default_ttl"] == 60.0
    client.create_collection("c", default_ttl=None)
    assert body(route)["default_ttl"] is None
    with pytest.raises(InvalidRequest, match="default_ttl"):
        client.create_collection("c", default_ttl=0)


def test_get_and_list_collections(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{API}/collections/c").respond(json=COLLECTION)
    respx_mock.get(f"{API}/collections").respond(json={"collections": [COLLECTION]})
    collection = client.get_collection("c")
    assert collection.embedder == "client"
    assert client.list_collections() == [collection]


HEALTH = {
    "status": "healthy",
    "version": "0.1.0",
    "uptime_seconds": 12.5,
    "checks": {"database": {"status": "ok", "latency_ms": 0.2}},
}


def test_health(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get("http://agentmem.test/health").respond(json=HEALTH)
    health = client.health()
    assert isinstance(health, Health)
    assert (health.status, health.checks["database"].status) == ("healthy", "ok")


def test_an_unhealthy_server_is_an_answer(
    client: AgentMemClient, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    answer = HEALTH | {"status": "unhealthy"}
    route = respx_mock.get("http://agentmem.test/health").respond(503, json=answer)
    health = client.health()
    assert health.status == "unhealthy"
    assert (route.call_count, waits) == (1, [])


def test_add_sends_what_it_is_found_by_and_how_long_it_lives(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(
        201, json=memory_json(namespace=["a", "b"], payload=[1], ttl=1.5, seq=7, archived=True)
    )
    memory = client.add(
        "text",
        id="mine",
        namespace=("a", "b"),
        payload={"n": [None]},
        ttl=90,
        archived=True,
        index_texts=("one", "two"),
        embeddings=([1.0], [2.0]),
    )
    assert body(route) == {
        "id": "mine",
        "collection": "default",
        "content": "text",
        "namespace": ["a", "b"],
        "payload": {"n": [None]},
        "ttl": 90,
        "archived": True,
        "index_texts": ["one", "two"],
        "embeddings": ["AACAPw==", "AAAAQA=="],
    }
    assert (memory.namespace, memory.payload, memory.ttl) == (["a", "b"], [1], 1.5)
    assert (memory.seq, memory.archived) == (7, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding": [1.0], "embeddings": [[1.0]]},
        {"ttl": 1, "expires_at": "2027-01-01T00:00:00Z"},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"embeddings": [[1.0], [1.0, 2.0]]},
        {"embeddings": []},
        {"namespace": []},
        {"namespace": "a"},
        {"namespace": ["a", ""]},
        {"namespace": ["a"] * 33},
        {"payload": {"a": float("inf")}},
        {"payload": object()},
        {"index_texts": "text"},
        {"index_texts": [5]},
        {"index_texts": 5},
    ],
)
def test_what_can_not_be_stored_is_refused_before_it_is_sent(
    client: AgentMemClient, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        client.add("text", **fields)


def test_no_lifetime_given_is_not_a_lifetime_without_end(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    plain = {"id": "m1", "content": "x", "collection": "default"}
    client.add("x", id="m1")
    client.add("x", id="m1", ttl=UNSET, expires_at=UNSET)
    assert body(route, 0) == body(route, 1) == plain
    client.add("x", id="m1", ttl=None)
    assert body(route) == plain | {"ttl": None}
    client.add("x", id="m1", expires_at=None)
    assert body(route) == plain | {"expires_at": None}


def test_reads_ask_for_a_namespace_and_for_new_life(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    got = respx_mock.get(url__startswith=f"{API}/memories/m1").respond(json=memory_json())
    listed = respx_mock.get(url__startswith=f"{API}/memories?").respond(json={"memories": []})
    many = respx_mock.post(f"{API}/memories/get").respond(json={"memories": []})
    found = respx_mock.post(f"{API}/memories/search").respond(json={"hits": []})
    client.get("m1", refresh_ttl=True)
    client.get_many(["m1"], refresh_ttl=True)
    client.search("x", namespace=("a", "b"), refresh_ttl=True)
    client.list(namespace=["a"], refresh_ttl=True)
    assert query(got)["refresh_ttl"] == "true"
    assert body(many)["refresh_ttl"] is True
    assert (body(found)["namespace"], body(found)["refresh_ttl"]) == (["a", "b"], True)
    assert (query(listed)["namespace"], query(listed)["refresh_ttl"]) == ('["a"]', "true")


def test_update_sends_the_new_fields(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.patch(url__startswith=f"{API}/memories/m1").respond(json=memory_json())
    client.update(
        "m1", payload=None, ttl=None, archived=False, index_texts=("a",), embeddings=[[1.0]]
    )
    assert body(route) == {
        "payload": None,
        "ttl": None,
        "archived": False,
        "index_texts": ["a"],
        "embeddings": ["AACAPw=="],
    }


def test_an_atomic_batch_replaces(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{API}/memories/batch").respond(
        json={"results": [{"id": "m1", "status": "stored"}]}
    )
    client.add_many(
        [{"id": "m1", "content": "x"}],
        collection="c",
        atomic=True,
        replacing={"session_id": "s", "filters": F("a") == 1},
    )
    assert body(route)["replacing"] == {
        "collection": "c",
        "session_id": "s",
        "filters": {"a": {"$eq": 1}},
    }
    with pytest.raises(InvalidRequest, match="atomic"):
        client.add_many(["x"], replacing={"session_id": "s"})
    listed: Any = ["m1"]
    with pytest.raises(InvalidRequest, match="mapping"):
        client.add_many(["x"], atomic=True, replacing=listed)
    with pytest.raises(InvalidRequest, match="sesion_id"):
        client.add_many(["x"], atomic=True, replacing={"sesion_id": "s"})
    assert route.call_count == 1


def pages(memory_json: MemoryJson, *names: str) -> list[httpx.Response]:
    last = len(names) - 1
    return [
        httpx.Response(
            200,
            json={
                "memories": [memory_json(id=name) for name in page],
                "next_cursor": None if number == last else str(number),
            },
        )
        for number, page in enumerate(names)
    ]


def test_pop_deletes_what_it_read(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    read = respx_mock.get(url__startswith=f"{API}/memories").mock(
        side_effect=pages(memory_json, "abc", "de")
    )
    gone = [memory_json(id="d"), memory_json(id="b")]  # another caller took c
    route = respx_mock.post(f"{API}/memories/delete").respond(json={"deleted": 2, "memories": gone})
    popped = client.pop(3, offset=1, order="desc", session_id="s", filters={"a": 1})
    assert [memory.id for memory in popped] == ["b", "d"]
    assert body(route) == {
        "ids": ["b", "c", "d"],
        "collection": "default",
        "include_memories": True,
    }
    assert query(read, 0)["session_id"] == "s"
    assert query(read, 0)["order"] == "desc"


def test_pop_with_nothing_there_deletes_nothing(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    respx_mock.get(url__startswith=f"{API}/memories").mock(side_effect=pages(memory_json, ""))
    assert client.pop(5) == []


def test_a_repeated_pop_deletes_no_more_and_loses_nothing(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    respx_mock.get(url__startswith=f"{API}/memories").mock(side_effect=pages(memory_json, "ab"))
    route = respx_mock.post(f"{API}/memories/delete").mock(
        side_effect=[
            httpx.ReadError("the answer was lost"),
            httpx.Response(200, json={"deleted": 0, "memories": []}),
        ]
    )
    assert [memory.id for memory in client.pop(2)] == ["a", "b"]
    assert body(route, 0) == body(route, 1)


@pytest.mark.parametrize(
    ("limit", "offset"),
    [(0, 0), (-1, 0), (10_001, 0), (1, -1), (1_000.5, 0), (1, 1_000.5), ("5", 0), (None, 0)],
)
def test_a_window_that_can_not_be_is_refused(
    client: AgentMemClient, limit: Any, offset: Any
) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        client.pop(limit, offset=offset)
    with pytest.raises(InvalidRequest, match="limit"):
        client.archive(limit, offset=offset)


def test_archive_sets_aside_what_is_not(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    read = respx_mock.get(url__startswith=f"{API}/memories").mock(
        side_effect=[*pages(memory_json, "ab"), *pages(memory_json, "c")]
    )
    route = respx_mock.post(f"{API}/memories/archive").mock(
        side_effect=[
            httpx.Response(200, json={"memories": [memory_json(id="b"), memory_json(id="a")]}),
            httpx.Response(200, json={"memories": [memory_json(id="c")]}),
        ]
    )
    found = client.archive(2, filters={"a": 1}, user_id="u")
    assert [memory.id for memory in found] == ["a", "b"]
    assert body(route) == {"ids": ["a", "b"], "collection": "default", "archived": True}
    filters = json.loads(query(read)["filters"])
    assert filters == {"$and": [{"@archived": {"$eq": False}}, {"a": {"$eq": 1}}]}
    client.archive(archived=False)
    assert body(route) == {"ids": ["c"], "collection": "default", "archived": False}
    assert json.loads(query(read)["filters"]) == {"@archived": {"$eq": True}}


def test_count_is_the_total_of_a_listing(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.get(url__startswith=f"{API}/memories").respond(
        json={"memories": [memory_json()], "total": 41}
    )
    assert client.count(namespace=("a",), session_id="s", filters={"a": 1}) == 41
    assert query(route)["limit"] == "1"
    assert query(route)["namespace"] == '["a"]'


def test_sessions_goes_through_all_pages(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    def session(name: str) -> dict[str, Any]:
        moment = "2026-01-31T09:30:00Z"
        return {"session_id": name, "memories": 2, "first_at": moment, "last_at": moment}

    route = respx_mock.get(url__startswith=f"{API}/sessions").mock(
        side_effect=[
            httpx.Response(200, json={"sessions": [session("a"), session("b")], "next_after": "b"}),
            httpx.Response(200, json={"sessions": [session("c")]}),
        ]
    )
    found = [one for one in client.sessions(page_size=2, user_id="u", filters={"a": 1})]
    assert [(one.session_id, one.memories) for one in found] == [("a", 2), ("b", 2), ("c", 2)]
    assert "after" not in query(route, 0)
    assert query(route, 1) == {
        "limit": "2",
        "after": "b",
        "user_id": "u",
        "filters": '{"a":{"$eq":1}}',
        "collection": "default",
    }


def test_namespaces_are_tuples(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(url__startswith=f"{API}/namespaces").respond(
        json={"namespaces": [["a", "b"], ["c"]]}
    )
    assert client.namespaces(prefix=("a", "*"), suffix=["é"], max_depth=2, limit=5) == [
        ("a", "b"),
        ("c",),
    ]
    assert query(route) == {
        "prefix": '["a","*"]',
        "suffix": '["\\u00e9"]',
        "max_depth": "2",
        "limit": "5",
        "offset": "0",
        "collection": "default",
    }
