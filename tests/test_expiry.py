"""What has expired is hidden at once, and deleted later; a collection has a default for it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import endpoints as e
from httpx_sse import aconnect_sse

if TYPE_CHECKING:
    from tests.conftest import MakeServer

Json = dict[str, Any]
pytestmark = pytest.mark.every_engine

API = e.ADD_MEMORY.path
COLLECTION = "/api/v1/collections/c"
LATER = "2999-01-01T00:00:00Z"


async def put(api: httpx.AsyncClient, **wish: Any) -> Json:
    answer = await api.put(COLLECTION, json=wish)
    assert answer.status_code == 200, answer.text
    collection: Json = answer.json()
    assert (await api.get(COLLECTION)).json() == collection
    return collection


async def add(api: httpx.AsyncClient, id: str = "m", **fields: Any) -> Json:
    body = {"id": id, "content": "a secret text", "collection": "c", **fields}
    answer = await api.post(API, json=body)
    assert answer.status_code == 201, answer.text
    memory: Json = answer.json()
    return memory


def lifetime(memory: Json) -> float | None:
    """Seconds from its last change on."""
    if memory["expires_at"] is None:
        return None
    ends, began = (datetime.fromisoformat(memory[name]) for name in ("expires_at", "updated_at"))
    return (ends - began).total_seconds()


# --- The default of a collection -------------------------------------------------------------


async def test_a_collection_says_how_long_its_memories_live(api: httpx.AsyncClient) -> None:
    assert (await put(api, default_ttl=3_600))["default_ttl"] == 3_600
    by_default = await add(api)
    assert (lifetime(by_default), by_default["ttl"]) == (3_600, 3_600)
    assert lifetime(await add(api, ttl=60)) == 60
    assert lifetime(await add(api)) == 3_600  # what is replaced counts no more
    given = await add(api, expires_at=LATER)
    assert (given["expires_at"], given["ttl"]) == (LATER, None)
    unspoken: list[Json] = [{"ttl": None}, {"expires_at": None}, {"ttl": None, "expires_at": None}]
    for nothing in unspoken:
        stays = await add(api, **nothing)
        assert (stays["expires_at"], stays["ttl"]) == (None, None)


async def test_it_counts_in_batches_too(api: httpx.AsyncClient) -> None:
    await put(api, default_ttl=60)
    lives: list[Json] = [{}, {"ttl": 5}, {"ttl": None}]
    for atomic in (False, True):
        items = [
            {"id": f"{atomic}-{number}", "content": "x", "collection": "c", **fields}
            for number, fields in enumerate(lives)
        ]
        body = {"memories": items, "atomic": atomic}
        assert (await api.post(f"{API}/batch", json=body)).status_code == 200
    memories = (await api.get(API, params={"collection": "c"})).json()["memories"]
    assert [lifetime(memory) for memory in memories] == [60, 5, None] * 2


async def test_it_can_be_changed_and_counts_from_then_on(api: httpx.AsyncClient) -> None:
    await put(api, default_ttl=60)
    await add(api, "old")
    assert (await put(api))["default_ttl"] == 60  # not spoken of, it stays
    assert (await put(api, default_ttl=60))["default_ttl"] == 60
    assert (await put(api, default_ttl=120))["default_ttl"] == 120
    assert lifetime(await add(api, "new")) == 120
    assert (await put(api, default_ttl=None))["default_ttl"] is None
    assert lifetime(await add(api, "mortal no more")) is None
    old = await api.get(f"{API}/old", params={"collection": "c"})
    assert lifetime(old.json()) == 60
    assert (await api.get("/api/v1/collections")).json()["collections"][0]["default_ttl"] is None


async def test_a_collection_that_a_memory_made_can_have_one_too(api: httpx.AsyncClient) -> None:
    await add(api)
    assert (await put(api))["default_ttl"] is None
    assert (await put(api, default_ttl=60))["memories"] == 1
    assert lifetime(await add(api, "new")) == 60


async def test_what_may_not_change_is_refused_and_changes_nothing(api: httpx.AsyncClient) -> None:
    await put(api, default_ttl=60)
    refused = await api.put(COLLECTION, json={"metric": "dot", "default_ttl": 5})
    assert refused.status_code == 409
    assert (await put(api))["default_ttl"] == 60
    for bad in (0, -1, "x", 1e12, True):
        assert (await api.put(COLLECTION, json={"default_ttl": bad})).status_code == 422, bad


async def test_an_update_is_no_birth(api: httpx.AsyncClient) -> None:
    await put(api, default_ttl=60)
    memory = await add(api)
    query = {"collection": "c"}
    changed = (await api.patch(f"{API}/m", params=query, json={"type": "x"})).json()
    assert changed["expires_at"] == memory["expires_at"]
    cleared = (await api.patch(f"{API}/m", params=query, json={"ttl": None})).json()
    assert (cleared["ttl"], cleared["expires_at"]) == (None, None)


# --- Its end ---------------------------------------------------------------------------------


async def told(client: httpx.AsyncClient, count: int) -> list[Json]:
    """The first events of the feed."""
    events: list[Json] = []
    async with aconnect_sse(client, "GET", e.EVENTS.path, params={"after": 0}) as source:
        async for message in source.aiter_sse():
            if message.data:
                events.append(message.json())
            if len(events) == count:
                break
    return events


async def check_hidden(client: httpx.AsyncClient, query: Json) -> None:
    assert (await client.get(f"{API}/m", params=query)).status_code == 404
    page = (await client.get(API, params=query)).json()
    assert ([memory["id"] for memory in page["memories"]], page["total"]) == (["stays"], 1)
    wanted = {"ids": ["m", "stays"], **query}
    got = (await client.post(f"{API}/get", json=wanted)).json()["memories"]
    assert [memory["id"] for memory in got] == ["stays"]
    for mode in ("hybrid", "dense", "sparse"):
        body = {"query": "secret text", "mode": mode, **query}
        hits = (await client.post(f"{API}/search", json=body)).json()["hits"]
        assert [hit["id"] for hit in hits] == ["stays"]
    assert (await client.get(COLLECTION)).json()["memories"] == 1
    events = (await client.get(f"{API}/m/history", params=query)).json()["events"]
    assert [(event["before"], event["after"]) for event in events] == [(None, None)] * len(events)
    restored = await client.post(f"{API}/m/restore", params=query, json={"version": 1})
    assert restored.status_code == 404
    assert "secret" not in json.dumps([events, restored.json()])


async def test_what_has_expired_is_hidden_at_once_and_deleted_later(
    make_server: "MakeServer", database_url: str
) -> None:
    query: Json = {"collection": "c"}
    server = await asyncio.to_thread(
        make_server(
            database_url=database_url, environment={"AGENTMEM_SWEEP_INTERVAL": "3600"}
        ).start
    )
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await put(client, default_ttl=3)
        await add(client, "stays", ttl=None)
        memory = await add(client)
        changed = await client.patch(f"{API}/m", params=query, json={"type": "x"})
        assert changed.json()["version"] == 2
        assert [one["after"] is None for one in await told(client, 3)] == [False, False, False]
        ends = datetime.fromisoformat(memory["expires_at"])
        await asyncio.sleep((ends - datetime.now(UTC) + timedelta(seconds=0.01)).total_seconds())
        await check_hidden(client, query)
        events = await told(client, 3)
        assert [event["action"] for event in events] == ["added", "added", "updated"]
        assert [event["after"] is None for event in events] == [False, True, True]
        assert events[2]["before"] is None
    assert await asyncio.to_thread(server.stop) == 0
    server.environment["AGENTMEM_SWEEP_INTERVAL"] = "0.05"
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        *_, last = await told(client, 4)
        assert (last["action"], last["memory_id"], last["version"]) == ("expired", "m", 3)
        await check_hidden(client, query)
        assert (await add(client))["version"] == 4


@pytest.mark.parametrize("field", ["expires_at", "ttl"])
async def test_an_expired_memory_is_replaced_as_if_it_were_gone(
    api: httpx.AsyncClient, field: str
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.05)).isoformat()
    end: Json = {field: 0.05 if field == "ttl" else soon}
    first = await add(api, **end)
    await asyncio.sleep(0.1)
    second = await add(api)
    assert second["seq"] > first["seq"]
    assert second["created_at"] > first["created_at"]
    events = (await api.get(f"{API}/m/history", params={"collection": "c"})).json()["events"]
    assert [event["action"] for event in events] == ["added", "expired", "added"]
    assert [event["after"] is None for event in events] == [True, True, False]
