"""What only a store in a file has: the file itself."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import apsw
import numpy as np
import pytest
from agentmem_client.errors import Unavailable
from agentmem_client.filters import parse
from agentmem_server import times
from agentmem_server.storage import (
    ClaimJobs,
    Delete,
    DropCollection,
    Forget,
    Job,
    PutJob,
    Scope,
    Selection,
    open_keys,
    open_store,
)
from agentmem_server.storage.sqlite import schema

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

    NewNotes: TypeAlias = type[Notes]
else:
    NewNotes = type

TENANT, NOTES = "tenant", "notes"
EAST = np.array([1, 0], dtype="<f4").tobytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


async def opened(path: Path, new_notes: NewNotes) -> "Notes":
    url = f"sqlite:///{path}"
    return new_notes(url, await open_store(url, readers=1))


async def refusal(path: Path) -> str:
    with pytest.raises(Unavailable) as refused:
        await open_store(f"sqlite:///{path}", readers=1)
    return refused.value.message


def size(path: Path) -> int:
    return path.stat().st_size


def content(path: Path) -> bytes:
    return path.read_bytes()


async def everywhere(notes: "Notes") -> list[list[str]]:
    """What each way of reading shows; all should agree."""
    return [await notes.ids(), await notes.near(EAST), await notes.saying("word")]


async def usable(path: Path, new_notes: NewNotes) -> None:
    notes = await opened(path, new_notes)
    await notes.put("a", "word")
    assert {"a"} <= set.intersection(*map(set, await everywhere(notes)))
    await notes.store.close()


async def test_a_file_and_its_folder_are_made(tmp_path: Path, new_notes: NewNotes) -> None:
    await usable(tmp_path / "new" / "folder" / "memory.db", new_notes)


async def test_a_copy_of_a_file_is_as_good_as_the_file(file: Path, new_notes: NewNotes) -> None:
    await usable(file, new_notes)
    copy = file.with_name("copy.db")
    connection = apsw.Connection(str(file))
    connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()
    notes = await opened(copy, new_notes)
    assert await everywhere(notes) == [["a"]] * 3
    await notes.store.close()
    connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.pragma("journal_mode") == "wal"  # in which no reader waits for the writer
    connection.close()


async def test_what_is_deleted_leaves_no_rows_in_the_file(file: Path, new_notes: NewNotes) -> None:
    def rows() -> dict[str, Any]:
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
            "AND name NOT GLOB 'keyword_*_*' AND name NOT IN ('event', 'forgotten')"
        ).fetchall()
        names = [str(name) for (name,) in tables]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").get for name in names}
        connection.close()
        return {name: number for name, number in counts.items() if number}

    notes = await opened(file, new_notes)
    ids = [str(n) for n in range(20)]
    records = [
        notes.record(id, "word", session_id="s" if n % 2 else None, metadata={"a": [n, {"b": "c"}]})
        for n, id in enumerate(ids)
    ]
    everything = [Selection(ids=ids), Selection(filter=parse({"@content": "word"})), Selection()]
    for selection in everything:
        await notes.write(notes.putting(*records))
        await notes.change("0", metadata={"d": None})
        assert (await notes.write(Delete(TENANT, NOTES, selection))).count == 20
        # The history keeps what it takes to restore them, until it is forgotten.
        assert set(await asyncio.to_thread(rows)) == {"collection", "image", "vector"}
        await notes.write(Forget(times.now() + 1, times.now(), 1_000))
        assert await asyncio.to_thread(rows) == {"collection": 1}
    await notes.write(notes.putting(*records))
    await notes.write(DropCollection(TENANT, NOTES))
    assert await asyncio.to_thread(rows) == {"image": 20}
    await notes.write(Forget(times.now() + 1, times.now(), 1_000))
    assert await asyncio.to_thread(rows) == {}
    await notes.store.close()


async def test_a_file_is_open_once_at_a_time(file: Path, new_notes: NewNotes) -> None:
    notes = await opened(file, new_notes)
    await notes.put("a", "word")
    assert str(file) in await refusal(file)
    file.with_name("link.db").symlink_to(file)
    await refusal(file.with_name("link.db"))
    assert await everywhere(notes) == [["a"]] * 3  # the first is none the worse for it
    await notes.put("b")
    await notes.store.close()
    await usable(file, new_notes)


async def test_a_file_of_another_program_is_refused_and_left_as_it_is(file: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    connection.close()
    before = content(file)
    for _ in range(2):  # and a refusal holds no lock
        assert "another program" in await refusal(file)
    assert content(file) == before


@pytest.fixture
def diary(file: Path) -> Path:
    file.write_text("Dear diary, " * 100)
    return file


async def test_what_is_no_database_is_refused_and_left_as_it_is(diary: Path) -> None:
    before = content(diary)
    for _ in range(2):
        assert str(diary) in await refusal(diary)
    assert content(diary) == before
    folder = diary.with_name("folder")
    folder.mkdir()
    await refusal(folder)
    await refusal(diary / "below.db")


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(
    file: Path, new_notes: NewNotes
) -> None:
    await usable(file, new_notes)
    connection = apsw.Connection(str(file))
    connection.pragma("user_version", schema.VERSION + 1)
    connection.close()
    before = content(file)
    for _ in range(2):
        assert "newer" in await refusal(file)
    assert content(file) == before
    connection = apsw.Connection(str(file))
    connection.pragma("user_version", schema.VERSION)
    connection.close()
    await usable(file, new_notes)


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.0", "2.99.99"])
def test_a_sqlite_that_loses_writes_is_refused(version: str) -> None:
    with pytest.raises(Unavailable, match=version):
        schema.check_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.100.0", "4.0.0", "3.51.3.1"])
def test_a_sqlite_that_keeps_writes_is_accepted(version: str) -> None:
    schema.check_sqlite(version)


async def test_the_version_of_sqlite_is_checked_before_a_file_is_touched(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    assert "3.51.2" in await refusal(file)
    assert list(file.parent.iterdir()) == []


async def test_what_was_running_when_a_server_ended_is_due_when_the_next_one_starts(
    file: Path, new_notes: NewNotes
) -> None:
    notes = await opened(file, new_notes)
    job = Job("a", TENANT, "extract", NOTES, Scope(), None, "queued", b"{}", 2, 1, 1, 1)
    await notes.write(PutJob(job))
    await notes.write(PutJob(replace(job, id="later", run_at=times.now() + 10**12)))
    await notes.write(ClaimJobs(1, times.now() + 10**12, 1, b"lost"))
    with open_keys(notes.url) as keys:  # is no server's start
        assert keys.listed(None) == []
    assert await notes.write(ClaimJobs(times.now(), times.now(), 10, b"lost")) == []
    await notes.reopen()
    (again,) = await notes.write(ClaimJobs(times.now(), times.now() + 10**12, 10, b"lost"))
    assert (again.id, again.attempts) == ("a", 2)
    await notes.reopen()
    assert await notes.write(ClaimJobs(times.now(), times.now(), 10, b"lost")) == []
    lost = await notes.store.job(TENANT, "a")
    assert lost is not None
    assert (lost.status, lost.error) == ("failed", b"lost")
    await notes.store.close()


async def test_the_log_is_folded_into_the_file_when_it_is_large(
    file: Path, new_notes: NewNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAL_SIZE", 1 << 20)
    log = file.with_name("memory.db-wal")
    notes = await opened(file, new_notes)
    sizes = []
    for number in range(50):
        await notes.put(f"{number}", "word " * 20_000)
        sizes.append(size(log))
    assert max(sizes) < 2 << 20
    assert size(file) > 4 << 20
    large = [notes.record(f"large{number}", "word " * 20_000) for number in range(50)]
    await notes.write(notes.putting(*large))
    assert size(log) > 5 << 20
    await notes.put("a", "word")  # begins the log anew, and leaves no more of it than it needs
    assert size(log) <= 2 << 20
    await notes.store.close()


async def test_the_log_takes_several_batches(file: Path, new_notes: NewNotes) -> None:
    notes = await opened(file, new_notes)
    for number in range(100):
        await notes.put(f"{number}", "word " * 20_000)
    assert size(file) < 1 << 20
    assert size(file.with_name("memory.db-wal")) > 10 << 20
    await notes.store.close()


@pytest.mark.parametrize("page", [4_096, 8_192])
def test_the_log_is_as_large_whatever_the_size_of_pages(file: Path, page: int) -> None:
    connection = apsw.Connection(str(file))
    connection.pragma("page_size", page)
    connection.execute("CREATE TABLE one (x)")
    connection.close()
    connection = schema.connect(file)
    assert connection.pragma("wal_autocheckpoint") * page == schema.WAL_SIZE
    connection.close()
