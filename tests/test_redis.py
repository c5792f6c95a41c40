"""Two applications on one PostgreSQL and one Redis, which is killed, hangs and comes back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import numpy as np
import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_server.sharing import link as links
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis as Client
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from tests.conftest import OpenApi, Postgres, Redis

API = "/api/v1"
ADMIN = "the-operator-has-a-key-of-many-characters"
PATIENCE = 30.0

Json: TypeAlias = dict[str, Any]


class Embedder:
    """Notes what it embeds."""

    name, dimension = "fake", 16

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
                vectors[row] += np.random.default_rng(seed).standard_normal(self.dimension)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    async def close(self) -> None:
        pass


class App:
    """One server, and what it embedded."""

    def __init__(self, client: httpx.AsyncClient, embedder: Embedder) -> None:
        self.client = client
        self.embedder = embedder

    async def send(
        self, method: str, path: str, body: Json | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = {} if key is None else {"X-API-Key": key}
        return await self.client.request(method, path, json=body, headers=headers)

    async def add(self, text: str, key: str | None = None, **fields: Any) -> None:
        body = {"id": text, "content": text, **fields}
        answer = await self.send("POST", f"{API}/memories", body, key)
        assert answer.status_code == 201, answer.text

    async def search(self, query: str, key: str | None = None, **fields: Any) -> list[str]:
        body = {"query": query, "limit": 100, **fields}
        answer = await self.send("POST", f"{API}/memories/search", body, key)
        assert answer.status_code == 200, answer.text
        return sorted(hit["content"] for hit in answer.json()["hits"])

    async def health(self) -> tuple[str, str, str | None]:
        """Its status, that of Redis, and what is wrong with that."""
        answer, ready = await asyncio.gather(
            self.client.get("/health"), self.client.get("/health/ready")
        )
        assert (answer.status_code, ready.status_code) == (200, 200)
        redis = answer.json()["checks"]["redis"]
        return answer.json()["status"], redis["status"], redis["error"]

    async def is_well(self) -> bool:
        return (await self.health())[0] == "healthy"

    async def is_degraded(self) -> bool:
        return (await self.health())[0] == "degraded"

    async def metric(self, name: str, **labels: str) -> float:
        answer = await self.client.get("/metrics", headers={"X-API-Key": ADMIN})
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name == f"agentmem_{name}" and sample.labels == labels:
                    return sample.value
        raise KeyError(name)


OpenApp: TypeAlias = Callable[..., Awaitable[App]]


@pytest.fixture
async def open_one(
    open_api: "OpenApi", postgres: "Postgres", redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OpenApp]:
    """Opens servers of one database and one Redis."""
    # Where the machine is busy with other tests, 0.25 s is no hang.
    monkeypatch.setattr(links, "TIMEOUT", 1.0)
    url = postgres.url()
    async with AsyncExitStack() as stack:

        async def open_app(**settings: Any) -> App:
            embedder = Embedder()
            options = {"database_url": url, "redis_url": redis.url, "pool_min": 1, **settings}
            client = await stack.enter_async_context(open_api(embedder=embedder, **options))
            return App(client, embedder)

        yield open_app


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def copies(redis: "Redis") -> list[bytes]:
    async with Client.from_url(redis.url) as client:
        found = [name async for name in client.scan_iter(match="agentmem:*:copy:*")]
    return [name for name in found if not name.endswith(b"probe")]


# --- Sharing ---------------------------------------------------------------------------------


async def test_two_servers_embed_and_search_once(open_one: OpenApp) -> None:
    one, two = await open_one(), await open_one()
    await one.add("a cat")
    await two.add("a cat", collection="other")
    assert await one.search("cat") == await two.search("cat") == ["a cat"]
    assert one.embedder.texts == ["a cat", "cat"]
    assert two.embedder.texts == []
    assert await two.metric("shared_cache_hits_total", cache="result") == 1
    assert await two.metric("shared_cache_hits_total", cache="embedding") == 1
    assert await one.metric("shared_cache_hits_total", cache="result") == 0
    assert await one.metric("shared_cache_misses_total", cache="result") == 1
    assert await one.metric("redis_up") == 1
    assert await one.health() == ("healthy", "ok", None)


async def test_what_one_writes_the_other_finds_at_once(open_one: OpenApp) -> None:
    apps = [await open_one(), await open_one()]

    async def work(number: int) -> None:
        mine = f"w{number}"
        for turn in range(12):
            writer, reader = apps[(turn + number) % 2], apps[(turn + number + 1) % 2]
            await writer.add(f"cat {number}.{turn}", user_id=mine)
            expected = sorted(f"cat {number}.{earlier}" for earlier in range(turn + 1))
            for app in (reader, writer, reader):
                assert await app.search("cat", user_id=mine) == expected

    await asyncio.gather(*(work(number) for number in range(6)))
    hits = [await app.metric("shared_cache_hits_total", cache="result") for app in apps]
    assert sum(hits) > 0


async def test_what_one_deletes_the_other_finds_no_more(open_one: OpenApp) -> None:
    one, two = await open_one(), await open_one()
    await one.add("a cat")
    for app in (one, two):
        assert await app.search("cat") == ["a cat"]
    assert (await one.send("DELETE", f"{API}/memories/a%20cat")).json() == {"deleted": 1}
    for app in (two, one):
        assert await app.search("cat") == []


async def test_nobody_gets_what_is_another_s(open_one: OpenApp) -> None:
    one, two = [await open_one(admin_key=ADMIN, rate_limit=100_000) for _ in range(2)]

    async def key(**fields: Any) -> str:
        answer = await one.send("POST", f"{API}/keys", {"name": "k", **fields}, ADMIN)
        made: str = answer.json()["key"]
        return made

    keys = [
        await key(tenant=tenant, **({} if user is None else {"user_id": user}))
        for tenant in ("acme", "globex")
        for user in (None, "ann", "bob")
    ]
    for number, mine in enumerate(keys):
        user = {} if number % 3 else {"user_id": "tenant's own"}
        await one.add(f"cat of {number}", mine, **user)
    own = {number: [f"cat of {number}"] for number in range(6)}
    expected = {**own, 0: [*own[0], *own[1], *own[2]], 3: [*own[3], *own[4], *own[5]]}
    for app in (one, two, two, one):
        for number, mine in enumerate(keys):
            assert await app.search("cat", mine) == expected[number]
    assert await two.metric("shared_cache_hits_total", cache="result") == 6


async def test_an_erased_user_is_in_no_server_s_caches_and_not_in_redis(
    open_one: OpenApp, redis: "Redis"
) -> None:
    one, two = await open_one(), await open_one()
    await one.add("ann's cat", user_id="ann")
    for app in (one, two):
        assert await app.search("cat") == ["ann's cat"]
    assert len(await copies(redis)) == 3
    assert await two.metric("cache_entries", cache="result") == 1
    answer = await one.send("DELETE", f"{API}/users/ann")
    assert answer.json()["memories"] == 1
    assert await copies(redis) == []

    async def is_forgotten() -> bool:
        return await two.metric("cache_entries", cache="result") == 0

    await until(is_forgotten)
    for app in (one, two):
        assert await app.search("cat") == []


# --- Redis is away ---------------------------------------------------------------------------


class Load:
    """Adds and searches through servers until its context ends; each must go well."""

    def __init__(self, apps: Sequence[App]) -> None:
        self.done = 0
        self._ended = False
        self._workers = [
            asyncio.create_task(self._work(app, number)) for number, app in enumerate([*apps] * 3)
        ]

    async def some(self) -> None:
        """Return when it has gone on for a while."""
        before = self.done

        async def has_gone_on() -> bool:
            assert not any(worker.done() for worker in self._workers)
            return self.done > before + 30

        await until(has_gone_on)

    async def __aenter__(self) -> "Load":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.gather(*self._workers)

    async def _work(self, app: App, number: int) -> None:
        turn = 0
        while not self._ended:
            turn += 1
            text = f"cat {number}.{turn}"
            await app.add(text, user_id=f"w{number}")
            found = await app.search("cat", user_id=f"w{number}")
            assert len(found) == min(turn, 100)
            self.done += 1


async def test_redis_is_killed_under_load_and_comes_back(open_one: OpenApp, redis: "Redis") -> None:
    with capture_logs() as logs:
        one, two = [await open_one(rate_limit=100_000) for _ in range(2)]
        async with Load([one, two]) as load:
            for _ in range(2):
                await load.some()
                redis.kill()
                for app in (one, two):
                    await until(app.is_degraded)
                    status, of_redis, error = await app.health()
                    assert (status, of_redis) == ("degraded", "failed")
                    assert "Redis is away: it can't be reached" in str(error)
                    assert await app.metric("redis_up") == 0
                await load.some()
                redis.start()
                for app in (one, two):
                    await until(app.is_well)
                    assert await app.metric("redis_up") == 1
    events = [line["event"] for line in logs if line["event"].startswith("Redis")]
    assert events == ["Redis is away", "Redis is away", "Redis is back", "Redis is back"] * 2
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
    await one.search("they share again")
    await two.search("they share again", limit=99)
    assert "they share again" not in two.embedder.texts


async def test_redis_hangs_under_load_and_goes_on(
    open_one: OpenApp, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = [await open_one(rate_limit=100_000) for _ in range(2)]
    async with Load([one, two]) as load:
        await load.some()
        monkeypatch.setattr(links, "TIMEOUT", 0.25)
        redis.pause()
        for app in (one, two):
            await until(app.is_degraded)
            assert "does not answer within 0.25 s" in str((await app.health())[2])
        await load.some()
        # What was under way when it began to hang waited once, and nothing since but the probes.
        for app in (one, two):
            waited = [
                await app.metric("redis_failures_total", operation=operation)
                for operation in ("result", "embedding", "limit", "erasure")
            ]
            await load.some()
            assert sum(waited) <= links.PLACES
            assert waited == [
                await app.metric("redis_failures_total", operation=operation)
                for operation in ("result", "embedding", "limit", "erasure")
            ]
        monkeypatch.setattr(links, "TIMEOUT", 1.0)
        redis.resume()
        for app in (one, two):
            await until(app.is_well)


async def test_a_server_starts_without_its_redis(open_one: OpenApp, redis: "Redis") -> None:
    redis.kill()
    one, two = await open_one(), await open_one()
    assert await one.health() == (
        "degraded",
        "failed",
        "Redis is away: it can't be reached (ConnectionError)",
    )
    await one.add("a cat")
    assert await two.search("cat") == ["a cat"]
    redis.start()
    for app in (one, two):
        await until(app.is_well)
    assert await one.search("cat") == ["a cat"]
    assert one.embedder.texts == ["a cat", "cat"]
    await two.add("a cat", collection="other")
    assert two.embedder.texts == ["cat", "a cat"]


async def test_a_password_is_told_nowhere(open_one: OpenApp, redis: "Redis") -> None:
    redis.kill()
    redis.start("--requirepass", "right")
    url = redis.url.replace("redis://", "redis://SecretUser:SecretPassword@")
    with capture_logs() as logs:
        one = await open_one(redis_url=url)
        await one.add("a cat")
        answer = await one.client.get("/health")
        metrics = await one.client.get("/metrics")
    assert answer.json()["status"] == "degraded"
    assert "password of AGENTMEM_REDIS_URL" in answer.json()["checks"]["redis"]["error"]
    assert "Secret" not in answer.text + metrics.text + json.dumps(logs, default=str)


# --- Limits ----------------------------------------------------------------------------------


async def test_a_limit_is_held_by_all_servers_together(open_one: OpenApp) -> None:
    """Its window is of ten seconds, so that a slow machine makes no difference."""
    one, two = [await open_one(admin_key=ADMIN, rate_limit=1_000) for _ in range(2)]
    made = await one.send("POST", f"{API}/keys", {"name": "k", "rate_limit": 0.9}, ADMIN)
    key = made.json()["key"]
    answers = []
    for app in (one, two) * 7:
        answers.append(await app.send("GET", f"{API}/collections", key=key))
    statuses = [answer.status_code for answer in answers]
    assert statuses[:9] == [200] * 9
    assert statuses[9:] == [429] * 5
    left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
    assert left == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0]
    resets = [int(answer.headers["ratelimit-reset"]) for answer in answers]
    assert all(1 <= reset <= 10 for reset in resets)
    assert resets == sorted(resets, reverse=True)
    assert answers[-1].headers["retry-after"] == answers[-1].headers["ratelimit-reset"]


async def test_a_limit_is_held_without_redis_too(open_one: OpenApp, redis: "Redis") -> None:
    one, two = [await open_one(admin_key=ADMIN, rate_limit=1_000) for _ in range(2)]
    body = {"name": "k", "rate_limit": 4 / 3_600}  # one in 15 minutes
    key = (await one.send("POST", f"{API}/keys", body, ADMIN)).json()["key"]
    ask = ("GET", f"{API}/collections", None, key)
    assert (await one.send(*ask)).status_code == 200
    redis.kill()
    for app in (one, two):
        await until(app.is_degraded)
    # The one goes on from what it let through; the other knows of nothing.
    assert [(await app.send(*ask)).status_code for app in (one, two, two)] == [429, 200, 429]


# --- Settings --------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_with_sqlite_it_is_refused(open_api: "OpenApi", tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memories.db'}"
    with pytest.raises(InvalidRequest, match="one server owns a SQLite file") as refused:
        async with open_api(database_url=url, redis_url="redis://:Secret@localhost"):
            pass
    assert "Secret" not in str(refused.value)
    assert names(tmp_path) == []  # and nothing was made


async def test_a_url_that_is_none_is_refused(open_api: "OpenApi", postgres: "Postgres") -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_REDIS_URL is no URL") as refused:
        async with open_api(database_url=postgres.url(), redis_url="http://:Secret@localhost"):
            pass
    assert "Secret" not in str(refused.value)


async def test_without_a_redis_nothing_is_told_of_one(api: httpx.AsyncClient) -> None:
    metrics = (await api.get("/metrics")).text
    assert "# TYPE agentmem_redis_up gauge" in metrics
    assert "\nagentmem_redis" not in metrics
    assert "redis" not in (await api.get("/health")).json()["checks"]
