"""What every store must do, whatever it is made of."""

import asyncio
import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pytest
from agentmem_client.errors import (
    APIError,
    Conflict,
    DimensionMismatch,
    EmbedderMismatch,
    InvalidRequest,
    Unavailable,
)
from agentmem_client.filters import parse
from agentmem_client.models import Metric, Order, OrderBy
from agentmem_server import times
from agentmem_server.engine.ranking import fuse
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    STALE,
    Archive,
    Candidates,
    Collection,
    Delete,
    Deleted,
    DropCollection,
    Embedding,
    ListRequest,
    NamespaceRequest,
    Outcome,
    Page,
    Put,
    PutCollection,
    Ranked,
    Record,
    Refresh,
    Scope,
    SearchRequest,
    Selection,
    Store,
    Stored,
    Sweep,
    Update,
    Write,
    open_store,
)
from numpy.typing import NDArray

SECOND = 1_000_000
TENANT, NOTES = "tenant", "notes"
EMBEDDING = Embedding("client", None, 4, "cosine")


class Clock(Protocol):
    now: int

    def advance(self, microseconds: int) -> int: ...


def vector(*numbers: float) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


EAST, NORTH, UP = vector(1, 0, 0, 0), vector(0, 1, 0, 0), vector(0, 0, 1, 0)


def record(identity: str, content: str = "", **fields: Any) -> Record:
    now = times.now()
    everything: dict[str, Any] = {
        "metadata": {},
        "user_id": None,
        "agent_id": None,
        "session_id": None,
        "type": None,
        "importance": None,
        "event_at": None,
        "expires_at": None,
        "created_at": now,
        "updated_at": now,
        "vectors": EAST,
    }
    return Record(identity, content, **{**everything, **fields})


def putting(
    *records: Record,
    tenant: str = TENANT,
    collection: str = NOTES,
    embedding: Embedding = EMBEDDING,
) -> Put:
    return Put(tenant, collection, embedding, records)


def selecting(
    filters: dict[str, Any] | None = None, *, ids: list[str] | None = None, **scope: Any
) -> Selection:
    return Selection(Scope(**scope), None if filters is None else parse(filters), ids)


def changing(identity: str, vector: bytes | None = None, **changes: Any) -> Update:
    embedding = None if vector is None else EMBEDDING
    return Update(TENANT, NOTES, identity, changes, times.now(), embedding, vector)


def deleting(selection: Selection) -> Delete:
    return Delete(TENANT, NOTES, selection)


async def written(store: Store, *writes: Write) -> list[Any]:
    """The outcomes of a batch, errors among them."""
    return [_plain(outcome) for outcome in await store.write(writes)]


async def write(store: Store, one: Write) -> Outcome:
    """The answer of one write that is not refused."""
    (outcome,) = await store.write([one])
    assert not isinstance(outcome, APIError), outcome
    return _plain(outcome)


def _plain(outcome: Outcome | APIError) -> Any:
    """A deletion that was not asked for its records is the number of them."""
    if isinstance(outcome, Deleted) and outcome.records is None:
        return outcome.count
    return outcome


async def put(store: Store, *records: Record, **where: Any) -> list[Stored]:
    stored: list[Stored] = await write(store, putting(*records, **where))
    return stored


async def opened(store: Store, name: str = NOTES, tenant: str = TENANT) -> Collection:
    found = await store.collection(tenant, name)
    assert found is not None
    return found


async def listed(store: Store, selection: Selection | None = None, **more: Any) -> Page:
    """The first 1,000 records in the order in which they were stored."""
    collection = await opened(store)
    how: dict[str, Any] = {"order_by": "seq", "order": "asc", "limit": 1_000, **more}
    return await store.page(collection, ListRequest(selection or Selection(), **how))


async def ids(store: Store, selection: Selection | None = None) -> list[str]:
    return [one.id for one in (await listed(store, selection)).records]


async def get(store: Store, identity: str) -> Record:
    (found,) = await store.get(await opened(store), [identity], with_vectors=True)
    return found


def by_vector(candidates: Candidates) -> Ranked:
    return candidates.ids, candidates.similarities


def by_words(candidates: Candidates) -> Ranked:
    return candidates.keyword_ids, candidates.keyword_scores


def by_both(candidates: Candidates) -> Ranked:
    found = fuse(
        candidates.ids,
        candidates.similarities,
        candidates.keyword_ids,
        candidates.keyword_scores,
    )
    return found.ids, found.scores


async def near(
    store: Store,
    to: bytes,
    selection: Selection | None = None,
    *,
    depth: int = 1_000,
    collection: Collection | None = None,
) -> list[str]:
    """The ids that the dense channel finds, best first."""
    request = SearchRequest(selection or Selection(), to, [], depth, by_vector)
    found = await store.search(collection or await opened(store), request)
    return [one.id for one, _ in found]


async def saying(
    store: Store,
    words: str,
    selection: Selection | None = None,
    *,
    depth: int = 1_000,
    collection: Collection | None = None,
) -> list[str]:
    """The ids that the keyword channel finds, best first."""
    terms = keyword_query(words)
    request = SearchRequest(selection or Selection(), None, terms, depth, by_words)
    found = await store.search(collection or await opened(store), request)
    return [one.id for one, _ in found]


async def everywhere(store: Store, word: str, selection: Selection | None = None) -> list[set[str]]:
    """What each way of reading shows of the records that hold a word; all should agree."""
    page = await listed(store, selection)
    holding = {one.id for one in page.records if word in one.content}
    assert page.total == len(page.records)
    dense = set(await near(store, EAST, selection))
    assert dense == {one.id for one in page.records}
    collection = await opened(store)
    got = await store.get(collection, [one.id for one in page.records])
    return [holding, set(await saying(store, word, selection)), {g.id for g in got} & holding]


# Writing


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


# Collections and tenants


async def test_a_collection_is_made_as_asked_for_or_found_so(store: Store) -> None:
    embedding = Embedding("server", "some model", 3, "euclidean")
    made = await write(store, PutCollection(TENANT, NOTES, embedding, 5))
    assert (made.tenant, made.name, made.embedding, made.created_at) == (
        TENANT,
        NOTES,
        embedding,
        5,
    )
    assert await opened(store) == made
    assert await write(store, PutCollection(TENANT, NOTES, embedding, 9)) == made
    for other in (
        Embedding("client", None, 3, "euclidean"),
        Embedding("server", "another model", 3, "euclidean"),
        Embedding("server", "some model", 4, "euclidean"),
        Embedding("server", "some model", 3, "dot"),
    ):
        (refused,) = await written(store, PutCollection(TENANT, NOTES, other, 5))
        assert isinstance(refused, Conflict)
        assert refused.details["existing"] != refused.details["requested"]
    assert await opened(store) == made


