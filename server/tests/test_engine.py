"""The engine over a real store, with an embedder that makes a vector of a text's hash."""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    Conflict,
    DimensionMismatch,
    EmbedderMismatch,
    InternalError,
    InvalidCursor,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
)
from agentmem_server.access.callers import Caller
from agentmem_server.embedding import EmbedderUnavailable
from agentmem_server.engine.engine import Engine, Limits
from agentmem_server.storage import Collection, Outcome, Record, SearchRequest, Update, Write
from agentmem_server.storage.sqlite import SqliteStore
from agentmem_server.telemetry.watch import NOBODY, Watch
from numpy.typing import NDArray

TENANT = Caller("tenant")
DIMENSION = 8


def vector_of(text: str, dimension: int = DIMENSION) -> NDArray[np.float32]:
    seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeEmbedder:
    """Notes what it embeds; refuses texts with "bad" in them; is down or slow when told to."""

    def __init__(self, name: str = "fake", dimension: int = DIMENSION) -> None:
        self.name = name
        self.dimension = dimension
        self.texts: list[str] = []
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Callable[[], Awaitable[object]] | None = None

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        await self.gate.wait()
        if self.before is not None:
            await self.before()
        if self.down:
            raise EmbedderUnavailable("connection refused")
        if any("bad" in text for text in texts):
            raise EmbedderUnavailable("the text is too long", retryable=False)
        return np.array([vector_of(text, self.dimension) for text in texts])

    async def close(self) -> None:
        pass


class WatchedStore(SqliteStore):
    """Counts searches; holds writes before they begin, and searches before they answer.

    ``at_onces`` are those searches that were answered at once.
    """

    def __init__(self, path: Path, readers: int, watch: Watch = NOBODY) -> None:
        super().__init__(path, readers, watch)
        self.searches = 0
        self.at_onces = 0
        search_at_once = self.at_once.search

        def counted(collection: Collection, request: SearchRequest) -> Any:
            found = search_at_once(collection, request)
            self.searches += found is not None
            self.at_onces += found is not None
            return found

        self.at_once.search = counted  # type: ignore[method-assign]  # the same, and counts
        self.batches: list[int] = []
        self.write_gate = asyncio.Event()
        self.search_gate = asyncio.Event()
        self.write_gate.set()
        self.search_gate.set()

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        self.batches.append(len(writes))
        await self.write_gate.wait()
        return await super().write(writes)

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        self.searches += 1
        found = await super().search(collection, request)
        await self.search_gate.wait()
        return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    opened = await WatchedStore.open(str(tmp_path / "memory.db"), readers=2)
    assert isinstance(opened, WatchedStore)
    yield opened
    await opened.close()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def engine(store: WatchedStore, embedder: FakeEmbedder) -> AsyncIterator[Engine]:
    made = Engine(store, embedder)
    yield made
    await made.close()


def memory(content: str = "hello", **fields: Any) -> m.MemoryInput:
    return m.MemoryInput.model_validate({"content": content, **fields})


async def search(engine: Engine, query: str | None = None, **fields: Any) -> list[m.Hit]:
    tenant = fields.pop("tenant", TENANT)
    request = m.SearchRequest.model_validate({"query": query, **fields})
    return m.SearchAnswer.model_validate_json(await engine.search(tenant, request)).hits


async def found(engine: Engine, query: str | None = None, **fields: Any) -> list[str]:
    return [hit.id for hit in await search(engine, query, **fields)]


async def listed(engine: Engine, **fields: Any) -> list[str]:
    page = await engine.page(TENANT, m.ListQuery.model_validate(fields))
    return [one.id for one in page.memories]


async def got(engine: Engine, memory_id: str, collection: str = "default") -> m.Memory:
    query = m.GetQuery(collection=collection, include_embeddings=True)
    return await engine.get(TENANT, memory_id, query)


async def update(engine: Engine, memory_id: str, where: str = "default", **fields: Any) -> m.Memory:
    return await engine.update(TENANT, where, memory_id, m.MemoryUpdate.model_validate(fields))


async def delete(engine: Engine, **fields: Any) -> int:
    return (await engine.delete_many(TENANT, m.DeleteRequest.model_validate(fields))).deleted


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until a condition holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


# Adding


async def test_a_memory_is_answered_as_it_is_stored(engine: Engine, embedder: FakeEmbedder) -> None:
    before = datetime.now(UTC)
    answered = await engine.add(
        TENANT, memory("hello", id="a", user_id="u", metadata={"n": 1}, importance=0.5)
    )
    assert before - timedelta(seconds=1) <= answered.created_at == answered.updated_at
    stored = await got(engine, "a")
    assert stored.embedding == pytest.approx(vector_of("hello"))
    assert stored.model_copy(update={"embedding": None}) == answered
    assert (answered.id, answered.collection, answered.content) == ("a", "default", "hello")
    assert (answered.user_id, answered.metadata, answered.importance) == ("u", {"n": 1}, 0.5)
    assert embedder.texts == ["hello"]


async def test_the_day_is_embedded_with_what_happened_or_was_said(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    when = "2023-05-08T12:00:00Z"
    await engine.add(TENANT, memory("lunch", event_at=when))
    said = await engine.add(TENANT, memory("hi", session_id="s"))
    day = f"{said.created_at.day} {said.created_at:%B} {said.created_at.year}"
    assert embedder.texts == ["[8 May 2023] lunch", f"[{day}] hi"]


async def test_an_upsert_keeps_created_at(engine: Engine) -> None:
    first = await engine.add(TENANT, memory("one", id="a"))
    second = await engine.add(TENANT, memory("two", id="a"))
    assert second.created_at == first.created_at < second.updated_at
    assert await found(engine, "two", mode="sparse") == ["a"]
    assert await found(engine, "one", mode="sparse") == []


async def test_the_first_memory_makes_its_collection(engine: Engine) -> None:
    await engine.add(TENANT, memory(collection="text"))
    await engine.add(TENANT, memory(collection="vectors", embedding=[1.0, 2.0]))
    text, vectors = await engine.catalog.collections(TENANT)
    assert (text.name, text.embedder, text.model, text.dimension) == ("text", "server", "fake", 8)
    assert (vectors.name, vectors.embedder, vectors.model) == ("vectors", "client", None)
    assert (vectors.dimension, vectors.metric, vectors.memories) == (2, "cosine", 1)


async def test_texts_and_vectors_are_not_mixed(engine: Engine, embedder: FakeEmbedder) -> None:
    await engine.add(TENANT, memory(collection="text"))
    await engine.add(TENANT, memory(collection="vectors", embedding=[1.0, 2.0]))
    embedder.texts.clear()
    with pytest.raises(EmbedderMismatch, match="give an embedding"):
        await engine.add(TENANT, memory("new", collection="vectors"))
    with pytest.raises(EmbedderMismatch, match="give no embedding"):
        await engine.add(TENANT, memory("new", collection="text", embedding=[1.0] * DIMENSION))
    with pytest.raises(DimensionMismatch) as refused:
        await engine.add(TENANT, memory("new", collection="vectors", embedding=[1.0]))
    assert refused.value.details == {"expected": 2, "given": 1}
    assert embedder.texts == []
    assert [one.memories for one in await engine.catalog.collections(TENANT)] == [1, 1]


async def test_two_that_make_a_collection_at_once_agree(engine: Engine) -> None:
    outcomes = await asyncio.gather(
        engine.add(TENANT, memory("text", id="a")),
        engine.add(TENANT, memory("vector", id="b", embedding=[1.0, 2.0])),
        engine.add(TENANT, memory("other", id="c", embedding=[1.0])),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, EmbedderMismatch | DimensionMismatch)]
    assert len(refused) == 2
    assert len(await listed(engine)) == 1


async def test_a_collection_is_made_as_wished(engine: Engine) -> None:
    async def make(name: str, **wish: Any) -> m.Collection:
        return await engine.catalog.put_collection(
            TENANT, name, m.CollectionInput.model_validate(wish)
        )

    plain = await make("plain")
    assert (plain.embedder, plain.model, plain.dimension) == ("server", "fake", DIMENSION)
    assert (plain.metric, plain.memories) == ("cosine", 0)
    assert await make("plain", dimension=DIMENSION) == plain
    with pytest.raises(DimensionMismatch):
        await make("other", dimension=3)
    with pytest.raises(InvalidRequest, match="dimension"):
        await make("other", embedder="client")
    mine = await make("mine", embedder="client", dimension=3, metric="dot")
    assert (mine.embedder, mine.model, mine.dimension, mine.metric) == ("client", None, 3, "dot")
    for wish in ({}, {"embedder": "client", "dimension": 4, "metric": "dot"}, {"metric": "dot"}):
        with pytest.raises(Conflict):
            await make("mine", **wish)
    assert [one.name for one in await engine.catalog.collections(TENANT)] == ["mine", "plain"]

    await engine.add(TENANT, memory(collection="mine", embedding=[1.0, 2.0, 2.0]))
    (hit,) = await search(engine, embedding=[2.0, 2.0, 2.0], collection="mine")
    assert hit.score == pytest.approx(10)
    assert (await engine.catalog.collection(TENANT, "mine")).memories == 1
    assert await engine.catalog.drop_collection(TENANT, "mine") == 1
    assert await engine.catalog.drop_collection(TENANT, "mine") == 0
    with pytest.raises(NotFound):
        await engine.catalog.collection(TENANT, "mine")
    assert await found(engine, embedding=[2.0, 2.0, 2.0], collection="mine") == []


