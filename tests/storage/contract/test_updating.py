"""Changes of fields of a record that is there."""

from dataclasses import replace
from typing import Any

from agentmem_server.storage import STALE, Record, Store

from tests.storage.contract.stores import (
    EAST,
    MAY_8,
    NORTH,
    NOTES,
    SECOND,
    TENANT,
    UP,
    Clock,
    changing,
    get,
    ids,
    near,
    put,
    record,
    saying,
    selecting,
    write,
)


async def test_an_update_changes_what_it_names(store: Store, clock: Clock) -> None:
    start = clock.now
    before = record("a", "one", metadata={"v": 1}, type="t", importance=0.5, user_id="u")
    await put(store, before, record("b", "other"))
    clock.advance(SECOND)
    after = await write(store, changing("a", content="two", type=None, event_at=7))
    assert after == replace(
        before, content="two", type=None, event_at=7, updated_at=start + SECOND, vectors=None
    )
    assert await get(store, "a") == replace(after, vectors=EAST)
    assert await saying(store, "one") == []
    assert await saying(store, "two") == ["a"]
    assert await ids(store, selecting({"v": 1}, user_id="u")) == ["a"]
    assert await ids(store) == ["a", "b"]

    await write(store, changing("a", NORTH, metadata={"w": [True]}))
    assert await ids(store, selecting({"v": 1})) == []
    assert await ids(store, selecting({"w": {"$contains": True}})) == ["a"]
    assert await near(store, NORTH) == ["a", "b"]
    assert (await get(store, "a")).vectors == NORTH


async def test_an_update_tells_one_from_true_and_from_one_point_zero(store: Store) -> None:
    await put(store, record("a", metadata={"v": 1}))
    await write(store, changing("a", metadata={"v": True}))
    assert await ids(store, selecting({"v": True})) == ["a"]
    assert await ids(store, selecting({"v": 1})) == []
    await write(store, changing("a", metadata={"v": 1.0}))
    assert repr((await get(store, "a")).metadata) == "{'v': 1.0}"
    assert await ids(store, selecting({"v": 1})) == ["a"]
    assert await ids(store, selecting({"v": True})) == []


async def test_an_update_of_what_is_not_there_answers_none(store: Store, clock: Clock) -> None:
    assert await write(store, changing("a", content="x")) is None
    assert await store.collection(TENANT, NOTES) is None
    await put(store, record("a", expires_at=clock.now + SECOND))
    assert await write(store, changing("b", content="x")) is None
    clock.advance(SECOND)
    assert await write(store, changing("a", expires_at=None)) is None
    assert await ids(store) == []


async def test_an_update_for_a_text_that_is_no_longer_there_changes_nothing(store: Store) -> None:
    await put(store, record("a", "one", metadata={"v": 1}))

    async def attempt(text: str, vector: bytes | None = None, **changes: Any) -> object:
        one = replace(changing("a", vector, metadata={"v": 2}, **changes), texts=[text])
        return await write(store, one)

    assert await attempt("other") == STALE  # the content is another than was thought
    assert await attempt("two", content="two") == STALE  # and this needs a new vector
    assert await attempt("[8 May 2023] other", NORTH, event_at=MAY_8) == STALE
    assert await near(store, NORTH, depth=1) == ["a"]
    assert (await get(store, "a")).metadata == {"v": 1}
    assert await ids(store, selecting({"v": 2})) == []
    assert (await get(store, "a")).vectors == EAST

    assert isinstance(await attempt("one"), Record)
    assert isinstance(await attempt("two", NORTH, content="two"), Record)
    assert isinstance(await attempt("[8 May 2023] two", UP, event_at=MAY_8), Record)
    found = await get(store, "a")
    assert (found.metadata, found.content, found.vectors) == ({"v": 2}, "two", UP)
