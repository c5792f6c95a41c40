"""One pair of clients for code that is called with and without an event loop."""

import asyncio
import copy
import gc
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from agentmem_client import (
    AgentMemClient,
    AgentMemError,
    AsyncAgentMemClient,
    ClientPair,
    Health,
)
from pydantic import SecretStr

URL = "http://agentmem.test"


HEALTH = {"status": "healthy", "version": "1", "uptime_seconds": 1}


class HealthHandler(BaseHTTPRequestHandler):
    """Answers every request with good health, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(HEALTH).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HealthHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def ask(pair: ClientPair) -> tuple[AsyncAgentMemClient, Health]:
    client = pair.for_running_loop()
    return client, await client.health()


def test_it_serves_sync_calls_and_loop_after_loop(server: str) -> None:
    pair = ClientPair(server)
    assert pair.sync.health().status == "healthy"
    clients = []
    for _ in range(3):
        client, health = asyncio.run(ask(pair))
        clients.append(client)
        assert health.status == "healthy"
    assert len(set(map(id, clients))) == 3
    assert len(pair._by_loop) == 1  # the loops before are forgotten
    # Each was closed with its loop: had one been left open, this would warn, and so fail.
    assert all(client._http.is_closed for client in clients)
    pair.close()
    gc.collect()


async def test_a_loop_has_one_client() -> None:
    pair = ClientPair(URL)
    assert pair.for_running_loop() is pair.for_running_loop()
    await pair.aclose()


def test_loops_of_several_threads_have_their_own(server: str) -> None:
    pair = ClientPair(server)
    together = threading.Barrier(4)

    async def use() -> AsyncAgentMemClient:
        client, _ = await ask(pair)
        together.wait(timeout=10)
        assert pair.for_running_loop() is client
        return client

    with ThreadPoolExecutor(4) as pool:
        clients = list(pool.map(lambda _: asyncio.run(use()), range(4)))
    assert len(set(map(id, clients))) == 4


def test_threads_share_one_sync_client(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = ClientPair(URL)
    together = threading.Barrier(8)

    def get(_: int) -> AgentMemClient:
        together.wait(timeout=10)
        return pair.sync

    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(get, range(8)))
    assert len(set(map(id, clients))) == 1
    pair.close()


async def test_a_closed_client_is_replaced() -> None:
    pair = ClientPair(URL)
    first, first_sync = pair.for_running_loop(), pair.sync
    await pair.aclose()
    assert first._http.is_closed
    assert first_sync._http.is_closed
    second = pair.for_running_loop()
    assert second is not first
    await second.aclose()
    assert pair.for_running_loop() is not second
    assert pair.sync is not first_sync
    await pair.aclose()


async def test_a_dropped_pair_closes_its_client() -> None:
    pair = ClientPair(URL)
    client = pair.for_running_loop()
    del pair
    gc.collect()
    for _ in range(5):
        # Not sleep, which the tests have replaced.
        await asyncio.get_running_loop().run_in_executor(None, int)
    assert client._http.is_closed


def test_without_a_loop_there_is_no_async_client() -> None:
    with pytest.raises(AgentMemError, match="no asyncio event loop"):
        ClientPair(URL).for_running_loop()


async def test_settings_reach_both_clients() -> None:
    pair = ClientPair(URL, SecretStr("am_k"), timeout=3, max_retries=1)
    for client in (pair.sync, pair.for_running_loop()):
        settings = client._settings
        assert (settings.api_url, settings.timeout, settings.max_retries) == (URL, 3, 1)
        assert settings.api_key == SecretStr("am_k")
    assert "am_k" not in repr(pair) + repr(vars(pair))
    assert repr(pair) == f"ClientPair('{URL}')"
    await pair.aclose()


def test_what_is_left_out_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ClientPair()._settings.api_url == "http://localhost:8080"
    monkeypatch.setenv("AGENTMEM_API_URL", URL)
    monkeypatch.setenv("AGENTMEM_API_KEY", "am_k")
    monkeypatch.setenv("AGENTMEM_TIMEOUT", "5")
    settings = ClientPair(max_retries=9)._settings
    assert (settings.api_url, settings.timeout, settings.max_retries) == (URL, 5, 9)
    assert settings.api_key == SecretStr("am_k")
    monkeypatch.setenv("AGENTMEM_TIMEOUT", "long")
    with pytest.raises(AgentMemError, match="AGENTMEM_TIMEOUT must be a number, not 'long'"):
        ClientPair()
    assert ClientPair(timeout=2)._settings.timeout == 2


def test_it_takes_several_servers() -> None:
    pair = ClientPair([URL, "http://other.test"])
    assert pair.sync._settings.api_urls == (URL, "http://other.test")
    assert repr(pair) == f"ClientPair(['{URL}', 'http://other.test'])"
    with pytest.raises(AgentMemError, match="at least one"):
        ClientPair([])
    pair.close()


async def test_ready_clients_are_used_and_left_open() -> None:
    sync, async_client = AgentMemClient(URL), AsyncAgentMemClient(URL)
    pair = ClientPair(client=sync, async_client=async_client)
    assert pair.sync is sync
    assert pair.for_running_loop() is async_client
    await pair.aclose()
    assert not sync._http.is_closed
    assert not async_client._http.is_closed
    sync.close()
    await async_client.aclose()


def test_a_ready_client_is_for_its_own_loop(server: str) -> None:
    ready = AsyncAgentMemClient(server)
    pair = ClientPair(async_client=ready)
    with asyncio.Runner() as runner:
        assert runner.run(ask(pair))[0] is ready
        others = [asyncio.run(ask(pair))[0] for _ in range(2)]
        assert len({*map(id, others), id(ready)}) == 3
        assert all(other._settings == ready._settings for other in others)
        assert all(other._http.is_closed for other in others)
        assert runner.run(ask(pair))[0] is ready
        runner.run(ready.aclose())


async def test_a_ready_client_that_is_closed_stays_so(server: str) -> None:
    ready = AsyncAgentMemClient(server)
    await ready.aclose()
    with pytest.raises(AgentMemError, match="closed"):
        await ask(ClientPair(async_client=ready))


def test_an_http_client_of_its_own_is_for_every_loop() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=HEALTH))
    pair = ClientPair(
        async_client=AsyncAgentMemClient(http_client=httpx.AsyncClient(transport=transport))
    )
    assert asyncio.run(ask(pair))[0] is asyncio.run(ask(pair))[0]


async def test_the_missing_client_takes_the_settings_of_the_ready_one() -> None:
    sync = AgentMemClient(URL, "am_k", timeout=7, max_retry_seconds=8)
    pair = ClientPair(client=sync)
    derived = pair.for_running_loop()
    assert derived._settings == sync._settings
    await pair.aclose()
    back = ClientPair(async_client=derived)
    assert back.sync._settings == sync._settings
    back.close()
    sync.close()


async def test_of_an_own_http_client_no_counterpart_is_made() -> None:
    with httpx.Client() as http:
        pair = ClientPair(client=AgentMemClient(URL, http_client=http))
        assert isinstance(pair.sync, AgentMemClient)
        with pytest.raises(AgentMemError, match="give async_client= too"):
            pair.for_running_loop()
    async with httpx.AsyncClient() as async_http:
        pair = ClientPair(async_client=AsyncAgentMemClient(URL, http_client=async_http))
        assert isinstance(pair.for_running_loop(), AsyncAgentMemClient)
        with pytest.raises(AgentMemError, match="give client= too"):
            _ = pair.sync


def test_settings_beside_a_ready_client_are_refused() -> None:
    with AgentMemClient(URL) as client:
        for settings in ({"api_url": URL}, {"api_key": "k"}, {"timeout": 1}, {"max_retries": 0}):
            with pytest.raises(AgentMemError, match="either a ready client"):
                ClientPair(client=client, **settings)


def test_a_copy_shares_the_connections() -> None:
    pair = ClientPair(URL)
    assert copy.copy(pair) is pair
    assert copy.deepcopy({"pair": pair})["pair"] is pair
