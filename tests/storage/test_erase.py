"""All that there is of a user is gone, and nothing else."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from agentmem_client.errors import NotFound
from agentmem_server import times
from agentmem_server.storage import Erase, Erased, Scope

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
