"""Whenever a caller leaves, it is told as such, nothing fails of it, and nothing stays behind."""

import asyncio
import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import httpx
from agentmem_client import endpoints as e

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

BODY = json.dumps({"content": "a", "embedding": [1.0, 0.0]}).encode()
ADD = (
    f"POST {e.ADD_MEMORY.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()
FOLLOW = f"GET {e.EVENTS.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
SOCKET = (
    f"GET {e.EVENTS.path}/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def leave(server: "Server", sent: bytes, pause: float, *, breaks: bool) -> None:
    """Send that, and leave: by an end, or by breaking the connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(sent)
        time.sleep(pause)
        if breaks:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def requests(server: "Server", route: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    return [line for line in lines if line["event"] == "request" and line["route"] == route]


async def in_progress(client: httpx.AsyncClient) -> int:
    text = (await client.get("/metrics")).text
    line = next(it for it in text.splitlines() if it.startswith("agentmem_http_requests_in_"))
    return round(float(line.split()[1]))


async def test_whoever_leaves_whenever_is_no_failure(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server().start)
    unread = 0
    for breaks in (False, True):
        for pause in (0.0, 0.0, 0.002, 0.02):
            for sent in (ADD, ADD + BODY[:9]):
                leave(server, sent, pause, breaks=breaks)
                unread += 1
            # The last of three requests is the only one that uvicorn tells of it.
            for sent in (ADD + BODY, 2 * (ADD + BODY) + ADD, FOLLOW, SOCKET, ADD[:20]):
                leave(server, sent, pause, breaks=breaks)
    async with httpx.AsyncClient(base_url=server.url) as client, asyncio.timeout(20):
        left = 2
        while left > 1:  # the one that asks
            await asyncio.sleep(0.02)
            left = await in_progress(client)
    told = [line["status"] for line in requests(server, e.ADD_MEMORY.path)]
    assert {*told} == {201, 499}
    assert told.count(499) >= unread
    assert [line for line in server.log_text().splitlines() if '"level": "error"' in line] == []
