"""A server whose database fails, PostgreSQL above all: what tests ask, and are to be answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from httpx_sse import aconnect_sse

if TYPE_CHECKING:
    from tests.conftest import Server

Json = dict[str, Any]
API = "/api/v1/memories"
LONGEST = 10.0
"""Seconds within which each request is answered, whatever becomes of the database."""
QUICK = {"AGENTMEM_POOL_TIMEOUT": "1", "AGENTMEM_DATABASE_TIMEOUT": "2"}


def memory(id: str, step: int = 0) -> Json:
    return {"id": id, "content": f"{id} at {step}", "embedding": [1.0, float(step)]}


def check_refusal(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    error = answer.json()["error"]
    assert error["code"] == "unavailable"
    assert "database" in error["message"]


@asynccontextmanager
async def opened(server: "Server") -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.url, timeout=httpx.Timeout(5, read=LONGEST), limits=limits
    ) as client:
        yield client


@asynccontextmanager
async def administrator(server: "Server") -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the server's database, which sees its tables."""
    dsn, _, schema = server.database_url.rpartition("&schema=")
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not become so")


async def follow(client: httpx.AsyncClient, told: list[Json]) -> None:
    """Follow the feed, and come back after the last event when it ends."""
    position = "0"
    while True:
        with suppress(httpx.TransportError):
            headers = {"last-event-id": position}
            async with aconnect_sse(client, "GET", "/api/v1/events", headers=headers) as source:
                if source.response.status_code == 200:
                    async for message in source.aiter_sse():
                        assert message.event != "reset"
                        position = message.id or position
                        if message.data and message.event != "end":
                            told.append(message.json())
                else:
                    await source.response.aread()
                    check_refusal(source.response)
        await asyncio.sleep(0.05)


def check_log(server: "Server") -> None:
    """An outage is no defect of the server's: no trace of its inside, and still JSON."""
    text = server.log_text()
    assert "Traceback" not in text
    for line in text.splitlines():
        json.loads(line)
