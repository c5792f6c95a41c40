"""Vectors that are read into memory while others write."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import numpy as np
import pytest
from agentmem_client.errors import Unavailable
from agentmem_server import times
from agentmem_server.storage import DropCollection, Erase
from agentmem_server.storage.sqlite import SqliteStore, loading, schema
from agentmem_server.storage.sqlite.loading import Loading, load_vectors
from agentmem_server.storage.vectors import VectorIndex

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

TENANT, NOTES = "tenant", "notes"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file, for whatever stores the other tests are."""
    return f"sqlite:///{tmp_path}/memory.db"


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_MOST", 5)
    monkeypatch.setattr(loading, "_FEW", 2)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator["Gate"]:
    """Before the second slice of a loading."""
    gate = Gate()
    read = Loading.read

    def wait(self: Loading, connection: apsw.Connection) -> bool:
        more = read(self, connection)
        gate.reached.set()
        assert gate.opened.wait(20)
        return more

    monkeypatch.setattr(Loading, "read", wait)
    yield gate
    gate.opened.set()


class Gate:
    """What holds up a loading."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()


def direction(number: int) -> bytes:
    angle = number * 0.37
    return np.array([np.cos(angle), np.sin(angle)], dtype="<f4").tobytes()


async def fill(notes: "Notes", count: int) -> None:
    """Store so many, and open the store anew, so that none of the vectors is in memory."""
    await notes.write(
        notes.putting(
            *(
                notes.record(f"n{n}", user_id=f"u{n % 4}", vectors=direction(n))
                for n in range(count)
            )
        )
    )
    await notes.reopen()


async def check(notes: "Notes", index: VectorIndex) -> None:
    """An index has the vectors of all that is stored, and nothing else."""
    records = [await notes.get_there(id) for id in await notes.ids()]
    ids = np.array([record.seq for record in records], dtype=np.int64)
    expected = [np.frombuffer(record.vectors or bytes(8), "<f4")[:2] for record in records]
    assert index.vectors(ids) == pytest.approx(np.array(expected).reshape(-1, 2), abs=1e-6)
    assert len(index) == sum(len(record.vectors or b"") // 8 for record in records)


async def change(notes: "Notes", chance: np.random.Generator, turn: int) -> None:
    """Any write to one of the memories."""
    ids = await notes.ids()
    id = ids[int(chance.integers(len(ids)))]
    match int(chance.integers(8)):
        case 0 | 1:
            await notes.put(f"new{turn}", vectors=direction(turn + 1_000), user_id="u1")
        case 2:
            await notes.change(id, vectors=direction(turn + 2_000))
        case 3:
            await notes.put(id, vectors=direction(turn) + direction(turn + 1))
        case 4:
            await notes.delete(id)
        case 5:
            await notes.delete(id)
            await notes.restore(id, 1)
        case 6:
            await notes.put(id, vectors=b"")
        case 7 if turn % 10 == 0:
            await notes.write(Erase(TENANT, f"u{turn % 4}", times.now()))


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_written_between_slices_is_read(notes: "Notes", seed: int) -> None:
    await fill(notes, 40)
    chance = np.random.default_rng(seed)
    store = notes.store
    assert isinstance(store, SqliteStore)
    begun = store._state.begin_loading(await notes.collection())
    reading = schema.connect(Path(notes.url.removeprefix("sqlite:///")), readonly=True)
    turn, more = 0, True
    while more:
        for _ in range(4 if turn < 60 else 0):
            turn += 1
            await change(notes, chance, turn)
        more = load_vectors(reading, begun)
    reading.close()
    await change(notes, chance, turn)
    index = await store._on_writer(store._state.end_loading, store._write_connection, begun)
    await check(notes, index)
    assert store._state.vectors(await notes.collection()) is index
    for later in range(turn + 1, turn + 20):
        await change(notes, chance, later)
    await check(notes, index)


async def test_a_search_while_they_are_read_sees_what_was_answered(notes: "Notes") -> None:
    await fill(notes, 300)

    async def writing(name: str) -> None:
        for number in range(8):
            point = direction(number)
            await notes.put(f"{name}{number}", vectors=point)
            assert f"{name}{number}" in await notes.near(point)
            await notes.delete(f"n{number * 9}")
            assert f"n{number * 9}" not in await notes.near(point)

    await asyncio.gather(writing("a"), writing("b"), *(notes.near(direction(n)) for n in range(5)))
    store = notes.store
    assert isinstance(store, SqliteStore)
    index = store._state.vectors(await notes.collection())
    assert index is not None
    await check(notes, index)


async def test_writes_do_not_wait_for_it(notes: "Notes", gate: Gate) -> None:
    await fill(notes, 20)
    search = asyncio.create_task(notes.near(direction(3)))
    assert await asyncio.to_thread(gate.reached.wait, 20)
    await notes.put("late", vectors=direction(3))
    await notes.delete("n3")
    assert not search.done()
    gate.opened.set()
    found = await search
    assert found[0] == "late"
    assert len(found) == 20
    assert "n3" not in found


async def test_a_collection_may_be_emptied_meanwhile(notes: "Notes", gate: Gate) -> None:
    await fill(notes, 20)
    search = asyncio.create_task(notes.near(direction(3)))
    assert await asyncio.to_thread(gate.reached.wait, 20)
    await notes.delete()
    await notes.put("late", vectors=direction(3))
    gate.opened.set()
    assert await search == ["late"]
    assert await notes.near(direction(3)) == ["late"]


async def test_a_collection_may_be_deleted_meanwhile(notes: "Notes", gate: Gate) -> None:
    await fill(notes, 20)
    search = asyncio.create_task(notes.near(direction(3)))
    assert await asyncio.to_thread(gate.reached.wait, 20)
    await notes.write(DropCollection(TENANT, NOTES))
    gate.opened.set()
    assert await search == []
    await notes.put("late", vectors=direction(3))  # into another of the same name
    assert await notes.near(direction(3)) == ["late"]


async def test_of_a_collection_that_is_gone_nothing_stays(notes: "Notes") -> None:
    await fill(notes, 5)
    assert isinstance(notes.store, SqliteStore)
    gone = await notes.collection()
    await notes.write(DropCollection(TENANT, NOTES))
    assert len(await notes.store._index(gone)) == 0
    assert notes.store._state.vectors(gone) is None


async def test_who_leaves_takes_nothing_from_who_waits(notes: "Notes", gate: Gate) -> None:
    await fill(notes, 20)
    first = asyncio.create_task(notes.near(direction(3)))
    assert await asyncio.to_thread(gate.reached.wait, 20)
    second = asyncio.create_task(notes.near(direction(3)))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.opened.set()
    assert len(await second) == 20


async def test_where_it_fails_the_next_search_tries_again(
    notes: "Notes", monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(notes, 20)
    with monkeypatch.context() as broken:

        def fail(self: Loading, connection: apsw.Connection) -> bool:
            raise apsw.IOError("disk I/O error")

        broken.setattr(Loading, "read", fail)
        for outcome in await asyncio.gather(
            *(notes.near(direction(3)) for _ in range(3)), return_exceptions=True
        ):
            assert isinstance(outcome, Unavailable)
    await notes.put("late", vectors=direction(3))
    assert len(await notes.near(direction(3))) == 21


async def test_a_store_can_be_closed_meanwhile(notes: "Notes", gate: Gate) -> None:
    await fill(notes, 20)
    search = asyncio.create_task(notes.near(direction(3)))
    assert await asyncio.to_thread(gate.reached.wait, 20)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    closing = asyncio.create_task(notes.reopen())
    await asyncio.sleep(0.05)
    gate.opened.set()
    await closing
    assert len(await notes.near(direction(3))) == 20