async def test_how_long_memories_live_by_default_may_change(url: str) -> None:
    store = await open_store(url, readers=1)
    bare = PutCollection(TENANT, NOTES, EMBEDDING, 5)
    for changes, expected in (
        ({"default_ttl": 7}, 7),
        ({}, 7),
        ({"default_ttl": 9}, 9),
        ({"default_ttl": None}, None),
        ({"default_ttl": 8}, 8),
    ):
        before = await store.version(TENANT, NOTES)
        answered = await write(store, replace(bare, changes=changes))
        assert answered == await opened(store)
        assert (answered.default_ttl, answered.created_at) == (expected, 5)
        assert await store.version(TENANT, NOTES) > before
    await put(store, record("a"))
    other = replace(bare, embedding=replace(EMBEDDING, metric="dot"), changes={"default_ttl": 1})
    outcomes = await written(store, other, replace(bare, changes={"default_ttl": 6}))
    assert isinstance(outcomes[0], Conflict)
    assert outcomes[1].default_ttl == 6
    await store.close()
    store = await open_store(url, readers=1)
    assert (await opened(store)).default_ttl == 6
    await store.close()


async def test_collections_are_listed_by_name(store: Store) -> None:
    for name in ("b", "a", "ä", "B"):
        await put(store, record("x"), collection=name)
    await put(store, record("x"), collection="c", tenant="another")
    assert [one.name for one in await store.collections(TENANT)] == ["B", "a", "b", "ä"]
    assert await store.collections("nobody") == []


async def test_a_dropped_collection_leaves_nothing_behind(store: Store) -> None:
    versions = [await store.version(TENANT, NOTES)]

    async def noted(one: Write) -> Outcome:
        outcome = await write(store, one)
        versions.append(await store.version(TENANT, NOTES))
        return outcome

    for dimension in (2, 3, 2):
        embedding = replace(EMBEDDING, dimension=dimension)
        along = vector(*[1] * dimension)
        word = f"word{dimension}"
        await noted(
            putting(
                record("a", word, metadata={word: 1}, user_id="u", session_id="s", vectors=along),
                record("b", word, metadata={word: 1}, session_id="s", vectors=along),
                embedding=embedding,
            )
        )
        old = await opened(store)
        assert len(await near(store, along)) == 2
        assert await noted(DropCollection(TENANT, NOTES)) == 2
        assert await store.collection(TENANT, NOTES) is None
        assert await store.collections(TENANT) == []
        assert await noted(DropCollection(TENANT, NOTES)) == 0

        # Whoever still holds the old one reads nothing: not of it, and not of the next.
        await noted(putting(record("a", "new", vectors=along), embedding=embedding))
        assert (await opened(store)).key != old.key
        assert await store.count(old) == 0
        assert await store.get(old, ["a"]) == []
        assert (await store.page(old, ListRequest(Selection(), "seq", "asc", 9))).records == []
        assert await near(store, along, collection=old) == []
        assert await saying(store, f"{word} new", collection=old) == []

        assert await near(store, along) == ["a"]
        assert await saying(store, word) == []
        assert await ids(store, selecting({word: 1})) == []
        assert await ids(store, selecting(user_id="u")) == []
        await noted(DropCollection(TENANT, NOTES))
    assert len(set(versions)) == len(versions)


async def test_tenants_see_nothing_of_each_other(store: Store) -> None:
    await put(store, record("a", "mine", metadata={"n": 1}), record("only", "mine"))
    scores = await scored(store, "mine")
    await put(
        store,
        *[record(name, "mine", metadata={"n": 1}) for name in "abcdef"],
        tenant="another",
    )
    await put(store, record("a", "mine"), tenant="another", collection="more")
    theirs = await opened(store, tenant="another")
    assert theirs.key != (await opened(store)).key
    assert await scored(store, "mine") == scores  # no word of theirs weighs in ours
    assert await everywhere(store, "mine") == [{"a", "only"}] * 3
    assert await ids(store, selecting({"n": 1})) == ["a"]
    assert await store.collection(TENANT, "more") is None

    assert await write(store, changing("a", content="changed")) is not None
    assert await write(store, deleting(Selection())) == 2
    assert await store.count(theirs) == 6
    assert len(await saying(store, "mine", collection=theirs)) == 6
    assert len(await near(store, EAST, collection=theirs)) == 6
    await write(store, DropCollection(TENANT, NOTES))
    assert [one.id for one in await store.get(theirs, ["a", "only"])] == ["a"]


async def scored(store: Store, words: str) -> dict[str, float]:
    request = SearchRequest(Selection(), None, keyword_query(words), 10, by_words)
    return {one.id: score for one, score in await store.search(await opened(store), request)}


async def test_versions_change_with_every_write_before_it_answers(store: Store) -> None:
    await put(store, record("a"), collection="other")
    await put(store, record("a"), tenant="another")
    unmoved = [await store.version(TENANT, "other"), await store.version("another", NOTES)]
    seen = [await store.version(TENANT, NOTES)]
    for one in (
        PutCollection(TENANT, NOTES, EMBEDDING, 5),
        putting(record("a")),
        putting(record("a")),
        changing("a", content="x"),
        deleting(selecting(ids=["a"])),
        putting(record("b"), record("c")),
        deleting(Selection()),
        DropCollection(TENANT, NOTES),
        putting(record("a")),
    ):
        await write(store, one)
        seen.append(await store.version(TENANT, NOTES))
    await store.write([putting(record("x"), collection=name) for name in ("first", NOTES, "last")])
    seen.append(await store.version(TENANT, NOTES))
    assert len(set(seen)) == len(seen)
    assert await store.version(TENANT, "first") != await store.version(TENANT, "nowhere")
    assert await store.version(TENANT, "last") != await store.version(TENANT, "nowhere")
    assert unmoved == [await store.version(TENANT, "other"), await store.version("another", NOTES)]


# Reading


