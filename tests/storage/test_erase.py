"""All that there is of a user is gone, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import numpy as np
import pytest
from agentmem_client.errors import NotFound
from agentmem_server import times
from agentmem_server.storage import DropCollection, Erase, Erased, Purge, Scope, Sweep

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"
EAST, NORTH = (np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1]))


async def erase(notes: "Notes", user: str = "u") -> Erased:
    erased: Erased = await notes.write(Erase(TENANT, user, times.now()))
    return erased


async def test_a_user_is_erased_in_every_collection(notes: "Notes", clock: "Clock") -> None:
    await notes.put("a", "alpha", user_id="u", session_id="s")
    await notes.put("b", "beta", user_id="v", session_id="s")
    await notes.put("c", "gamma", metadata={"user": "u"})
    await notes.change("a", content="delta", vectors=NORTH)
    await notes.put("gone", user_id="u")
    await notes.delete("gone")
    await notes.put("expired", user_id="u", expires_at=clock.now + 1)
    for name, id in (("other", "d"), ("untouched", "e")):
        user = "u" if name == "other" else "v"
        await notes.write(notes.putting(notes.record(id, user_id=user), collection=name))
    await notes.write(replace(notes.putting(notes.record("a", user_id="u")), tenant="another"))
    clock.advance(1)
    await notes.near(EAST)
    names = (NOTES, "other", "untouched")
    before = [await notes.store.version(TENANT, name) for name in names]
    assert await erase(notes) == Erased(records=2, events=6, collections=2)
    after = [await notes.store.version(TENANT, name) for name in names]
    assert [one != two for one, two in zip(before, after, strict=True)] == [True, True, False]

    for _ in range(2):
        assert await notes.ids() == ["b", "c"]
        assert set(await notes.near(EAST)) == {"b", "c"}
        assert await notes.saying("alpha delta text") == []
        assert await notes.saying("beta gamma") != []
        for id in ("a", "gone", "expired"):
            assert await notes.history(id) == []
            with pytest.raises(NotFound):
                await notes.restore(id, 1)
        events = await notes.events()
        assert [(event.action, event.record_id) for event in events] == [
            ("added", "b"),
            ("added", "c"),
            ("added", "e"),
            ("erased", None),
        ]
        await notes.reopen()
    theirs = await notes.store.collection("another", NOTES)
    assert theirs is not None
    assert len(await notes.store.get(theirs, ["a"], scope=Scope("u"))) == 1
    told = await notes.store.history(theirs, "a", user_id="u", after=0, limit=10)
    assert len(told.events) == 1


async def test_an_erasure_again_finds_nothing_and_says_so(notes: "Notes") -> None:
    assert await erase(notes) == Erased(0, 0, 0)
    await notes.put("a", user_id="u")
    await erase(notes)
    assert await erase(notes) == Erased(0, 0, 0)
    assert [event.action for event in await notes.events()] == ["erased"]


async def test_what_moved_to_another_user_stays_there(notes: "Notes") -> None:
    await notes.put("left", "mine", user_id="u", vectors=NORTH)
    await notes.put("left", "theirs", user_id="v")
    await notes.put("came", "theirs", user_id="v", vectors=NORTH)
    await notes.put("came", "mine", user_id="u")
    await notes.put("both", "theirs", user_id="v", vectors=NORTH)
    await notes.put("both", "mine", user_id="u")
    await notes.put("both", "theirs again", user_id="v")
    await notes.delete("both")
    assert await erase(notes) == Erased(records=1, events=5, collections=1)
    assert await notes.ids() == ["left"]
    assert {event.scope.user_id for event in await notes.history("both")} == {"v"}
    for id, version, content in (
        ("came", 1, "theirs"),
        ("both", 5, "theirs again"),
        ("both", 1, "theirs"),
    ):
        assert (await notes.restore(id, version)).content == content
    assert (await notes.get_there("came")).vectors == NORTH
    assert (await notes.get_there("both")).vectors == NORTH
    assert [event.action for event in await notes.history("left")] == ["added"]
    with pytest.raises(NotFound):
        await notes.restore("left", 1)


async def test_the_words_of_an_erased_turn_find_no_follower(notes: "Notes") -> None:
    for number, user in enumerate(("v", "u", "v", "u")):
        await notes.put(str(number), f"word{number}", user_id=user, session_id="s")
    assert set(await notes.saying("word0")) == {"0", "2"}
    await erase(notes)
    assert set(await notes.saying("word0")) == {"0", "2"}
    assert await notes.saying("word1 word3") == []


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
