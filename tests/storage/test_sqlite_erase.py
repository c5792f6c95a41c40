"""What is erased is not in the file any more."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import numpy as np
import pytest
from agentmem_server import times
from agentmem_server.storage import (
    ClaimJobs,
    DeleteJob,
    DropCollection,
    Erase,
    Erased,
    FinishJob,
    Job,
    Purge,
    PutJob,
    Scope,
    Sweep,
)
from agentmem_server.storage.sqlite import keyword_index

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"
NORTH = np.array([0, 1], dtype="<f4").tobytes()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file, for whatever stores the other tests are."""
    return f"sqlite:///{tmp_path}/memory.db"


async def erase(notes: "Notes", user: str = "u") -> Erased:
    erased: Erased = await notes.write(Erase(TENANT, user, times.now()))
    return erased


def bytes_of(path: Path) -> bytes:
    files = [one for one in path.parent.iterdir() if one.name.startswith(path.name)]
    return b"".join(one.read_bytes() for one in files)


SECRETS = ("zqkafirp", "zqmolunt", "zqwixerd", "zqbovank", "zqtugelm", "zqporisk", "zqhadwen")


async def test_no_file_holds_what_was_erased(notes: "Notes", clock: "Clock") -> None:
    """Whether it was there to the end, had changed, had been deleted before, or had expired."""
    path = Path(notes.url.removeprefix("sqlite:///"))
    for number in range(200):  # others' words, so that the user's are few in the keyword index
        await notes.put(f"theirs{number}", f"plain words of others {number}", user_id="v")
    await notes.put(
        "a",
        SECRETS[0],
        user_id="u",
        metadata={"key": SECRETS[2]},
        payload={"text": SECRETS[3]},
        vectors=np.array([0.123, 0.987], dtype="<f4").tobytes(),
    )
    await notes.change("a", content=SECRETS[1], index_texts=[SECRETS[4]], vectors=NORTH)
    await notes.put("b", SECRETS[5], user_id="u")
    await notes.delete("b")
    await notes.put("c", SECRETS[6], user_id="u", expires_at=clock.now + 1)
    clock.advance(1)
    await notes.write(Sweep(clock.now, 10))
    old = np.array([0.123, 0.987], dtype="<f4").tobytes()
    found = bytes_of(path)
    assert all(secret.encode() in found for secret in SECRETS)
    assert old in found
    await erase(notes)
    assert await notes.write(Purge()) == 1
    assert await notes.write(Purge()) == 0
    for _ in range(2):
        found = bytes_of(path)
        assert [secret for secret in SECRETS if secret.encode() in found] == []
        # The keyword index has words by what they don't share with the one before.
        assert [secret for secret in SECRETS if secret[2:].encode() in found] == []
        assert old not in found
        assert b"plain words of others" in found
        await notes.reopen()
    assert await notes.saying("plain") != []


async def test_no_file_holds_what_jobs_were_about(notes: "Notes") -> None:
    """Neither the request of one that is done, nor anything of those of a user that is erased."""
    path = Path(notes.url.removeprefix("sqlite:///"))
    long = b"x" * 100_000
    job = Job(
        "a", TENANT, "extract", NOTES, Scope("u"), None, "queued", SECRETS[0].encode() + long,
        3, 1, 1, 1,
    )  # fmt: skip
    await notes.write(PutJob(job))
    await notes.write(PutJob(replace(job, id=SECRETS[1], request=SECRETS[2].encode(), run_at=2)))
    await notes.write(PutJob(replace(job, id="v", scope=Scope("v"), run_at=3)))
    running, _ = await notes.write(ClaimJobs(2, 100, 10, b"lost"))
    result = SECRETS[3].encode() + long
    await notes.write(FinishJob(running.seq, 1, 3, "done", result=result))
    await notes.write(DeleteJob(TENANT, "v"))
    found = bytes_of(path)
    assert all(secret.encode() in found for secret in SECRETS[:4])
    await erase(notes)
    found = bytes_of(path)
    assert [secret for secret in SECRETS if secret.encode() in found] == []
    assert b"x" * 1_000 not in found


async def test_words_to_be_taken_out_are_known_after_a_restart(notes: "Notes") -> None:
    await notes.put("a", SECRETS[0], user_id="u")
    await notes.put("b", "other words", user_id="v")
    await erase(notes)
    await notes.reopen()
    await notes.put("c", "another user's", user_id="w")
    await erase(notes, "w")  # of the same collection: once is enough
    assert [await notes.write(Purge()) for _ in range(2)] == [1, 0]
    path = Path(notes.url.removeprefix("sqlite:///"))
    assert SECRETS[0][2:].encode() not in bytes_of(path)
    assert await notes.saying("other") != []


async def test_a_collection_that_is_gone_has_no_words(notes: "Notes") -> None:
    await notes.put("a", SECRETS[0], user_id="u")
    await erase(notes)
    await notes.write(DropCollection(TENANT, NOTES))
    assert [await notes.write(Purge()) for _ in range(2)] == [1, 0]


async def test_an_erasure_waits_for_no_reader(notes: "Notes") -> None:
    """What a reader is in the way of is done with the next sweep."""
    path = Path(notes.url.removeprefix("sqlite:///"))
    await notes.put("a", SECRETS[0], user_id="u")
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN; SELECT * FROM memory").fetchall()
    assert (await erase(notes)).records == 1
    reader.execute("ROLLBACK")
    reader.close()
    await notes.write(Sweep(times.now(), 10))
    await notes.write(Purge())
    assert SECRETS[0].encode() not in bytes_of(path)


async def test_nothing_in_memory_says_where_what_was_erased_belonged(notes: "Notes") -> None:
    await notes.put("a", user_id="u", session_id="s")
    assert keyword_index._own_tokens.cache_info().currsize > 0
    await erase(notes)
    assert keyword_index._own_tokens.cache_info().currsize == 0
