"""A real server with an LLM: its settings, its bounds, what it tells of the calls."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx
import pytest
from agentmem_client import AsyncAgentMemClient
from agentmem_client.errors import ExtractionFailed, InvalidRequest, Unavailable

from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS, Reply

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi, Postgres, Redis, Server

KEY = "sk-the-llms-key-of-these-tests"


def environment(llm: LLM, **more: str) -> dict[str, str]:
    settings = {"URL": llm.url, "KEY": KEY, "MODEL": "m", **more}
    return {f"AGENTMEM_LLM_{name}": value for name, value in settings.items()}


@pytest.fixture
async def server(llm: LLM, make_server: "MakeServer") -> "Server":
    server = make_server(
        environment=environment(llm, CONCURRENCY="4", MAX_TOKENS="500", MAX_INPUT_TOKENS="3000")
    )
    return await asyncio.to_thread(server.start)


@pytest.fixture
async def memory(server: "Server") -> AsyncIterator[AsyncAgentMemClient]:
    async with AsyncAgentMemClient(server.url, max_retries=0) as client:
        yield client


def numbers(metrics: str, name: str) -> dict[str, float]:
    """A metric's values by the value of its one label."""
    found = re.findall(rf'^agentmem_llm_{name}\{{\w+="(\w+)"\}} (\S+)$', metrics, re.MULTILINE)
    return {label: float(value) for label, value in found}


async def test_facts_are_learnt_within_the_settings(
    llm: LLM, server: "Server", memory: AsyncAgentMemClient
) -> None:
    llm.latency = 0.05
    llm.refuses = {"json_schema"}
    conversations = [{"messages": [f"FACT: Fact number {number}."]} for number in range(12)]
    done = await memory.extract_many(conversations)
    assert [one.facts[0].content for one in done] == [f"Fact number {n}." for n in range(12)]
    assert llm.most == 4
    assert {request["max_tokens"] for request in llm.requests} == {500}
    assert set(llm.keys) == {f"Bearer {KEY}"}
    assert (await memory.search("fact number 7", limit=1))[0].content == "Fact number 7."

    llm.replies = [Reply(text="no"), Reply(text="no")]
    with pytest.raises(ExtractionFailed):
        await memory.extract(["x"])
    with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_MAX_INPUT_TOKENS"):
        await memory.extract(["x" * 10_000])
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"{server.url}/metrics")).text
    calls = numbers(metrics, "calls_total")
    assert (calls["answered"], calls["malformed"]) == (12, 2)
    assert 1 <= calls["rejected"] <= 4  # whoever asked before it was known
    assert numbers(metrics, "tokens_total") == {
        "input": 14 * INPUT_TOKENS,
        "output": 14 * OUTPUT_TOKENS,
    }
    assert KEY not in server.log_text()
    assert "Fact number" not in server.log_text()


async def test_an_llm_that_is_busy_says_when_to_come_back(
    llm: LLM, memory: AsyncAgentMemClient
) -> None:
    llm.replies = [Reply(status=429, headers={"Retry-After": "100"})]
    with pytest.raises(Unavailable) as caught:
        await memory.extract(["FACT: Ann has a cat."])
    assert caught.value.retry_after == 100


async def test_the_log_holds_no_password_of_the_url(llm: LLM, make_server: "MakeServer") -> None:
    url = llm.url.replace("http://", "http://somebody:hunter2@")
    server = make_server(environment=environment(llm, URL=url) | {"AGENTMEM_LOG_LEVEL": "debug"})
    await asyncio.to_thread(server.start)
    async with AsyncAgentMemClient(server.url) as memory:
        await memory.extract(["FACT: Ann has a cat."])
    await asyncio.to_thread(server.stop)  # the line comes after the answer
    log = server.log_text()
    assert "/memories/extract" in log
    assert "hunter2" not in log
    assert "a cat" not in log


async def test_servers_with_redis_hold_the_rate_together(
    llm: LLM, redis: "Redis", make_server: "MakeServer", postgres: "Postgres"
) -> None:
    more = {"AGENTMEM_REDIS_URL": redis.url, **environment(llm, RATE="3")}
    url = postgres.url()
    servers = [make_server(environment=more, database_url=url) for _ in range(2)]
    for server in servers:
        server.launch()
    for server in servers:
        await asyncio.to_thread(server.start)
    async with (
        AsyncAgentMemClient(servers[0].url, max_retries=0) as one,
        AsyncAgentMemClient(servers[1].url, max_retries=0) as other,
    ):
        await one.extract(["FACT: Ann has a cat."])
        await other.extract(["FACT: Ann has a dog."])
        await one.extract(["FACT: Ann has a cow."])
        waiting = asyncio.create_task(other.extract(["FACT: Ann has a fox."]))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        assert len(llm.requests) == 3
        waiting.cancel()


async def test_a_model_without_a_url_ends_the_start(open_api: "OpenApi") -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_URL"):
        async with open_api(llm_model="m"):
            pass
