"""Many calls at once, and a server that lets a few through at a time."""

import asyncio
import json
import math
import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient

LIMIT = 10
WINDOW = 0.05
"""Seconds for so many requests."""


@pytest.fixture
def waits() -> None:
    """Here waiting takes its time: the server's clock is a real one."""


@pytest.fixture(autouse=True)
def small_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: random.random() * high * WINDOW)


class Limited:
    """Answers a number of requests in each window of time, and tells the others when to come.

    Attributes:
        answered: what was let through.
        early: how often somebody came before they were told to.
    """

    def __init__(self, answer: Callable[[Any], dict[str, Any]]) -> None:
        self.answered: list[bytes] = []
        self.refused = self.early = 0
        self._answer = answer
        self._ends = -math.inf
        self._left = 0
        self._not_before: dict[bytes, float] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        now = time.monotonic()
        self.early += now < self._not_before.get(request.content, 0)
        if now >= self._ends:
            self._ends, self._left = now + WINDOW, LIMIT
        if self._left == 0:
            self.refused += 1
            self._not_before[request.content] = self._ends
            headers = {"Retry-After": f"{self._ends - now:.6f}"}
            error = {"code": "rate_limited", "message": "too many requests", "details": {}}
            return httpx.Response(429, json={"error": error}, headers=headers)
        self._left -= 1
        self.answered.append(request.content)
        return httpx.Response(200, json=self._answer(json.loads(request.content)))


def found(body: dict[str, Any]) -> dict[str, Any]:
    memory = {"id": body["query"], "collection": "c", "content": "x", "score": 1.0}
    times = {"created_at": "2026-01-31T09:30:00Z", "updated_at": "2026-01-31T09:30:00Z"}
    return {"hits": [memory | times]}


def stored(body: dict[str, Any]) -> dict[str, Any]:
    return {"results": [{"id": one["id"], "status": "stored"} for one in body["memories"]]}


async def test_searches_of_many_tasks_all_get_through() -> None:
    server = Limited(found)

    async def task(number: int) -> list[str]:
        queries = [f"{number}-{count}" for count in range(3)]
        return [hit.id for query in queries for hit in await client.search(query)]

    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as http:
        client = AsyncAgentMemClient(http_client=http)
        results = await asyncio.gather(*(task(number) for number in range(50)))
    assert results == [[f"{number}-{count}" for count in range(3)] for number in range(50)]
    assert len(server.answered) == 150
    assert server.refused > 0
    assert server.early == 0


def test_an_import_of_many_requests_gets_through() -> None:
    server = Limited(stored)
    with httpx.Client(transport=httpx.MockTransport(server)) as http:
        client = AgentMemClient(http_client=http)
        items = [{"content": "x", "id": str(n), "embedding": [1.0]} for n in range(500 * 25)]
        results = client.add_many(items)
    assert [result.id for result in results] == [item["id"] for item in items]
    assert {result.status for result in results} == {"stored"}
    assert len(server.answered) == 25
    assert server.early == 0
