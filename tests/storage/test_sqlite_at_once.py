"""Searches that are answered from memory: they see what every other search sees."""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import numpy as np
import pytest
from agentmem_client import filters
from agentmem_server import times
from agentmem_server.storage import (
    Archive,
    Candidates,
    Delete,
    DropCollection,
    Embedding,
    Erase,
    KeptRow,
    Learn,
    ListRequest,
    Ranked,
    Record,
    Refresh,
    Scope,
    SearchRequest,
    Selection,
    Sweep,
    Update,
)
from agentmem_server.storage.sqlite import SqliteStore, at_once, reader
from agentmem_server.storage.sqlite.disk_waits import DiskWaits
from agentmem_server.storage.sqlite.selections import Selections
from agentmem_server.storage.vectors import VectorIndex

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"
SECOND = 1_000_000
EMBEDDING = Embedding("client", None, 2, "cosine")
EAST = np.array([1, 0], dtype="<f4").tobytes()
NORTH = np.array([0, 1], dtype="<f4").tobytes()

ANN, BOB, CAT = (Selection(Scope(user_id=user)) for user in ("ann", "bob", "cat"))
RED = Selection(filter=filters.parse({"colour": "red"}))
REDS_OF_ANN = Selection(Scope(user_id="ann"), filters.parse({"colour": "red"}))
LIVELY = Selection(filter=filters.parse({"@archived": False}))
ALL = Selection()
ANY_ROW = range(1_000)
EVERY = (ANN, BOB, CAT, RED, REDS_OF_ANN, LIVELY, ALL)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file, for whatever stores the other tests are."""
    return f"sqlite:///{tmp_path}/memory.db"


@pytest.fixture
async def warm(notes: "Notes") -> "Warm":
    """A store in which every search of `EVERY` was made."""
    await notes.put("a1", "one", user_id="ann", metadata={"colour": "red"})
    await notes.put("a2", "two", user_id="ann", ttl=9 * SECOND, expires_at=times.now() + SECOND)
    await notes.put("b1", "three", user_id="bob", metadata={"colour": "red"}, vectors=NORTH)
    await notes.put("c1", "four", user_id="cat", session_id="s", vectors=EAST + NORTH)
    await notes.put("n1", "five", metadata={"colour": "blue"})
    await notes.put("none", "six", user_id="ann", vectors=b"")
    made = Warm(notes)
    await made.up()
    return made


def best(candidates: Candidates) -> Ranked:
    return candidates.ids, candidates.similarities


def render(record: Record) -> bytes:
    shown = (record.id, record.content, record.user_id, record.archived, record.expires_at)
    return repr((shown, record.metadata, record.version)).encode()


def asking(
    selection: Selection = ALL, rank: Callable[[Candidates], Ranked] = best, **fields: Any
) -> SearchRequest:
    everything = {"vector": EAST, "terms": [], "depth": 1_000, "render": render, **fields}
    return SearchRequest(selection, rank=rank, **everything)


class Warm:
    """What is in memory of a collection, and what ought to be."""

    def __init__(self, notes: "Notes") -> None:
        self.notes = notes

    @property
    def store(self) -> SqliteStore:
        assert isinstance(self.notes.store, SqliteStore)
        return self.notes.store

    async def up(self) -> None:
        """Make every search, which makes it known."""
        for selection in EVERY:
            await self.store.search(await self.notes.collection(), asking(selection))
            assert await self.at_once(selection) is not None

    async def at_once(
        self, selection: Selection = ALL, **fields: Any
    ) -> Sequence[tuple[bytes, float]] | None:
        collection = await self.notes.collection()
        found = self.store.at_once.search(collection, asking(selection, **fields))
        if found is None:
            return None
        return list(zip(found.rendered, found.scores, strict=True))

    async def there(self, selection: Selection) -> set[bytes]:
        """What the file says."""
        request = ListRequest(selection, "seq", "asc", 1_000, with_vectors=True)
        page = await self.store.page(await self.notes.collection(), request)
        return {render(record) for record in page.records if record.vectors}

    async def check(self, *still_known: Selection) -> None:
        """No search says anything else than the file, and some are answered at once."""
        for selection in EVERY:
            there = await self.there(selection)
            found = await self.at_once(selection)
            assert found is None or {hit for hit, _ in found} == there, selection
            assert found is not None or selection not in still_known, selection
            answered = await self.store.search(await self.notes.collection(), asking(selection))
            assert {render(record) for record, _ in answered} == there


async def test_what_was_searched_before_is_answered_at_once(warm: Warm) -> None:
    collection = await warm.notes.collection()
    for selection in EVERY:
        for depth in (1, 2, 100):
            request = asking(selection, depth=depth)
            answered = await warm.store.search(collection, request)
            expected = [(render(record), score) for record, score in answered]
            assert await warm.at_once(selection, depth=depth) == expected
    assert await warm.at_once(Selection(Scope(agent_id="x"))) is None
    assert await warm.store.search(collection, asking(Selection(Scope(agent_id="x")))) == []
    assert await warm.at_once(Selection(Scope(agent_id="x"))) == []


async def test_what_needs_the_file_is_left_to_others(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_age(candidates: Candidates) -> Ranked:
        candidates.attributes(candidates.ids)
        return best(candidates)

    def by_turns(candidates: Candidates) -> Ranked:
        candidates.turns(candidates.ids, False)
        return best(candidates)

    for fields in (
        {"rank": by_age},
        {"rank": by_turns},
        {"terms": ["one"]},
        {"with_vectors": True},
        {"vector": None},
    ):
        assert await warm.at_once(ANN, **fields) is None
    assert await warm.at_once(Selection(ids=["a1"])) is None
    monkeypatch.setattr(at_once, "_LONGEST", 2_000)
    assert await warm.at_once(BOB) is not None
    assert await warm.at_once(ANN) is None
    warm.store._state.kept.rows.clear()
    assert await warm.at_once(BOB, render=None) is None


async def give(notes: "Notes", id: str, user_id: str, **changes: Any) -> None:
    changed = Update(TENANT, NOTES, id, {"user_id": user_id, **changes}, times.now())
    assert isinstance(await notes.write(changed), Record)


async def put_another(notes: "Notes") -> None:
    await notes.put("a3", user_id="ann", metadata={"colour": "red"})


async def put_for_nobody(notes: "Notes") -> None:
    await notes.put("n2", metadata={"colour": "red"})


async def replace_one(notes: "Notes") -> None:
    await notes.put("a1", "other", user_id="ann", metadata={"colour": "blue"})


async def give_to_another(notes: "Notes") -> None:
    await give(notes, "a1", "bob")


async def give_two_vectors(notes: "Notes") -> None:
    await notes.change("a1", vectors=EAST + NORTH)


async def take_the_vectors(notes: "Notes") -> None:
    await notes.change("a1", vectors=b"")


async def give_vectors(notes: "Notes") -> None:
    await notes.change("none", vectors=NORTH)


async def delete_one(notes: "Notes") -> None:
    await notes.delete("a1")


async def delete_and_restore(notes: "Notes") -> None:
    await notes.delete("a1")
    await notes.restore("a1", 1)


async def restore_a_version(notes: "Notes") -> None:
    await notes.change("a1", content="new")
    await notes.restore("a1", 1)


async def replace_atomically(notes: "Notes") -> None:
    ann = Selection(Scope(user_id="ann"))
    await notes.write(notes.putting(notes.record("a9", user_id="ann"), replacing=ann))


async def set_aside(notes: "Notes") -> None:
    await notes.write(Archive(TENANT, NOTES, Selection(ids=["a1"]), True))


async def live_longer(notes: "Notes") -> None:
    await notes.write(Refresh(TENANT, NOTES, ["a2"], times.now()))


async def learn_a_fact(notes: "Notes") -> None:
    await notes.write(Learn(TENANT, NOTES, EMBEDDING, notes.record("f", "fact", user_id="ann")))


async def erase_ann(notes: "Notes") -> None:
    await notes.write(Erase(TENANT, "ann", times.now()))


async def half_refused(notes: "Notes") -> None:
    bad = notes.putting(notes.record("a8", user_id="ann"), notes.record("b1"), user_id="ann")
    await notes.store.write([bad, notes.putting(notes.record("a7", user_id="ann"))])


OF_ANN = [
    put_another,
    replace_one,
    give_two_vectors,
    take_the_vectors,
    give_vectors,
    delete_one,
    delete_and_restore,
    restore_a_version,
    replace_atomically,
    set_aside,
    live_longer,
    learn_a_fact,
    erase_ann,
    half_refused,
]


@pytest.mark.parametrize("write", OF_ANN)
async def test_a_write_is_seen_and_other_users_stay_known(
    warm: Warm, write: Callable[["Notes"], Any]
) -> None:
    await write(warm.notes)
    await warm.check(BOB, CAT)
    await warm.up()


async def test_what_comes_back_is_seen(warm: Warm) -> None:
    await warm.notes.delete("a1")
    await warm.up()
    await warm.notes.restore("a1", 1)
    await warm.check(BOB, CAT)


@pytest.mark.parametrize("write", [put_for_nobody, give_to_another])
async def test_a_write_of_no_user_or_of_two_is_seen(
    warm: Warm, write: Callable[["Notes"], Any]
) -> None:
    await write(warm.notes)
    await warm.check(CAT)


@pytest.mark.parametrize("drop", [True, False])
async def test_what_is_emptied_is_empty(warm: Warm, drop: bool) -> None:
    await warm.notes.put("c9", user_id="cat")
    if drop:
        await warm.notes.write(DropCollection(TENANT, NOTES))
    else:
        assert await warm.notes.write(Delete(TENANT, NOTES, Selection())) is not None
    kept = warm.store._state.kept
    assert len(kept.rows) == len(kept.selections) == 0
    await warm.notes.put("c1", "new", user_id="cat")
    await warm.check()
    await warm.up()


async def test_when_the_vectors_have_moved_who_searches_among_them_looks_for_them(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop does so where it searches, and not for what it leaves to others."""
    collection = await warm.notes.collection()
    index = warm.store._state.vectors(collection)
    selections = warm.store._state.kept.selections
    key = Selections.key(collection, CAT)
    assert index is not None
    assert key is not None
    for longest in (0, at_once._LONGEST):
        before = selections.get(key)
        assert before is not None
        while index.current(before) is before:
            await warm.notes.put(f"b{len(index)}", user_id="bob")
        monkeypatch.setattr(at_once, "_LONGEST", longest)
        if longest:
            assert await warm.at_once(CAT) is not None
        else:
            assert await warm.at_once(CAT) is None
            assert selections.get(key) is before
            await warm.store.search(collection, asking(CAT))
        after = selections.get(key)
        assert after is not None
        assert index.current(after) is after


