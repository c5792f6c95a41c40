"""A client has so many requests under way and no more; the others come in their turn."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient, ConnectionFailed
from agentmem_client._turns import AT_ONCE, LIMITS

CALLS = 3 * AT_ONCE
ANSWER: dict[str, list[str]] = {"collections": []}


class Counting:
    """Counts the requests that are under way."""

    def __init__(self) -> None:
        self.most = self.total = self._now = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._now += 1
            self.total += 1
            self.most = max(self.most, self._now)

    def end(self) -> None:
        with self._lock:
            self._now -= 1


async def test_async_calls_come_in_their_turn() -> None:
    counting = Counting()
    full = asyncio.Event()

    async def answer(_request: httpx.Request) -> httpx.Response:
        counting.begin()
        if counting.total == AT_ONCE:
            full.set()
        await full.wait()
        counting.end()
        return httpx.Response(200, json=ANSWER)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncAgentMemClient(http_client=http)
        calls = [client.list_collections() for _ in range(CALLS)]
        assert await asyncio.gather(*calls) == [[]] * CALLS
    assert (counting.most, counting.total) == (AT_ONCE, CALLS)


def test_calls_of_many_threads_come_in_their_turn() -> None:
    counting = Counting()
    full = threading.Barrier(AT_ONCE)

    def answer(_request: httpx.Request) -> httpx.Response:
        counting.begin()
        full.wait(timeout=30)  # opens when so many are in here together
        counting.end()
        return httpx.Response(200, json=ANSWER)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        client = AgentMemClient(http_client=http)
        with ThreadPoolExecutor(CALLS) as pool:
            results = list(pool.map(lambda _: client.list_collections(), range(CALLS)))
    assert results == [[]] * CALLS
    assert (counting.most, counting.total) == (AT_ONCE, CALLS)


async def test_a_turn_is_given_back_by_a_call_that_fails() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        client = AsyncAgentMemClient(http_client=http, max_retries=0)
        for _ in range(AT_ONCE + 1):
            with pytest.raises(ConnectionFailed):
                await client.list_collections()


async def test_feeds_take_no_turns_and_leave_requests_their_connections(
    feed: Callable[..., httpx.Response], event_json: Callable[..., dict[str, Any]]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return feed(0, event_json(1), event_json(2))
        return httpx.Response(200, json=ANSWER)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncAgentMemClient(http_client=http)
        async with AsyncExitStack() as feeds:
            for _ in range(CALLS):
                events = await feeds.enter_async_context(aclosing(client.events()))
                assert (await anext(events)).id == 1
            assert await client.list_collections() == []


def test_connections_are_bounded_by_turns_alone() -> None:
    assert LIMITS.max_connections is None
    assert LIMITS.max_keepalive_connections == AT_ONCE
