"""What comes over a connection: lengths that are wrong, and what is no HTTP."""

import json
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import send

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


def exchange(server: "Server", *pieces: bytes, close: bool = False) -> bytes:
    """Send bytes over a connection of their own; answers all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # it has heard enough
        if close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
    return received


def request_of(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["POST /api/v1/memories HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def is_well(server: "Server") -> bool:
    async with httpx.AsyncClient(base_url=server.url) as client:
        return (await client.get("/health")).status_code == 200


async def test_a_declared_length_above_the_limit(running_server: "Server") -> None:
    """Refused at once, without waiting for a body that may never come."""
    answer = exchange(running_server, request_of(b"{", length=10**9))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["error"]["code"] == "payload_too_large"
    assert b"connection: close" in head.lower()
    assert await is_well(running_server)


async def test_a_chunked_body_above_the_limit(running_server: "Server") -> None:
    head = request_of(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + b"u" * 0x100000 + b"\r\n"
    answer = exchange(running_server, head, *([chunk] * 40))
    # It may have hung up before all was sent; then the answer is lost on the way.
    assert not answer or answer.startswith(b"HTTP/1.1 413 ")
    assert await is_well(running_server)


@pytest.mark.parametrize(
    "raw",
    [
        request_of(b'{"content": "a"}', length=-5),
        request_of(b'{"content": "a"}').replace(b"Content-Length: 16", b"Content-Length: ten"),
        request_of(b'{"content": "a"}', "Content-Length: 3"),
        request_of(b'{"content": "a"}', "Transfer-Encoding: chunked"),
        request_of(b"zz\r\n{}\r\n0\r\n\r\n").replace(
            b"Content-Length: 14", b"Transfer-Encoding: chunked"
        ),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0" * 100,
    ],
    ids=lambda raw: ascii(raw)[:40],
)
async def test_what_is_not_http(running_server: "Server", raw: bytes) -> None:
    answer = exchange(running_server, raw, close=True)
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert await is_well(running_server)


async def test_a_body_shorter_than_declared(running_server: "Server") -> None:
    """Whoever hangs up half-way leaves nothing behind, and no failure in the log."""
    marker = "half-way-gone"
    body = b'{"id": "%s", "content": "a", "collection": "half"}' % marker.encode()
    before = len(running_server.log_text())
    exchange(running_server, request_of(body, f"X-Request-ID: {marker}", length=500), close=True)
    exchange(
        running_server, request_of(body[:20], f"X-Request-ID: {marker}", length=500), close=True
    )
    async with httpx.AsyncClient(base_url=running_server.url) as client:
        listed = await send(client, e.LIST_MEMORIES, query="collection=half")
        assert listed.json()["memories"] == []
    written = running_server.log_text()[before:]
    assert marker in written
    assert "Traceback" not in written


async def test_a_body_longer_than_declared(running_server: "Server") -> None:
    """What is over is no request: never is it taken for a part of the body."""
    body = b'{"id": "long", "content": "a", "collection": "longer"}'
    answer = exchange(
        running_server, request_of(body + b"more of it", length=len(body)), close=True
    )
    assert answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 400 "))
    async with httpx.AsyncClient(base_url=running_server.url) as client:
        listed = await send(client, e.LIST_MEMORIES, query="collection=longer")
        assert [memory["content"] for memory in listed.json()["memories"]] in ([], ["a"])


async def test_a_path_in_bytes_that_were_not_encoded(running_server: "Server") -> None:
    """The caller meant UTF-8, or nothing that can be known: another id must not be answered."""
    async with httpx.AsyncClient(base_url=running_server.url) as client:
        for identity in ("\u00e9", "\u00c3\u00a9", "\ufffd"):
            body = {"id": identity, "content": identity, "collection": "raw", "embedding": [1]}
            assert (await send(client, e.ADD_MEMORY, body)).status_code == 201
    raw = b"GET /api/v1/memories/\xc3\xa9?collection=raw HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(running_server, raw, close=True)
    if answer.startswith(b"HTTP/1.1 200 "):
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert body["id"] == "\u00e9"
    else:
        assert answer.startswith(b"HTTP/1.1 4")
