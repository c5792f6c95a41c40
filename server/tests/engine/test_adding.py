"""Adding a memory: how it is stored and answered, and what of it is embedded."""

from datetime import UTC, datetime, timedelta

import pytest
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import TENANT, FakeEmbedder, found, got, memory, vector_of


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
