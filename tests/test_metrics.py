"""``/metrics`` of a real server, as Prometheus reads it."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi

API = "/api/v1"
ADMIN_KEY = "operator-" * 4
DURATION = "agentmem_http_request_duration_seconds"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


class Changes:
    """What has changed between two scrapes."""

    def __init__(self, before: Samples, after: Samples) -> None:
        self._before = before
        self._after = after

    def of(self, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return self._after[key] - self._before.get(key, 0)


@pytest.fixture
async def client(make_server: "MakeServer") -> AsyncIterator[httpx.AsyncClient]:
    server = make_server()
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as opened:
        yield opened


async def test_each_number_moves_with_what_it_counts(client: httpx.AsyncClient) -> None:
    before = await scrape(client)
    for number in range(3):
        memory = {"id": f"m{number}", "content": f"cat number {number}"}
        assert (await client.post(f"{API}/memories", json=memory)).status_code == 201
    items = [{"content": f"dog number {number}"} for number in range(5)]
    await client.post(f"{API}/memories/batch", json={"memories": items})
    for _ in range(4):
        await client.post(f"{API}/memories/search", json={"query": "cat"})
    await client.get(f"{API}/memories/m0")
    await client.get(f"{API}/memories/none")
    await client.get("/nowhere")
    changes = Changes(before, await scrape(client))

    def answered(method: str, route: str, status: int) -> float:
        labels = {"method": method, "route": route, "status": str(status)}
        return changes.of(f"{DURATION}_count", **labels)

    assert answered("POST", f"{API}/memories", 201) == 3
    assert answered("POST", f"{API}/memories/search", 200) == 4
    assert answered("GET", f"{API}/memories/{{id}}", 200) == 1
    assert answered("GET", f"{API}/memories/{{id}}", 404) == 1
    assert answered("GET", "none", 404) == 1
    assert answered("GET", "/metrics", 200) == 1  # the first scrape
    labels = {"method": "POST", "route": f"{API}/memories", "status": "201"}
    assert changes.of(f"{DURATION}_sum", **labels) > 0
    assert changes.of(f"{DURATION}_bucket", **labels, le="+Inf") == 3

    assert changes.of("agentmem_batch_size_sum", queue="write") == 8
    assert changes.of("agentmem_batch_size_sum", queue="embed") == 4  # three memories, one query
    assert changes.of("agentmem_batch_size_sum", queue="embed_bulk") == 5
    batches = changes.of("agentmem_batch_size_count", queue="write")
    assert batches == changes.of("agentmem_batch_duration_seconds_count", queue="write") >= 4
    assert changes.of("agentmem_store_duration_seconds_count", operation="write") == batches
    assert changes.of("agentmem_store_duration_seconds_count", operation="search") == 1
    assert changes.of("agentmem_store_duration_seconds_count", operation="get") >= 2
    assert changes.of("agentmem_cache_misses_total", cache="result") == 1
    assert changes.of("agentmem_cache_hits_total", cache="result") == 3
    assert changes.of("agentmem_cache_entries", cache="result") == 1
    assert changes.of("agentmem_cache_misses_total", cache="embedding") == 9
    assert changes.of("agentmem_cache_entries", cache="embedding") == 9


async def test_what_is_so_now(client: httpx.AsyncClient) -> None:
    await asyncio.sleep(0.3)
    now = await scrape(client)

    def value(name: str, **labels: str) -> float:
        return now[name, frozenset(labels.items())]

    assert value("agentmem_http_requests_in_progress") == 1  # this one
    assert value("agentmem_feed_followers") == 0
    for queue in ("write", "embed", "embed_bulk"):
        assert value("agentmem_queue_depth", queue=queue) == 0
    assert value("agentmem_event_loop_lag_seconds_count") >= 1
    assert value("process_resident_memory_bytes") > 1_000_000
    assert value("process_cpu_seconds_total") > 0


async def test_who_follows_the_feed(client: httpx.AsyncClient) -> None:
    async def followers() -> float:
        return (await scrape(client))["agentmem_feed_followers", frozenset()]

    url = f"{client.base_url}".replace("http", "ws").rstrip("/")
    async with connect(f"{url}{API}/events/ws"):
        assert await followers() == 1
        async with client.stream("GET", f"{API}/events"):
            assert await followers() == 2
    for _ in range(500):
        if not await followers():
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("those who left are still counted")


async def test_series_do_not_grow_with_what_callers_choose(client: httpx.AsyncClient) -> None:
    async def everything(number: int) -> None:
        await client.get(f"{API}/memories/{number}")
        await client.get(f"/{number}/nowhere")
        await client.get(f"{API}/memories", params={f"a{number}": "1"})
        await client.post(f"{API}/memories/search", json={"query": f"{number}", "user_id": "u"})
        body = {"content": "x", "user_id": f"user {number}", "collection": f"c{number}"}
        await client.post(f"{API}/memories", json=body)

    await everything(0)
    await scrape(client)
    before = set(await scrape(client))
    for number in range(1, 10):
        await everything(number)
    after = set(await scrape(client))
    assert after == before


async def test_a_parameter_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metrics?Secret=1")).status_code == 422
    assert (await client.post("/metrics")).status_code == 405
    assert (await client.head("/metrics")).status_code == 200


async def test_with_keys_they_are_for_a_key_with_the_scope_alone(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY) as api:

        async def made(*scopes: str) -> str:
            wish: dict[str, Any] = {"name": "n", "tenant": "t", "scopes": scopes}
            headers = {"X-API-Key": ADMIN_KEY}
            answer = await api.post(f"{API}/keys", json=wish, headers=headers)
            assert answer.status_code == 201, answer.text
            key: str = answer.json()["key"]
            return key

        async def status(key: str | None) -> int:
            headers = {} if key is None else {"X-API-Key": key}
            return (await api.get("/metrics", headers=headers)).status_code

        assert await status(None) == 401
        assert await status("am_wrong") == 401
        assert await status(await made("read", "write", "admin")) == 403
        assert await status(await made("metrics")) == 200
        assert await status(ADMIN_KEY) == 200
        bearer = {"Authorization": f"Bearer {await made('metrics')}"}  # as Prometheus sends it
        assert (await api.get("/metrics", headers=bearer)).status_code == 200
