"""A head that has no end, or that no WebSocket can begin with, is refused, and nothing is left."""

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from agentmem_client import endpoints as e

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

HOST = b"Host: localhost\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n" + HOST
CHUNKED = (
    b"POST /api/v1/memories HTTP/1.1\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + HOST
)
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SOCKET = f"GET {e.EVENTS.path}/ws HTTP/1.1\r\n".encode() + HOST + UPGRADE


def answered(server: "Server", first: bytes, repeated: bytes = b"") -> tuple[bytes, int]:
    """What is answered until the end of the connection, and how much could be sent before that.

    One part is sent again and again, unless the server ends the connection, 8 MB at the most.
    """
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(first)
            while repeated and sent < 8_000_000:
                connection.sendall(repeated)
                sent += len(repeated)
        except ConnectionError:
            pass
        try:
            while part := connection.recv(65_536):
                answer += part
        except ConnectionError:
            pass
    return answer, sent


@pytest.mark.parametrize(
    ("first", "repeated"),
    [
        (LIVE + b"X: ", b"a" * 50_000),
        (LIVE, b"X: a\r\n" * 8_000),
        (LIVE, b"X: " + b"a" * 50_000 + b"\r\n"),
        (b"GET /", b"a" * 50_000),
        (CHUNKED + b"X: ", b"a" * 50_000),
        (CHUNKED, b"X: a\r\n" * 8_000),
        (LIVE + b"\r\n" + LIVE + b"X: ", b"a" * 50_000),
    ],
)
def test_a_head_or_a_trailer_without_end_is_cut_off(
    running_server: "Server", first: bytes, repeated: bytes
) -> None:
    _, sent = answered(running_server, first, repeated)
    assert sent < 8_000_000


def test_who_sends_a_head_that_is_too_long_is_told(running_server: "Server") -> None:
    answer, _ = answered(running_server, LIVE + b"X: " + b"a" * 150_000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too long" in answer


def test_a_long_head_and_a_body_in_many_small_parts_are_read(running_server: "Server") -> None:
    long = LIVE + b"Connection: close\r\nX: " + b"a" * 60_000 + b"\r\n\r\n"
    assert answered(running_server, long)[0].startswith(b"HTTP/1.1 200 ")
    body = b'{"content": "' + b"a" * 150_000 + b'", "embedding": [1.0]}'
    chunks = b"".join(b"1\r\n%c\r\n" % it for it in body)
    head = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\nConnection: close\r\n" + HOST
    head = head.replace(b"/memories ", b"/memories?x=1 ")  # is not stored
    assert b"422" in answered(running_server, head + b"\r\n" + chunks + b"0\r\n\r\n")[0][:20]


@pytest.mark.parametrize(
    "head",
    [
        SOCKET + b"X: " + b"a" * 10_000 + b"\r\n",
        SOCKET + b"X: a\r\n" * 200,
        SOCKET + b"Content-Length: 5\r\n",
        SOCKET.replace(b"GET", b"POST"),
        SOCKET.replace(b"GET", b"POST") + b"Content-Length: 5\r\n",
        SOCKET.replace(b"/ws", b"/ws" + b"a" * 10_000),
    ],
)
async def test_a_websocket_that_can_not_be_read_is_refused_and_stops_no_end(
    make_server: "MakeServer", head: bytes
) -> None:
    server = await asyncio.to_thread(make_server().start)
    body = b"abcde" if b"Content-Length" in head else b""
    answer, _ = await asyncio.to_thread(answered, server, head + b"\r\n" + body)
    assert answer.split()[1] in (b"400", b"405")
    assert await asyncio.to_thread(server.stop) == 0
    assert "Traceback" not in server.log_text()


async def test_a_websocket_that_is_refused_is_no_failure(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server().start)
    for head in (SOCKET.replace(b"/ws", b"/nope"), SOCKET.replace(b"localhost", b"evil.example")):
        answer, _ = await asyncio.to_thread(answered, server, head + b"\r\n")
        assert answer.split()[1] in (b"403", b"404")
    assert await asyncio.to_thread(server.stop) == 0
    assert '"level": "error"' not in server.log_text()
