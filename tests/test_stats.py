"""The figures that people see, of a real store, and whose they are."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import models as m

if TYPE_CHECKING:
    from tests.conftest import OpenApi

API = "/api/v1"
ADMIN_KEY = "operator-" * 4

Json = dict[str, Any]


async def stats(api: httpx.AsyncClient, key: str | None = None, **query: Any) -> m.Stats:
    headers = {} if key is None else {"X-API-Key": key}
    answer = await api.get(f"{API}/stats", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return m.Stats.model_validate_json(answer.content)


async def add(api: httpx.AsyncClient, key: str | None = None, **fields: Any) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    body = {"content": "a cat", **fields}
    assert (await api.post(f"{API}/memories", json=body, headers=headers)).status_code == 201


async def search(
    api: httpx.AsyncClient, key: str | None = None, *, status: int = 200, **fields: Any
) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    body = {"query": "cat", **fields}
    answer = await api.post(f"{API}/memories/search", json=body, headers=headers)
    assert answer.status_code == status


async def test_what_was_added_shows_at_once(api: httpx.AsyncClient) -> None:
    assert (await stats(api)).memories == 0
    for number in range(1, 4):
        await add(api, id=f"{number}", collection=f"c{number}")
        told = await stats(api)
        assert told.memories == told.growth[-1].total == number
        assert told.added_today in (number, 0)  # midnight
    await add(api, id="1", collection="c1", content="changed")
    assert (await stats(api)).memories == 3
    await api.delete(f"{API}/memories/1", params={"collection": "c1"})
    assert (await stats(api)).memories == 2
    await api.delete(f"{API}/collections/c2")
    assert (await stats(api)).memories == 1
    await api.post(f"{API}/memories/delete", json={"collection": "c3", "everything": True})
    assert (await stats(api)).memories == 0


async def test_growth_by_day(api: httpx.AsyncClient) -> None:
    assert len((await stats(api)).growth) == 30
    growth = (await stats(api, days=7)).growth
    today = datetime.now(UTC).date()
    assert growth[-1].day in (today, today - timedelta(days=1))  # midnight
    days = [growth[0].day + timedelta(days=number) for number in range(7)]
    assert [one.day for one in growth] == days


@pytest.mark.parametrize("query", ["days=0", "days=367", "days=x", "nope=1", "days=1&days=2"])
async def test_what_can_not_be_asked(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"{API}/stats?{query}")).status_code == 422


async def test_searches(api: httpx.AsyncClient) -> None:
    await add(api)
    assert (await stats(api)).searches.model_dump() == {
        "count": 0,
        "average_ms": None,
        "p95_ms": None,
        "cache_hit_rate": None,
    }
    for _ in range(4):
        await search(api)
    await search(api, status=422, mode="dense", alpha=0.5)  # refused ones don't count
    told = (await stats(api)).searches
    assert (told.count, told.cache_hit_rate) == (4, 0.75)
    assert told.average_ms is not None
    assert told.p95_ms is not None
    assert 0 < told.average_ms < told.p95_ms * 1.2


async def test_activity(api: httpx.AsyncClient) -> None:
    await add(api, user_id="ann", agent_id="bot")
    await add(api, user_id="ann")
    await add(api, user_id="bob", agent_id="bot")
    await search(api, user_id="ann")
    await search(api, user_id="ann", agent_id="bot")
    await search(api, agent_id="bot")
    await search(api, user_id="nobody")
    told = await stats(api)
    assert [(one.id, one.memories, one.searches) for one in told.users] == [
        ("ann", 2, 2),
        ("bob", 1, 0),
    ]
    assert [(one.id, one.memories, one.searches) for one in told.agents] == [("bot", 2, 2)]
    last = told.users[0].last_at
    assert last is not None
    assert abs(datetime.now(UTC) - last) < timedelta(minutes=5)


async def test_what_has_expired_counts_no_more(api: httpx.AsyncClient) -> None:
    await add(api, ttl=0.05)
    await add(api, id="stays", user_id="ann")
    await asyncio.sleep(0.1)
    await add(api, id="one more")
    assert (await stats(api)).memories == 2


async def test_whose_figures_they_are(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY) as api:

        async def made(tenant: str, user_id: str | None = None, scopes: Any = None) -> str:
            wish: Json = {"name": "n", "tenant": tenant, "user_id": user_id}
            wish["scopes"] = scopes or ["read", "write"]
            headers = {"X-API-Key": ADMIN_KEY}
            answer = await api.post(f"{API}/keys", json=wish, headers=headers)
            assert answer.status_code == 201, answer.text
            key: str = answer.json()["key"]
            return key

        one, other, ann = await made("one"), await made("other"), await made("one", "ann")
        await add(api, one, id="1", user_id="bob", agent_id="bot")
        await add(api, one, id="2", user_id="ann", agent_id="bot")
        await add(api, ann, id="3", agent_id="own")
        await add(api, other, id="1", user_id="ann", agent_id="theirs")
        await search(api, one, user_id="ann", agent_id="bot")
        await search(api, one, user_id="bob", agent_id="bot")
        await search(api, one)
        await search(api, ann)
        await search(api, ann, user_id="ann", agent_id="bot")
        await search(api, ann, status=403, user_id="bob")
        await search(api, other, user_id="ann")

        def of(told: list[m.Activity]) -> list[tuple[str, int, int]]:
            return [(activity.id, activity.memories, activity.searches) for activity in told]

        told = await stats(api, one)
        assert (told.memories, told.searches.count) == (3, 5)
        assert of(told.users) == [("ann", 2, 3), ("bob", 1, 1)]
        assert of(told.agents) == [("bot", 2, 3), ("own", 1, 0)]

        told = await stats(api, ann)
        assert (told.memories, told.searches.count) == (2, 3)
        assert of(told.users) == [("ann", 2, 3)]
        assert of(told.agents) == [("bot", 1, 2), ("own", 1, 0)]

        told = await stats(api, other)
        assert (told.memories, told.searches.count) == (1, 1)
        assert of(told.users) == [("ann", 1, 1)]
        assert of(told.agents) == [("theirs", 1, 0)]

        assert (await api.get(f"{API}/stats")).status_code == 401
        writer = await made("one", scopes=["write"])
        answer = await api.get(f"{API}/stats", headers={"X-API-Key": writer})
        assert answer.status_code == 403

        answer = await api.delete(f"{API}/users/ann", headers={"X-API-Key": one})
        assert answer.status_code == 200, answer.text
        told = await stats(api, one)
        assert (told.memories, told.searches.count) == (1, 5)
        assert of(told.users) == [("bob", 1, 1)]
        assert (await stats(api, ann)).searches.count == 0
        assert (await stats(api, other)).users[0].searches == 1
