"""Records that are stored, anew or over others."""

from dataclasses import replace

from agentmem_client.errors import DimensionMismatch
from agentmem_server.storage import Store

from tests.storage.contract.stores import (
    EMBEDDING,
    NORTH,
    SECOND,
    Clock,
    get,
    ids,
    near,
    put,
    putting,
    record,
    saying,
    selecting,
    vector,
    write,
)


async def test_one_put_may_name_an_id_twice(store: Store) -> None:
    first, second = await put(store, record("a", "one"), record("a", "two"))
    assert [first.created, second.created] == [True, False]
    assert await ids(store) == ["a"]
    assert await saying(store, "one") == []
    assert await saying(store, "two") == ["a"]


async def test_an_upsert_keeps_created_at_and_seq(store: Store, clock: Clock) -> None:
    start = clock.now
    await put(store, record("a", "one", metadata={"v": 1}, user_id="u"), record("b"))
    clock.advance(SECOND)
    (stored,) = await put(store, record("a", "two", metadata={"w": 2}, vectors=NORTH))
    assert not stored.created
    assert stored.record.created_at == start
    assert stored.record.updated_at == start + SECOND
    assert await ids(store) == ["a", "b"]
    found = await get(store, "a")
    assert found == stored.record
    assert found == record("a", "two", metadata={"w": 2}, vectors=NORTH, created_at=start)
    assert await ids(store, selecting({"v": {"$exists": True}})) == []
    assert await ids(store, selecting({"w": 2})) == ["a"]
    assert await ids(store, selecting(user_id="u")) == []
    assert await saying(store, "one") == []
    assert await saying(store, "two") == ["a"]
    assert await near(store, NORTH) == ["a", "b"]


async def test_an_upsert_over_an_expired_record_is_new(store: Store, clock: Clock) -> None:
    old = record("a", "one", metadata={"v": 1}, expires_at=clock.now + SECOND, session_id="s")
    await put(store, old, record("b", session_id="s"))
    assert set(await saying(store, "one")) == {"a", "b"}
    clock.advance(SECOND)
    (stored,) = await put(store, record("a", "two", vectors=NORTH))
    assert stored.created
    assert stored.record.created_at == clock.now
    assert await ids(store) == ["b", "a"]
    assert await ids(store, selecting({"v": 1})) == []
    assert await saying(store, "one") == []
    assert await near(store, NORTH) == ["a", "b"]


async def test_a_put_replaces_what_it_selects_in_one_step(store: Store) -> None:
    await put(store, record("1", session_id="s"), record("2", session_id="s"), record("3"))
    whole = putting(record("2", session_id="s"), record("4", session_id="s"))
    outcome = await write(store, replace(whole, replacing=selecting(session_id="s")))
    assert [(one.record.id, one.created) for one in outcome] == [("2", True), ("4", True)]
    assert await ids(store) == ["3", "2", "4"]
    refused = replace(
        putting(record("5", vectors=vector(1, 2)), embedding=replace(EMBEDDING, dimension=2)),
        replacing=selecting(session_id="s"),
    )
    (error,) = await store.write([refused])
    assert isinstance(error, DimensionMismatch)
    assert await ids(store) == ["3", "2", "4"]
