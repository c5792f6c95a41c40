"""``kill -9`` of one server of two under load: clients go on with the other, nothing is lost."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from agentmem_client import AgentMemClient, AsyncAgentMemClient

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server

API = "/api/v1/memories"
CALLERS = 16
"""Of each client."""
STEPS = 20
"""Answered between two accidents, of each client."""


@dataclass
class Ledger:
    """What was answered to the callers of one client."""

    kind: str
    steps: dict[str, int] = field(default_factory=dict)
    """How often each memory was changed."""
    answered: int = 0
    is_over: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, id: str, step: int) -> None:
        with self._changed:
            assert self.steps.get(id, -1) == step - 1
            self.steps[id] = step
            self.answered += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        with self._changed:
            wanted = self.answered + more
            there_is = self._changed.wait_for(lambda: self.answered >= wanted, timeout=60)
        assert there_is, f"the {self.kind} client stands still"


def content(id: str, step: int) -> str:
    return f"{id} at step {step}"


def vector(step: int) -> list[float]:
    return [1.0, float(step)]


async def call_on(client: AsyncAgentMemClient, ledger: Ledger, caller: int) -> None:
    """Add a memory, change it three times, and find each state of it; over and over."""
    number = 0
    while not ledger.is_over:
        id, number = f"{ledger.kind}-{caller}-{number}", number + 1
        memory = await client.add(content(id, 0), id=id, embedding=vector(0), user_id=id)
        ledger.note(id, 0)
        for step in range(1, 4):
            (hit,) = await client.search(id, mode="sparse", user_id=id)
            assert hit.content == content(id, step - 1)
            memory = await client.update(
                id,
                content=content(id, step),
                embedding=vector(step),
                if_version=memory.version,
            )
            assert memory.content == content(id, step)
            ledger.note(id, step)


def call_on_in_a_thread(client: AgentMemClient, ledger: Ledger, caller: int) -> None:
    """As `call_on`."""
    number = 0
    while not ledger.is_over:
        id, number = f"{ledger.kind}-{caller}-{number}", number + 1
        memory = client.add(content(id, 0), id=id, embedding=vector(0), user_id=id)
        ledger.note(id, 0)
        for step in range(1, 4):
            (hit,) = client.search(id, mode="sparse", user_id=id)
            assert hit.content == content(id, step - 1)
            memory = client.update(
                id,
                content=content(id, step),
                embedding=vector(step),
                if_version=memory.version,
            )
            assert memory.content == content(id, step)
            ledger.note(id, step)


async def listed(server: "Server") -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        found: dict[str, Any] = {}
        query: dict[str, Any] = {"limit": 1_000}
        while True:
            page = (await client.get(API, params=query)).json()
            found |= {one["id"]: one for one in page["memories"]}
            if page["next_cursor"] is None:
                assert page["total"] == len(found)
                return found
            query["cursor"] = page["next_cursor"]


async def changes(client: httpx.AsyncClient, id: str) -> list[str]:
    """The contents that a memory had, one after the other."""
    answer = await client.get(f"{API}/{id}/history", params={"limit": 100})
    return [event["after"]["content"] for event in answer.json()["events"]]


async def accidents(servers: "tuple[Server, Server]", ledgers: list[Ledger]) -> None:
    """First the one is killed and started again, then the other."""

    async def after_some_steps(accident: Callable[[], Any]) -> None:
        await asyncio.gather(*(asyncio.to_thread(one.wait_for, STEPS) for one in ledgers))
        await asyncio.to_thread(accident)

    try:
        for server in servers:
            await after_some_steps(server.kill)
            await after_some_steps(server.start)
        await after_some_steps(lambda: None)
    finally:
        for ledger in ledgers:
            ledger.is_over = True


async def test_a_killed_server_s_clients_go_on_with_the_other(
    make_server: "MakeServer", postgres: "Postgres"
) -> None:
    url = postgres.url()
    servers = (make_server(database_url=url), make_server(database_url=url))
    for server in servers:
        server.launch()
    for server in servers:
        await asyncio.to_thread(server.start)
    ledgers = [Ledger("async"), Ledger("sync")]
    urls = [server.url for server in servers]
    with AgentMemClient(urls) as sync_client, ThreadPoolExecutor(CALLERS) as threads:
        async with AsyncAgentMemClient(urls) as client:
            calling: list[Awaitable[None]] = []
            for number in range(CALLERS):
                calling.append(call_on(client, ledgers[0], number))
                calling.append(
                    asyncio.get_running_loop().run_in_executor(
                        threads, call_on_in_a_thread, sync_client, ledgers[1], number
                    )
                )
            await asyncio.gather(*calling, accidents(servers, ledgers))
    steps = ledgers[0].steps | ledgers[1].steps
    for server in servers:
        found = await listed(server)
        assert found.keys() == steps.keys()
        for id, step in steps.items():
            assert found[id]["content"] == content(id, step)
    async with httpx.AsyncClient(base_url=servers[0].url, timeout=60) as http:
        for id, step in list(steps.items())[:: max(1, len(steps) // 100)]:
            told = await changes(http, id)
            # An add that was sent twice is told twice; a change is made once, however often it is
            # sent.
            expected = [content(id, number) for number in range(step + 1)]
            assert told[-len(expected) :] == expected
            assert set(told[: -len(expected)]) <= {content(id, 0)}
    assert not any("Traceback" in server.log_text() for server in servers)


# --- Killed in the middle of a transaction ----------------------------------------------------


async def waiting(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether a session waits for a lock that another one holds."""
    found = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'agentmem' "
        "AND wait_event_type = 'Lock'"
    )
    return bool(found)