async def test_get_answers_in_the_order_asked_for(store: Store) -> None:
    await put(store, *[record(name) for name in "abc"])
    notes = await opened(store)
    found = await store.get(notes, ["c", "nobody", "a", "c"])
    assert [one.id for one in found] == ["c", "a", "c"]
    assert [one.vectors for one in found] == [None] * 3
    assert await store.get(notes, []) == []


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        ({}, {"a", "b", "c", "d"}),
        ({"user_id": "x"}, {"a", "b"}),
        ({"agent_id": "x"}, {"b", "c"}),
        ({"session_id": "x"}, {"c"}),
        ({"user_id": "x", "agent_id": "x"}, {"b"}),
        ({"agent_id": "x", "session_id": "x"}, {"c"}),
        ({"user_id": "x", "session_id": "x"}, set()),
        ({"user_id": "X"}, set()),
        ({"user_id": "x "}, {"d"}),
    ],
)
async def test_a_scope_narrows_every_read(
    store: Store, scope: dict[str, Any], seen: set[str]
) -> None:
    await put(
        store,
        record("a", "word", user_id="x"),
        record("b", "word", user_id="x", agent_id="x"),
        record("c", "word", agent_id="x", session_id="x"),
        record("d", "word", user_id="x "),
    )
    assert await everywhere(store, "word", selecting(**scope)) == [seen, seen, seen]
    both = selecting({"@id": {"$in": ["a", "c", "d"]}}, **scope)
    assert await everywhere(store, "word", both) == [seen - {"b"}] * 3


def shuffled() -> list[Record]:
    """23 records whose times have ties and go another way than the order of storing."""
    order = random.Random(7)
    return [
        record(
            f"r{number:02}",
            created_at=1_000 + order.randrange(8),
            updated_at=2_000 - order.randrange(8),
        )
        for number in range(23)
    ]


def in_order(records: list[Record], order_by: OrderBy, order: Order) -> list[str]:
    numbered = list(enumerate(records))
    if order_by != "seq":
        numbered.sort(key=lambda pair: (getattr(pair[1], order_by), pair[0]))
    names = [one.id for _, one in numbered]
    return names if order == "asc" else names[::-1]


EVERY_ORDER = [
    (order_by, order)
    for order_by in ("seq", "created_at", "updated_at")
    for order in ("asc", "desc")
]


@pytest.mark.parametrize(("order_by", "order"), EVERY_ORDER)
@pytest.mark.parametrize("size", [1, 4, 22, 23, 24])
async def test_pages_join_to_the_whole_in_order(
    store: Store, order_by: OrderBy, order: Order, size: int
) -> None:
    records = shuffled()
    await put(store, *records)
    expected = in_order(records, order_by, order)
    how: dict[str, Any] = {"order_by": order_by, "order": order, "limit": size}

    by_cursor: list[str] = []
    after: tuple[int, int] | None = None
    for _ in range(100):
        page = await listed(store, after=after, **how)
        assert page.total == 23
        assert len(page.records) <= size
        by_cursor += [one.id for one in page.records]
        after = page.next
        if after is None:
            break
    assert by_cursor == expected

    by_offset: list[str] = []
    for offset in range(0, 24, size):
        page = await listed(store, offset=offset, with_total=False, **how)
        assert page.total is None
        assert (page.next is None) == (offset + size >= 23)
        by_offset += [one.id for one in page.records]
    assert by_offset == expected
    assert (await listed(store, offset=23, **how)).records == []


@pytest.mark.parametrize(("order_by", "order"), EVERY_ORDER)
async def test_writes_between_pages_neither_repeat_nor_hide_the_others(
    store: Store, order_by: OrderBy, order: Order
) -> None:
    records = shuffled()
    await put(store, *records)
    touched: set[str] = set()
    seen: list[str] = []
    after: tuple[int, int] | None = None
    chance = random.Random(11)
    for turn in range(100):
        page = await listed(store, after=after, limit=3, order_by=order_by, order=order)
        assert page.total == len(await ids(store))
        seen += [one.id for one in page.records]
        after = page.next
        if after is None:
            break
        # The record at which the page ended goes, one of any other changes, and new ones come.
        changed = chance.choice([one.id for one in records if one.id not in touched])
        touched |= {seen[-1], changed}
        when: dict[str, Any] = {"created_at": 1_000 + turn % 8, "updated_at": 2_000 - turn % 8}
        await store.write(
            [
                deleting(selecting(ids=[seen[-1]])),
                replace(changing(changed, content="new"), updated_at=1_996),
                putting(record(f"new{turn}", **when)),
            ]
        )
    still = [name for name in in_order(records, order_by, order) if name not in touched]
    assert len(still) > 5
    assert [name for name in seen if name in still] == still
    if order_by == "seq":
        assert len(seen) == len(set(seen))
    if (order_by, order) == ("seq", "asc"):
        assert seen[-1].startswith("new")


async def test_pages_under_a_selection_count_what_it_admits(store: Store) -> None:
    await put(
        store,
        *[record(f"r{n}", metadata={"n": n}, user_id="ab"[n % 2]) for n in range(20)],
    )
    selection = selecting({"n": {"$gte": 5}}, user_id="a")
    first = await listed(store, selection, limit=3)
    assert [one.id for one in first.records] == ["r6", "r8", "r10"]
    assert first.total == 7
    rest = await listed(store, selection, limit=30, after=first.next)
    assert [one.id for one in rest.records] == ["r12", "r14", "r16", "r18"]
    assert (rest.total, rest.next) == (7, None)
    named = await listed(store, selecting(ids=["r3", "r1", "nobody"]))
    assert [one.id for one in named.records] == ["r1", "r3"]


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


# Searching


async def test_a_selection_bounds_a_search_before_its_limit(store: Store) -> None:
    """Of 1,000 records only the worst 5 match, and all 5 come, by every channel."""
    await put(
        store,
        *[
            record(
                f"r{n}",
                "word" if n < 995 else "word " + "filler " * 50,
                metadata={"worst": n >= 995},
                user_id="few" if n >= 995 else "many",
                agent_id="g",
                vectors=vector(1, n / 1_000, 0, 0),
            )
            for n in range(1_000)
        ],
    )
    worst = {f"r{n}" for n in range(995, 1_000)}
    assert not worst & set(await near(store, EAST, depth=900))
    assert not worst & set(await saying(store, "word", depth=900))
    for selection in (
        selecting({"worst": True}),
        selecting(user_id="few"),
        selecting({"worst": True}, user_id="few"),
        selecting({"worst": {"$ne": False}}, agent_id="g"),
        selecting({"@id": {"$in": sorted(worst)}}),
    ):
        assert await near(store, EAST, selection, depth=5) == [f"r{n}" for n in range(995, 1_000)]
        assert set(await saying(store, "word", selection, depth=5)) == worst
        request = SearchRequest(selection, EAST, ["word"], 5, by_both)
        found = await store.search(await opened(store), request)
        assert {one.id for one, _ in found} == worst
    assert len(await near(store, EAST, depth=7)) == 7
    assert len(await saying(store, "word", depth=7)) == 7


async def test_nothing_selected_finds_nothing(store: Store) -> None:
    await put(store, record("a", "word"))
    for selection in (selecting(user_id="nobody"), selecting({"n": 1})):
        assert await everywhere(store, "word", selection) == [set()] * 3
    await write(store, PutCollection(TENANT, "empty", EMBEDDING, 5))
    empty = await opened(store, "empty")
    assert await near(store, EAST, collection=empty) == []
    assert await saying(store, "word", collection=empty) == []


