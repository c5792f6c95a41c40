"""The result cache: equal searches are computed once, and never show what is no longer so."""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import NotFound
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine, Limits

from server.tests.engine.engines import (
    DIMENSION,
    TENANT,
    FakeEmbedder,
    WatchedStore,
    delete,
    found,
    got,
    memory,
    search,
    until,
    update,
)


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