async def test_a_server_killed_in_a_transaction_leaves_nothing_of_it_and_blocks_nobody(
    make_server: "MakeServer", postgres: "Postgres"
) -> None:
    url = postgres.url()
    killed = make_server(database_url=url)
    other = make_server(database_url=url)
    for server in (killed, other):
        server.launch()
    for server in (killed, other):
        await asyncio.to_thread(server.start)
    schema = url.rpartition("schema=")[2]
    connection = await asyncpg.connect(url.rpartition("&schema=")[0])
    async with (
        httpx.AsyncClient(base_url=killed.url, timeout=60) as client,
        httpx.AsyncClient(base_url=other.url, timeout=60) as survivor,
    ):
        first = {"id": "first", "content": "first", "embedding": [1.0]}
        assert (await client.post(API, json=first)).status_code == 201
        # Its transaction has the lock of all writers and has written, and now must wait.
        locking = connection.transaction()
        await locking.start()
        await connection.execute(f"LOCK TABLE {schema}.collection IN SHARE MODE")
        items = [{**first, "id": f"m{number}"} for number in range(50)]
        body = {"memories": items, "atomic": True}
        writing = asyncio.create_task(client.post(f"{API}/batch", json=body))
        async with asyncio.timeout(20):
            while not await waiting(connection):  # noqa: ASYNC110  # PostgreSQL knows
                await asyncio.sleep(0.02)
        killed.kill()
        blocked = asyncio.create_task(
            survivor.post(API, json={**first, "id": "after", "content": "after"})
        )
        (failed,) = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(failed, httpx.TransportError)
        assert [one["id"] for one in (await survivor.get(API)).json()["memories"]] == ["first"]
        await locking.rollback()
        assert (await blocked).status_code == 201
        there = (await survivor.get(API)).json()
        assert sorted(one["id"] for one in there["memories"]) == ["after", "first"]
        found = await survivor.post(f"{API}/search", json={"embedding": [1.0]})
        assert len(found.json()["hits"]) == 2
    for table, rows in (("memory", 2), ("embedding", 2), ("event", 2)):
        assert await connection.fetchval(f"SELECT count(*) FROM {schema}.{table}") == rows
    await connection.close()
