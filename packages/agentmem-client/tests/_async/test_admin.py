"""Figures and keys: what is sent, and what becomes of the answer."""

import json
import traceback
from datetime import UTC, date, datetime
from typing import Any

import pytest
import respx
from agentmem_client import AsyncAgentMemClient, InvalidRequest, InvalidResponse, Key

API = "http://agentmem.test/api/v1"
NOW = "2026-01-31T09:30:00Z"
KEY = "am_1234_shown-once"
LISTED: dict[str, Any] = {
    "id": "1234",
    "name": "Ann's laptop",
    "tenant": "acme",
    "scopes": ["read"],
    "user_id": "ann",
    "rate_limit": 5,
    "created_at": NOW,
    "expires_at": None,
    "revoked_at": None,
}


async def test_stats(client: AsyncAgentMemClient, respx_mock: respx.MockRouter) -> None:
    answer = {
        "memories": 12,
        "added_today": 2,
        "growth": [{"day": "2026-01-31", "added": 2, "total": 12}],
        "searches": {"count": 4, "average_ms": 1.5, "p95_ms": 3, "cache_hit_rate": 0.25},
        "users": [{"id": "ann", "memories": 12, "searches": 4, "last_at": NOW}],
        "agents": [],
        "since": NOW,
    }
    route = respx_mock.get(url__startswith=f"{API}/stats").respond(json=answer)
    stats = await client.stats(days=1)
    assert (stats.memories, stats.growth[0].day) == (12, date(2026, 1, 31))
    assert (stats.searches.cache_hit_rate, stats.users[0].memories) == (0.25, 12)
    assert dict(route.calls.last.request.url.params) == {"days": "1"}
    with pytest.raises(InvalidRequest, match="days"):
        await client.stats(0)


async def test_create_key(client: AsyncAgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{API}/keys").respond(201, json=LISTED | {"key": KEY})
    made = await client.create_key(
        "Ann's laptop",
        tenant="acme",
        scopes=("read",),
        user_id="ann",
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        rate_limit=5,
    )
    assert (made.key, made.id, made.user_id) == (KEY, "1234", "ann")
    assert json.loads(route.calls.last.request.content) == {
        "name": "Ann's laptop",
        "tenant": "acme",
        "scopes": ["read"],
        "user_id": "ann",
        "expires_at": "2027-01-01T00:00:00Z",
        "rate_limit": 5.0,
    }
    assert KEY not in f"{made} {made!r} {[made]}"
    await client.create_key("plain")
    assert json.loads(route.calls.last.request.content) == {"name": "plain"}


async def test_a_new_key_stands_in_no_error(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    answer = LISTED | {"key": KEY, "created_at": "never"}
    respx_mock.post(f"{API}/keys").respond(201, json=answer)
    with pytest.raises(InvalidResponse) as caught:
        await client.create_key("Ann's laptop")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": "read"}, "scopes"),
        ({"name": "n", "scopes": ["write", "write"]}, "each scope once"),
        ({"name": "n", "scopes": ["fly"]}, "scopes"),
        ({"name": "n", "scopes": ["metrics"], "user_id": "ann"}, "bound to a user"),
        ({"name": "n", "expires_at": "30d"}, "expires_at"),
        ({"name": "n", "rate_limit": -1}, "rate_limit"),
    ],
)
async def test_impossible_keys_are_refused_unsent(
    client: AsyncAgentMemClient, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest, match=field):
        await client.create_key(**arguments)


async def test_list_and_revoke_keys(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(url__startswith=f"{API}/keys").respond(json={"keys": [LISTED]})
    gone = LISTED | {"revoked_at": NOW}
    respx_mock.delete(f"{API}/keys/1234").respond(json=gone)
    assert await client.list_keys() == [Key.model_validate(LISTED)]
    assert dict(route.calls.last.request.url.params) == {}
    await client.list_keys("acme")
    assert dict(route.calls.last.request.url.params) == {"tenant": "acme"}
    assert (await client.revoke_key("1234")).revoked_at == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
