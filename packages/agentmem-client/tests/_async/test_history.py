"""Versions, history, restoring and erasing: what is sent, and what becomes of the answer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    AsyncAgentMemClient,
    Erased,
    InvalidRequest,
    NotFound,
    VersionConflict,
)

MemoryJson = Callable[..., dict[str, Any]]
EventJson = Callable[..., dict[str, Any]]
ErrorJson = Callable[..., dict[str, Any]]

API = "http://agentmem.test/api/v1"


async def test_a_change_can_be_held_to_a_version(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    patch = respx_mock.patch(f"{API}/memories/m1").respond(json=memory_json(version=4))
    delete = respx_mock.delete(f"{API}/memories/m1").respond(json={"deleted": 1})
    memory = await client.update("m1", content="new", if_version=3)
    assert memory.version == 4
    assert await client.delete("m1", if_version=memory.version)
    assert patch.calls.last.request.headers["If-Match"] == '"3"'
    assert delete.calls.last.request.headers["If-Match"] == '"4"'
    await client.update("m1", content="new")
    await client.delete("m1")
    assert "If-Match" not in patch.calls.last.request.headers
    assert "If-Match" not in delete.calls.last.request.headers


async def test_a_change_of_another_version_is_refused(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: ErrorJson,
    waits: list[float],
) -> None:
    refusal = error_json("version_conflict", "the memory is of version 5, not 3")
    respx_mock.patch(f"{API}/memories/m1").respond(412, json=refusal)
    respx_mock.delete(f"{API}/memories/m1").respond(412, json=refusal)
    with pytest.raises(VersionConflict, match="version 5"):
        await client.update("m1", content="new", if_version=3)
    with pytest.raises(VersionConflict, match="version 5"):
        await client.delete("m1", if_version=3)
    assert waits == []


async def test_a_repeated_change_says_the_same_version(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.patch(f"{API}/memories/m1").mock(
        side_effect=[
            httpx.ReadError("the answer was lost"),
            httpx.Response(200, json=memory_json(version=4)),
        ]
    )
    assert (await client.update("m1", content="new", if_version=3)).version == 4
    assert [call.request.headers["If-Match"] for call in route.calls] == ['"3"'] * 2
    first, again = (call.request.headers["Idempotency-Key"] for call in route.calls)
    assert first == again  # of one change; another one has another
    route.side_effect = None
    route.return_value = httpx.Response(200, json=memory_json(version=5))
    await client.update("m1", content="new", if_version=4)
    assert route.calls.last.request.headers["Idempotency-Key"] != first


@pytest.mark.parametrize("version", [0, -1, True, "3", 2.0])
async def test_what_is_no_version_is_refused_unsent(
    client: AsyncAgentMemClient, version: Any
) -> None:
    with pytest.raises(InvalidRequest, match="if_version: ") as caught:
        await client.update("m1", content="new", if_version=version)
    assert [problem["field"] for problem in caught.value.details["errors"]] == ["if_version"]
    with pytest.raises(InvalidRequest, match="if_version: "):
        await client.delete("m1", if_version=version)
    with pytest.raises(InvalidRequest, match="version: "):
        await client.restore("m1", version)


async def test_history_goes_through_all_pages(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    event_json: EventJson,
    memory_json: MemoryJson,
) -> None:
    changed = event_json(8, action="updated", version=2, before=memory_json(content="old"))
    deleted = event_json(12, action="deleted", version=3, after=None, before=memory_json())
    pages = [{"events": [event_json(5), changed], "next_after": 8}, {"events": [deleted]}]
    route = respx_mock.get(url__startswith=f"{API}/memories/a%2Fb/history").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    events = [event async for event in client.history("a/b", page_size=2, collection="c")]
    assert [(event.id, event.action, event.version) for event in events] == [
        (5, "added", 1),
        (8, "updated", 2),
        (12, "deleted", 3),
    ]
    assert events[1].before is not None
    assert events[1].before.content == "old"
    assert (events[0].before, events[2].after) == (None, None)
    sent = [dict(call.request.url.params) for call in route.calls]
    assert sent == [
        {"limit": "2", "collection": "c"},
        {"limit": "2", "after": "8", "collection": "c"},
    ]


async def test_history_of_nothing(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    answer = error_json("not_found", "there is no memory 'm2'")
    respx_mock.get(f"{API}/memories/m2/history").respond(404, json=answer)
    with pytest.raises(NotFound, match="'m2'"):
        [event async for event in client.history("m2")]


async def test_restore(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    url = f"{API}/memories/m1/restore?collection=c"
    route = respx_mock.post(url).respond(json=memory_json(version=6))
    memory = await client.restore("m1", 2, collection="c")
    assert memory.version == 6
    assert json.loads(route.calls.last.request.content) == {"version": 2}


async def test_erase_user(client: AsyncAgentMemClient, respx_mock: respx.MockRouter) -> None:
    receipt = {
        "user_id": "a.b",
        "memories": 3,
        "events": 7,
        "collections": 2,
        "erased_at": "2026-01-31T09:30:00Z",
    }
    respx_mock.delete(f"{API}/users/a%2Eb").respond(json=receipt)
    assert await client.erase_user("a.b") == Erased(
        user_id="a.b",
        memories=3,
        events=7,
        collections=2,
        erased_at=datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
    )
    with pytest.raises(InvalidRequest):
        await client.erase_user("")
