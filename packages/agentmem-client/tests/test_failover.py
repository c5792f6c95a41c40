"""Many calls at once, real connections, and several event loops, while a server goes away."""

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient, ClientPair
from agentmem_client._turns import AT_ONCE

A, B, C = "http://a.test", "http://b.test", "http://c.test"
HEALTH = {"status": "healthy", "version": "1", "uptime_seconds": 1}


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.0)


@pytest.fixture
def waits() -> None:
    """Here the event loop's sleep is the real one."""


class Handler(BaseHTTPRequestHandler):
    """Says on which port it was asked, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        port = self.connection.getsockname()[1]
        body = json.dumps(HEALTH | {"version": str(port)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A listening socket that can be closed, together with its connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def process_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]  # as the base has it
        self._connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is cut off under its thread is what is wanted here."""

    def end(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
            self.socket.close()
            for connection in self._connections:
                with contextlib.suppress(OSError):  # its client has closed it
                    connection.shutdown(socket.SHUT_RDWR)
            self.server_close()


@pytest.fixture
def two() -> Iterator[tuple[Server, Server]]:
    servers = Server(), Server()
    yield servers
    for server in servers:
        server.end()


def port(server: Server) -> str:
    return str(server.server_port)


def test_a_server_that_is_closed_is_left_by_kept_connections_too(
    two: tuple[Server, Server],
) -> None:
    first, second = two
    with AgentMemClient([first.url, second.url], max_retries=0) as client:
        assert client.health().version == port(first)
        first.end()
        assert [client.health().version for _ in range(3)] == [port(second)] * 3


async def test_likewise_with_many_tasks(two: tuple[Server, Server]) -> None:
    first, second = two
    async with AsyncAgentMemClient(f"{first.url}, {second.url}", max_retries=0) as client:
        asked = [client.health() for _ in range(20)]
        assert {found.version for found in await asyncio.gather(*asked)} == {port(first)}
        await asyncio.to_thread(first.end)
        asked = [client.health() for _ in range(20)]
        assert {found.version for found in await asyncio.gather(*asked)} == {port(second)}


def test_a_port_where_nobody_listens_is_passed_over(two: tuple[Server, Server]) -> None:
    first, second = two
    first.end()
    with AgentMemClient([first.url, second.url], max_retries=0) as client:
        assert client.health().version == port(second)


def test_a_pair_finds_out_once_for_all_its_clients(two: tuple[Server, Server]) -> None:
    first, second = two
    first.end()
    pair = ClientPair([first.url, second.url], max_retries=0)

    async def ask() -> tuple[str, str]:
        client = pair.for_running_loop()
        in_use = client._servers.address(client._servers.choose(()))
        return in_use, (await client.health()).version

    assert asyncio.run(ask()) == (first.url, port(second))
    assert asyncio.run(ask()) == (second.url, port(second))
    assert pair.sync._servers is pair._servers
    derived = ClientPair(client=pair.sync)
    assert derived._servers is pair._servers
    pair.close()


async def test_calls_that_fail_together_move_together_and_not_past_the_good_one() -> None:
    all_turns_taken = asyncio.Event()
    asked: Counter[str] = Counter()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.host] += 1
        if request.url.host == "a.test":
            if asked["a.test"] == AT_ONCE:
                all_turns_taken.set()
            await all_turns_taken.wait()
            raise httpx.ReadError("reset")
        return httpx.Response(200, json=HEALTH)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncAgentMemClient([A, B, C], max_retries=0, http_client=http)
        await asyncio.gather(*(client.health() for _ in range(3 * AT_ONCE)))
    # Those that waited for their turn never asked the one that is down.
    assert asked == {"a.test": AT_ONCE, "b.test": 3 * AT_ONCE}


def test_threads_that_fail_together_move_together() -> None:
    together = threading.Barrier(8)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "a.test":
            together.wait(timeout=10)
            raise httpx.ReadTimeout("slow")
        return httpx.Response(200, json=HEALTH)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        client = AgentMemClient([A, B, C], max_retries=0, http_client=http)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.health(), range(8)))
        client.health()
    assert Counter(asked) == {"a.test": 8, "b.test": 9}


@pytest.mark.parametrize("alive", ["b.test", "c.test"])
async def test_whichever_server_is_left_is_found_by_all(alive: str) -> None:
    asked: Counter[str] = Counter()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked[request.url.host] += 1
        await asyncio.sleep(0)
        if request.url.host != alive:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=HEALTH)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncAgentMemClient([A, B, C], max_retries=0, http_client=http)
        await asyncio.gather(*(client.health() for _ in range(300)))
        assert asked[alive] == 300
        before = asked.total()
        await asyncio.gather(*(client.health() for _ in range(300)))
        assert asked.total() == before + 300