async def test_candidates_join_what_the_channels_found(store: Store) -> None:
    await put(
        store,
        record("near", "nothing", vectors=vector(2, 0, 0, 0)),
        record("far", "word word", vectors=vector(0, 3, 0, 0)),
        record("middle", "word and much else", vectors=vector(3, 4, 0, 0)),
    )
    seen: list[Candidates] = []
    lengths: list[NDArray[np.float32]] = []

    def rank(candidates: Candidates) -> Ranked:
        seen.append(candidates)
        lengths.append(candidates.vectors(candidates.ids))
        return candidates.ids[::-1], candidates.similarities[::-1]

    request = SearchRequest(Selection(), EAST, ["word"], 1, rank, with_vectors=True)
    found = await store.search(await opened(store), request)
    candidates = seen[-1]
    assert [one.id for one, _ in found] == ["far", "near"]  # as it was ranked
    assert [score for _, score in found] == pytest.approx([0, 1])
    assert [one.vectors for one, _ in found] == [vector(0, 3, 0, 0), vector(2, 0, 0, 0)]
    assert candidates.ids.dtype == candidates.keyword_ids.dtype == np.int64
    assert candidates.similarities == pytest.approx([1, 0])
    assert candidates.keyword_ids.tolist() == candidates.ids[1:].tolist()
    assert (candidates.keyword_scores > 0).all()
    assert lengths[-1] == pytest.approx(np.array([[1, 0, 0, 0], [0, 1, 0, 0]]))


async def test_candidates_tell_of_their_times_and_importance(store: Store) -> None:
    await put(
        store,
        record("a", "word", created_at=5, updated_at=7, importance=0.25, event_at=-(10**15)),
        record("b", "word", created_at=6, updated_at=6, vectors=vector(0, 1, 0, 0)),
        record("c", "word word", created_at=8, updated_at=9, importance=0.0, vectors=None),
    )
    seen: list[NDArray[np.float64]] = []

    def rank(candidates: Candidates) -> Ranked:
        there = candidates.attributes(candidates.ids[::-1])
        of_none = candidates.attributes(candidates.ids[:0])
        assert of_none.created_at.shape == of_none.importance.shape == (0,)
        seen.append(
            np.stack([there.event_at, there.created_at, there.updated_at, there.importance], 1)
        )
        return candidates.ids, np.zeros(len(candidates.ids))

    request = SearchRequest(Selection(), EAST, ["word"], 10, rank)
    found = [one.id for one, _ in await store.search(await opened(store), request)]
    expected = {"a": (-1e15, 5, 7, 0.25), "b": (np.nan, 6, 6, np.nan), "c": (np.nan, 8, 9, 0)}
    assert seen[-1] == pytest.approx(np.array([expected[id] for id in found[::-1]]), nan_ok=True)


async def test_a_record_may_have_no_vector(store: Store) -> None:
    await put(store, record("a", "word", vectors=None), record("b", "word"))
    assert await near(store, EAST) == ["b"]
    request = SearchRequest(Selection(), EAST, ["word"], 5, by_both)
    found = await store.search(await opened(store), request)
    assert {one.id for one, _ in found} == {"a", "b"}
    assert [one.vectors for one in await store.get(await opened(store), ["a"])] == [None]
    sparse = SearchRequest(Selection(), None, ["word"], 5, by_both)
    assert len(await store.search(await opened(store), sparse)) == 2


async def test_candidates_without_vectors_have_none_to_compare(store: Store) -> None:
    await put(store, record("a", "word", vectors=None))
    shapes: list[tuple[int, ...]] = []

    def rank(candidates: Candidates) -> Ranked:
        assert np.isnan(candidates.similarities).all()
        vectors = candidates.vectors(candidates.ids)
        assert not vectors.any()
        shapes.append(vectors.shape)
        shapes.append(candidates.vectors(candidates.ids[:0]).shape)
        return by_words(candidates)

    notes = await opened(store)
    for along in (EAST, None):
        request = SearchRequest(Selection(), along, ["word"], 5, rank)
        assert [one.id for one, _ in await store.search(notes, request)] == ["a"]
    assert shapes == [(1, 4), (0, 4)] * 2


@pytest.mark.parametrize("warm", [True, False])
async def test_a_record_may_get_its_vector_after_later_ones(store: Store, warm: bool) -> None:
    await put(store, record("a", vectors=None), record("b", vectors=NORTH), record("c", vectors=UP))
    if warm:
        assert len(await near(store, EAST)) == 2
    await write(store, changing("a", EAST))
    assert (await near(store, EAST))[0] == "a"
    await write(store, changing("a", vector(0, 0, 0, 1)))
    assert (await near(store, vector(0, 0, 0, 1)))[0] == "a"
    assert sorted(await near(store, EAST)) == ["a", "b", "c"]
    for name in "abc":
        assert await near(store, EAST, selecting({"@id": name})) == [name]
    await write(store, deleting(selecting(ids=["a"])))
    assert sorted(await near(store, EAST)) == ["b", "c"]


def closeness(metric: Metric, point: Any, others: Any) -> Any:
    if metric == "dot":
        return others @ point
    if metric == "euclidean":
        return 1 / (1 + np.linalg.norm(others - point, axis=1))
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(point)
    return np.divide(others @ point, lengths, out=np.zeros(len(others)), where=lengths > 0)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
async def test_similarities_are_those_of_the_metric(store: Store, metric: Metric) -> None:
    chance = np.random.default_rng(3)
    points = chance.normal(size=(300, 8)).astype("<f4") * chance.exponential(size=(300, 1))
    points = points.astype("<f4")
    points[17] = 0
    embedding = Embedding("client", None, 8, metric)
    await put(
        store,
        *[record(str(n), vectors=point.tobytes()) for n, point in enumerate(points)],
        embedding=embedding,
    )
    await write(store, deleting(selecting(ids=[str(n) for n in range(250, 300)])))
    expected_of = points[:250].astype(np.float64)
    for query in chance.normal(size=(20, 8)).astype("<f4"):
        expected = closeness(metric, query.astype(np.float64), expected_of)
        request = SearchRequest(Selection(), query.tobytes(), [], 10, by_vector)
        found = await store.search(await opened(store), request)
        assert [score for _, score in found] == pytest.approx(
            np.sort(expected)[::-1][:10], abs=1e-5
        )
        for one, score in found:
            assert score == pytest.approx(expected[int(one.id)], abs=1e-5)


