"""Two servers' engines share by a real Redis, which is killed, hangs, and is written into."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine, Limits
from agentmem_server.sharing import link as links
from agentmem_server.sharing import redis_sharing
from agentmem_server.sharing.redis_sharing import RedisSharing
from agentmem_server.storage.sqlite import SqliteStore
from numpy.typing import NDArray
from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from tests.conftest import Redis

ANN = Caller("tenant", "ann")
TENANT = Caller("tenant")
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes often, and no false alarm where the machine is busy with other tests."""
    monkeypatch.setattr(redis_sharing, "PROBED_EVERY", 0.05)
    monkeypatch.setattr(links, "TIMEOUT", 5.0)


class Embedder:
    """Notes what it embeds; waits while its gate is closed."""

    name, dimension = "fake", 8

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        await self.gate.wait()
        rows = []
        for text in texts:
            seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
            rows.append(np.random.default_rng(seed).normal(size=self.dimension))
        vectors = np.array(rows, np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    async def close(self) -> None:
        pass


class Store(SqliteStore):
    """Several engines use it, as several servers use one PostgreSQL."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, readers=2)
        self.erase_listeners: list[Callable[[str, str], None]] = []

    def on_erase(self, listener: Callable[[str, str], None]) -> None:
        self.erase_listeners.append(listener)


@dataclass
class Server:
    """As much of one as shares."""

    engine: Engine
    embedder: Embedder
    sharing: RedisSharing

    async def search(self, query: str, caller: Caller = TENANT, **options: object) -> bytes:
        request = m.SearchRequest.model_validate({"query": query, **options})
        return await self.engine.search(caller, request)

    def hits(self, kind: str) -> int:
        return self.sharing.tallies[kind].hits

    def failures(self, kind: str) -> int:
        return self.sharing.tallies[kind].failures


Open = Callable[..., Awaitable[Server]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await asyncio.to_thread(Store, tmp_path / "memories.db")
    yield store
    await store.close()


@pytest.fixture
async def open_server(store: Store, redis: "Redis") -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_one(url: str = redis.url, identity: str = "", **limits: float) -> Server:
            sharing = await stack.enter_async_context(
                RedisSharing.open(url, identity or store.identity)
            )
            embedder = Embedder()
            engine = Engine(
                store,
                embedder,
                Limits(**limits),  # type: ignore[arg-type]  # by name
                copies=sharing.copies,
            )
            stack.push_async_callback(engine.close)
            return Server(engine, embedder, sharing)

        yield open_one


@asynccontextmanager
async def client(redis: "Redis", url: str | None = None) -> AsyncIterator[Client]:
    async with Client.from_url(url or redis.url) as opened:
        yield opened


async def names(redis: "Redis", pattern: str = "*") -> list[str]:
    async with client(redis) as asked:
        found = [name async for name in asked.scan_iter(match=pattern)]
    return sorted(name.decode() for name in found if not name.endswith(b"probe"))


async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = is_so()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def memory(text: str, **fields: object) -> m.MemoryInput:
    return m.MemoryInput.model_validate({"id": text, "content": text, **fields})


# --- What is shared --------------------------------------------------------------------------


async def test_no_text_is_embedded_by_two_servers(open_server: Open) -> None:
    one, two = await open_server(), await open_server()
    await one.engine.add(TENANT, memory("a cat"))
    await two.engine.add_many(TENANT, [memory("a dog"), memory("a cat"), memory("a cow")])
    await one.search("a cow", mode="dense")
    assert one.embedder.texts == ["a cat"]
    assert two.embedder.texts == ["a dog", "a cow"]
    assert (one.hits("embedding"), two.hits("embedding")) == (1, 1)


async def test_many_texts_go_in_several_parts(open_server: Open) -> None:
    one, two = await open_server(), await open_server()
    texts = [f"text {number}" for number in range(250)]
    await one.engine.add_many(TENANT, [memory(text) for text in texts])
    await two.engine.add_many(TENANT, [memory(text) for text in [*texts, "one more"]])
    assert two.embedder.texts == ["one more"]


async def test_vectors_of_another_length_are_not_taken(open_server: Open, redis: "Redis") -> None:
    one, two = await open_server(), await open_server()
    key = b"fake\n8\n" + blake2b(b"a cat", digest_size=16).digest()
    await one.sharing.copies.put("embedding", {key: b"1234"}, 60, since=0)
    await two.engine.add(TENANT, memory("a cat"))
    assert two.hits("embedding") == 1
    assert two.embedder.texts == ["a cat"]


async def test_a_search_is_answered_from_another_server_s_result(open_server: Open) -> None:
    one, two = await open_server(), await open_server()
    await one.engine.add(TENANT, memory("a cat"))
    answers = [await server.search("cat") for server in (one, two, two)]
    assert len(set(answers)) == 1
    assert b"a cat" in answers[0]
    assert two.hits("result") == 1
    assert two.embedder.texts == []
    tally = two.engine.searching.counts.of("tenant")
    assert (tally.count, tally.cached) == (2, 2)


async def test_after_a_write_no_server_answers_an_older_result(open_server: Open) -> None:
    one, two = await open_server(), await open_server()
    for number in range(20):
        writer, reader = (one, two) if number % 2 else (two, one)
        await writer.engine.add(TENANT, memory(f"cat {number}"))
        for server in (reader, writer):
            assert f"cat {number}".encode() in await server.search("cat", limit=100)
    assert one.hits("result") + two.hits("result") == 20


async def test_tenants_users_and_stores_never_share_a_result(
    open_server: Open, redis: "Redis"
) -> None:
    one, two = await open_server(), await open_server()
    other_store = await open_server(identity="another")
    await one.engine.add(ANN, memory("ann's cat"))
    await one.search("cat", ANN)
    for caller in (Caller("tenant", "bob"), Caller("other"), Caller("other", "ann")):
        assert b"ann's" not in await two.search("cat", caller)
    assert two.hits("result") == 0
    await other_store.search("cat", ANN)
    assert other_store.hits("result") == other_store.hits("embedding") == 0
    assert await two.search("cat", ANN) == await one.search("cat", ANN)
    assert two.hits("result") == 1


async def test_nothing_stays_longer_than_it_may(open_server: Open, redis: "Redis") -> None:
    one = await open_server(embedding_cache_ttl=200.0, result_cache_ttl=40.0)
    await one.engine.add(TENANT, memory("a cat", collection="mortal", ttl=20.0))
    await one.engine.add(TENANT, memory("a dog", collection="immortal"))
    await one.search("cat", collection="mortal")
    await one.search("dog", collection="immortal")
    async with client(redis) as asked:
        lives = {name: await asked.pttl(name) for name in await names(redis)}
    kinds = {name: life / 1_000 for name, life in lives.items() if ":result:" in name}
    assert sorted(kinds.values()) == [pytest.approx(20, abs=5), pytest.approx(40, abs=5)]
    others = [life / 1_000 for name, life in lives.items() if name not in kinds]
    assert others == [pytest.approx(200, abs=5)] * 4
    assert all(name.startswith("agentmem:") for name in lives)


async def test_what_was_refreshed_is_not_shared(open_server: Open, redis: "Redis") -> None:
    one = await open_server()
    await one.engine.add(TENANT, memory("a cat", ttl=20.0))
    await one.search("cat", refresh_ttl=True)
    assert await names(redis, "*:result:*") == []


async def test_over_a_unix_socket(open_server: Open, redis: "Redis") -> None:
    one, two = await open_server(redis.unix_url), await open_server()
    await one.engine.add(TENANT, memory("a cat"))
    await two.engine.add(TENANT, memory("a cat"))
    assert two.embedder.texts == []


# --- What others write there -----------------------------------------------------------------


async def exchange(asked: Client, found: list[str]) -> None:
    for one, other in pairwise(found):
        await asked.rename(one, "spare")
        await asked.rename(other, one)
        await asked.rename("spare", other)


async def replace(asked: Client, found: list[str], change: Callable[[bytes], bytes]) -> None:
    for name in found:
        value = await asked.get(name)
        assert isinstance(value, bytes)
        await asked.set(name, change(value))


async def retype(asked: Client, found: list[str]) -> None:
    for name in found:
        await asked.delete(name)
        await asked.rpush(name, b"a", b"b")


GARBAGE: dict[str, Callable[[Client, list[str]], Awaitable[None]]] = {
    "empty": lambda asked, found: replace(asked, found, lambda _: b""),
    "text": lambda asked, found: replace(asked, found, lambda _: b"garbage of some length" * 9),
    "cut": lambda asked, found: replace(asked, found, lambda value: value[:-1]),
    "longer": lambda asked, found: replace(asked, found, lambda value: value + b"x"),
    "flipped": lambda asked, found: replace(
        asked, found, lambda value: value[:-9] + bytes([value[-9] ^ 1]) + value[-8:]
    ),
    "exchanged": exchange,
    "lists": retype,
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_is_not_found_and_replaced(
    open_server: Open, redis: "Redis", kind: str
) -> None:
    one, two, three = [await open_server() for _ in range(3)]
    for text in ("a cat", "a dog"):
        await one.engine.add(TENANT, memory(text))
    answers = [await one.search(query) for query in ("cat", "dog")]
    async with client(redis) as asked:
        for part in ("result", "embedding"):
            await GARBAGE[kind](asked, await names(redis, f"*:{part}:*"))
    assert [await two.search(query) for query in ("cat", "dog")] == answers
    assert two.hits("result") == two.hits("embedding") == 0
    assert sorted(two.embedder.texts) == ["cat", "dog"]
    if kind != "lists":  # of which Redis itself says that there is no such text
        assert two.failures("result") == two.failures("embedding") == 2
    assert two.sharing.is_up
    assert [await three.search(query) for query in ("cat", "dog")] == answers
    assert three.hits("result") == 2


# --- Erasing ---------------------------------------------------------------------------------


async def test_erasing_a_user_leaves_no_copies(
    open_server: Open, redis: "Redis", store: Store
) -> None:
    one, two = await open_server(), await open_server()
    await one.engine.add_many(TENANT, [memory(f"cat {n}", user_id="ann") for n in range(150)])
    await one.search("cat")
    async with client(redis) as asked:
        await asked.set("somebody else's", b"1")
        await asked.set("agentmem:another store:copy:result:1", b"1")
    await one.sharing.counters.acquire("key", 5, 10, 1)
    assert len(await names(redis)) == 151 + 1 + 3
    await one.engine.history.erase(TENANT, "ann")
    assert set(await names(redis)) == {
        "agentmem:another store:copy:result:1",
        f"agentmem:{store.identity}:limit:key",
        "somebody else's",
    }
    await two.search("cat 3")
    assert two.embedder.texts == ["cat 3"]


async def test_the_prefix_is_no_pattern(open_server: Open, redis: "Redis") -> None:
    one, two = await open_server(identity="a*[b]?\\c^-"), await open_server(identity="axb")
    for server in (one, two):
        await server.engine.add(TENANT, memory("a cat", user_id="ann"))
    assert len(await names(redis)) == 2
    await one.engine.history.erase(TENANT, "ann")
    assert [name.split(":")[1] for name in await names(redis)] == ["axb"]


async def test_what_was_computed_before_an_erasure_is_not_kept_after_it(
    open_server: Open, redis: "Redis"
) -> None:
    one = await open_server()
    await one.engine.add(TENANT, memory("a dog"))
    one.embedder.gate.clear()
    searching = asyncio.create_task(one.search("ann's cat"))
    await until(lambda: "ann's cat" in one.embedder.texts)
    await one.engine.history.erase(TENANT, "ann")
    one.embedder.gate.set()
    await searching
    assert await names(redis) == []


async def test_what_another_server_erased_is_forgotten_here_too(
    open_server: Open, redis: "Redis", store: Store
) -> None:
    one, two = await open_server(), await open_server()
    await one.engine.add(TENANT, memory("a dog"))
    two.embedder.gate.clear()
    searching = asyncio.create_task(two.search("ann's cat"))
    await until(lambda: two.embedder.texts == ["ann's cat"])
    await two.engine.search(TENANT, m.SearchRequest(query="cat", user_id="ann", mode="sparse"))
    assert two.engine.searching.counts.of("tenant", "ann").count == 1
    await one.engine.history.erase(TENANT, "ann")
    two.embedder.gate.set()
    await searching  # which kept what it computed, as this server has not heard of it yet
    assert len(await names(redis)) > 0
    assert len(two.engine.caches["embedding"]) == 1
    store.erase_listeners[1]("tenant", "ann")
    assert [len(cache) for cache in two.engine.caches.values()] == [0, 0]
    assert two.engine.searching.counts.of("tenant", "ann").count == 0

    async def none_left() -> bool:
        return await names(redis) == []

    await until(none_left)


async def test_what_is_erased_while_redis_is_away_is_removed_when_it_is_back(
    open_server: Open, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await open_server()
    await one.engine.add(TENANT, memory("ann's cat", user_id="ann"))
    await one.search("cat")
    assert len(await names(redis)) == 3
    monkeypatch.setattr(links, "TIMEOUT", 0.2)
    redis.pause()
    await until(lambda: not one.sharing.is_up)
    erased = await one.engine.history.erase(TENANT, "ann")
    assert erased.memories == 1
    monkeypatch.setattr(links, "TIMEOUT", 5.0)
    redis.resume()

    async def none_left() -> bool:
        return await names(redis) == []

    await until(none_left)


# --- Redis is away ---------------------------------------------------------------------------


async def test_a_redis_that_is_killed_under_load_fails_nobody(
    open_server: Open, redis: "Redis"
) -> None:
    one, two = await open_server(), await open_server()
    ended = asyncio.Event()
    done = 0

    async def work(server: Server, number: int) -> None:
        nonlocal done
        turn = 0
        while not ended.is_set():
            turn += 1
            text = f"worker {number} cat {turn}"
            await server.engine.add(TENANT, memory(text))
            assert text.encode() in await server.search(text, limit=100)
            await server.sharing.counters.acquire("key", 1_000, 1, 1)
            done += 1

    with capture_logs() as logs:
        workers = [
            asyncio.create_task(work(server, number))
            for number, server in enumerate([one, two] * 4)
        ]
        for _ in range(2):
            await until(lambda: one.sharing.is_up and two.sharing.is_up)
            before = done
            await until(lambda: done > before + 20)  # noqa: B023 - it is called before it changes
            redis.kill()
            await until(lambda: not one.sharing.is_up and not two.sharing.is_up)
            before = done
            await until(lambda: done > before + 20)  # noqa: B023 - likewise
            redis.start()
        await until(lambda: one.sharing.is_up and two.sharing.is_up)
        ended.set()
        await asyncio.gather(*workers)
    told = [line["event"] for line in logs]
    away = told.count("Redis is away")
    assert away == told.count("Redis is back")
    # Once each of both; and perhaps where this process got no processor for a quarter second.
    assert 4 <= away <= 8
    assert len(told) == 2 * away
    await one.search("they share again")
    await two.search("they share again")
    assert "they share again" not in two.embedder.texts


async def test_a_redis_that_hangs_is_waited_for_once(
    open_server: Open, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sharing, "PROBED_EVERY", 3_600.0)
    one = await open_server()
    await one.engine.add(TENANT, memory("a cat"))
    monkeypatch.setattr(links, "TIMEOUT", 0.25)
    redis.pause()
    for number in range(50):
        assert b"a cat" in await one.search(f"cat {number}")
    assert not one.sharing.is_up
    assert sum(tally.failures for tally in one.sharing.tallies.values()) == 1
    redis.resume()
    assert not one.sharing.is_up  # nobody asked since


async def test_who_asks_at_once_of_a_redis_that_hangs(
    open_server: Open, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await open_server()
    monkeypatch.setattr(links, "TIMEOUT", 0.25)
    redis.pause()
    await asyncio.gather(*(one.search(f"cat {number}") for number in range(300)))
    assert one.failures("result") <= links.PLACES
    assert one.failures("embedding") <= links.PLACES
    monkeypatch.setattr(links, "TIMEOUT", 5.0)
    redis.resume()
    await until(lambda: one.sharing.is_up)
    await one.search("it is back")
    assert len(await names(redis, "*:result:*")) == 1


async def test_no_answer_is_taken_for_that_of_another_question(
    open_server: Open, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stopped waiting leaves an answer behind that nobody may read."""
    one, two = await open_server(), await open_server()
    texts = [f"cat {number}" for number in range(60)]
    await one.engine.add_many(TENANT, [memory(text) for text in texts])
    answers = [await one.search(text, limit=1) for text in texts]
    assert len(set(answers)) == len(texts)
    monkeypatch.setattr(links, "TIMEOUT", 0.002)
    found = []
    for _ in range(20):
        asked = await asyncio.gather(*(two.sharing.copies.get("result", [b""]) for _ in range(5)))
        assert [value for (value,) in asked] == [None] * 5
        found += await asyncio.gather(*(two.search(text, limit=1) for text in texts))
        two.engine.caches["result"].clear()
        await two.sharing._link.probe()
    assert found == answers * 20


async def test_a_wrong_password(open_server: Open, redis: "Redis") -> None:
    redis.kill()
    redis.start("--requirepass", "right")
    wrong = redis.url.replace("redis://", "redis://:SecretWrong@")
    with capture_logs() as logs:
        for url in (redis.url, wrong):
            one = await open_server(url)
            assert not one.sharing.is_up
            with pytest.raises(Exception, match="password of AGENTMEM_REDIS_URL") as told:
                await one.sharing.check()
            assert "Secret" not in str(told.value)
            await one.engine.add(TENANT, memory("a cat"))
            assert b"a cat" in await one.search("cat")
    assert "Secret" not in str(logs)
    assert (await open_server(redis.url.replace("redis://", "redis://:right@"))).sharing.is_up


@pytest.mark.parametrize("setting", [("maxmemory", "1"), ("replicaof", "127.0.0.1 9")])
async def test_a_redis_that_takes_nothing(
    open_server: Open, redis: "Redis", setting: tuple[str, str]
) -> None:
    """It is full, or somebody's replica: it answers, but nothing can be shared by it."""
    one = await open_server()
    async with client(redis) as asked:
        if setting[0] == "replicaof":
            await asked.replicaof(*setting[1].split())
        else:
            await asked.config_set(*setting)
        with capture_logs() as logs:
            await until(lambda: not one.sharing.is_up)
            await one.engine.add(TENANT, memory("a cat"))
            assert b"a cat" in await one.search("cat")
            probes = one.failures("probe")
            await until(lambda: one.failures("probe") > probes + 5)
            if setting[0] == "replicaof":
                await asked.replicaof("NO", "ONE")
            else:
                await asked.config_set("maxmemory", "0")
            await until(lambda: one.sharing.is_up)
    assert [line["event"] for line in logs] == ["Redis is away", "Redis is back"]


async def test_what_is_no_redis(open_server: Open) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        one = await open_server(f"redis://127.0.0.1:{port}")
        assert not one.sharing.is_up
        await one.engine.add(TENANT, memory("a cat"))


async def test_it_is_left_alone_when_all_is_closed(store: Store, redis: "Redis") -> None:
    async with RedisSharing.open(redis.url, store.identity) as sharing:
        assert sharing.is_up
    assert not sharing.is_up
    async with client(redis) as asked:
        assert len(await asked.client_list()) == 1


# --- Limits ----------------------------------------------------------------------------------


async def test_a_window_is_one_for_all_servers(open_server: Open) -> None:
    one, two = await open_server(), await open_server()
    taken = [
        await server.sharing.counters.acquire("key", 5, 10, 1) for server in (one, two, one, two)
    ]
    assert taken == [True] * 4
    assert [await one.sharing.counters.acquire("key", 5, 10, 1) for _ in range(2)] == [True, False]
    for server in (one, two):
        found = await server.sharing.counters.window("key", 5, 10)
        assert found is not None
        age, count = found
        assert count == 5
        assert 0 <= age < PATIENCE


async def test_a_window_of_another_type_is_one_key_s_trouble(
    open_server: Open, redis: "Redis"
) -> None:
    one = await open_server()
    await one.sharing.counters.acquire("key", 5, 10, 1)
    async with client(redis) as asked:
        (name,) = await names(redis)
        await asked.set(name, b"garbage")
    assert await one.sharing.counters.acquire("key", 5, 10, 1) is None
    assert await one.sharing.counters.acquire("another", 5, 10, 1) is True
    assert one.failures("limit") == 1


async def test_windows_no_one_fills_are_not_kept_in_redis(
    open_server: Open, redis: "Redis"
) -> None:
    one = await open_server()
    assert await one.sharing.counters.acquire("key", 10**300, 1, 1) is None
    assert await one.sharing.counters.window("key", 10**300, 1) is None
    assert one.failures("limit") == 0
    assert await names(redis) == []


async def test_scripts_are_sent_again_to_a_redis_that_was_restarted(
    open_server: Open, redis: "Redis"
) -> None:
    one = await open_server()
    assert await one.sharing.counters.acquire("key", 1, 3_600, 1) is True
    assert await one.sharing.counters.acquire("key", 1, 3_600, 1) is False
    redis.kill()
    await until(lambda: not one.sharing.is_up)
    redis.start()
    await until(lambda: one.sharing.is_up)
    assert await one.sharing.counters.acquire("key", 1, 3_600, 1) is True


async def test_the_fixture_s_redis_is_gone_when_it_is_killed(redis: "Redis") -> None:
    redis.kill()
    with pytest.raises(RedisConnectionError):
        await names(redis)
