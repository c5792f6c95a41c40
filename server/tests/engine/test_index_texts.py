"""What a memory is found by: its content, texts of choice, several vectors, or nothing."""

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_client.errors import DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import (
    TENANT,
    FakeEmbedder,
    found,
    got,
    listed,
    memory,
    search,
    update,
    vector_of,
)


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
