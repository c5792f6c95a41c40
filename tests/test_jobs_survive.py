"""Jobs of real servers, with an LLM: done once each, whatever happens to a server."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from agentmem_client import AsyncAgentMemClient, Job

from tests.llm_server import LLM, Reply

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server


def environment(llm: LLM, **more: str) -> dict[str, str]:
    return {"AGENTMEM_LLM_URL": llm.url, "AGENTMEM_LLM_MODEL": "m", **more}


def asked_about(llm: LLM) -> Counter[str]:
    """How often the LLM was asked about each conversation, by the job's id."""
    given = [json.loads(request["messages"][1]["content"]) for request in llm.requests]
    said = [conversation["messages"][0]["content"] for conversation in given]
    return Counter(text.removeprefix("FACT: Fact ").removesuffix(".") for text in said)


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
    llm.replies = [Reply(text="no facts"), Reply(text="nor when asked again")]
    async with AsyncAgentMemClient(server.url) as memory:
        await queue(memory, "retried")

        await until(lambda: '"outcome": "retried"' in server.log_text())
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


@pytest.fixture
async def two(
    llm: LLM, make_server: "MakeServer", postgres: "Postgres"
) -> AsyncIterator[list[tuple["Server", AsyncAgentMemClient]]]:
    """Two servers of one database, and a client of each."""
    url = postgres.url()
    environs = environment(llm, AGENTMEM_LLM_CONCURRENCY="4", AGENTMEM_JOB_LEASE="2")
    servers = [make_server(environment=environs, database_url=url) for _ in range(2)]
    for server in servers:
        server.launch()
    for server in servers:
        await asyncio.to_thread(server.start)
    async with (
        AsyncAgentMemClient(servers[0].url) as one,
        AsyncAgentMemClient(servers[1].url) as other,
    ):
        yield [(servers[0], one), (servers[1], other)]


async def test_two_servers_do_each_job_once_whatever_happens_to_one(
    llm: LLM, two: list[tuple["Server", AsyncAgentMemClient]]
) -> None:
    (server, memory), (other_server, other) = two
    llm.latency = 0.05
    quick = [str(number) for number in range(30)]
    await asyncio.gather(queue(memory, *quick[:15]), queue(other, *quick[15:]))
    jobs = await ended(memory, *quick)
    assert {(job.status, job.attempts) for job in jobs} == {("done", 1)}
    assert asked_about(llm) == dict.fromkeys(quick, 1)
    assert min(one.log_text().count('"outcome": "done"') for one in (server, other_server)) > 0

    llm.latency = 30.0
    with paused(other_server):  # so that the first one takes them up
        hung = await begun(llm, memory, "h1", "h2", "h3", "h4")
    await asyncio.sleep(2.5)  # longer than the lease, which is renewed
    assert {job.attempts async for job in other.jobs(status="running")} == {1}
    llm.latency = 0.0
    with paused(server):
        await check_taken_over(llm, other, *hung)
    # When it comes back its attempts are too late.
    await until(lambda: '"outcome": "gone"' in server.log_text())

    llm.latency = 30.0
    with paused(other_server):
        killed = await begun(llm, memory, "k1", "k2", "k3", "k4")
    llm.latency = 0.0
    await asyncio.to_thread(server.kill)
    await check_taken_over(llm, other, *killed)
    contents = [one.content async for one in other.iterate()]
    assert sorted(contents) == sorted(f"Fact {id}." for id in (*quick, *hung, *killed))


@contextmanager
def paused(server: "Server") -> Iterator[None]:
    """Let a server hang."""
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def begun(llm: LLM, memory: AsyncAgentMemClient, *ids: str) -> Sequence[str]:
    """Queue these, and wait until the LLM was asked about each; answers them."""
    await queue(memory, *ids)
    await until(lambda: all(asked_about(llm)[id] for id in ids))
    return ids


async def check_taken_over(llm: LLM, memory: AsyncAgentMemClient, *ids: str) -> None:
    """All of these are done by a second attempt."""
    jobs = await ended(memory, *ids)
    assert {(job.status, job.attempts) for job in jobs} == {("done", 2)}
    assert [asked_about(llm)[id] for id in ids] == [2] * len(ids)