async def test_what_expires_is_found_by_nobody(
    warm: Warm, clock: "Clock", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(await warm.at_once(ANN) or ()) == 2
    clock.advance(2 * SECOND)
    found = await warm.at_once(ANN)
    assert found is not None
    assert len(found) == 1
    await warm.check(*EVERY)
    await warm.notes.write(Sweep(clock.now, 100))
    await warm.check(BOB, CAT)


async def test_nothing_of_an_erased_user_stays_in_memory(warm: Warm) -> None:
    await erase_ann(warm.notes)
    kept = warm.store._state.kept
    assert not any(b"ann" in row for row in kept.rows.get(ANY_ROW).values())
    assert not any(key[1].user_id == "ann" for key in kept.selections._kept)
    assert len(kept.rows) == 3


async def test_nothing_stays_of_what_was_asked_of_an_erased_user_who_has_no_record(
    warm: Warm,
) -> None:
    asked = Selection(Scope(user_id="dan"), filters.parse({"name": "Dan"}))
    assert await warm.store.search(await warm.notes.collection(), asking(asked)) == []
    assert await warm.at_once(asked) == []
    await warm.notes.write(Erase(TENANT, "dan", times.now()))
    assert not any(key[1].user_id == "dan" for key in warm.store._state.kept.selections._kept)


@pytest.mark.parametrize(("id", "kept_rows"), [("a1", 1), ("b1", 2)])
async def test_what_was_read_before_a_commit_that_changes_it_is_not_kept(
    warm: Warm, id: str, kept_rows: int
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slowly(candidates: Candidates) -> Ranked:
        reached.set()
        assert go_on.wait(20)
        return best(candidates)

    await warm.notes.delete("none")  # else memory and file would seem to disagree
    kept = warm.store._state.kept
    kept.rows.clear()
    kept.selections.clear()
    collection = await warm.notes.collection()
    search = asyncio.create_task(warm.store.search(collection, asking(ANN, rank=slowly)))
    await asyncio.to_thread(reached.wait)
    await warm.notes.change(id, content="else")
    go_on.set()
    assert len(await search) == 2
    assert len(kept.rows) == kept_rows
    assert len(kept.selections) == kept_rows - 1
    await warm.check()


async def test_what_is_meant_in_vectors_that_were_emptied_is_not_kept(warm: Warm) -> None:
    collection = await warm.notes.collection()
    index = warm.store._state.vectors(collection)
    await warm.notes.write(Delete(TENANT, NOTES, Selection()))
    await warm.notes.put("a1", "new", user_id="ann")
    connection = warm.store._read_connections.get()
    reader.search(connection, warm.store._state, collection, index, asking(ANN))
    warm.store._read_connections.put(connection)
    await warm.check()
    assert len(await warm.at_once(ANN) or ()) == 1


async def test_while_memory_is_told_of_a_commit_nobody_looks_at_it(warm: Warm) -> None:
    with warm.store._state.kept.lock:
        assert await warm.at_once(ANN) is None
    assert await warm.at_once(ANN) is not None


async def test_what_a_commit_touches_is_not_read_until_memory_was_told(warm: Warm) -> None:
    kept = warm.store._state.kept
    collection = await warm.notes.collection()
    before = kept.rows.get(ANY_ROW)
    (rid,) = [rid for rid, row in before.items() if b"a1" in row]
    kept.touched.row(collection.key, rid, "ann")
    kept.commit_begins()
    for selection in (ANN, BOB):
        assert await warm.at_once(selection) is not None
    kept.rows.clear()
    assert await warm.at_once(ANN) is None
    assert await warm.at_once(BOB) is not None
    kept.selections.clear()
    for selection in EVERY:
        await warm.store.search(collection, asking(selection))
    assert before.keys() - kept.rows.get(ANY_ROW).keys() == {rid}
    assert {key[1].user_id for key in kept.selections._kept} == {"bob", "cat"}
    kept.commit_failed()
    await warm.up()


@pytest.mark.parametrize("terms", [[], ["new"]])
@pytest.mark.parametrize("replacing", [ANN, ALL])
@pytest.mark.parametrize("selection", [ANN, REDS_OF_ANN, ALL])
async def test_a_search_waits_until_memory_was_told_of_a_commit(
    warm: Warm,
    monkeypatch: pytest.MonkeyPatch,
    selection: Selection,
    replacing: Selection,
    terms: list[str],
) -> None:
    kept, notes = warm.store._state.kept, warm.notes
    committed, searched = threading.Event(), threading.Event()
    following = kept.following

    def late() -> Any:
        committed.set()
        assert searched.wait(10)
        return following()

    def rank(candidates: Candidates) -> Ranked:
        searched.set()
        return best(candidates)

    monkeypatch.setattr(kept, "following", late)
    new = notes.record("a9", "new", user_id="ann", metadata={"colour": "red"})
    writing = asyncio.create_task(notes.write(notes.putting(new, replacing=replacing)))
    assert await asyncio.to_thread(committed.wait, 10)
    request = asking(selection, rank, terms=terms)
    found = await warm.store.search(await notes.collection(), request)
    await writing
    assert {render(record) for record, _ in found} == await warm.there(selection)
    assert not any(np.isnan(score) for _, score in found)


@pytest.mark.parametrize("selection", [ANN, REDS_OF_ANN, ALL])
async def test_a_search_that_a_commit_overtakes_is_made_again(
    warm: Warm, monkeypatch: pytest.MonkeyPatch, selection: Selection
) -> None:
    loop, notes = asyncio.get_running_loop(), warm.notes
    top = VectorIndex.top
    new = notes.record("a9", "new", user_id="ann", metadata={"colour": "red"})

    def overtaken(self: VectorIndex, *asked: Any) -> Any:
        monkeypatch.undo()
        writing = notes.write(notes.putting(new, replacing=ANN))
        asyncio.run_coroutine_threadsafe(writing, loop).result(10)
        return top(self, *asked)

    monkeypatch.setattr(VectorIndex, "top", overtaken)
    found = await warm.store.search(await notes.collection(), asking(selection))
    assert {render(record) for record, _ in found} == await warm.there(selection)


async def test_what_took_many_commits_to_read_is_not_kept(warm: Warm) -> None:
    kept = warm.store._state.kept
    moment = kept.moment
    for _ in range(16):
        await warm.notes.put("b2", user_id="bob")
    collection = await warm.notes.collection()
    key = kept.selections.key(collection, CAT)
    assert key is not None
    assert kept.selection(key, moment) is not None
    await warm.notes.put("b2", user_id="bob")
    assert kept.selection(key, moment) is None
    kept.rows.clear()
    kept.put(moment, {}, {1: KeptRow(collection.key, b"", None)})
    assert len(kept.rows) == 0
    kept.put(moment + 1, {}, {1: KeptRow(collection.key, b"", None)})
    assert len(kept.rows) == 1


async def test_a_file_that_is_locked_is_left_to_others(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any, **__: Any) -> Any:
        raise apsw.BusyError("locked")

    warm.store._state.kept.rows.clear()
    with monkeypatch.context() as patched:
        patched.setattr(reader, "fetch", locked)
        assert await warm.at_once(ANN) is None
    assert await warm.at_once(ANN) is not None


@pytest.mark.parametrize("large", [{"content": "x" * 40_000}, {"payload": ["x" * 40_000]}])
async def test_large_rows_are_read_by_others(warm: Warm, large: dict[str, Any]) -> None:
    await warm.notes.change("b1", **large)
    await warm.up()
    warm.store._state.kept.rows.clear()
    assert await warm.at_once(BOB) is None
    assert await warm.at_once(ANN) is not None
    await warm.up()


async def test_a_slow_disk_is_waited_for_by_others(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = warm.store._state.kept.rows
    monkeypatch.setattr(DiskWaits, "are_over", lambda _: False)
    assert await warm.at_once(ANN) is not None
    rows.clear()
    assert await warm.at_once(ANN) is None
    await warm.up()
    monkeypatch.setattr(VectorIndex, "in_file", True)
    assert await warm.at_once(ANN) is None


async def test_vectors_that_wait_for_a_disk_are_left_to_others(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count()
    warm.store.at_once._disk_waits = DiskWaits(reads=lambda: next(reads))
    for selection in (ANN, ALL):
        assert await warm.at_once(selection) is not None
    monkeypatch.setattr(VectorIndex, "in_file", True)
    assert await warm.at_once(ANN) is None
    warm.store.at_once._disk_waits = DiskWaits(reads=lambda: 7)
    for selection in (ANN, ALL):
        assert await warm.at_once(selection) is not None


@pytest.mark.parametrize("what", ["rows", "vectors"])
async def test_it_is_told_how_long_reading_took(
    warm: Warm, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    took: list[float] = []
    monkeypatch.setattr(DiskWaits, "took", lambda _, seconds: took.append(seconds))
    assert await warm.at_once(ANN) is not None
    assert took == []
    if what == "rows":
        warm.store._state.kept.rows.clear()
    else:
        monkeypatch.setattr(VectorIndex, "in_file", True)
    assert await warm.at_once(ANN) is not None
    assert len(took) == 1


async def test_memory_of_which_nobody_knows_what_it_was_told_is_empty(warm: Warm) -> None:
    kept = warm.store._state.kept
    with pytest.raises(MemoryError), kept.following():
        raise MemoryError
    assert len(kept.rows) == len(kept.selections) == 0
    await warm.up()


async def test_vectors_that_moved_are_found_where_they_are(warm: Warm) -> None:
    more = [warm.notes.record(f"m{n}", user_id="more") for n in range(200)]
    await warm.notes.write(warm.notes.putting(*more))  # more than there is room for
    await warm.check(ANN, BOB, CAT)
    await warm.check(ANN, BOB, CAT)


async def test_writers_and_searches_that_race_agree(notes: "Notes") -> None:
    """Each writer has two users and moves records between them; a search shows no other's."""
    await notes.put("first", user_id="nobody")
    collection = await notes.collection()
    assert isinstance(notes.store, SqliteStore)
    store = notes.store
    counts = {"at once": 0, "usual": 0}

    async def search(user: str) -> set[tuple[str, str]]:
        request = asking(Selection(Scope(user_id=user)), render=shown)
        answer = store.at_once.search(collection, request)
        counts["usual" if answer is None else "at once"] += 1
        if answer is None:
            texts = [shown(record) for record, _ in await store.search(collection, request)]
        else:
            texts = list(answer.rendered)
        found = {tuple(text.decode().split("|")) for text in texts}
        assert {whose for _, _, whose in found} <= {user}
        return {(id, content) for id, content, _ in found}

    async def writer(number: int) -> None:
        chance = random.Random(number)
        users = [f"u{number}", f"v{number}"]
        model: dict[str, tuple[str, str]] = {}
        for step in range(150):
            id = f"{number}-{chance.randrange(6)}"
            content, user = f"text {step}", chance.choice(users)
            match chance.randrange(4):
                case 0 if id in model:
                    await notes.delete(id)
                    del model[id]
                case 1 if id in model:
                    await give(notes, id, user, content=content)
                    model[id] = content, user
                case _:
                    several = EAST * chance.randint(1, 2)
                    await notes.put(id, content, user_id=user, vectors=several)
                    model[id] = content, user
            for user in users:
                there = {(id, text) for id, (text, whose) in model.items() if whose == user}
                assert await search(user) == there

    async def others(done: asyncio.Event) -> None:
        while not done.is_set():
            for number in range(5):
                await search(f"u{number}")
            await asyncio.sleep(0)

    done = asyncio.Event()
    beside = asyncio.create_task(others(done))
    try:
        await asyncio.gather(*(writer(number) for number in range(4)))
    finally:
        done.set()
        await beside
    assert min(counts.values()) > 100


def shown(record: Record) -> bytes:
    return f"{record.id}|{record.content}|{record.user_id}".encode()


async def test_a_record_made_of_another_is_rendered_anew(warm: Warm) -> None:
    ((record, _), *_) = await warm.store.search(await warm.notes.collection(), asking(ANN))
    assert record.rendered == render(record)
    assert replace(record, content="other").rendered is None
