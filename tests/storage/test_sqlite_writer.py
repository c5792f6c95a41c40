"""What fails when a transaction is on disk: it was written, and is answered so."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agentmem_client.errors import APIError
from agentmem_server import times
from agentmem_server.storage import Erase, Erased, Sweep
from agentmem_server.storage.vectors import VectorIndex

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

EAST = b"\0\0\x80?\0\0\0\0"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file, for whatever stores the other tests are."""
    return f"sqlite:///{tmp_path}/memory.db"


@contextmanager
def files_no_larger(limit: int) -> Iterator[None]:
    """This process can't write beyond so many bytes of a file."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


async def test_an_erasure_whose_log_can_not_be_folded_is_done_and_folded_later(
    notes: "Notes", tmp_path: Path
) -> None:
    for number in range(50):
        await notes.put(f"{number}", "word " * 4_000, user_id=f"user {number}")
    await notes.write(Erase("tenant", "nobody", times.now()))
    log = tmp_path / "memory.db-wal"
    assert log.stat().st_size == 0
    erase = Erase("tenant", "user 49", times.now())
    put = notes.putting(notes.record("new"))
    with files_no_larger(200_000):
        erased, stored = await notes.store.write([erase, put])
    assert isinstance(erased, Erased)
    assert erased.records == 1
    assert not isinstance(stored, APIError)
    assert stored[0].created
    assert log.stat().st_size > 0
    await notes.write(Sweep(times.now(), 10))
    assert log.stat().st_size == 0


async def test_vectors_that_can_not_follow_a_commit_are_read_anew(
    notes: "Notes", monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    await notes.put("old")
    assert await notes.near(EAST) == ["old"]
    version = await notes.store.version("tenant", "notes")
    with monkeypatch.context() as patched:
        patched.setattr(VectorIndex, "apply", fails)
        stored = await notes.put("new")
    assert stored.version == 1
    assert await notes.store.version("tenant", "notes") > version
    assert await notes.near(EAST) == ["new", "old"]
