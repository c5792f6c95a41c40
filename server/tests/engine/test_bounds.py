"""What the engine takes on, and that it finishes what it took on."""

import asyncio

import pytest
from agentmem_client.errors import Overloaded, PayloadTooLarge
from agentmem_server.engine.engine import Engine, Limits

from server.tests.engine.engines import (
    TENANT,
    FakeEmbedder,
    WatchedStore,
    delete,
    found,
    got,
    listed,
    memory,
    settle,
    until,
    update,
)


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
