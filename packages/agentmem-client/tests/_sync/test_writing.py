# Generated from tests/_async/test_writing.py by scripts/generate_sync.py: do not edit.
"""Adding, changing and deleting: what is sent, and what becomes of the answer."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx
from agentmem_client import UNSET, AgentMemClient, F, InvalidRequest

from .calls import API, MemoryJson, body, query


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
