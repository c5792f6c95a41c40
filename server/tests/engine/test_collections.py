"""Collections: made by what comes first or as wished, of one model, listed by what they hold."""

import asyncio
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import (
    Conflict,
    DimensionMismatch,
    EmbedderMismatch,
    InvalidRequest,
    NotFound,
)
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import (
    DIMENSION,
    TENANT,
    FakeEmbedder,
    WatchedStore,
    delete,
    found,
    listed,
    memory,
    search,
    update,
)


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