async def test_equal_similarities_come_newest_first(store: Store) -> None:
    await put(store, *[record(name) for name in "abc"])
    assert await near(store, EAST) == ["c", "b", "a"]
    assert await near(store, EAST, depth=2) == ["c", "b"]


VECTORS = [
    [1.0, -0.0, 3.4028235e38, 1e-45],
    [-3.4028235e38, 1.1754944e-38, 0.1, 1 / 3],
    [0.0, 0.0, 0.0, 0.0],
]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
async def test_vectors_come_back_bit_by_bit(store: Store, metric: Metric) -> None:
    embedding = replace(EMBEDDING, metric=metric)
    packed = [struct.pack("<4f", *numbers) for numbers in VECTORS]
    await put(
        store,
        *[record(str(n), vectors=one) for n, one in enumerate(packed)],
        embedding=embedding,
    )
    notes = await opened(store)
    got = await store.get(notes, ["0", "1", "2"], with_vectors=True)
    assert [one.vectors for one in got] == packed
    page = await listed(store, with_vectors=True)
    assert [one.vectors for one in page.records] == packed
    request = SearchRequest(Selection(), EAST, [], 9, by_vector, with_vectors=True)
    found = await store.search(notes, request)
    assert {one.id: one.vectors for one, _ in found} == dict(zip("012", packed, strict=True))


METADATA: list[dict[str, Any]] = [
    {},
    {"a": 1, "b": 1.0, "c": True, "d": None, "e": "1", "f": -0.0, "g": 0},
    {"big": 2**63 - 1, "bigger": 2**63, "biggest": 10**300, "least": -(2**63), "below": -(10**300)},
    {"huge": 1.7976931348623157e308, "tiny": 5e-324, "third": 1 / 3, "e": 1e16, "n": 1e22},
    {"z": 1, "a": 2, "m": {"z": 1, "a": {"y": [], "b": {}}}},
    {"": {"": ""}, ".": {".": "."}, "a.b": 1, "@id": 2, "$eq": 3, "\\": 4, '"': 5, "'": 6, " ": 7},
    {"list": [1, 1.0, True, None, "1", [1, [1.0]], {"a": [1]}, 1, 1.0]},
    {"text": "x" * 100_000, "Ünï": "𝄞 e\u0301 é \u202e \ufffe \ufeff \u2028 \n\t\x01\x7f"},
    {"deep": json.loads("[" * 31 + "]" * 31)},
]


async def test_metadata_comes_back_as_it_was_given(store: Store) -> None:
    given = [json.dumps(one) for one in METADATA]  # in which 1 is not 1.0, and order counts
    await put(store, *[record(str(n), metadata=one) for n, one in enumerate(METADATA)])
    names = [str(n) for n in range(len(METADATA))]
    notes = await opened(store)
    assert [json.dumps(one.metadata) for one in await store.get(notes, names)] == given
    assert [json.dumps(one.metadata) for one in (await listed(store)).records] == given
    request = SearchRequest(Selection(), EAST, [], 99, by_vector)
    found = {one.id: json.dumps(one.metadata) for one, _ in await store.search(notes, request)}
    assert [found[name] for name in names] == given
    # Replaced by one another, so that each finds and removes what the last one left.
    for one in (*METADATA[1:], METADATA[0]):
        await write(store, changing("0", metadata=one))
        assert json.dumps((await get(store, "0")).metadata) == json.dumps(one)
    assert await ids(store, selecting({"a": {"$exists": True}}, ids=["0"])) == []


async def test_texts_come_back_as_they_were_given(store: Store) -> None:
    texts = ["", " ", "a/b?c#d%2f", "\\", "'; DROP TABLE memory; --", "é", "e\u0301", "𝄞" * 200]
    fields = ("user_id", "agent_id", "session_id", "type")
    records = [
        record(text or "empty", text, **dict.fromkeys(fields, text), importance=0.1 + n / 100)
        for n, text in enumerate(texts)
    ]
    await put(store, *records)
    assert (await listed(store, with_vectors=True)).records == records
    for one in records:
        assert await get(store, one.id) == one
        assert await ids(store, selecting(user_id=one.content)) == [one.id]


# Namespaces


def placed(identity: str, *path: str, **fields: Any) -> Record:
    return record(identity, "word", namespace=path, **fields)


PLACES = [
    ("a",),
    ("a", "b"),
    ("a", "b", "c"),
    ("a", "bb"),
    ("ab",),
    ("a,b",),
    ('a","b',),
    ("a]",),
    ("A",),
    ("a%",),
    ("*",),
    ("b", "a"),
    ("é", "𝄞"),
    ("a\n",),
]


async def all_ways(store: Store, selection: Selection) -> list[set[str]]:
    """The ids that each way to read finds: listed, by vector, by words."""
    return [
        set(await ids(store, selection)),
        set(await near(store, EAST, selection)),
        set(await saying(store, "word", selection)),
    ]


async def test_a_namespace_is_read_with_what_is_below_it_and_nothing_beside(store: Store) -> None:
    await put(store, *[placed(str(n), *path) for n, path in enumerate(PLACES)], record("none"))
    for place in [*PLACES, ("c",), ("a", "b", "c", "d"), ("a", "")]:
        below = {str(n) for n, path in enumerate(PLACES) if path[: len(place)] == place}
        assert await all_ways(store, Selection(Scope(namespace=place))) == [below] * 3, place
    kept = [placed(str(n), *path) for n, path in enumerate(PLACES)]
    assert [(await get(store, one.id)).namespace for one in kept] == PLACES
    assert (await get(store, "none")).namespace is None


async def test_a_namespace_narrows_beside_other_criteria(store: Store) -> None:
    await put(
        store,
        placed("1", "a", user_id="u", metadata={"x": 1}),
        placed("2", "a", "b", user_id="u", metadata={"x": 2}),
        placed("3", "a", "b", user_id="v", metadata={"x": 1}),
        placed("4", "b", user_id="u", metadata={"x": 1}),
    )
    selection = Selection(Scope("u", namespace=("a",)), parse({"x": 1}))
    assert await all_ways(store, selection) == [{"1"}] * 3
    going = deleting(Selection(Scope(namespace=("a", "b"))))
    assert await write(store, going) == 2
    assert await ids(store) == ["1", "4"]


async def test_an_upsert_moves_a_record_to_its_new_namespace(store: Store) -> None:
    await put(store, placed("1", "a"))
    await put(store, placed("1", "b"))
    assert await all_ways(store, Selection(Scope(namespace=("a",)))) == [set()] * 3
    assert await all_ways(store, Selection(Scope(namespace=("b",)))) == [{"1"}] * 3


