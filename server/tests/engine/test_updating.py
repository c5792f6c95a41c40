"""Changes of a memory: its vector is that of its text, whatever comes between."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client.errors import (
    DimensionMismatch,
    EmbedderMismatch,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from agentmem_server.engine.engine import Engine
from agentmem_server.storage import Update, Write

from server.tests.engine.engines import (
    DIMENSION,
    TENANT,
    FakeEmbedder,
    WatchedStore,
    got,
    listed,
    memory,
    search,
    settle,
    until,
    update,
    vector_of,
)


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
