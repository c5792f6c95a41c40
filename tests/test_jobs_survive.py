"""Jobs of real servers, with an LLM: done once each, whatever happens to a server."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AsyncAgentMemClient, Job

from tests.llm_server import LLM, Reply

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server


def environment(llm: LLM, **more: str) -> dict[str, str]:
    return {"AGENTMEM_LLM_URL": llm.url, "AGENTMEM_LLM_MODEL": "m", **more}


def facts_asked_for(llm: LLM) -> Counter[str]:
    """How often the LLM was asked about each conversation, by what it says."""
    return Counter(
        json.loads(request["messages"][1]["content"])["messages"][0]["content"]
        for request in llm.requests
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.01)


async def queue(memory: AsyncAgentMemClient, *ids: str) -> None:
    conversations = [{"id": id, "messages": [f"FACT: Fact {id}."]} for id in ids]
    for outcome in await memory.extract_many(conversations, background=True):
        assert outcome.status == "queued", outcome


async def ended(memory: AsyncAgentMemClient, *ids: str) -> list[Job]:
    return list(
        await asyncio.gather(*(memory.wait_for_job(id, timeout=60, poll=0.05) for id in ids))
    )


async def check_stored_once(memory: AsyncAgentMemClient, *ids: str) -> None:
    contents = [one.content async for one in memory.iterate()]
    assert sorted(contents) == sorted(f"Fact {id}." for id in ids)


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_jobs_outlive_a_restart(llm: LLM, make_server: "MakeServer", way: str) -> None:
    """What waits, what runs and what is tried again later is done by the next start's server."""
    server = make_server(environment=environment(llm, AGENTMEM_LLM_CONCURRENCY="2"))
    await asyncio.to_thread(server.start)
    ids = ["retried", "a", "b", "c", "d"]
    llm.replies = [Reply(status=500)]
    async with AsyncAgentMemClient(server.url) as memory:
        await queue(memory, "retried")

        async def failed_once() -> bool:
            return (await memory.job("retried")).error is not None

        async with asyncio.timeout(30):
            while not await failed_once():  # noqa: ASYNC110  # the job tells of it
                await asyncio.sleep(0.02)
        llm.latency = 30.0
        await queue(memory, *ids[1:])
        await until(lambda: llm.now == 2)
    await asyncio.to_thread(getattr(server, way))
    llm.latency = 0.0
    await asyncio.to_thread(server.start)
    async with AsyncAgentMemClient(server.url) as memory:
        jobs = await ended(memory, *ids)
        assert {job.status for job in jobs} == {"done"}
        # A stop takes back what it cut short; a kill can't.
        again = 0 if way == "stop" else 2
        assert sum(job.attempts for job in jobs) == len(ids) + 1 + again
        await check_stored_once(memory, *ids)
    log = server.log_text()
    assert "Fact" not in log
    assert '"event": "job attempted"' in log


async def test_each_job_is_done_by_one_of_two_servers(
    llm: LLM, make_server: "MakeServer", postgres: "Postgres"
) -> None:
    url = postgres.url()
    llm.latency = 0.05
    environs = environment(llm, AGENTMEM_LLM_CONCURRENCY="3")
    servers = [make_server(environment=environs, database_url=url) for _ in range(2)]
    async with AsyncExitStack() as stack:
        memories = await started(stack, servers)
        ids = [str(number) for number in range(30)]
        await asyncio.gather(queue(memories[0], *ids[:15]), queue(memories[1], *ids[15:]))
        jobs = await ended(memories[0], *ids)
        assert {(job.status, job.attempts) for job in jobs} == {("done", 1)}
        assert facts_asked_for(llm) == {f"FACT: Fact {id}.": 1 for id in ids}
        for memory in memories:
            await check_stored_once(memory, *ids)
    done = [server.log_text().count('"outcome": "done"') for server in servers]
    assert sum(done) == 30
    assert min(done) > 0


async def test_a_server_that_is_killed_leaves_its_jobs_to_the_other_one(
    llm: LLM, make_server: "MakeServer", postgres: "Postgres"
) -> None:
    url = postgres.url()
    environs = environment(llm, AGENTMEM_LLM_CONCURRENCY="4", AGENTMEM_JOB_LEASE="1")
    servers = [make_server(environment=environs, database_url=url) for _ in range(2)]
    async with AsyncExitStack() as stack:
        (memory,) = await started(stack, servers[:1])
        llm.latency = 30.0
        ids = ["a", "b", "c", "d"]
        await queue(memory, *ids)
        await until(lambda: llm.now == 4)
        (other,) = await started(stack, servers[1:])
        await asyncio.sleep(1.5)  # longer than the lease, which is renewed
        assert {job.attempts async for job in other.jobs(status="running")} == {1}
        llm.latency = 0.0
        await asyncio.to_thread(servers[0].kill)
        jobs = await ended(other, *ids)
        assert {(job.status, job.attempts) for job in jobs} == {("done", 2)}
        assert set(facts_asked_for(llm).values()) == {2}
        await check_stored_once(other, *ids)


async def test_a_job_whose_server_hung_is_done_once(
    llm: LLM, make_server: "MakeServer", postgres: "Postgres"
) -> None:
    """It comes back when another one has taken the job over, and what it says then is too late."""
    url = postgres.url()
    environs = environment(llm, AGENTMEM_JOB_LEASE="1")
    servers = [make_server(environment=environs, database_url=url) for _ in range(2)]
    async with AsyncExitStack() as stack:
        (memory,) = await started(stack, servers[:1])
        llm.latency = 1.0
        await queue(memory, "a")
        await until(lambda: llm.now == 1)
        (other,) = await started(stack, servers[1:])
        paused = servers[0].process
        assert paused is not None
        paused.send_signal(19)
        try:
            (job,) = await ended(other, "a")
        finally:
            paused.send_signal(18)
        assert (job.status, job.attempts) == ("done", 2)
        await until(lambda: '"outcome": "gone"' in servers[0].log_text())
        assert await memory.job("a") == job
        await check_stored_once(other, "a")


async def started(stack: AsyncExitStack, servers: "list[Server]") -> list[Any]:
    """Clients of servers that are started for it."""
    for server in servers:
        server.launch()
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
    return [await stack.enter_async_context(AsyncAgentMemClient(server.url)) for server in servers]
