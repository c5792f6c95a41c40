"""Many memories at once: each with an outcome of its own, or all or none."""

import asyncio
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    DimensionMismatch,
    EmbedderMismatch,
    InternalError,
    InvalidRequest,
    Unavailable,
)
from agentmem_server.engine.engine import Engine, Limits

from server.tests.engine.engines import (
    TENANT,
    FakeEmbedder,
    WatchedStore,
    got,
    listed,
    memory,
    vector,
)


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