async def test_namespaces_are_listed_as_they_match(store: Store, clock: Clock) -> None:
    paths = [("a", "b", "c"), ("a", "x", "c"), ("a", "b"), ("ab", "c"), ("z",)]
    records = [placed(str(n), *path) for n, path in enumerate([*paths, *paths])]
    gone = placed("gone", "gone", expires_at=clock.now + 1)
    await put(store, *records, gone, record("none"))
    await put(store, placed("other", "other"), collection="other")
    clock.advance(1)

    async def found(*prefix: str | None, **more: Any) -> list[tuple[str, ...]]:
        request = NamespaceRequest(prefix=prefix, **more)
        return await store.namespaces(await opened(store), request)

    assert await found() == sorted(paths)
    assert await found("a") == [("a", "b"), ("a", "b", "c"), ("a", "x", "c")]
    assert await found("a", None, "c") == [("a", "b", "c"), ("a", "x", "c")]
    assert await found(None) == sorted(paths)
    assert await found(suffix=["c"]) == [("a", "b", "c"), ("a", "x", "c"), ("ab", "c")]
    assert await found(suffix=["b", None]) == [("a", "b", "c")]
    assert await found("a", suffix=["x", "c"]) == [("a", "x", "c")]
    assert await found(max_depth=1) == [("a",), ("ab",), ("z",)]
    assert await found(limit=2, offset=1) == [("a", "b", "c"), ("a", "x", "c")]
    assert await found("a", "b", "c", "d") == []
    await put(store, placed("mine", "z", user_id="u"), placed("mine too", "m", user_id="u"))
    assert await found(user_id="u") == [("m",), ("z",)]
    assert await found("z", user_id="v") == []


# Several vectors


def both(*vectors: bytes) -> bytes:
    return b"".join(vectors)


async def similar(store: Store, along: bytes, k: int = 9, **how: Any) -> dict[str, float]:
    request = SearchRequest(Selection(**how), along, [], k, by_vector)
    found = await store.search(await opened(store), request)
    return {one.id: score for one, score in found}


@pytest.mark.parametrize("warm", [False, True])
async def test_the_best_of_several_vectors_counts(store: Store, warm: bool) -> None:
    if warm:  # the index is there, and follows each write
        await put(store, record("0", vectors=vector(0, 0, 0, 1)))
        await near(store, EAST)
    await put(
        store,
        record("1", vectors=both(EAST, UP)),
        record("2", vectors=NORTH),
        record("3", vectors=both(NORTH, EAST, vector(1, 1, 0, 0))),
    )
    assert list(await similar(store, UP, 1)) == ["1"]
    assert await similar(store, EAST, 2) == pytest.approx({"3": 1.0, "1": 1.0})
    everything = await similar(store, NORTH)
    assert everything == pytest.approx({"3": 1, "2": 1, "1": 0} | ({"0": 0} if warm else {}))
    some = await similar(store, EAST, filter=parse({"@id": {"$in": ["1", "2"]}}))
    assert some == pytest.approx({"1": 1, "2": 0})
    assert (await get(store, "3")).vectors == both(NORTH, EAST, vector(1, 1, 0, 0))


async def test_vectors_grow_shrink_and_go(store: Store) -> None:
    await put(store, *[record(str(n), vectors=both(EAST, NORTH)) for n in range(3)])
    await near(store, EAST)
    await put(store, record("1", vectors=UP))  # fewer
    assert await similar(store, EAST) == pytest.approx({"2": 1, "0": 1, "1": 0})
    await put(store, record("1", vectors=both(UP, EAST, NORTH)))  # more, in the middle
    assert await similar(store, EAST) == pytest.approx({"2": 1, "1": 1, "0": 1})
    assert (await similar(store, UP))["1"] == pytest.approx(1)
    await put(store, record("2", vectors=both(UP, UP, UP, UP)))  # more, at the end
    assert await similar(store, EAST) == pytest.approx({"1": 1, "0": 1, "2": 0})
    await put(store, record("0", vectors=b"", index_texts=[]))  # none
    assert set(await similar(store, EAST)) == {"1", "2"}
    assert (await get(store, "0")).vectors is None
    await write(store, deleting(selecting(ids=["1"])))
    assert set(await similar(store, EAST)) == {"2"}
    await put(store, record("0", vectors=both(NORTH, EAST)))
    assert await similar(store, EAST) == pytest.approx({"0": 1, "2": 0})


METRICS: list[Metric] = ["cosine", "dot", "euclidean"]


def compared(metric: Metric, query: list[float], point: list[float]) -> float:
    a, b = np.array(query), np.array(point)
    match metric:
        case "cosine":
            return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        case "dot":
            return float(a @ b)
    return float(1 / (1 + np.linalg.norm(a - b)))


@pytest.mark.parametrize("metric", METRICS)
async def test_several_vectors_under_random_writes_score_as_a_plain_model(
    store: Store, metric: Metric
) -> None:
    """Against a dictionary of lists, with filters, expiry of the index and every size."""
    chance = random.Random(7)
    embedding = replace(EMBEDDING, metric=metric)
    model: dict[str, list[list[float]]] = {}
    for step in range(120):
        name = f"r{chance.randrange(12)}"
        if chance.random() < 0.2:
            await write(store, deleting(selecting(ids=[name])))
            model.pop(name, None)
        else:
            points = [[chance.uniform(-1, 1) for _ in range(4)] for _ in range(chance.randrange(4))]
            packed = both(*[vector(*point) for point in points])
            group = {"even": int(name[1:]) % 2 == 0}
            one = record(name, vectors=packed, metadata=group)
            await put(store, one, embedding=embedding)
            model[name] = points
        if step % 5:
            continue
        query = [chance.uniform(-1, 1) for _ in range(4)]
        for filters in (None, {"even": True}):
            expected = {
                name: max(compared(metric, query, point) for point in points)
                for name, points in model.items()
                if points and (filters is None or int(name[1:]) % 2 == 0)
            }
            chosen = None if filters is None else parse(filters)
            found = await similar(store, vector(*query), 99, filter=chosen)
            assert found == pytest.approx(expected, abs=1e-5)
            ranked = sorted(found.values(), reverse=True)
            assert list(found.values()) == ranked


# What a record is found by


async def test_texts_of_choice_stand_for_the_content(store: Store) -> None:
    await put(
        store,
        record("1", "hidden", index_texts=["apple pie", "sailing boat"], vectors=both(EAST, UP)),
        record("2", "apple"),
        record("3", "hidden apple", index_texts=[], vectors=b""),
    )
    assert set(await saying(store, "apple")) == {"1", "2"}
    assert await saying(store, "boats") == ["1"]
    assert await saying(store, "hidden") == []
    assert set(await near(store, EAST)) == {"1", "2"}
    assert await ids(store) == ["1", "2", "3"]
    assert (await get(store, "1")).index_texts == ["apple pie", "sailing boat"]
    await put(store, record("1", "hidden"), record("2", "apple", index_texts=[], vectors=b""))
    assert await saying(store, "hidden") == ["1"]
    assert await saying(store, "apple") == []
    assert await write(store, changing("2", EAST)) == STALE  # no search may find it
    assert await near(store, EAST) == ["1"]


