"""The client on a real server that limits it: it waits as it is told, and goes on."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient

if TYPE_CHECKING:
    from tests.conftest import MakeServer


@pytest.fixture(autouse=True)
def little_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added to the wait that the server asks for."""
    monkeypatch.setattr("agentmem_client._retries.LONGEST_BACKOFF", 0.25)


async def test_calls_past_the_limit_wait_and_get_through(make_server: "MakeServer") -> None:
    server = make_server(environment={"AGENTMEM_RATE_LIMIT": "20"}).start()
    refused = 0

    async def count_refusals(response: object) -> None:
        nonlocal refused
        refused += getattr(response, "status_code", None) == 429

    async with AsyncAgentMemClient(server.url) as client:
        client._http.event_hooks["response"].append(count_refusals)
        await client.add("The cat is called Mia.", id="m1")
        searches = [client.search(f"cat {number}") for number in range(60)]
        hits = await asyncio.gather(*searches)
    assert [[hit.id for hit in one] for one in hits] == [["m1"]] * 60
    assert refused > 0


def test_an_import_past_the_limit_gets_through(make_server: "MakeServer") -> None:
    server = make_server(environment={"AGENTMEM_RATE_LIMIT": "3"}).start()
    with AgentMemClient(server.url) as client:
        items = [{"content": "x", "id": str(n), "embedding": [1.0, 0.0]} for n in range(2_500)]
        results = client.add_many(items, collection="mine")
        assert {result.status for result in results} == {"stored"}
        assert client.count(collection="mine") == 2_500
