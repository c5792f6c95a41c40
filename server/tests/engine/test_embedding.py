"""What is asked of the embedder: each text once, many together; and what becomes of its errors."""

import asyncio

import pytest
from agentmem_client import models as m
from agentmem_client.errors import InternalError, Unavailable
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import (
    TENANT,
    FakeEmbedder,
    found,
    listed,
    memory,
    search,
    settle,
    vector,
)


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
