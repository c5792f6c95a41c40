# Generated from tests/_async/test_catalog.py by scripts/generate_sync.py: do not edit.
"""Collections, sessions, namespaces and the server's health: what is sent, and what is answered."""

from typing import Any

import httpx
import pytest
import respx
from agentmem_client import AgentMemClient, Health, InvalidRequest

from .calls import API, body, query

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
