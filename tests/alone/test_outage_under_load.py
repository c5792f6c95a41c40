"""PostgreSQL goes away under load: 503 meanwhile, and afterwards all that was answered is there."""

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient, Event

from tests.outages import (
    API,
    QUICK,
    Json,
    administrator,
    check_log,
    check_refusal,
    follow,
    memory,
    opened,
    until,
)

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server

WORKERS = 16


@pytest.fixture
async def server(make_server: "MakeServer", own_postgres: "Postgres") -> "Server":
    """A server on a schema of its own, in a PostgreSQL that may be killed."""
    made = make_server(database_url=own_postgres.url(), environment=QUICK)
    return await asyncio.to_thread(made.start)


@dataclass
class Ledger:
    """What was answered, and what was refused."""

    steps: dict[str, int] = field(default_factory=dict)
    """The last step of each memory that was answered."""
    sent: dict[str, int] = field(default_factory=dict)
    """The last that was sent: of a refused one nobody knows whether it was done."""
    answered: int = 0
    refused: int = 0
    is_over: bool = False

    async def send(self, request: Awaitable[httpx.Response], id: str, step: int) -> bool:
        self.sent[id] = step
        answer = await request
        if not answer.is_success:
            check_refusal(answer)
            self.refused += 1
            return False
        self.steps[id] = step
        self.answered += 1
        return True

    async def progress(self, count: int) -> None:
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted)


async def work(client: httpx.AsyncClient, ledger: Ledger, name: str) -> None:
    """Add, change and find memories of one's own; what was refused is sent again."""
    number = 0
    while not ledger.is_over:
        id, number = f"{name}-{number}", number + 1
        done = False
        while not done and not ledger.is_over:
            done = await ledger.send(client.post(API, json=memory(id)), id, 0)
            await asyncio.sleep(0 if done else 0.05)
        done = not done
        while not done and not ledger.is_over:
            change = {"content": f"{id} at 1", "embedding": [1.0, 1.0]}
            done = await ledger.send(client.patch(f"{API}/{id}", json=change), id, 1)
            await asyncio.sleep(0 if done else 0.05)
        answer = await client.post(f"{API}/search", json={"query": id, "mode": "sparse"})
        if answer.is_success:
            assert ledger.is_over or id in [hit["id"] for hit in answer.json()["hits"]]
        else:
            check_refusal(answer)


async def follow_by_client(server: "Server", told: list[Event]) -> None:
    async with AsyncAgentMemClient(server.url, max_retries=20) as client:
        async for event in client.events(after=0):
            told.append(event)


async def check_while_away(client: httpx.AsyncClient) -> None:
    """Whatever is asked is refused in time, and the probes tell what is wrong."""
    requests = [
        client.post(API, json=memory("away")),
        client.get(f"{API}/away"),
        client.get(API),
        client.post(f"{API}/search", json={"embedding": [1.0, 1.0]}),
        client.post(f"{API}/delete", json={"ids": ["away-too"]}),
        client.get("/api/v1/collections"),
        client.get("/api/v1/stats"),
        client.get("/api/v1/events"),
        client.get("/api/v1/keys"),
    ]
    for answer in await asyncio.gather(*requests):
        check_refusal(answer)
    item = await client.post(f"{API}/batch", json={"memories": [memory("away")]})
    if item.status_code == 200:
        (result,) = item.json()["results"]
        assert result["error"]["code"] == "unavailable"
    else:
        check_refusal(item)
    health, ready, live = await asyncio.gather(
        *(client.get(path) for path in ("/health", "/health/ready", "/health/live"))
    )
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    assert health.json()["checks"]["database"]["status"] == "failed"
    assert (ready.status_code, live.status_code) == (503, 200)


async def check_afterwards(
    server: "Server", client: httpx.AsyncClient, ledger: Ledger
) -> list[tuple[int, str]]:
    """All that was answered is there once; answers the events that there are."""
    found: dict[str, str] = {}
    query: Json = {"limit": 1_000}
    while query.get("cursor", "") is not None:
        page = (await client.get(API, params=query)).json()
        found |= {one["id"]: one["content"] for one in page["memories"]}
        query["cursor"] = page["next_cursor"]
    assert page["total"] == len(found)
    assert found.keys() <= ledger.sent.keys() | {"away"}
    for id, step in ledger.steps.items():
        assert found[id] in {f"{id} at {step}", f"{id} at {ledger.sent[id]}"}
    for id in list(ledger.steps)[-20:]:
        body = {"query": id, "mode": "sparse"}
        hits = (await client.post(f"{API}/search", json=body)).json()["hits"]
        assert (hits[0]["id"], hits[0]["content"]) == (id, found[id])
    async with administrator(server) as connection:
        rows = await connection.fetch("SELECT eid, id FROM event ORDER BY eid")
        assert [eid for eid, _ in rows] == list(range(1, len(rows) + 1))
        check = "SELECT count(*) FROM memory m FULL JOIN embedding v USING (cid, rid) WHERE "
        assert not await connection.fetchval(check + "m.rid IS NULL OR v.rid IS NULL")
        last = "SELECT DISTINCT ON (id) id, version FROM event ORDER BY id, eid DESC"
        versions = "SELECT id, version FROM memory"
        assert not await connection.fetch(f"({last}) EXCEPT {versions}")
    assert (await client.get("/health")).json()["status"] == "healthy"
    return [(eid, id) for eid, id in rows]


