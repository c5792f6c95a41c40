"""What has expired is hidden, until it is swept; what is read may live on."""

from agentmem_server.storage import DropCollection, Refresh, Selection, Store, Sweep, open_store

from tests.storage.contract.stores import (
    EAST,
    NOTES,
    SECOND,
    TENANT,
    Clock,
    changing,
    deleting,
    everywhere,
    get,
    ids,
    near,
    opened,
    put,
    record,
    saying,
    selecting,
    write,
)


async def test_what_expired_is_hidden_everywhere(store: Store, clock: Clock) -> None:
    soon = clock.now + SECOND
    mortal = {"metadata": {"n": 1}, "user_id": "u", "expires_at": soon}
    await put(
        store,
        record("a", "word", **mortal),
        record("b", "word", metadata={"n": 1}, user_id="u"),
        record("c", "word", **mortal),
    )
    notes = await opened(store)
    narrowed = selecting({"n": 1}, user_id="u")
    clock.advance(SECOND - 1)
    for selection in (None, selecting(user_id="u"), narrowed):
        assert await everywhere(store, "word", selection) == [{"a", "b", "c"}] * 3

    clock.advance(1)  # from that very moment on
    for selection in (None, selecting(user_id="u"), selecting({"n": 1}), narrowed):
        assert await everywhere(store, "word", selection) == [{"b"}] * 3
        assert await near(store, EAST, selection, depth=1) == ["b"]
        assert await saying(store, "word", selection, depth=1) == ["b"]
    assert [one.id for one in await store.get(notes, ["a", "b", "c"])] == ["b"]
    assert await store.count(notes) == 1
    assert await write(store, changing("a", expires_at=None)) is None
    assert await write(store, deleting(selecting(ids=["a"]))) == 0
    assert await write(store, deleting(narrowed)) == 1
    assert await write(store, deleting(Selection())) == 0
    assert await write(store, DropCollection(TENANT, NOTES)) == 0


async def test_a_new_expiry_counts_at_once(store: Store, clock: Clock) -> None:
    await put(store, record("a", "word"), record("b", "word", expires_at=clock.now + SECOND))
    assert len(await near(store, EAST)) == 2
    await write(store, changing("a", expires_at=clock.now + SECOND))
    await write(store, changing("b", expires_at=None))
    clock.advance(SECOND)
    assert await everywhere(store, "word") == [{"b"}] * 3


async def test_what_expires_is_hidden_when_the_store_is_opened_again(
    url: str, clock: Clock
) -> None:
    store = await open_store(url, readers=1)
    await put(store, record("a", "word", expires_at=clock.now + SECOND), record("b", "word"))
    await store.close()
    store = await open_store(url, readers=1)
    assert await near(store, EAST) == ["b", "a"]
    clock.advance(SECOND)
    assert await everywhere(store, "word") == [{"b"}] * 3
    await store.close()


async def test_a_refresh_starts_the_time_to_live_anew(store: Store, clock: Clock) -> None:
    start = clock.now
    await put(
        store,
        record("sliding", ttl=10, expires_at=start + 10),
        record("fixed", expires_at=start + 10),
        record("lasting"),
        record("late", ttl=5, expires_at=start + 5),
    )
    await near(store, EAST)
    clock.advance(6)
    names = ["sliding", "fixed", "lasting", "late", "unknown"]
    before = await store.version(TENANT, NOTES)
    assert await write(store, Refresh(TENANT, NOTES, names, clock.now)) == 1
    assert await store.version(TENANT, NOTES) > before
    refreshed = await get(store, "sliding")
    assert (refreshed.expires_at, refreshed.ttl) == (start + 16, 10)
    assert (refreshed.updated_at, (await get(store, "fixed")).expires_at) == (start, start + 10)
    clock.advance(9)
    assert await ids(store) == ["sliding", "lasting"]
    assert set(await near(store, EAST)) == {"sliding", "lasting"}
    clock.advance(1)
    assert await ids(store) == ["lasting"]
    assert await near(store, EAST) == ["lasting"]
    assert await write(store, Refresh(TENANT, NOTES, names, clock.now)) == 0
    assert await write(store, Refresh(TENANT, "nowhere", names, clock.now)) == 0


async def test_a_sweep_deletes_what_has_expired_and_nothing_else(
    store: Store, clock: Clock
) -> None:
    start = clock.now
    old = [record(f"old{n}", f"word{n}", expires_at=start + 5, session_id="s") for n in range(5)]
    await put(store, *old, record("new", "other", expires_at=start + 50, session_id="s"))
    await put(
        store, record("lasting", session_id="s"), record("longer", ttl=90, expires_at=start + 90)
    )
    await put(store, record("theirs", expires_at=start + 5), tenant="another", collection="c")
    await near(store, EAST)
    assert await write(store, Sweep(clock.now, 100)) == 0
    clock.advance(5)
    before = await store.version(TENANT, NOTES)
    assert await write(store, Sweep(clock.now, 3)) == 3 + 1  # three of one, one of the other
    assert await write(store, Sweep(clock.now, 3)) == 2
    assert await write(store, Sweep(clock.now, 3)) == 0
    assert await store.version(TENANT, NOTES) == before  # nothing changed for a reader
    assert await ids(store) == ["new", "lasting", "longer"]
    assert set(await near(store, EAST)) == {"new", "lasting", "longer"}
    assert await saying(store, "word4") == []  # the context that the next turn had
    assert await saying(store, "other") == ["lasting", "new"]