async def test_another_model_is_refused_until_the_first_is_back(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    await engine.add(TENANT, memory("vector", id="v", collection="vectors", embedding=[1.0]))
    other = Engine(store, FakeEmbedder("other"))
    for refused in (
        other.add(TENANT, memory("new")),
        other.add_all(TENANT, [memory("new")]),
        update(other, "a", content="changed"),
        search(other, "hello"),
        search(other, "hello", mode="dense"),
    ):
        with pytest.raises(EmbedderMismatch, match="fake"):
            await refused
    assert (await other.add_many(TENANT, [memory("new")]))[0].status == "failed"
    longer = Engine(store, FakeEmbedder("fake", DIMENSION + 1))
    with pytest.raises(DimensionMismatch):
        await longer.add(TENANT, memory("new"))

    # What needs no vector works, and so do the collections of the caller's vectors.
    assert await found(other, "hello", mode="sparse") == ["a"]
    assert (await update(other, "a", metadata={"n": 1})).metadata == {"n": 1}
    assert await listed(other) == ["a"]
    assert await found(other, embedding=[1.0], collection="vectors") == ["v"]
    assert await found(other, embedding=[1.0] * DIMENSION) == ["a"]
    assert await other.delete(TENANT, "vectors", "v") == 1
    await engine.add(TENANT, memory("new"))
    assert await found(engine, "hello", limit=1) == ["a"]
    await other.close()
    await longer.close()


async def test_each_memory_of_a_batch_has_its_own_outcome(engine: Engine) -> None:
    await engine.add(TENANT, memory("old", id="old"))
    await engine.add(TENANT, memory("x", id="x", collection="vectors", embedding=[1.0, 2.0]))
    unreadable = InvalidRequest("content is missing", details={"field": "content"})
    results = await engine.add_many(
        TENANT,
        [
            memory("one", id="a"),
            unreadable,
            memory("a bad text", id="b"),
            memory("new", id="old"),
            memory("vector", id="c", embedding=[1.0]),
            memory("two", id="d", collection="vectors"),
            memory("three", id="e", collection="vectors", embedding=[1.0, 2.0]),
            memory("four", id="f", collection="vectors", embedding=[1.0]),
            memory("one", id="a"),
        ],
    )
    assert [(one.id, one.status, one.error and one.error.code) for one in results] == [
        ("a", "stored", None),
        (None, "failed", "invalid_request"),
        ("b", "failed", "internal_error"),
        ("old", "updated", None),
        ("c", "failed", "embedder_mismatch"),
        ("d", "failed", "embedder_mismatch"),
        ("e", "stored", None),
        ("f", "failed", "dimension_mismatch"),
        ("a", "updated", None),
    ]
    assert results[1].error is not None
    assert results[1].error.details == {"field": "content"}
    assert results[2].error is not None
    assert "too long" in results[2].error.message
    assert await listed(engine) == ["old", "a"]
    assert await listed(engine, collection="vectors") == ["x", "e"]
    assert await engine.add_many(TENANT, []) == []


async def test_many_more_than_a_batch_are_stored_in_order(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder, Limits(write_batch=50, embed_batch=7))
    memories = [memory(f"text {n % 90}", id=f"r{n}") for n in range(400)]
    results = await engine.add_many(TENANT, memories)
    assert [one.id for one in results] == [f"r{n}" for n in range(400)]
    assert {one.status for one in results} == {"stored"}
    assert await listed(engine, limit=1_000) == [f"r{n}" for n in range(400)]
    assert sorted(embedder.texts) == sorted(f"text {n}" for n in range(90))
    assert max(store.batches) == 50
    await engine.close()


async def test_writes_share_a_transaction_up_to_a_size(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder, Limits(write_batch_bytes=100_000))
    large: list[dict[str, Any]] = [
        {"content": "a" * 60_000},
        {"metadata": {"text": "a" * 60_000}},
        {"payload": ["a" * 60_000]},
        {"index_texts": ["", "a" * 60_000]},
    ]
    memories = [
        memory(**{"content": "text", "id": f"r{n}"} | fields) for n, fields in enumerate(large)
    ]
    await engine.add_many(TENANT, memories)
    assert store.batches == [1, 1, 1, 1]
    await engine.add_many(TENANT, [memory(f"text {n}", id=f"s{n}") for n in range(40)])
    assert sum(store.batches) == 44
    assert max(store.batches) in range(10, 26)
    changes = [m.MemoryUpdate(payload=["a" * 60_000]) for _ in range(3)]
    store.batches.clear()
    await asyncio.gather(
        *(engine.update(TENANT, "default", f"s{n}", change) for n, change in enumerate(changes))
    )
    assert store.batches == [1, 1, 1]
    await engine.close()


async def test_an_atomic_batch_is_stored_whole_or_not_at_all(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    stored = await engine.add_all(TENANT, [memory("one", id="a"), memory("two", id="b")])
    assert [(one.id, one.status) for one in stored] == [("a", "stored"), ("b", "stored")]
    again = await engine.add_all(TENANT, [memory("three", id="c"), memory("two", id="a")])
    assert [one.status for one in again] == ["stored", "updated"]
    refusals: list[tuple[type[APIError], list[m.MemoryInput]]] = [
        (InvalidRequest, [memory("x", id="x"), memory("x", id="y", collection="other")]),
        (InternalError, [memory("x", id="x"), memory("bad", id="y")]),
        (EmbedderMismatch, [memory("x", id="x"), memory("x", id="y", embedding=[1.0])]),
        (EmbedderMismatch, [memory("x", id="a", embedding=[1.0]), memory("x", id="y")]),
    ]
    fresh: list[tuple[type[APIError], list[m.MemoryInput]]] = [
        (EmbedderMismatch, [memory("x", collection="new"), vector("new", [1.0])]),
        (DimensionMismatch, [vector("new", [1.0]), vector("new", [1.0, 2.0])]),
    ]
    for refused, memories in refusals + fresh:
        with pytest.raises(refused):
            await engine.add_all(TENANT, memories)
    embedder.down = True
    with pytest.raises(Unavailable):
        await engine.add_all(TENANT, [memory("one", id="x"), memory("not yet", id="y")])
    assert await listed(engine) == ["a", "b", "c"]
    assert (await got(engine, "a")).content == "two"
    assert [one.name for one in await engine.catalog.collections(TENANT)] == ["default"]
    assert await engine.add_all(TENANT, []) == []


def vector(collection: str, numbers: list[float]) -> m.MemoryInput:
    return memory("x", collection=collection, embedding=numbers)


async def test_what_the_embedder_refuses_is_not_tried_again_as_if_it_were_down(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    with pytest.raises(InternalError, match="too long"):
        await engine.add(TENANT, memory("bad"))
    embedder.down = True
    with pytest.raises(Unavailable, match="connection refused") as down:
        await engine.add(TENANT, memory("good", id="a"))
    assert down.value.retry_after
    with pytest.raises(Unavailable):
        await search(engine, "good", collection="default") or await engine.add(TENANT, memory("x"))
    results = await engine.add_many(
        TENANT,
        [memory("good", id="b"), memory("better", id="c"), vector("vectors", [1.0])],
    )
    assert [one.status for one in results] == ["failed", "failed", "stored"]
    assert {one.error.code for one in results if one.error} == {"unavailable"}
    assert await listed(engine) == []

    embedder.down = False  # a failure is not kept
    assert (await engine.add(TENANT, memory("good", id="a"))).id == "a"
    embedder.down = True
    with pytest.raises(Unavailable):
        await search(engine, "a question")
    embedder.down = False
    assert await found(engine, "a question") == ["a"]


# The embedding cache


async def test_a_text_is_embedded_once(engine: Engine, embedder: FakeEmbedder) -> None:
    await engine.add(TENANT, memory("hello"))
    await engine.add(Caller("another"), memory("hello", collection="other"))
    await engine.add_many(TENANT, [memory("hello"), memory("new"), memory("new")])
    await search(engine, "hello")
    await search(engine, "new", limit=3)
    assert embedder.texts == ["hello", "new"]


async def test_texts_that_come_at_once_are_embedded_once(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    embedder.gate.clear()
    await engine.catalog.put_collection(TENANT, "default", m.CollectionInput())
    tasks = [asyncio.ensure_future(engine.add(TENANT, memory("hello"))) for _ in range(20)]
    tasks.append(asyncio.ensure_future(engine.add(Caller("another"), memory("hello"))))
    searching = [asyncio.ensure_future(search(engine, "hello", limit=n + 1)) for n in range(5)]
    await settle()
    embedder.gate.set()
    await asyncio.gather(*tasks, *searching)
    assert embedder.texts == ["hello"]
    assert len(await listed(engine)) == 20


async def test_many_callers_share_a_batch(engine: Engine, embedder: FakeEmbedder) -> None:
    calls: list[int] = []

    async def note() -> None:
        calls.append(len(embedder.texts))

    embedder.before = note
    await asyncio.gather(*(engine.add(TENANT, memory(f"text {n}")) for n in range(100)))
    assert len(embedder.texts) == 100
    assert len(calls) < 10


# Searching


async def test_a_search_takes_the_channels_that_there_are(engine: Engine) -> None:
    await engine.add(TENANT, memory("red apples", id="a"))
    await engine.add(TENANT, memory("green pears", id="b"))
    for mode, expected in (("dense", ["a", "b"]), ("sparse", ["a"]), ("hybrid", ["a", "b"])):
        assert await found(engine, "red apples", mode=mode) == expected
    (best, _) = await search(engine, "red apples")
    assert best.score == pytest.approx(1)
    (best, other) = await search(engine, "red apples", mode="dense")
    assert best.score == pytest.approx(1, abs=1e-6)
    assert other.score == pytest.approx(
        float(vector_of("red apples") @ vector_of("green pears")), abs=1e-6
    )
    assert await found(engine, "red", embedding=vector_of("green pears").tolist(), alpha=1) == [
        "b",
        "a",
    ]
    assert await found(engine, embedding=vector_of("green pears").tolist()) == ["b", "a"]

    await engine.add(TENANT, memory("red", id="v", collection="mine", embedding=[1.0, 0.0]))
    await engine.add(TENANT, memory("blue", id="w", collection="mine", embedding=[0.0, 1.0]))
    assert await found(engine, "red", collection="mine") == ["v"]
    assert await found(engine, embedding=[0.0, 1.0], collection="mine") == ["w", "v"]
    both = await search(engine, "red", embedding=[0.0, 1.0], collection="mine", alpha=0.4)
    assert [(hit.id, hit.score) for hit in both] == [("v", 0.6), ("w", 0.4)]
    for refused in ({"mode": "dense"}, {"mode": "hybrid"}):
        with pytest.raises(EmbedderMismatch):
            await search(engine, "red", collection="mine", **refused)
    with pytest.raises(DimensionMismatch):
        await search(engine, embedding=[1.0, 0.0, 0.0], collection="mine")
    with pytest.raises(DimensionMismatch):
        await search(engine, "red", embedding=[1.0, 0.0])


REFUSED: list[dict[str, Any]] = [
    {},
    {"filters": {"a": 1}},
    {"mode": "sparse", "embedding": [1.0] * DIMENSION},
    {"mode": "hybrid", "embedding": [1.0] * DIMENSION},
    {"query": "x", "mode": "dense", "alpha": 0.5},
    {"query": "x", "mode": "sparse", "alpha": 0.5},
    {"embedding": [1.0] * DIMENSION, "alpha": 0.0},
    {"query": "x", "mode": "sparse", "mmr": {}},
]


@pytest.mark.parametrize("fields", REFUSED)
@pytest.mark.parametrize("collection", ["default", "not there"])
async def test_options_that_do_not_go_together_are_refused(
    engine: Engine, fields: dict[str, Any], collection: str
) -> None:
    await engine.add(TENANT, memory("x"))
    with pytest.raises(InvalidRequest):
        await search(engine, **fields, collection=collection)


async def test_a_search_admits_what_scope_and_filter_do(engine: Engine) -> None:
    for number in range(30):
        await engine.add(
            TENANT,
            memory(
                f"word {number}", id=f"r{number}", user_id="uv"[number % 2], metadata={"n": number}
            ),
        )
    for mode in ("dense", "sparse", "hybrid"):
        expected = {"r25", "r27", "r29"}
        fields: dict[str, Any] = {"filters": {"n": {"$gt": 23}}, "user_id": "v", "mode": mode}
        assert set(await found(engine, "word", limit=3, **fields)) == expected
        assert set(await found(engine, "word", limit=99, **fields)) == expected
        assert await found(engine, "word", **{**fields, "user_id": "nobody"}) == []
    assert len(await found(engine, "word")) == 10
    assert len(await found(engine, "word", limit=1_000)) == 30
    assert await found(engine, "word", collection="not there") == []


async def test_pages_of_a_search_join(engine: Engine) -> None:
    await engine.add_many(TENANT, [memory(f"word {n}", id=f"r{n}") for n in range(25)])
    for mode in ("dense", "sparse", "hybrid"):
        whole = await found(engine, "word 7", limit=25, mode=mode)
        assert len(whole) == len(set(whole)) == 25
        pages = [await found(engine, "word 7", limit=10, offset=n, mode=mode) for n in (0, 10, 20)]
        assert [one for page in pages for one in page] == whole
        assert await found(engine, "word 7", offset=25, mode=mode) == []


async def test_a_score_can_be_asked_for(engine: Engine) -> None:
    await engine.add_many(TENANT, [memory(f"word {n}", id=f"r{n}") for n in range(10)])
    hits = await search(engine, "word 7", mode="dense")
    worst = hits[4].score
    good = await search(engine, "word 7", mode="dense", min_score=worst)
    assert [hit.id for hit in good] == [hit.id for hit in hits[:5]]
    assert await found(engine, "word 7", mode="dense", min_score=1.5) == []


async def test_mmr_prefers_hits_that_differ(engine: Engine) -> None:
    near: list[list[float]] = [[1, 0.2, 0], [1, 0.21, 0], [1, 0.22, 0], [0.7, 0, 0.7]]
    for number, numbers in enumerate(near):
        await engine.add(TENANT, memory(f"word{number}", id=f"r{number}", embedding=numbers))
    query: dict[str, Any] = {"embedding": [1.0, 0.1, 0.0]}
    assert await found(engine, **query, limit=2) == ["r0", "r1"]
    assert await found(engine, **query, limit=2, mmr={"lambda_mult": 0.5}) == ["r0", "r3"]
    assert await found(engine, **query, limit=2, mmr={"lambda_mult": 1}) == ["r0", "r1"]
    await engine.add(TENANT, memory("far", id="far", embedding=[0.0, -1.0, 0.0]))
    # Whatever the options: each once, no more than there are, and pages that join.
    for options in ({}, {"fetch_k": 1}, {"fetch_k": 3}, {"lambda_mult": 0}, {"fetch_k": 1_000}):
        whole = await found(engine, **query, limit=100, mmr=options)
        assert sorted(whole) == ["far", "r0", "r1", "r2", "r3"]
        assert len(await found(engine, **query, limit=2, offset=4, mmr=options)) == 1


async def test_mmr_of_nothing_is_nothing(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    assert await found(engine, "hello", mmr={}) == ["a"]
    assert await found(engine, "hello", mmr={}, user_id="nobody") == []
    assert await found(engine, "hello", mmr={}, filters={"a": 1}) == []
    assert await found(engine, "hello", mmr={}, mode="dense", min_score=2) == []
    assert await found(engine, "hello", mmr={}, offset=5) == []
    assert await found(engine, "hello", mmr={}, collection="not there") == []
    await engine.delete(TENANT, "default", "a")
    assert await found(engine, "hello", mmr={}) == []


async def test_what_is_of_late_or_important_is_preferred_when_asked_for(engine: Engine) -> None:
    now = datetime.now(UTC)
    along = {"embedding": [1.0, 0.0]}
    for days in (200, 0, 10):
        fields = {"event_at": now - timedelta(days=days), "importance": days / 200}
        await engine.add(TENANT, memory("word", id=f"r{days}", **fields, **along))
    # Better matches, so that the others are on no first page.
    other = {"event_at": now - timedelta(days=99), "importance": 0.01, "embedding": [1.0, 0.01]}
    better = [memory("a word, one word", id=f"n{n}", **other) for n in range(50)]
    await engine.add_many(TENANT, better)
    for mode in ("dense", "sparse", "hybrid"):
        query: dict[str, Any] = {
            "query": "word",
            "mode": mode,
            "limit": 2,
            **({} if mode == "sparse" else {"embedding": [1.0, 0.02]}),
        }
        assert {hit.id[0] for hit in await search(engine, **query)} == {"n"}
        assert await found(engine, **query, recency={"weight": 0.8}) == ["r0", "r10"]
        assert (await found(engine, **query, importance={"weight": 0.8}))[0] == "r200"


async def test_an_answer_has_an_explanation_only_when_it_is_asked_for(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a", metadata={"n": None}))
    some: list[dict[str, Any]] = [{}, {"include_embeddings": True}, {"recency": {"weight": 0.5}}]
    for options in [*some, {"mmr": {}}, {"mode": "sparse"}]:
        wanted = {"query": "hello", **options}
        plain = await engine.search(TENANT, m.SearchRequest.model_validate(wanted))
        (hit,) = json.loads(plain)["hits"]
        assert list(hit) == [name for name in m.Hit.model_fields if name != "explanation"]
        wanted["explain"] = True
        explained = await engine.search(TENANT, m.SearchRequest.model_validate(wanted))
        (hit,) = json.loads(explained)["hits"]
        explanation = hit["explanation"]
        assert list(explanation) == list(m.Explanation.model_fields)
        assert sum(explanation["parts"].values()) == pytest.approx(hit["score"])


async def test_an_answer_by_recency_is_soon_computed_anew(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    for half_life, searches in ((86_400, 1), (1, 3)):
        store.searches = 0
        for _ in range(3):
            await search(engine, "hello", recency={"weight": 0.5, "half_life": half_life})
            await asyncio.sleep(0.02)
        assert store.searches == searches


async def test_vectors_are_answered_when_asked_for(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    (without,) = await search(engine, "hello")
    (with_,) = await search(engine, "hello", include_embeddings=True)
    assert without.embedding is None
    assert with_.embedding == pytest.approx(vector_of("hello"))


async def test_tenants_see_nothing_of_each_other(engine: Engine) -> None:
    await engine.add(TENANT, memory("mine", id="a"))
    await engine.add(Caller("another"), memory("theirs", id="a"))
    await engine.add(Caller("another"), memory("theirs", id="b"))
    assert [hit.content for hit in await search(engine, "mine")] == ["mine"]
    assert await found(engine, "theirs", mode="sparse") == []
    assert len(await search(engine, "mine", tenant=Caller("another"))) == 2
    assert (await got(engine, "a")).content == "mine"
    with pytest.raises(NotFound):
        await got(engine, "b")
    with pytest.raises(NotFound):
        await update(engine, "b", content="changed")
    assert await engine.delete(TENANT, "default", "b") == 0
    assert await delete(engine, everything=True) == 1
    assert await engine.catalog.drop_collection(TENANT, "default") == 0
    assert len(await search(engine, "theirs", tenant=Caller("another"))) == 2


# The result cache


async def test_equal_searches_are_computed_once(engine: Engine, store: WatchedStore) -> None:
    await engine.add(TENANT, memory("hello"))
    request = m.SearchRequest(query="hello", filters=None)
    first = await engine.search(TENANT, request)
    assert await engine.search(TENANT, m.SearchRequest(query="hello")) == first
    assert store.searches == 1
    for number, other in enumerate(
        [
            {"query": "Hello"},
            {"query": "hello", "limit": 9},
            {"query": "hello", "user_id": "u"},
            {"query": "hello", "agent_id": "u"},
            {"query": "hello", "mode": "dense"},
            {"query": "hello", "filters": {"a": 1}},
            {"query": "hello", "filters": {"a": True}},
            {"query": "hello", "filters": {"a": "1"}},
            {"query": "hello", "filters": {"a": {"$ne": 1}}},
            {"query": "hello", "include_embeddings": True},
            {"query": "hello", "mmr": {}},
            {"query": "hello", "embedding": [1.0] * DIMENSION},
        ]
    ):
        await engine.search(TENANT, m.SearchRequest.model_validate(other))
        assert store.searches == number + 2


async def test_what_is_answered_at_once_is_kept_from_the_second_time_on(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory(id="a", embedding=[1.0, 0.0]))
    await found(engine, embedding=[1.0, 0.5])  # from here on it is in memory
    cache = engine.caches["result"]
    cache.clear()
    body = json.dumps({"embedding": [1.0, 2.0]}).encode()

    async def asked() -> tuple[list[str], tuple[int, int, int]]:
        """What a route does; the ids, and how many at-once searches, hits and misses it took."""
        known = engine.searching.known
        wanted = known.get(body) or known.add(body, m.SearchRequest.model_validate_json(body))
        before = store.at_onces, cache.hits, cache.misses
        answer = json.loads(await engine.search(TENANT, *wanted))
        after = store.at_onces, cache.hits, cache.misses
        at_onces, hits, misses = (now - then for now, then in zip(after, before, strict=True))
        return [hit["id"] for hit in answer["hits"]], (at_onces, hits, misses)

    assert await asked() == (["a"], (1, 0, 1))
    assert len(cache) == 0
    assert await asked() == (["a"], (1, 0, 1))
    assert await asked() == (["a"], (0, 1, 0))
    assert await asked() == (["a"], (0, 1, 0))
    await engine.add(TENANT, memory(id="b", embedding=[0.0, 1.0]))
    assert (await asked())[0] == ["b", "a"]
    assert await asked() == (["b", "a"], (0, 1, 0))


async def test_equal_searches_at_once_are_computed_once(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    store.search_gate.clear()
    tasks = [asyncio.ensure_future(found(engine, "hello")) for _ in range(50)]
    await until(lambda: store.searches > 0)
    store.search_gate.set()
    assert await asyncio.gather(*tasks) == [["a"]] * 50
    assert store.searches == 1


async def test_every_write_to_the_collection_makes_searches_anew(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    await engine.add(TENANT, memory("hello", id="b"))

    async def searched_anew() -> bool:
        before = store.searches
        await search(engine, "hello")
        assert store.searches <= before + 1
        return store.searches > before

    assert await searched_anew()
    assert not await searched_anew()
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: engine.add(TENANT, memory("new", id="c")),
        lambda: engine.add(TENANT, memory("new", id="c")),
        lambda: engine.add_many(TENANT, [memory("new"), memory("bad")]),
        lambda: engine.add_all(TENANT, [memory("new"), memory("newer")]),
        lambda: update(engine, "a", metadata={"n": 1}),
        lambda: update(engine, "a", content="hello there"),
        lambda: engine.delete(TENANT, "default", "a"),
        lambda: delete(engine, ids=["b"]),
        lambda: delete(engine, everything=True),
        lambda: engine.catalog.drop_collection(TENANT, "default"),
    ]
    for change in writes[:-1]:
        await change()
        assert await searched_anew()
        assert not await searched_anew()
    await writes[-1]()
    assert await found(engine, "hello") == []
    await engine.add(TENANT, memory("hello", id="z"))
    assert await found(engine, "hello") == ["z"]


async def test_writes_elsewhere_leave_results_as_they_are(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    await search(engine, "hello")
    await engine.add(TENANT, memory("hello", id="b", collection="other"))
    await engine.add(Caller("another"), memory("hello", id="c"))
    await delete(engine, collection="other", everything=True)
    await engine.catalog.drop_collection(Caller("another"), "default")
    await engine.catalog.put_collection(TENANT, "third", m.CollectionInput())
    assert await found(engine, "hello") == ["a"]
    assert store.searches == 1
    assert await found(engine, "hello", collection="other") == []
    assert await found(engine, "hello", tenant=Caller("another")) == []


async def test_a_search_that_a_write_overtook_is_kept_for_nobody(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    store.search_gate.clear()
    early = asyncio.ensure_future(found(engine, "hello"))
    await until(lambda: store.searches == 1)
    await asyncio.sleep(0.02)  # it has read, and holds its answer
    await engine.add(TENANT, memory("hello", id="b"))
    late = asyncio.ensure_future(found(engine, "hello"))
    await until(lambda: store.searches == 2)
    store.search_gate.set()
    assert set(await late) == {"a", "b"}
    assert "a" in await early
    assert set(await found(engine, "hello")) == {"a", "b"}


async def test_a_kept_result_ends_with_its_first_memory(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="b"))
    for seconds in (0.2, 1.0, 5.0):
        soon = datetime.now(UTC) + timedelta(seconds=seconds)
        await engine.add(TENANT, memory("hello", id="a", expires_at=soon))
        both = [await found(engine, "hello"), await found(engine, "hello")]
        if datetime.now(UTC) < soon:  # otherwise the machine was busy: give it more time
            break
    assert [set(one) for one in both] == [{"a", "b"}] * 2
    before = store.searches
    await found(engine, "hello")
    assert store.searches == before or datetime.now(UTC) >= soon  # kept until then
    await asyncio.sleep((soon - datetime.now(UTC)).total_seconds() + 0.02)
    assert await found(engine, "hello") == ["b"]
    with pytest.raises(NotFound):
        await got(engine, "a")


async def test_without_a_cache_every_search_is_computed(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    limits = Limits(result_cache_size=0, embedding_cache_size=0)
    engine = Engine(store, embedder, limits)
    await engine.add(TENANT, memory("hello", id="a"))
    assert await found(engine, "hello") == await found(engine, "hello") == ["a"]
    assert store.searches == 2
    assert embedder.texts == ["hello"] * 3
    await engine.close()


# Reading


async def test_a_memory_is_got_by_its_id(engine: Engine) -> None:
    with pytest.raises(NotFound, match="default"):
        await got(engine, "a")
    await engine.add_many(TENANT, [memory(name, id=name) for name in "abc"])
    with pytest.raises(NotFound, match="nobody"):
        await got(engine, "nobody")
    many = m.GetManyRequest(ids=["c", "nobody", "a"])
    assert [one.content for one in await engine.get_many(TENANT, many)] == ["c", "a"]
    assert [one.embedding for one in await engine.get_many(TENANT, many)] == [None, None]
    elsewhere = m.GetManyRequest(ids=["a"], collection="not there")
    assert await engine.get_many(TENANT, elsewhere) == []


async def test_pages_join_by_cursor_and_by_offset(engine: Engine) -> None:
    names = [f"r{n}" for n in range(23)]
    await engine.add_many(TENANT, [memory(one, id=one, user_id="u") for one in names])
    for order in ("asc", "desc"):
        joined: list[str] = []
        query: dict[str, Any] = {"order": order, "limit": 5, "user_id": "u"}
        while True:
            page = await engine.page(TENANT, m.ListQuery.model_validate(query))
            assert page.total == 23
            joined += [one.id for one in page.memories]
            if page.next_cursor is None:
                break
            query["cursor"] = page.next_cursor
        assert joined == (names if order == "asc" else names[::-1])
    assert await listed(engine, offset=20, limit=5) == names[20:]
    page = await engine.page(TENANT, m.ListQuery(limit=5, include_total=False))
    assert page.total is None
    with pytest.raises(InvalidCursor):
        await listed(engine, cursor=page.next_cursor, order="desc")
    with pytest.raises(InvalidRequest, match="one of them"):
        await listed(engine, cursor=page.next_cursor, offset=1)


async def test_a_collection_that_is_not_there_lists_nothing(engine: Engine) -> None:
    page = await engine.page(TENANT, m.ListQuery(collection="not there"))
    assert (page.memories, page.total, page.next_cursor) == ([], 0, None)
    page = await engine.page(TENANT, m.ListQuery(collection="not there", include_total=False))
    assert page.total is None
    assert await engine.catalog.collections(TENANT) == []


# Changing


async def test_a_new_content_gets_a_new_vector(engine: Engine, embedder: FakeEmbedder) -> None:
    first = await engine.add(TENANT, memory("one", id="a", metadata={"n": 1}))
    after = await update(engine, "a", content="two")
    assert (after.content, after.metadata, after.created_at) == ("two", {"n": 1}, first.created_at)
    assert after.updated_at > first.updated_at
    assert (await got(engine, "a")).embedding == pytest.approx(vector_of("two"))
    assert embedder.texts == ["one", "two"]
    (hit,) = await search(engine, "two", mode="dense")
    assert hit.score == pytest.approx(1, abs=1e-6)


async def test_a_new_date_gets_a_new_vector_and_other_fields_none(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    await engine.add(TENANT, memory("lunch", id="a"))
    for fields in (
        {"metadata": {"n": 1}},
        {"type": "t", "importance": 0.5},
        {"expires_at": "2100-01-01T00:00:00Z"},
        {"content": "lunch"},
        {"event_at": None},
    ):
        await update(engine, "a", **fields)
    assert embedder.texts == ["lunch"]
    await update(engine, "a", event_at="2023-05-08T12:00:00Z")
    await update(engine, "a", event_at="2023-05-08T13:00:00Z")
    assert embedder.texts == ["lunch", "[8 May 2023] lunch"]
    assert (await got(engine, "a")).embedding == pytest.approx(vector_of("[8 May 2023] lunch"))


async def test_the_callers_vectors_stay_the_callers(engine: Engine, embedder: FakeEmbedder) -> None:
    await engine.add(TENANT, memory("one", id="a", embedding=[1.0, 0.0]))
    with pytest.raises(EmbedderMismatch, match="new text"):
        await update(engine, "a", content="two")
    assert (await got(engine, "a")).content == "one"
    await update(engine, "a", content="one", event_at="2023-05-08T12:00:00Z", metadata={"n": 1})
    assert (await got(engine, "a")).embedding == [1, 0]
    await update(engine, "a", content="two", embedding=[0.0, 1.0])
    changed = await got(engine, "a")
    assert (changed.content, changed.embedding) == ("two", [0, 1])
    await update(engine, "a", embedding=[1.0, 1.0])
    assert (await got(engine, "a")).embedding == [1, 1]
    with pytest.raises(DimensionMismatch):
        await update(engine, "a", embedding=[1.0])
    assert embedder.texts == []

    await engine.add(TENANT, memory("text", id="b", collection="text"))
    with pytest.raises(EmbedderMismatch):
        await update(engine, "b", where="text", embedding=[1.0] * DIMENSION)
    with pytest.raises(EmbedderMismatch):
        await update(engine, "b", where="text", content="x", embedding=[1.0] * DIMENSION)
    assert (await got(engine, "b", "text")).content == "text"


async def test_what_is_not_there_cannot_be_changed(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await update(engine, "a", content="x")
    await engine.add(TENANT, memory("one", id="a"))
    with pytest.raises(NotFound):
        await update(engine, "b", content="x")
    with pytest.raises(NotFound):
        await update(engine, "a", where="other", content="x")
    with pytest.raises(InvalidRequest):
        await update(engine, "a")
    await update(engine, "a", expires_at="2020-01-01T00:00:00Z")
    with pytest.raises(NotFound):
        await update(engine, "a", expires_at=None)
    assert await listed(engine) == []


async def test_what_is_deleted_while_it_is_embedded_stays_deleted(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    await engine.add(TENANT, memory("one", id="a"))
    embedder.gate.clear()
    changing = asyncio.ensure_future(update(engine, "a", content="two"))
    await until(lambda: "two" in embedder.texts)
    await engine.delete(TENANT, "default", "a")
    embedder.gate.set()
    with pytest.raises(NotFound):
        await changing
    assert await listed(engine) == []


@pytest.mark.parametrize("first", ["content", "date", "upsert"])
async def test_changes_at_once_leave_the_vector_of_what_is_there(
    engine: Engine, embedder: FakeEmbedder, first: str
) -> None:
    """Whichever ends first, the vector in the end is that of the text in the end."""
    date = {"event_at": "2023-05-08T12:00:00Z"}
    await engine.add(TENANT, memory("one", id="a"))
    if first == "upsert":
        await engine.add(TENANT, memory("upserted", id="elsewhere"))  # its vector is known
    embedder.gate.clear()
    slow = asyncio.ensure_future(
        update(engine, "a", **(date if first == "content" else {"content": "two"}))
    )
    await until(lambda: len(embedder.texts) >= 2)
    if first == "upsert":
        await engine.add(TENANT, memory("upserted", id="a"))
    fast = asyncio.ensure_future(
        update(engine, "a", **({"content": "two"} if first == "content" else date))
    )
    await settle()
    embedder.gate.set()
    await asyncio.gather(slow, fast)
    assert (await got(engine, "a")).content == "two"
    assert (await got(engine, "a")).event_at == datetime(2023, 5, 8, 12, tzinfo=UTC)
    assert (await got(engine, "a")).embedding == pytest.approx(vector_of("[8 May 2023] two"))


async def test_an_update_that_others_keep_overtaking_gives_up(
    engine: Engine, embedder: FakeEmbedder, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("start", id="a"))
    others = Engine(store, FakeEmbedder())
    turns = iter(range(1_000))

    async def overtake() -> None:
        await others.add(TENANT, memory(f"other {next(turns)}", id="a"))

    embedder.before = overtake
    with pytest.raises(Unavailable):
        await update(engine, "a", event_at="2023-05-08T12:00:00Z")
    stored = await got(engine, "a")
    assert stored.event_at is None
    assert stored.embedding == pytest.approx(vector_of(stored.content))
    embedder.before = None
    await update(engine, "a", event_at="2023-05-08T12:00:00Z")
    expected = vector_of(f"[8 May 2023] {stored.content}")
    assert (await got(engine, "a")).embedding == pytest.approx(expected)
    await others.close()


# Deleting


async def test_a_memory_is_deleted_once(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    assert await engine.delete(TENANT, "default", "b") == 0
    assert await engine.delete(TENANT, "other", "a") == 0
    assert await engine.delete(TENANT, "default", "a") == 1
    assert await engine.delete(TENANT, "default", "a") == 0
    assert await found(engine, "hello") == []


async def test_a_deletion_says_what_it_deletes(engine: Engine) -> None:
    def fill() -> Awaitable[object]:
        return engine.add_many(
            TENANT,
            [
                memory("x", id="a", user_id="u", metadata={"n": 1}),
                memory("x", id="b", user_id="u", session_id="s", metadata={"n": 2}),
                memory("x", id="c", agent_id="g", metadata={"n": 2}),
            ],
        )

    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"ids": ["a", "nobody"]}, {"b", "c"}),
        ({"ids": []}, {"a", "b", "c"}),
        ({"filters": {"n": 2}}, {"a"}),
        ({"user_id": "u"}, {"c"}),
        ({"agent_id": "g"}, {"a", "b"}),
        ({"session_id": "s"}, {"a", "c"}),
        ({"user_id": "u", "filters": {"n": 2}, "ids": ["a", "b", "c"]}, {"a", "c"}),
        ({"everything": True}, set()),
    ]
    for criteria, left in cases:
        await fill()
        before = set(await listed(engine))
        assert before == {"a", "b", "c"}
        assert await delete(engine, **criteria) == 3 - len(left)
        assert set(await listed(engine)) == left
        assert set(await found(engine, "x")) == left


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"filters": {}},
        {"everything": True, "user_id": "u"},
        {"everything": True, "ids": ["a"]},
        {"everything": True, "ids": []},
        {"everything": True, "filters": {"n": 1}},
    ],
)
async def test_a_deletion_without_or_with_too_many_criteria_is_refused(
    engine: Engine, criteria: dict[str, Any]
) -> None:
    await engine.add(TENANT, memory("x", id="a", user_id="u", metadata={"n": 1}))
    with pytest.raises(InvalidRequest):
        await delete(engine, **criteria)
    assert await listed(engine) == ["a"]


# Bounds and the end


async def test_past_its_bound_a_request_is_refused_whole(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder, Limits(max_pending=10, write_batch=4))
    await engine.add(TENANT, memory("hello", id="first"))
    store.write_gate.clear()
    accepted = [
        asyncio.ensure_future(engine.add(TENANT, memory("hello", id=f"r{n}"))) for n in range(8)
    ]
    await settle()
    three = [memory("hello", id=f"x{n}") for n in range(3)]
    with pytest.raises(Overloaded) as overloaded:
        await engine.add_many(TENANT, three)
    assert overloaded.value.retry_after
    two = asyncio.ensure_future(
        engine.add_many(TENANT, [memory("hello", id=f"y{n}") for n in range(2)])
    )
    await settle()
    for one in (
        engine.add(TENANT, memory("hello", id="x9")),
        engine.delete(TENANT, "default", "first"),
        delete(engine, everything=True),
        engine.catalog.drop_collection(TENANT, "default"),
        update(engine, "first", metadata={"n": 1}),
    ):
        with pytest.raises(Overloaded):
            await one
    assert await found(engine, "hello") == ["first"]  # reading goes on
    store.write_gate.set()
    await asyncio.gather(*accepted)
    assert [one.status for one in await two] == ["stored"] * 2
    expected = ["first", *(f"r{n}" for n in range(8)), "y0", "y1"]
    assert await listed(engine) == expected
    assert (await got(engine, "first")).metadata == {}
    await engine.add(TENANT, memory("hello", id="x9"))  # there is room again
    await engine.close()


async def test_texts_past_the_bound_are_neither_embedded_nor_stored(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder, Limits(max_pending=5, embed_batch=2))
    embedder.gate.clear()
    accepted = [
        asyncio.ensure_future(engine.add(TENANT, memory(f"text {n}", id=f"r{n}"))) for n in range(5)
    ]
    await settle()
    with pytest.raises(Overloaded):
        await engine.add(TENANT, memory("too much", id="x"))
    results = await engine.add_many(TENANT, [memory(f"more {n}") for n in range(6)])
    # Not "overloaded": however often they were sent again, there would be no room.
    assert {one.error.code for one in results if one.error} == {"payload_too_large"}
    assert [one.status for one in results] == ["failed"] * 6
    many = [memory("many", id=f"m{n}", index_texts=[f"{n} a", f"{n} b"]) for n in range(3)]
    with pytest.raises(PayloadTooLarge, match="at most 5: send fewer"):
        await engine.add_all(TENANT, many)
    embedder.gate.set()
    await asyncio.gather(*accepted)
    assert sorted(await listed(engine)) == [f"r{n}" for n in range(5)]
    assert sorted(embedder.texts) == [f"text {n}" for n in range(5)]
    await engine.add(TENANT, memory("too much", id="x"))
    await engine.close()


async def test_closing_finishes_what_was_accepted(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder, Limits(write_batch=3))
    await engine.add(TENANT, memory("hello", id="first"))
    store.write_gate.clear()
    accepted = [
        asyncio.ensure_future(engine.add(TENANT, memory("hello", id=f"r{n}"))) for n in range(20)
    ]
    await settle()
    closing = asyncio.ensure_future(engine.close())
    await settle()
    assert not closing.done()
    with pytest.raises(Overloaded):
        await engine.add(TENANT, memory("hello", id="x"))
    store.write_gate.set()
    await closing
    assert [(await one).id for one in accepted] == [f"r{n}" for n in range(20)]
    assert await listed(engine) == ["first", *(f"r{n}" for n in range(20))]
    await engine.close()


async def test_closing_finishes_what_is_being_embedded(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    engine = Engine(store, embedder)
    await engine.add(TENANT, memory("hello", id="first"))
    embedder.gate.clear()
    changing = asyncio.ensure_future(update(engine, "first", content="changed"))
    await until(lambda: "changed" in embedder.texts)
    accepted = [
        asyncio.ensure_future(engine.add(TENANT, memory(f"text {n}", id=f"r{n}"))) for n in range(3)
    ]
    batch = asyncio.ensure_future(
        engine.add_many(TENANT, [memory(f"more {n}", id=f"s{n}") for n in range(3)])
    )
    await settle()
    closing = asyncio.ensure_future(engine.close())
    await settle()
    embedder.gate.set()
    await closing
    outcomes = await asyncio.gather(changing, batch, *accepted, return_exceptions=True)
    assert [one for one in outcomes if isinstance(one, BaseException)] == []
    assert set(await listed(engine)) == {"first", "r0", "r1", "r2", "s0", "s1", "s2"}
    assert (await got(engine, "first")).content == "changed"


async def test_a_caller_that_leaves_does_not_take_its_write_with_it(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("hello", id="first"))
    store.write_gate.clear()
    leaving = asyncio.ensure_future(engine.add(TENANT, memory("hello", id="a")))
    staying = asyncio.ensure_future(engine.add(TENANT, memory("hello", id="b")))
    await settle()
    leaving.cancel()
    await settle()
    store.write_gate.set()
    assert (await staying).id == "b"
    assert await listed(engine) == ["first", "a", "b"]


# Everything at once


async def test_a_search_after_an_answer_sees_it_whatever_else_goes_on(
    store: WatchedStore, embedder: FakeEmbedder
) -> None:
    """15 tasks of 40 changes, each followed by searches that must show that very change.

    Each task owns its user's memories, and so knows what every search must say of them; the
    searches of all share the caches, and the search over all users is the same for everybody.
    """
    engine = Engine(store, embedder, Limits(result_cache_size=200, embedding_cache_size=100))
    await engine.add(TENANT, memory("common zero", id="anchor", user_id="anchor"))
    checked = asked = 0

    async def answered(**fields: Any) -> Any:
        body = await engine.search(TENANT, m.SearchRequest.model_validate(fields))
        return json.loads(body)["hits"]

    async def work(number: int) -> None:
        nonlocal checked, asked
        chance = random.Random(number)
        user = f"u{number}"
        mine: dict[str, str] = {}
        for step in range(40):
            name = f"{user}-{chance.randrange(4)}"
            word = f"w{number}x{step}"
            content = f"common {word}"
            action = chance.choice(["add", "add", "batch", "update", "delete", "deletes"])
            gone = mine.get(name)
            if action == "add":
                await engine.add(TENANT, memory(content, id=name, user_id=user))
                mine[name] = content
            elif action == "batch":
                other = f"{user}-extra"
                both = [
                    memory(content, id=name, user_id=user),
                    memory(f"{content} too", id=other, user_id=user),
                ]
                assert all(one.status != "failed" for one in await engine.add_many(TENANT, both))
                mine |= {name: content, other: f"{content} too"}
            elif action == "update":
                if name in mine:
                    await update(engine, name, content=content)
                    mine[name] = content
                else:
                    with pytest.raises(NotFound):
                        await update(engine, name, content=content)
            elif action == "delete":
                assert await engine.delete(TENANT, "default", name) == (name in mine)
                mine.pop(name, None)
            else:
                filters = {"@content": {"$contains": f"w{number}x"}}
                assert await delete(engine, user_id=user, filters=filters) == len(mine)
                mine.clear()

            for hits in await asyncio.gather(
                answered(query="common", user_id=user, mode="sparse"),
                answered(query="common", user_id=user),
                answered(query=content, user_id=user, mode="dense", limit=50),
                answered(query="common", limit=1_000, mode="sparse"),
                answered(query="common", limit=1_000, filters={"@user_id": {"$ne": "x"}}),
            ):
                shown = {hit["id"]: hit["content"] for hit in hits if hit["user_id"] == user}
                assert shown == mine
                checked += 1
            asked += 5
            if name in mine and mine[name] == content:
                asked += 1
                (best, *_) = await search(engine, content, user_id=user, mode="dense")
                assert best.id == name
                assert best.score == pytest.approx(1, abs=1e-6)
            if gone is not None:
                asked += 1
                hits = await search(engine, gone.split()[1], mode="sparse", limit=50)
                assert {hit.content for hit in hits} <= set(mine.values())

    await asyncio.gather(*(work(number) for number in range(15)))
    assert checked == 15 * 40 * 5
    assert store.searches < asked  # the caches did take part
    await engine.close()


# What a memory is found by, where it is, and how long it lives


async def test_texts_of_choice_are_embedded_in_place_of_the_content(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    texts = ["apples", "boats"]
    added = memory("everything", id="a", index_texts=texts, event_at="2023-05-08T12:00:00Z")
    await engine.add(TENANT, added)
    dated = [f"[8 May 2023] {text}" for text in texts]
    assert embedder.texts == dated
    stored = await got(engine, "a")
    assert (stored.content, stored.index_texts) == ("everything", texts)
    vectors = [vector_of(text) for text in dated]
    assert stored.embeddings is not None
    np.testing.assert_allclose(stored.embeddings, vectors, rtol=1e-6)
    assert stored.embedding == stored.embeddings[0]
    for text in dated:
        (hit,) = await search(engine, text, mode="dense")
        assert hit.score == pytest.approx(1)
    assert await found(engine, "everything", mode="sparse") == []
    await update(engine, "a", content="something else")
    assert embedder.texts == dated  # nothing new to embed, for the queries neither
    await update(engine, "a", index_texts=["boats", "cars"])
    assert embedder.texts[2:] == ["[8 May 2023] cars"]
    await update(engine, "a", index_texts=None, event_at=None)
    assert embedder.texts[3:] == ["something else"]
    assert (await got(engine, "a")).embeddings is None
    assert await found(engine, "something", mode="sparse") == ["a"]


async def test_what_has_no_texts_is_listed_and_not_found(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    await engine.add(TENANT, memory("word", id="a", index_texts=[]))
    await engine.add(TENANT, memory("word", id="b"))
    assert embedder.texts == ["word"]
    assert await listed(engine) == ["a", "b"]
    for mode in ("dense", "sparse", "hybrid"):
        assert await found(engine, "word", mode=mode) == ["b"]
    await update(engine, "b", index_texts=[])
    await update(engine, "a", index_texts=None)
    assert await found(engine, "word") == ["a"]
    assert (await got(engine, "b")).embedding is None


async def test_several_vectors_of_the_callers(engine: Engine) -> None:
    pair = [[1.0, 0.0], [0.0, 1.0]]
    await engine.add(TENANT, memory("x", id="a", embeddings=pair))
    await engine.add(TENANT, memory("y", id="b", embedding=[1.0, 1.0]))
    await engine.add(TENANT, memory("z", id="c", index_texts=[]))  # may go without
    with pytest.raises(EmbedderMismatch):
        await engine.add(TENANT, memory("z", id="d"))
    hits = await search(engine, embedding=[0.0, 2.0], include_embeddings=True)
    assert {hit.id: hit.score for hit in hits} == pytest.approx({"a": 1, "b": 0.5**0.5})
    assert (hits[0].embedding, hits[0].embeddings) == (pair[0], pair)
    assert (hits[1].embedding, hits[1].embeddings) == ([1, 1], None)
    with pytest.raises(EmbedderMismatch):
        await update(engine, "c", index_texts=["new"])
    await update(engine, "c", index_texts=["new"], embeddings=[[0.0, 1.0]])
    await update(engine, "a", index_texts=[])
    assert await found(engine, embedding=[0.0, 2.0]) == ["c", "b"]
    with pytest.raises(DimensionMismatch):
        await update(engine, "b", embeddings=[[1.0], [2.0]])


async def test_what_has_no_texts_goes_into_a_batch_with_vectors(engine: Engine) -> None:
    def batch(where: str) -> list[m.MemoryInput]:
        without = memory("x", id="a", index_texts=[], collection=where)
        return [without, memory("y", id="b", embedding=[1.0, 0.0], collection=where)]

    for where, memories in (("first", batch("first")), ("last", batch("last")[::-1])):
        results = await engine.add_all(TENANT, memories)
        assert [one.status for one in results] == ["stored"] * 2
        assert await found(engine, embedding=[1.0, 0.0], collection=where) == ["b"]
    results = await engine.add_many(TENANT, batch("singly")[::-1])
    assert [one.status for one in results] == ["stored"] * 2
    with pytest.raises(EmbedderMismatch):
        await engine.add_all(TENANT, [*batch("new"), memory("z", id="c", collection="new")])


async def test_what_no_search_finds_takes_no_vectors(engine: Engine) -> None:
    for given in ({"embedding": [1.0, 0.0]}, {"embeddings": [[1.0, 0.0]]}):
        with pytest.raises(ValueError, match="no search finds"):
            memory("x", id="a", index_texts=[], **given)
        with pytest.raises(ValueError, match="no search finds"):
            m.MemoryUpdate.model_validate({"index_texts": [], **given})
    await engine.catalog.put_collection(
        TENANT, "default", m.CollectionInput(embedder="client", dimension=2)
    )
    await engine.add(TENANT, memory("x", id="a", index_texts=[]))
    with pytest.raises(InvalidRequest, match="give index_texts too"):
        await update(engine, "a", embedding=[1.0, 0.0])
    assert await found(engine, embedding=[1.0, 0.0]) == []
    await update(engine, "a", index_texts=None, embedding=[1.0, 0.0])
    assert await found(engine, embedding=[1.0, 0.0]) == ["a"]


async def test_one_text_of_several_that_fails_fails_its_memory_alone(engine: Engine) -> None:
    results = await engine.add_many(
        TENANT,
        [
            memory("x", id="a", index_texts=["good", "bad"]),
            memory("y", id="b", index_texts=["good", "better"]),
            memory("z", id="c", index_texts=["bad", "good"]),
        ],
    )
    assert [one.status for one in results] == ["failed", "stored", "failed"]
    assert await listed(engine) == ["b"]


async def test_every_read_can_start_a_life_anew(engine: Engine, store: WatchedStore) -> None:
    def lives(one: m.Memory) -> float:
        assert one.expires_at is not None
        return one.expires_at.timestamp()

    first = await engine.add(TENANT, memory("x", id="a", ttl=3_600))
    assert first.ttl == 3_600
    assert lives(first) == pytest.approx(first.created_at.timestamp() + 3_600)
    await engine.add(TENANT, memory("y", id="b", expires_at="2100-01-01T00:00:00Z"))
    (seen,) = await search(engine, "x", limit=1)
    assert lives(seen) == lives(first)  # without being asked to, nothing changes

    fresh = m.GetQuery(refresh_ttl=True)
    many = m.GetManyRequest(ids=["a", "b"], refresh_ttl=True)
    latest = lives(first)
    for _ in range(2):  # the second search is equal to the first, and yet refreshes
        (hit,) = await search(engine, "x", limit=1, refresh_ttl=True)
        page = await engine.page(TENANT, m.ListQuery(refresh_ttl=True))
        reads = [hit, await engine.get(TENANT, "a", fresh), page.memories[0]]
        reads += (await engine.get_many(TENANT, many))[:1]
        times_ = [lives(one) for one in reads]
        assert min(times_) > latest
        latest = max(times_)
    assert lives(await got(engine, "a")) == latest
    assert str((await got(engine, "b")).expires_at) == "2100-01-01 00:00:00+00:00"
    (now_seen,) = await search(engine, "x", limit=1)
    assert lives(now_seen) == latest


async def test_a_new_expiry_ends_the_sliding_and_a_new_ttl_begins_it(engine: Engine) -> None:
    await engine.add(TENANT, memory("x", id="a", ttl=60))
    fixed = await update(engine, "a", expires_at="2100-01-01T00:00:00Z")
    assert (fixed.ttl, str(fixed.expires_at)) == (None, "2100-01-01 00:00:00+00:00")
    sliding = await update(engine, "a", ttl=10)
    assert (sliding.ttl, sliding.expires_at) == (10, sliding.updated_at + timedelta(seconds=10))
    lasting = await update(engine, "a", ttl=None)
    assert (lasting.ttl, lasting.expires_at) == (None, None)


async def test_namespaces_are_listed_and_searched(engine: Engine) -> None:
    for path in (["a", "b"], ["a", "c"], ["b"]):
        await engine.add(TENANT, memory("x", id="/".join(path), namespace=path))
    await engine.add(Caller("another"), memory("x", namespace=["theirs"]))
    query = m.NamespacesQuery(prefix=["a", "*"])
    assert (await engine.catalog.namespaces(TENANT, query)).namespaces == [["a", "b"], ["a", "c"]]
    assert (
        await engine.catalog.namespaces(TENANT, m.NamespacesQuery(collection="no"))
    ).namespaces == []
    assert set(await found(engine, "x", namespace=["a"])) == {"a/b", "a/c"}
    assert await listed(engine, namespace=["a", "c"]) == ["a/c"]
    assert await delete(engine, namespace=["a"]) == 2
    assert await listed(engine) == ["b"]


async def test_sessions_are_paged(engine: Engine) -> None:
    for number in range(5):
        await engine.add(TENANT, memory("x", session_id=f"s{number // 2}", user_id="u"))
    first = await engine.catalog.sessions(TENANT, m.SessionsQuery(limit=2))
    assert [(one.session_id, one.memories) for one in first.sessions] == [("s0", 2), ("s1", 2)]
    assert first.next_after == "s1"
    last = await engine.catalog.sessions(TENANT, m.SessionsQuery(limit=2, after="s1"))
    assert [(one.session_id, one.memories) for one in last.sessions] == [("s2", 1)]
    assert last.next_after is None
    assert (await engine.catalog.sessions(TENANT, m.SessionsQuery(user_id="v"))).sessions == []
    assert (await engine.catalog.sessions(Caller("another"), m.SessionsQuery())).sessions == []
    assert (await engine.catalog.sessions(TENANT, m.SessionsQuery(collection="no"))).sessions == []


async def test_an_atomic_batch_may_replace(engine: Engine) -> None:
    await engine.add(TENANT, memory("old", id="1", session_id="s"))
    await engine.add(TENANT, memory("kept", id="2", session_id="t"))
    replacing = m.Criteria(session_id="s")
    await engine.add_all(TENANT, [memory("new", id="3", session_id="s")], replacing)
    assert await listed(engine) == ["2", "3"]
    with pytest.raises(InternalError):
        await engine.add_all(TENANT, [memory("bad", id="4")], m.Criteria(session_id="s"))
    for wrong in (m.Criteria(), m.Criteria(everything=True, ids=["a"])):
        with pytest.raises(InvalidRequest):
            await engine.add_all(TENANT, [memory("x")], wrong)
    with pytest.raises(InvalidRequest, match="one collection"):
        await engine.add_all(TENANT, [memory("x", collection="c")], replacing)
    assert await listed(engine) == ["2", "3"]
    assert await engine.add_all(TENANT, [], replacing) == []
    assert await listed(engine) == ["2"]
    await engine.add_all(TENANT, [memory("x", id="5")], m.Criteria(everything=True))
    assert await listed(engine) == ["5"]


async def test_archiving_answers_what_changed(engine: Engine) -> None:
    for name in "abc":
        await engine.add(TENANT, memory("word", id=name, user_id="u"))
    assert await found(engine, "word", filters={"@archived": True}) == []
    changed = await engine.archive(TENANT, m.ArchiveRequest(ids=["b", "a"], user_id="u"))
    assert [(one.id, one.archived) for one in changed] == [("a", True), ("b", True)]
    assert set(await found(engine, "word", filters={"@archived": True})) == {"a", "b"}
    with pytest.raises(InvalidRequest):
        await engine.archive(TENANT, m.ArchiveRequest())
    back = await engine.archive(TENANT, m.ArchiveRequest(everything=True, archived=False))
    assert [one.id for one in back] == ["a", "b"]


async def test_a_deletion_answers_the_memories_where_asked(engine: Engine) -> None:
    await engine.add(TENANT, memory("x", id="a", payload={"n": 1}))
    request = m.DeleteRequest(ids=["a", "b"], include_memories=True)
    answer = await engine.delete_many(TENANT, request)
    assert answer.memories is not None
    assert [(one.id, one.payload) for one in answer.memories] == [("a", {"n": 1})]
    assert (await engine.delete_many(TENANT, request)).memories == []
    assert (await engine.delete_many(TENANT, m.DeleteRequest(ids=["a"]))).memories is None


async def test_a_change_prepared_for_no_texts_takes_no_new_vectors_away(
    engine: Engine, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change is read before, and written after, another that gives the memory its texts."""
    await engine.add(TENANT, memory("word", id="a", index_texts=[]))
    write, slow = store.write, asyncio.Event()

    async def held_back(writes: Sequence[Write]) -> list[Any]:
        if any(isinstance(one, Update) and "metadata" in one.changes for one in writes):
            await slow.wait()
        return await write(writes)

    monkeypatch.setattr(store, "write", held_back)
    late = Engine(store, FakeEmbedder())
    changing = asyncio.ensure_future(update(late, "a", metadata={"n": 1}))
    await settle()
    await update(engine, "a", index_texts=None)
    slow.set()
    await changing
    await late.close()
    changed = await got(engine, "a")
    assert changed.metadata == {"n": 1}
    assert changed.embedding == pytest.approx(vector_of("word"))


async def test_a_sweep_goes_on_until_nothing_expired_is_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentmem_server.engine.engine._SWEPT_AT_ONCE", 2)
    for _ in range(5):
        await engine.add(TENANT, memory("x", expires_at="2020-01-01T00:00:00Z"))
        await engine.add(Caller("another"), memory("x", expires_at="2020-01-01T00:00:00Z"))
    await engine.add(TENANT, memory("kept", id="kept", ttl=60))
    assert await engine.sweep() == 10
    assert await engine.sweep() == 0
    assert await listed(engine) == ["kept"]


@pytest.mark.parametrize(
    ("ahead", "repeated"),
    [
        ({"index_texts": []}, {"index_texts": None}),
        ({"content": "new", "embedding": [0.0, 1.0]}, {"content": "word"}),
    ],
)
async def test_a_change_that_was_none_gives_no_text_without_the_callers_vector(
    engine: Engine,
    store: WatchedStore,
    monkeypatch: pytest.MonkeyPatch,
    ahead: dict[str, Any],
    repeated: dict[str, Any],
) -> None:
    """One change repeats the text that it read, and another one is written before it."""
    await engine.add(TENANT, memory("word", id="a", embedding=[1.0, 0.0]))
    write, came, go = store.write, asyncio.Event(), asyncio.Event()

    async def held_back(writes: Sequence[Write]) -> list[Any]:
        if any(isinstance(one, Update) and "metadata" in one.changes for one in writes):
            came.set()
            await go.wait()
        return await write(writes)

    monkeypatch.setattr(store, "write", held_back)
    late = Engine(store, FakeEmbedder())
    changing = asyncio.ensure_future(update(late, "a", metadata={"n": 1}, **repeated))
    await came.wait()
    await update(engine, "a", **ahead)
    go.set()
    with pytest.raises(EmbedderMismatch, match="the text changes"):
        await changing
    await late.close()
    stored = await got(engine, "a")
    assert (stored.content, stored.metadata) == (ahead.get("content", "word"), {})
    assert stored.index_texts == ahead.get("index_texts")


async def test_a_search_that_finds_nothing_to_refresh_is_kept(
    engine: Engine, store: WatchedStore
) -> None:
    await engine.add(TENANT, memory("x", id="a"))
    for _ in range(3):
        assert await found(engine, "x", refresh_ttl=True) == ["a"]
    assert store.searches == 1
    await engine.add(TENANT, memory("x", id="b", ttl=60))
    for _ in range(3):
        assert set(await found(engine, "x", refresh_ttl=True)) == {"a", "b"}
    assert store.searches == 4


async def test_a_search_leaves_its_request_as_it_was(engine: Engine) -> None:
    """It is kept for all who ask the same again."""
    for number in range(3):
        fields = {"user_id": "u", "session_id": "s", "metadata": {"n": number}, "ttl": 60}
        await engine.add(TENANT, memory(f"cat {number}", id=f"{number}", **fields))
    request = m.SearchRequest.model_validate(
        {
            "query": "cat",
            "embedding": vector_of("cat").tolist(),
            "user_id": "u",
            "filters": {"$and": [{"n": {"$gte": 0}}, {"$not": {"n": {"$in": [2]}}}]},
            "mmr": {},
            "recency": {"weight": 0.2},
            "importance": {"weight": 0.2},
            "explain": True,
            "include_embeddings": True,
            "refresh_ttl": True,
        }
    )
    before = request.model_dump_json()
    for _ in range(2):
        hits = m.SearchAnswer.model_validate_json(await engine.search(TENANT, request)).hits
        assert {hit.id for hit in hits} == {"0", "1"}
    assert request.model_dump_json() == before


async def test_searches_that_are_known_are_forgotten_with_a_user(engine: Engine) -> None:
    request = m.SearchRequest(query="what ann's doctor said")
    for _ in range(2):
        engine.searching.known.add(b"...", request)
    assert len(engine.searching.known) == 1
    await engine.history.erase(TENANT, "ann")
    assert len(engine.searching.known) == 0


@pytest.mark.parametrize("by", ["query", "embedding"])
async def test_a_search_by_meaning_is_answered_at_once_where_the_store_can(
    engine: Engine, store: WatchedStore, by: str
) -> None:
    """And is what it is otherwise: of each user, after each write."""
    vector = (await engine._embedder.embed_query("text")).vector
    how = {"query": "text"} if by == "query" else {"embedding": b64encode(vector).decode()}

    async def hits(user: str, **fields: Any) -> list[m.Hit]:
        return await search(engine, mode="dense", user_id=user, **how, **fields)

    await engine.add(TENANT, memory("of bob", id="bob", user_id="bob"))
    for number in range(3):
        await engine.add(TENANT, memory(f"of ann {number}", id="ann", user_id="ann"))
        for user, content in (("ann", f"of ann {number}"), ("bob", "of bob")):
            for more in ({}, {"min_score": -1.0}, {"limit": 5}):
                (hit,) = await hits(user, **more)
                assert (hit.id, hit.content) == (user, content)
            (usual,) = await hits(user, explain=True)
            usual.explanation = None
            assert usual == hit
    # The first of each user is not, nor is any that explains; ann's are made anew.
    assert store.at_onces == store.searches - 4 - 6
