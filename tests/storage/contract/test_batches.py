"""A batch of writes: in order, each refused alone, and nothing of what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from agentmem_client.errors import (
    APIError,
    Conflict,
    DimensionMismatch,
    EmbedderMismatch,
    InvalidRequest,
    Unavailable,
)
from agentmem_server.storage import (
    DropCollection,
    Embedding,
    Put,
    PutCollection,
    Record,
    Selection,
    Store,
    Update,
)

from tests.storage.contract.stores import (
    EAST,
    EMBEDDING,
    NORTH,
    NOTES,
    TENANT,
    changing,
    deleting,
    everywhere,
    get,
    ids,
    near,
    opened,
    put,
    putting,
    record,
    saying,
    selecting,
    vector,
    written,
)


async def test_the_writes_of_a_batch_apply_in_order(store: Store) -> None:
    outcomes = await written(
        store,
        putting(record("a", "one")),
        changing("a", content="two"),
        deleting(selecting(ids=["a"])),
        changing("a", content="gone"),
        putting(record("b", "other"), record("a", "three")),
        changing("a", content="four"),
    )
    assert outcomes[0][0].created
    assert outcomes[1].content == "two"
    assert outcomes[2:4] == [1, None]
    assert [one.created for one in outcomes[4]] == [True, True]
    assert outcomes[5].content == "four"
    assert await ids(store) == ["b", "a"]
    assert (await get(store, "a")).content == "four"
    assert await saying(store, "one two three") == []
    assert await saying(store, "four") == ["a"]


async def test_a_batch_sees_the_collections_that_it_made_and_dropped(store: Store) -> None:
    longer = replace(EMBEDDING, dimension=2)
    outcomes = await written(
        store,
        PutCollection(TENANT, NOTES, EMBEDDING, 5),
        putting(record("a")),
        DropCollection(TENANT, NOTES),
        deleting(Selection()),
        DropCollection(TENANT, NOTES),
        changing("a", content="x"),
        putting(record("a", vectors=vector(1, 0)), embedding=longer),
    )
    assert outcomes[0].created_at == 5
    assert outcomes[2:6] == [1, 0, 0, None]
    assert outcomes[6][0].created
    assert (await opened(store)).embedding == longer
    assert await near(store, vector(1, 0)) == ["a"]


async def test_no_writes_have_no_outcomes(store: Store) -> None:
    assert await store.write([]) == []


async def test_a_refused_write_leaves_no_trace_and_the_others_are_stored(store: Store) -> None:
    await put(store, record("old", "alpha", metadata={"n": 1}))
    before = await opened(store)
    outcomes = await written(
        store,
        putting(record("first", "alpha")),
        putting(
            record("x", "omega", vectors=vector(1, 2)), embedding=replace(EMBEDDING, dimension=2)
        ),
        putting(record("y", "omega"), embedding=Embedding("server", "model", 4, "cosine")),
        Update(TENANT, NOTES, "old", {"content": "omega"}, 9, replace(EMBEDDING, dimension=3)),
        PutCollection(TENANT, NOTES, replace(EMBEDDING, metric="dot"), 9),
        putting(record("last", "alpha")),
    )
    refused = [type(one) for one in outcomes if isinstance(one, APIError)]
    assert refused == [DimensionMismatch, EmbedderMismatch, DimensionMismatch, Conflict]
    assert outcomes[1].details == {"expected": 4, "given": 2}
    assert await ids(store) == ["old", "first", "last"]
    assert await everywhere(store, "omega") == [set(), set(), set()]
    assert await everywhere(store, "alpha") == [{"old", "first", "last"}] * 3
    assert await opened(store) == before


class Breaking(list[Record]):
    """Records of which all but the last are read before the write is refused."""

    def __iter__(self) -> Iterator[Record]:
        yield from self[:-1]
        raise InvalidRequest("refused half-way")


async def test_several_records_are_stored_all_or_none(store: Store) -> None:
    await put(store, record("kept", "alpha", metadata={"tag": "old"}, session_id="s"))
    half = Breaking(
        [
            record("kept", "omega", metadata={"tag": "new"}, vectors=NORTH, session_id="s"),
            record("new", "omega", metadata={"tag": "new"}, vectors=NORTH, session_id="s"),
            record("never"),
        ]
    )
    before, refused, after = await written(
        store,
        putting(record("before", "alpha")),
        Put(TENANT, NOTES, EMBEDDING, half),
        putting(record("after", "alpha", session_id="s")),
    )
    assert [before[0].created, type(refused), after[0].created] == [True, InvalidRequest, True]
    assert await ids(store) == ["kept", "before", "after"]
    assert await ids(store, selecting({"tag": "new"})) == []
    assert await ids(store, selecting({"tag": "old"})) == ["kept"]
    assert await everywhere(store, "omega") == [set(), set(), set()]
    assert await near(store, NORTH, depth=1) != ["new"]
    assert (await get(store, "kept")).vectors == EAST
    # The turn after it took its words from what was stored, not from what was refused.
    assert set(await saying(store, "alpha")) == {"kept", "before", "after"}


async def test_a_refused_write_takes_its_new_collection_back(store: Store) -> None:
    half = Breaking([record("a"), record("b")])
    (refused,) = await written(store, Put(TENANT, NOTES, EMBEDDING, half))
    assert isinstance(refused, InvalidRequest)
    assert await store.collection(TENANT, NOTES) is None
    assert await store.collections(TENANT) == []

    other = replace(EMBEDDING, dimension=2)
    refused, unknown, stored = await written(
        store,
        Put(TENANT, NOTES, EMBEDDING, half),
        changing("a", content="x"),
        putting(record("c", "word", vectors=vector(1, 0)), embedding=other),
    )
    assert isinstance(refused, InvalidRequest)
    assert unknown is None
    assert stored[0].created
    assert (await opened(store)).embedding == other
    assert await near(store, vector(1, 0)) == ["c"]
    assert await saying(store, "word") == ["c"]


async def test_a_collection_that_is_there_survives_a_refusal(store: Store) -> None:
    await put(store, record("a"))
    half = Breaking([record("b"), record("c")])
    outcomes = await written(
        store,
        DropCollection(TENANT, NOTES),
        putting(record("d")),
        Put(TENANT, NOTES, EMBEDDING, half),
        putting(record("e")),
    )
    assert isinstance(outcomes[2], InvalidRequest)
    assert await ids(store) == ["d", "e"]


async def test_a_batch_that_fails_altogether_leaves_nothing(store: Store) -> None:
    """Not a refusal but a failure: here, of a record that no store can hold."""
    await put(store, record("old", "alpha"))
    assert await near(store, EAST) == ["old"]
    broken: Any = None
    with pytest.raises(Unavailable):
        await store.write(
            [
                putting(record("new", "omega")),
                putting(record("new", "omega"), collection="new"),
                deleting(selecting(ids=["old"])),
                DropCollection(TENANT, NOTES),
                putting(record("worse", created_at=broken)),
            ]
        )
    assert await everywhere(store, "alpha") == [{"old"}] * 3
    assert await saying(store, "omega") == []
    assert [one.name for one in await store.collections(TENANT)] == [NOTES]
    await put(store, record("new", "omega"), collection="new")
    await put(store, record("new", "omega"))
    assert await everywhere(store, "omega") == [{"new"}] * 3
    assert len(await near(store, EAST, collection=await opened(store, "new"))) == 1


async def test_a_batch_may_fill_empty_and_fill_again(store: Store) -> None:
    await put(store, record("a", "word"))
    assert await near(store, EAST) == ["a"]
    await written(
        store,
        putting(record("b", "word")),
        deleting(Selection()),
        putting(record("c", "word"), record("d", "word")),
        deleting(selecting(ids=["d"])),
    )
    assert await everywhere(store, "word") == [{"c"}, {"c"}, {"c"}]