async def test_a_payload_comes_back_as_it_was_given(store: Store) -> None:
    payloads: list[Any] = [{"a": [1, 1.0, True, None, "é\n"]}, [], {}, "text", 0, False, 1e300]
    await put(store, *[record(str(n), payload=one) for n, one in enumerate(payloads)])
    found = [(await get(store, str(n))).payload for n in range(len(payloads))]
    assert repr(found) == repr(payloads)
    await write(store, changing("0", payload={"b": 2}))
    await write(store, changing("1", payload=None))
    assert (await get(store, "0")).payload == {"b": 2}
    assert (await get(store, "1")).payload is None
    assert await ids(store, selecting({"a": {"$exists": True}})) == []


# Time to live


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


# Archive


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


# Sessions


async def test_sessions_are_listed_by_id_with_their_counts(store: Store, clock: Clock) -> None:
    start = clock.now
    await put(store, record("1", "x", session_id="b"), record("2", "x", session_id="a"))
    clock.advance(SECOND)
    await put(
        store,
        record("3", "y", session_id="b", user_id="u", namespace=("n",)),
        record("4", "x", session_id="c", expires_at=clock.now + 1),
        record("5"),
    )
    clock.advance(1)

    async def sessions(selection: Selection, after: str | None = None, n: int = 9) -> list[Any]:
        collection = await opened(store)
        found = await store.sessions(collection, selection, after=after, limit=n)
        return [(one.id, one.count, one.first_at, one.last_at) for one in found]

    a, b = ("a", 1, start, start), ("b", 2, start, start + SECOND)
    assert await sessions(Selection()) == [a, b]
    assert await sessions(Selection(), n=1) == [a]
    assert await sessions(Selection(), after="a") == [b]
    late = ("b", 1, start + SECOND, start + SECOND)
    assert await sessions(selecting(user_id="u")) == [late]
    assert await sessions(selecting({"@content": "y"})) == [late]
    assert await sessions(Selection(Scope(namespace=("n",)))) == [late]


async def test_seq_is_what_records_are_told_apart_by(store: Store) -> None:
    first, second = await put(store, record("a"), record("b"))
    assert first.record.seq < second.record.seq == (await get(store, "b")).seq
    (again,) = await put(store, record("a", "new"))
    assert again.record.seq == first.record.seq
    assert await ids(store, selecting({"@seq": {"$gt": first.record.seq}})) == ["b"]


# Words


async def test_words_find_a_record_whatever_their_form(store: Store) -> None:
    await put(
        store,
        record("a", "She was Running to the café."),
        record("b", "snake_case_name and C3PO"),
        record("c", "日本語 жизнь"),
    )
    assert await saying(store, "run") == ["a"]
    assert await saying(store, "cafe") == ["a"]
    assert await saying(store, "CAFE\u0301") == ["a"]
    assert await saying(store, "case") == ["b"]
    assert await saying(store, "c3po") == ["b"]
    assert await saying(store, "ЖИЗНЬ") == ["c"]
    assert await saying(store, "日本語") == ["c"]
    assert await saying(store, "dog") == []


@pytest.mark.parametrize(
    "words",
    [
        '"',
        "NEAR(a b)",
        "text:word",
        "scope : u1",
        "a AND NOT b",
        "*",
        "^word",
        "𐞁 word",
        "꟰",
        "\u1ae0",
    ],
)
async def test_no_query_is_an_error(store: Store, words: str) -> None:
    await put(store, record("a", "word", user_id="u"), record("b", "other"))
    found = await saying(store, words)
    assert ("a" in found) == ("word" in words)
    assert "b" not in found


async def test_a_term_that_the_index_does_not_know_harms_no_other(store: Store) -> None:
    await put(store, record("a", "word"))
    notes = await opened(store)
    for terms in (["𐞁"], ["𐞁", "word"], ["word", "𐞁"], ["no", "𐞁", "word"]):
        request = SearchRequest(Selection(), None, terms, 9, by_words)
        found = [one.id for one, _ in await store.search(notes, request)]
        assert found == (["a"] if "word" in terms else [])


async def test_better_matches_come_first(store: Store) -> None:
    await put(
        store,
        record("once", "red and many other things that are not it"),
        record("both", "red apples"),
        record("none", "green pears"),
        record("twice", "red red"),
    )
    assert await saying(store, "red apples") == ["both", "twice", "once"]
    assert await saying(store, "red apples", depth=1) == ["both"]


MAY_8 = 1_683_550_000 * SECOND  # in 2023


async def test_the_date_finds_what_happened_on_it(store: Store) -> None:
    await put(
        store,
        record("event", "lunch", event_at=MAY_8),
        record("turn", "dinner", session_id="s", created_at=MAY_8),
        record("told", "tea", session_id="s2", event_at=MAY_8 + 86_400 * SECOND, created_at=MAY_8),
        record("neither", "breakfast", created_at=MAY_8),
    )
    assert set(await saying(store, "8 May 2023")) == {"event", "turn", "told"}
    assert (await saying(store, "9 May 2023"))[0] == "told"
    await write(store, changing("event", event_at=None))
    assert set(await saying(store, "May")) == {"turn", "told"}
    await write(store, changing("neither", event_at=MAY_8))
    assert set(await saying(store, "May")) == {"turn", "told", "neither"}


def turn(identity: str, content: str, session: str = "s", user: str | None = "u") -> Record:
    return record(identity, content, session_id=session, user_id=user)


async def test_the_previous_turn_finds_the_one_that_answers_it(store: Store) -> None:
    await put(
        store,
        turn("q", "visited Paris?"),
        turn("elsewhere", "no", session="s2"),
        turn("another's", "no", user="u2"),
        turn("nobody's", "no", user=None),
        record("alone", "no", user_id="u"),
        turn("a", "yes"),
        turn("thanks", "great"),
    )
    assert set(await saying(store, "Paris")) == {"q", "a"}
    assert set(await saying(store, "yes")) == {"a", "thanks"}
    # Its words are context, nothing more.
    assert (await get(store, "a")).content == "yes"
    assert await ids(store, selecting({"@content": {"$contains": "Paris"}})) == ["q"]


