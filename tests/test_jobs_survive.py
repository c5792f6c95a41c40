"""Jobs of real servers, with an LLM: done once each, whatever happens to a server."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

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


Two: TypeAlias = dict[str, tuple["Server", AsyncAgentMemClient]]


@pytest.fixture
async def two(llm: LLM, make_server: "MakeServer", postgres: "Postgres") -> AsyncIterator[Two]:
    """Two servers of one database, each with a client, by the keys that they have for the LLM."""
    url, keys = postgres.url(), ("one", "other")
    servers = [
        make_server(
            environment=environment(llm, AGENTMEM_LLM_KEY=key, AGENTMEM_JOB_LEASE="4"),
            database_url=url,
        )
        for key in keys
    ]
    for server in servers:
        server.launch()
    async with AsyncExitStack() as stack:
        found = {}
        for key, server in zip(keys, servers, strict=True):
            await asyncio.to_thread(server.start)
            client = await stack.enter_async_context(AsyncAgentMemClient(server.url))
            found[key] = (server, client)
        yield found


async def test_two_servers_do_each_job_once_whatever_happens_to_one(llm: LLM, two: Two) -> None:
    memories = [memory for _, memory in two.values()]
    quick = [str(number) for number in range(30)]
    llm.latency = 0.05
    await asyncio.gather(queue(memories[0], *quick[:15]), queue(memories[1], *quick[15:]))
    jobs = await ended(memories[0], *quick)
    assert {(job.status, job.attempts) for job in jobs} == {("done", 1)}
    assert asked_about(llm) == dict.fromkeys(quick, 1)
    assert {key and key.removeprefix("Bearer ") for key in llm.keys} == set(two)

    (hung, _), (_, memory) = await begun(llm, two, "hung")
    with paused(hung):
        await check_taken_over(llm, memory, "hung")
    # When it comes back its attempt is too late.
    await until(lambda: '"outcome": "gone"' in hung.log_text())

    (killed, _), (_, memory) = await begun(llm, two, "killed")
    await asyncio.to_thread(killed.kill)
    await check_taken_over(llm, memory, "killed")
    await check_stored_once(memory, *quick, "hung", "killed")


async def begun(llm: LLM, two: Two, id: str) -> list[tuple["Server", AsyncAgentMemClient]]:
    """Queue a job that takes long when it is first tried; answers who runs it, and the other."""
    llm.latency = 30.0
    _, memory = two["one"]
    await queue(memory, id)
    await until(lambda: asked_about(llm)[id] == 1)
    llm.latency = 0.0
    runs = f"{llm.keys[-1]}".removeprefix("Bearer ")
    return [two[runs], *(both for key, both in two.items() if key != runs)]


async def check_taken_over(llm: LLM, memory: AsyncAgentMemClient, id: str) -> None:
    """The job is done by a second attempt."""
    (job,) = await ended(memory, id)
    assert (job.status, job.attempts, asked_about(llm)[id]) == ("done", 2, 2)


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