@pytest.mark.parametrize(
    ("accident", "end"),
    [("kill", "start"), ("stop", "start"), ("pause", "resume")],
    ids=["killed", "stopped", "hanging"],
)
async def test_the_database_goes_away_and_comes_back_under_load(
    server: "Server", own_postgres: "Postgres", accident: str, end: str
) -> None:
    ledger = Ledger()
    told: list[Json] = []
    told_by_client: list[Event] = []
    async with opened(server) as client, asyncio.TaskGroup() as group:
        workers = [
            group.create_task(work(client, ledger, f"w{number}")) for number in range(WORKERS)
        ]
        followers = [
            group.create_task(follow(client, told)),
            group.create_task(follow_by_client(server, told_by_client)),
        ]
        await ledger.progress(100)
        await asyncio.to_thread(getattr(own_postgres, accident))
        refused = ledger.refused
        await until(lambda: ledger.refused >= refused + WORKERS)
        await check_while_away(client)
        await asyncio.to_thread(getattr(own_postgres, end))
        await ledger.progress(150)
        ledger.is_over = True
        await asyncio.wait(workers)
        for worker in workers:
            worker.result()
        events = await check_afterwards(server, client, ledger)
        await until(lambda: min(len(told), len(told_by_client)) >= len(events))
        await asyncio.sleep(0.3)  # would more come, now is the time
        for follower in followers:
            follower.cancel()
    assert [(event["id"], event["memory_id"]) for event in told] == events
    assert [(event.id, event.memory_id) for event in told_by_client] == events
    assert await asyncio.to_thread(server.stop) == 0
    check_log(server)


async def test_a_client_hides_a_short_outage(
    make_server: "MakeServer", own_postgres: "Postgres"
) -> None:
    """As it is by default, on a server as it is by default: no call fails."""
    server = await asyncio.to_thread(make_server(database_url=own_postgres.url()).start)
    done: dict[str, int] = {}
    is_over = False

    async def call_on(client: AsyncAgentMemClient, name: str) -> None:
        number = 0
        while not is_over:
            id, number = f"{name}-{number}", number + 1
            memory = await client.add(f"{id} at 0", id=id, embedding=[1.0])
            await client.update(
                id, content=f"{id} at 1", embedding=[1.0], if_version=memory.version
            )
            assert (await client.search(embedding=[1.0], limit=1))[0].score
            done[name] = number

    def call_on_in_a_thread(client: AgentMemClient, name: str) -> None:
        number = 0
        while not is_over:
            id, number = f"{name}-{number}", number + 1
            memory = client.add(f"{id} at 0", id=id, embedding=[1.0])
            client.update(id, content=f"{id} at 1", embedding=[1.0], if_version=memory.version)
            done[name] = number

    async def progress(count: int) -> None:
        before = dict(done)
        await until(lambda: all(done.get(name, 0) >= before.get(name, 0) + count for name in names))

    names = [f"async{number}" for number in range(8)] + [f"sync{number}" for number in range(8)]

    async def outage() -> None:
        nonlocal is_over
        try:
            await progress(3)
            began = time.monotonic()
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.sleep(began + 2.0 - time.monotonic())
            await asyncio.to_thread(own_postgres.start)
            await progress(3)
        finally:
            is_over = True

    with AgentMemClient(server.url) as in_threads, ThreadPoolExecutor(8) as threads:
        async with AsyncAgentMemClient(server.url) as client:
            calling: list[Awaitable[None]] = [call_on(client, name) for name in names[:8]]
            for name in names[8:]:
                calling.append(
                    asyncio.get_running_loop().run_in_executor(
                        threads, call_on_in_a_thread, in_threads, name
                    )
                )
            await asyncio.gather(*calling, outage())
    async with AsyncAgentMemClient(server.url) as client:
        for name in names:
            for number in range(done[name]):
                memory = await client.get(f"{name}-{number}")
                assert memory.content == f"{name}-{number} at 1"
        page = await client.list(limit=1)
        assert page.total == sum(done.values())
