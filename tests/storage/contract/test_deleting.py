"""Records that are deleted or set aside: those that are meant, and no other."""

from dataclasses import replace

import pytest
from agentmem_server.storage import Archive, Delete, Deleted, Selection, Store

from tests.storage.contract.stores import (
    EAST,
    NOTES,
    SECOND,
    TENANT,
    Clock,
    deleting,
    everywhere,
    ids,
    near,
    opened,
    put,
    record,
    saying,
    selecting,
    write,
)

DELETIONS: list[tuple[Selection, set[str]]] = [
    (selecting(ids=["a", "nobody", "c"]), {"a", "c"}),
    (selecting(ids=[]), set()),
    (selecting(user_id="u1"), {"a", "b"}),
    (selecting(agent_id="g1"), {"a", "c"}),
    (selecting(session_id="s1"), {"b", "c"}),
    (selecting({"n": {"$gte": 3}}), {"c", "d"}),
    (selecting(user_id="u1", agent_id="g1"), {"a"}),
    (selecting({"n": {"$gte": 3}}, session_id="s1"), {"c"}),
    (selecting({"n": {"$lt": 3}}, ids=["b", "c"]), {"b"}),
    (selecting({"n": 2}, ids=["b"], user_id="u1", session_id="s1"), {"b"}),
    (selecting({"n": 2}, ids=["b"], user_id="u2"), set()),
    (selecting({"n": {"$exists": True}}), {"a", "b", "c", "d"}),
    (Selection(), {"a", "b", "c", "d", "e"}),
]


@pytest.mark.parametrize(("selection", "gone"), DELETIONS)
async def test_a_deletion_meets_every_criterion_given(
    store: Store, selection: Selection, gone: set[str]
) -> None:
    await put(
        store,
        record("a", "word", metadata={"n": 1}, user_id="u1", agent_id="g1"),
        record("b", "word", metadata={"n": 2}, user_id="u1", session_id="s1"),
        record("c", "word", metadata={"n": 3}, agent_id="g1", session_id="s1"),
        record("d", "word", metadata={"n": 4}, user_id="u2"),
        record("e", "word"),
    )
    assert len(await near(store, EAST)) == 5  # the index is in memory when the deletion comes
    left = {"a", "b", "c", "d", "e"} - gone
    assert await write(store, deleting(selection)) == len(gone)
    assert await everywhere(store, "word") == [left, left, left]
    # What is gone takes no place among the best.
    assert set(await near(store, EAST, depth=max(1, len(left)))) == left
    assert set(await saying(store, "word", depth=max(1, len(left)))) == left
    assert await store.count(await opened(store)) == len(left)
    assert await write(store, deleting(selection)) == 0


async def test_a_deletion_where_there_is_no_collection_deletes_nothing(store: Store) -> None:
    assert await write(store, deleting(Selection())) == 0
    assert await store.collection(TENANT, NOTES) is None


async def test_an_emptied_collection_is_there_and_can_be_filled_again(store: Store) -> None:
    await put(store, record("a", "one"), record("b", "one"))
    before = await opened(store)
    assert await write(store, deleting(Selection())) == 2
    assert await opened(store) == before
    assert await ids(store) == await near(store, EAST) == await saying(store, "one") == []
    await put(store, record("b", "two"))
    assert await everywhere(store, "two") == [{"b"}, {"b"}, {"b"}]
    assert await near(store, EAST, depth=1) == ["b"]
    assert await saying(store, "one") == []


async def test_archived_records_are_kept_found_and_told_apart(store: Store, clock: Clock) -> None:
    await put(store, record("1", "word", user_id="u"), record("2", "word", archived=True))
    await put(store, record("3", "word", user_id="u"))
    moment = clock.advance(SECOND)

    def archiving(selection: Selection, archived: bool = True) -> Archive:
        return Archive(TENANT, NOTES, selection, archived)

    changed = await write(store, archiving(selecting(user_id="u")))
    assert [(one.id, one.archived, one.updated_at) for one in changed] == [
        ("1", True, moment),
        ("3", True, moment),
    ]
    assert await write(store, archiving(selecting(user_id="u"))) == []
    assert await ids(store, selecting({"@archived": True})) == ["1", "2", "3"]
    assert set(await saying(store, "word")) == {"1", "2", "3"}
    back = await write(store, archiving(selecting({"@content": "word"}, ids=["2", "3"]), False))
    assert [one.id for one in back] == ["2", "3"]
    assert await ids(store, selecting({"@archived": False})) == ["2", "3"]
    assert await write(store, Archive(TENANT, "nowhere", Selection(), True)) == []


async def test_a_deletion_answers_what_it_deleted_where_asked(store: Store) -> None:
    await put(store, record("b", "one"), record("a", "two", payload=[1]), record("c"))
    going = Delete(TENANT, NOTES, selecting({"@content": {"$ne": ""}}), returning=True)
    gone = await write(store, going)
    assert [(one.id, one.content, one.payload) for one in gone.records] == [
        ("b", "one", None),
        ("a", "two", [1]),
    ]
    assert gone.count == 2
    assert await ids(store) == ["c"]
    assert await write(store, replace(going, collection="nowhere")) == Deleted(0, [])