async def test_turns_that_are_stored_together_answer_each_its_own_session(store: Store) -> None:
    """Whatever sessions and users are called; of what is long, the last words are answered."""
    odd = ['["s"]', "a\\b'c\n\t", "ü😀\x01", "s", "null"]
    places = [(session, user) for session in odd for user in (*odd, None)]
    long = "😀é " * 600

    def turns(kind: str, content: Callable[[int], str]) -> list[Record]:
        return [
            turn(f"{kind}{number}", content(number), session=session, user=user)
            for number, (session, user) in enumerate(places)
        ]

    await put(store, *turns("q", lambda number: f'first{number} {long} "last{number}'))
    await put(store, *turns("a", lambda number: "yes"))
    for number in range(len(places)):
        assert set(await saying(store, f"last{number}")) == {f"q{number}", f"a{number}"}
        assert set(await saying(store, f"first{number}")) == {f"q{number}"}


async def test_what_no_search_finds_is_no_context(store: Store) -> None:
    transcript = replace(turn("log", "visited Rome?"), index_texts=[], vectors=b"")
    await put(store, turn("q", "visited Paris?"), transcript, turn("a", "yes"))
    assert set(await saying(store, "paris")) == {"q", "a"}
    assert await saying(store, "rome") == []
    await put(store, turn("log", "visited Rome?"))
    assert set(await saying(store, "rome")) == {"log", "a"}
    await put(store, transcript)
    assert set(await saying(store, "paris")) == {"q", "a"}
    assert await saying(store, "rome") == []


Change = Callable[[], list[Write]]


@pytest.mark.parametrize(
    ("change", "before_a"),
    [
        (lambda: [changing("q", content="visited Rome?")], "rome"),
        (lambda: [putting(turn("q", "visited Rome?"))], "rome"),
        (lambda: [deleting(selecting(ids=["q"]))], "hello"),
        (lambda: [deleting(selecting(ids=["q", "hi"]))], None),
        (lambda: [deleting(selecting({"@content": {"$contains": "Paris"}}))], "hello"),
        (lambda: [putting(turn("q", "visited Paris?", session="s2"))], "hello"),
        (lambda: [putting(turn("q", "visited Paris?", user="u2"))], "hello"),
        (lambda: [putting(record("q", "visited Paris?"))], "hello"),
        (lambda: [deleting(selecting(ids=["hi"])), deleting(selecting(ids=["q"]))], None),
        (lambda: [deleting(selecting(ids=["q"])), putting(turn("q", "anew"))], "hello"),
    ],
)
async def test_the_words_of_a_turn_that_changed_or_went_find_no_follower(
    store: Store, change: Change, before_a: str | None
) -> None:
    await put(store, turn("hi", "hello"), turn("q", "visited Paris?"), turn("a", "yes"))
    assert "a" in await saying(store, "paris")
    await store.write(change())
    assert "a" not in await saying(store, "paris")
    found_by = {word for word in ("rome", "hello", "paris") if "a" in await saying(store, word)}
    assert found_by == ({before_a} if before_a else set())


async def test_a_turn_that_comes_into_a_session_is_context_there(store: Store) -> None:
    await put(store, turn("x", "paris", session="elsewhere"), turn("a", "yes"))
    assert await saying(store, "paris") == ["x"]
    await put(store, turn("x", "paris"))
    assert set(await saying(store, "paris")) == {"x", "a"}


async def test_deleting_a_session_leaves_no_words(store: Store) -> None:
    await put(store, *[turn(f"t{n}", f"word{n}") for n in range(5)], turn("x", "y", session="t"))
    assert await write(store, deleting(selecting(session_id="s"))) == 5
    assert [await saying(store, f"word{n}") for n in range(5)] == [[]] * 5


@pytest.mark.parametrize("seed", range(4))
async def test_words_find_what_holds_them_and_what_answers_it_after_any_history(
    store: Store, seed: int
) -> None:
    """Random turns come, change, move and go; a dict says what each word must find."""
    chance = random.Random(seed)
    model: dict[str, Record] = {}  # in the order in which they were stored
    await write(store, PutCollection(TENANT, NOTES, EMBEDDING, 0))

    def found_by(word: str) -> set[str]:
        found, previous = set(), dict[tuple[str | None, str | None], str]()
        for one in model.values():
            before = previous.get((one.user_id, one.session_id), "") if one.session_id else ""
            if word in one.content.split() or word in before.split():
                found.add(one.id)
            previous[one.user_id, one.session_id] = one.content
        return found

    words: list[str] = []
    for step in range(60):
        batch: list[Write] = []
        for part in range(chance.randrange(1, 4)):
            name = f"r{chance.randrange(12)}"
            word = f"w{step}x{part}"
            words.append(word)
            match chance.choice(["put", "put", "put", "update", "delete", "session", "filter"]):
                case "put":
                    where = (chance.choice(["s1", "s1", "s2", None]), chance.choice(["u", None]))
                    one = record(name, f"{word} both", session_id=where[0], user_id=where[1])
                    batch.append(putting(one))
                    model[name] = one
                case "update":
                    batch.append(changing(name, content=f"{word} both"))
                    if name in model:
                        model[name] = replace(model[name], content=f"{word} both")
                case "delete":
                    going = {name, f"r{chance.randrange(12)}"}
                    batch.append(deleting(selecting(ids=sorted(going))))
                    model = {key: one for key, one in model.items() if key not in going}
                case "session" if step % 10 == 0:
                    batch.append(deleting(selecting(session_id="s1", user_id="u")))
                    model = {
                        key: one
                        for key, one in model.items()
                        if (one.session_id, one.user_id) != ("s1", "u")
                    }
                case "filter":
                    old = chance.choice(words)
                    batch.append(deleting(selecting({"@content": {"$like": f"{old} %"}})))
                    model = {k: one for k, one in model.items() if one.content.split()[0] != old}
        await store.write(batch)
        for word in {
            *chance.choices(words, k=5),
            *(one.content.split()[0] for one in model.values()),
        }:
            assert set(await saying(store, word)) == found_by(word)
    assert set(await saying(store, "both")) == set(model)
    assert await ids(store) == list(model)


async def test_only_the_end_of_a_long_turn_is_context(store: Store) -> None:
    await put(store, turn("q", "early " + "filler " * 1_000 + "late"), turn("a", "yes"))
    assert await saying(store, "early") == ["q"]
    assert set(await saying(store, "late")) == {"q", "a"}


async def test_an_expired_turn_is_no_context_of_what_comes_after(
    store: Store, clock: Clock
) -> None:
    await put(store, replace(turn("q", "paris"), expires_at=clock.now + SECOND))
    clock.advance(SECOND)
    await put(store, turn("a", "yes"))
    assert await saying(store, "paris") == []


# Opening again, and many at once


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


TWO = Embedding("client", None, 2, "euclidean")


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
