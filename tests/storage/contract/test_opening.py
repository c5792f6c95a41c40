"""Stores opened, opened again, closed, and asked by many at once."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_server.storage import (
    DropCollection,
    Embedding,
    PutCollection,
    Record,
    SearchRequest,
    Selection,
    Store,
    open_store,
)

from tests.storage.contract.stores import (
    EAST,
    EMBEDDING,
    MAY_8,
    NOTES,
    TENANT,
    UP,
    by_both,
    by_vector,
    changing,
    deleting,
    ids,
    listed,
    near,
    opened,
    put,
    record,
    saying,
    selecting,
    turn,
    vector,
    write,
)

TWO = Embedding("client", None, 2, "euclidean")


@pytest.fixture
async def filled(url: str) -> str:
    """The URL of a closed store with something of everything in it."""
    store = await open_store(url, readers=2)
    chance = np.random.default_rng(5)
    records = [
        record(
            f"r{n}",
            f"word{n} common",
            metadata={"n": n, "tags": [n % 3]},
            user_id=f"u{n % 4}",
            session_id=f"s{n % 2}",
            importance=n / 100,
            event_at=MAY_8 + n,
            created_at=1_000 + n,
            vectors=chance.normal(size=4).astype("<f4").tobytes(),
        )
        for n in range(60)
    ]
    await put(store, *records)
    await write(store, deleting(selecting({"n": {"$between": [50, 59]}})))
    await write(store, changing("r7", UP, content="changed"))
    await put(store, record("x", vectors=vector(3, 4)), collection="two", embedding=TWO)
    await put(store, record("x"), tenant="another", collection="gone")
    await write(store, DropCollection("another", "gone"))
    await write(store, PutCollection("another", "empty", Embedding("server", "m", 7, "dot"), 3))
    await store.close()
    return url


async def test_a_store_opened_again_has_everything(filled: str) -> None:
    async def snapshot() -> list[Any]:
        store = await open_store(filled, readers=2)
        two = await opened(store, "two")
        request = SearchRequest(Selection(), vector(1, 2, 3, 4), ["common"], 50, by_both, True)
        found: list[Any] = [
            (await listed(store, with_vectors=True)).records,
            await store.search(await opened(store), request),
            await store.search(two, SearchRequest(Selection(), vector(0, 0), [], 9, by_vector)),
            await store.collections(TENANT),
            await store.collections("another"),
            await ids(store, selecting({"tags": {"$contains": 1}}, user_id="u1")),
            await saying(store, "changed"),
        ]
        await store.close()
        return found

    first = await snapshot()
    records, hits, close, mine, theirs, selected, changed = first
    assert [one.id for one in records] == [f"r{n}" for n in range(50)]
    assert records[7].vectors == UP
    assert records[7].content == "changed"
    assert records[3].metadata == {"n": 3, "tags": [0]}
    assert {one.id for one, _ in hits} > {one.id for one in records[:5]}
    assert all(one.vectors is not None for one, _ in hits)
    assert [score for _, score in close] == pytest.approx([1 / 6])
    assert [(one.name, one.embedding) for one in mine] == [(NOTES, EMBEDDING), ("two", TWO)]
    assert [(one.name, one.created_at) for one in theirs] == [("empty", 3)]
    assert selected == [f"r{n}" for n in range(50) if n % 4 == 1 and n % 3 == 1]
    assert set(changed) == {"r7", "r11"}  # the next turn of its user and session
    assert await snapshot() == first


async def test_a_store_opened_again_goes_on_where_it_was(filled: str) -> None:
    store = await open_store(filled, readers=2)
    gone = await opened(store)
    await put(store, turn("r59", "again", "s1", "u1"), record("r0", "again"))
    assert (await ids(store))[-1] == "r59"  # after all that were there, not in its old place
    assert (await ids(store))[0] == "r0"
    assert await saying(store, "word59") == []
    assert set(await saying(store, "word49")) == {"r49", "r59"}
    assert len(await near(store, EAST)) == 51
    await write(store, DropCollection(TENANT, NOTES))
    await store.close()
    store = await open_store(filled, readers=2)
    await put(store, record("a"))
    assert (await opened(store)).key != gone.key
    assert await near(store, EAST) == ["a"]
    await store.close()


async def test_closing_finishes_what_was_accepted(url: str) -> None:
    store = await open_store(url, readers=2)
    under_way = [asyncio.create_task(put(store, record(str(n)))) for n in range(30)]
    await asyncio.sleep(0)
    await store.close()
    assert [(await one)[0].created for one in under_way] == [True] * 30
    store = await open_store(url, readers=2)
    assert len(await ids(store)) == 30
    await store.close()


async def test_the_checks_pass_while_the_store_works(store: Store) -> None:
    assert store.checks()
    for check in store.checks().values():
        await check()


async def test_many_writers_and_readers_end_in_the_predicted_state(url: str) -> None:
    """Each of 12 writers owns its ids, so that a dict says what must be there at the end."""
    store = await open_store(url, readers=3)
    await put(store, record("first", "common", vectors=EAST))
    model: dict[str, Record] = {"first": record("first", "common")}
    done = False

    async def writer(number: int) -> None:
        chance = random.Random(number)
        for step in range(40):
            name = f"w{number}-{chance.randrange(6)}"
            along = vector(*[chance.uniform(-1, 1) for _ in range(4)])
            match chance.choice(["put", "put", "update", "delete", "filter"]):
                case "put":
                    new = record(
                        name,
                        f"common step{number}x{step}",
                        metadata={"writer": number, "step": step},
                        user_id=f"u{number}",
                        session_id=chance.choice([None, f"s{number}"]),
                        vectors=along,
                    )
                    (stored,) = await put(store, new)
                    assert stored.created == (name not in model)
                    model[name] = stored.record
                case "update":
                    change = changing(name, along, metadata={"writer": number, "step": -step})
                    after = await write(store, change)
                    assert (after is None) == (name not in model)
                    if after is not None:
                        model[name] = after
                case "delete":
                    deleted = await write(store, deleting(selecting(ids=[name])))
                    assert deleted == (model.pop(name, None) is not None)
                case "filter":
                    old = selecting({"writer": number, "step": {"$lt": step - 20}})
                    going = [
                        one.id
                        for one in model.values()
                        if one.metadata.get("writer") == number and one.metadata["step"] < step - 20
                    ]
                    assert await write(store, deleting(old)) == len(going)
                    for one in going:
                        del model[one]
            mine = {one for one in model if one.startswith(f"w{number}-")}
            assert set(await near(store, EAST, selecting(user_id=f"u{number}"))) == mine
            assert set(await saying(store, "common", selecting(user_id=f"u{number}"))) == mine

    async def reader(number: int) -> None:
        chance = random.Random(1_000 + number)
        while not done:
            scope = selecting(user_id=f"u{chance.randrange(12)}")
            request = SearchRequest(scope, EAST, ["common"], 50, by_both)
            for one, _ in await store.search(await opened(store), request):
                assert one.user_id == scope.scope.user_id
            names = await ids(store)
            assert len(names) == len(set(names))
            assert "first" in await near(store, EAST)

    readers = [asyncio.create_task(reader(number)) for number in range(3)]
    await asyncio.gather(*(writer(number) for number in range(12)))
    done = True
    await asyncio.gather(*readers)

    for _ in range(2):
        records = (await listed(store, with_vectors=True)).records
        assert {one.id: one for one in records} == {**model, "first": records[0]}
        assert len(records) > 20
        assert set(await near(store, EAST)) == set(model)
        found = {one.id for one in records if "common" in one.content}
        assert found <= set(await saying(store, "common"))
        await store.close()
        store = await open_store(url, readers=3)
    await store.close()


async def test_an_index_that_is_built_beside_writes_misses_none(url: str) -> None:
    for round_ in range(10):
        store = await open_store(url, readers=2)
        if round_ == 0:
            await put(store, record("first"))
        names = [f"r{round_}-{n}" for n in range(20)]
        searches = [near(store, EAST) for _ in range(5)]
        await asyncio.gather(*(put(store, record(name)) for name in names), *searches)
        assert set(names) <= set(await near(store, EAST))
        assert len(await near(store, EAST)) == 1 + 20 * (round_ + 1)
        await store.close()


async def test_an_unknown_url_is_refused() -> None:
    for url in ("", "mysql://x", "sqlite:memory.db", "memory.db", "postgresql"):
        with pytest.raises(InvalidRequest):
            await open_store(url, readers=1)
