"""Told to stop, the server answers what is under way, closes its file, and ends with status 0."""

import asyncio
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi, Server

API = "/api/v1/memories"
NEVER = {"AGENTMEM_SHUTDOWN_TIMEOUT": "600"}
"""Longer than a test may take: whoever waits for this is found out."""


def batch(name: str, count: int) -> dict[str, Any]:
    """Texts that the server embeds, which takes it a while."""
    text = f"{name} tells a story about lighthouses, harbours and the people who live there. "
    return {
        "memories": [
            {"id": f"{name}-{number}", "content": f"{number}: {text * 6}"}
            for number in range(count)
        ]
    }


def check_closed(server: "Server") -> None:
    """All is in the one file, and the log tells of no accident."""
    assert server.database.exists()
    assert not server.database.with_name(server.database.name + "-wal").exists()
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]],
    ids=lambda signals: "-".join(one.name for one in signals),
)
async def test_what_is_under_way_is_answered(
    make_server: "MakeServer", open_api: "OpenApi", signals: list[signal.Signals]
) -> None:
    server = make_server(environment=NEVER)
    await asyncio.to_thread(server.start)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
        tasks = []
        for number in range(4):
            tasks.append(client.post(f"{API}/batch", json=batch(f"batch-{number}", 20)))
            tasks.append(client.post(API, json={"id": f"one-{number}", "content": f"{number}!"}))
            tasks.append(client.post(f"{API}/search", json={"query": f"lighthouse {number}"}))
        running = [asyncio.create_task(one) for one in tasks]
        # Connections are taken in turn: once this one is answered, those before are under way.
        await asyncio.sleep(0.1)
        assert (await client.get("/health/live")).status_code == 200
        assert not all(task.done() for task in running), "it was too quick for this test"
        assert server.process is not None
        for one in signals:
            server.process.send_signal(one)
        answers = await asyncio.gather(*running, return_exceptions=True)
    for answer in answers:
        assert isinstance(answer, httpx.Response), repr(answer)
        assert answer.is_success, answer.text
        for result in answer.json().get("results", []):
            assert result["status"] == "stored"
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    check_closed(server)
    async with open_api(database_url=f"sqlite:///{server.database}") as api:
        assert (await api.get(API)).json()["total"] == 4 * 20 + 4
    if signals == [signal.SIGTERM]:
        await asyncio.to_thread(server.start)
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get(API)).json()["total"] == 4 * 20 + 4


async def test_an_idle_connection_does_not_hold_it_up(make_server: "MakeServer") -> None:
    server = make_server(environment=NEVER)
    await asyncio.to_thread(server.start)
    idle = socket.create_connection(("127.0.0.1", server.port))
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.post(API, json={"content": "kept alive"})).status_code == 201
        assert await asyncio.to_thread(server.stop) == 0
    idle.close()
    check_closed(server)


async def test_a_request_that_never_ends_does_not_hold_it_up_for_ever(
    make_server: "MakeServer",
) -> None:
    """After the time that there is for it; the others' memories are safe."""
    server = make_server(environment={"AGENTMEM_SHUTDOWN_TIMEOUT": "1"})
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.post(API, json={"content": "safe"})).status_code == 201
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(
            b"POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n"
            b'Content-Length: 1000\r\n\r\n{"content": "half'
        )
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(server.stop) == 0
    assert server.database.exists()
    assert not server.database.with_name(server.database.name + "-wal").exists()


def stop_at_start(server: "Server") -> int:
    process = server.launch()
    while not server.database.exists():
        assert process.poll() is None, server.log_text()
        time.sleep(0.001)
    return server.stop()


async def test_it_can_be_stopped_while_it_starts(make_server: "MakeServer") -> None:
    server = make_server(environment=NEVER)
    status = await asyncio.to_thread(stop_at_start, server)
    assert status in (0, -signal.SIGTERM)
    assert "Traceback" not in server.log_text()
