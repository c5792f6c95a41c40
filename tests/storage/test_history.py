"""What became of records: told, kept for as long as it may be, and brought back."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from agentmem_client.errors import APIError, Conflict, InvalidRequest, NotFound
from agentmem_server import times
from agentmem_server.storage import (
    ApiKey,
    Archive,
    DropCollection,
    Embedding,
    Erase,
    Event,
    Forget,
    PutKey,
    Refresh,
    Scope,
    Selection,
    Source,
    Sweep,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

SECOND = 1_000_000
TENANT, NOTES = "tenant", "notes"
EAST, NORTH, WEST = (np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1], [-1, 0]))

Told: TypeAlias = tuple[str, int | None, str | None, str | None]


def told(events: Sequence[Event]) -> list[Told]:
    """Of each event, its action and version, and the content before and after."""
    return [
        (
            event.action,
            event.version,
            None if event.before is None else event.before.content,
            None if event.after is None else event.after.content,
        )
        for event in events
    ]


# Told


async def test_each_change_is_told_with_what_was_before_and_after(
    notes: "Notes", clock: "Clock"
) -> None:
    fields: dict[str, Any] = {
        "metadata": {"a": [1, True, None]},
        "payload": {"b": 1.0},
        "user_id": "u",
        "agent_id": "g",
        "session_id": "s",
        "namespace": ("x", "y"),
        "type": "t",
        "importance": 0.5,
        "event_at": 7,
        "ttl": 100 * SECOND,
        "expires_at": clock.now + 100 * SECOND,
        "index_texts": ["found by"],
        "sources": [Source(["m", "n"], "said so", 7), Source([], None, None)],
        "archived": True,
    }
    first = await notes.put("a", "one", **fields)
    start = clock.now
    second = await notes.change("a", content="two", archived=False)
    clock.advance(SECOND)
    third = await notes.put("a", "three", **{**fields, "metadata": {}}, vectors=NORTH)
    await notes.delete("a")
    plain = [replace(one, vectors=None) for one in (first, second, third)]
    events = await notes.history("a")
    assert [(event.before, event.after) for event in events] == [
        (None, plain[0]),
        (plain[0], plain[1]),
        (plain[1], plain[2]),
        (plain[2], None),
    ]
    assert [event.action for event in events] == ["added", "updated", "updated", "deleted"]
    assert [event.version for event in events] == [1, 2, 3, 4]
    states = [one for event in events for one in (event.before, event.after) if one is not None]
    assert [one.version for one in states] == [1, 1, 2, 2, 3, 3]
    assert {one.seq for one in states} == {first.seq}
    assert [event.at - start for event in events] == [0, 0, SECOND, SECOND]
    assert {(event.collection, event.record_id) for event in events} == {(NOTES, "a")}
    assert {event.scope for event in events} == {Scope("u", "g", "s", ("x", "y"))}
    assert [event.id for event in events] == sorted({event.id for event in events})


async def test_a_change_of_scope_is_two_events(notes: "Notes") -> None:
    scopes: list[dict[str, Any]] = [
        {"user_id": "v"},
        {"agent_id": "v"},
        {"session_id": "v"},
        {"namespace": ("v",)},
    ]
    for scope in scopes:
        id = repr(scope)
        first = await notes.put(id, "one")
        second = await notes.put(id, "two", **scope)
        assert (first.version, second.version, second.seq) == (1, 3, first.seq)
        events = await notes.history(id)
        assert told(events) == [
            ("added", 1, None, "one"),
            ("deleted", 2, "one", None),
            ("added", 3, None, "two"),
        ]
        assert [event.scope for event in events] == [Scope(), Scope(), Scope(**scope)]
        assert events[2].at == events[1].at
        back = {"content": "three", **dict.fromkeys(scope)}
        assert (await notes.write(replace(notes.changing(id), changes=back))).version == 5
        assert told(await notes.history(id))[3:] == [
            ("deleted", 4, "two", None),
            ("added", 5, None, "three"),
        ]


async def test_a_history_is_told_by_user_and_page_by_page(notes: "Notes") -> None:
    for content, user in (("one", "u"), ("two", "v"), ("three", "v"), ("four", "u")):
        await notes.put("a", content, user_id=user)
        await notes.put("b", "other", user_id=user)
    everything = await notes.history("a")
    assert len(everything) == 6
    for user in ("u", "v"):
        mine = [event for event in everything if event.scope.user_id == user]
        assert await notes.history("a", user) == mine
    assert told(await notes.history("a", "u")) == [
        ("added", 1, None, "one"),
        ("deleted", 2, "one", None),
        ("added", 6, None, "four"),
    ]
    assert await notes.history("a", "w") == await notes.history("c") == []
    paged: list[Event] = []
    while page := await notes.history("a", after=paged[-1].id if paged else 0, limit=4):
        paged += page
    assert paged == everything


async def test_setting_aside_is_a_change_and_living_longer_is_none(
    notes: "Notes", clock: "Clock"
) -> None:
    await notes.put("a", ttl=10, expires_at=clock.now + 10)
    await notes.put("b")
    aside = Archive(TENANT, NOTES, Selection(), archived=True)
    assert [one.version for one in await notes.write(aside)] == [2, 2]
    assert await notes.write(aside) == []
    clock.advance(5)
    assert await notes.write(Refresh(TENANT, NOTES, ["a", "b"], clock.now)) == 1
    added, archived = await notes.history("a")
    assert added.after is not None
    assert archived.after is not None
    assert (added.after.archived, archived.after.archived, archived.version) == (False, True, 2)
    assert archived.after.expires_at == clock.now + 10  # it is what the record is by now
    assert archived.after.updated_at == clock.now - 5
    assert archived.after == replace(await notes.get_there("a"), vectors=None)


async def test_every_way_to_delete_is_told_of_each_record(notes: "Notes") -> None:
    async def fill() -> int:
        for id in ("a", "b", "c"):
            await notes.put(id, id, user_id="u")
        return await notes.store.last_event()

    gone = [("deleted", "a", "a"), ("deleted", "b", "b"), ("deleted", "c", "c")]
    replacing = notes.putting(notes.record("new", "new"), replacing=Selection(Scope("u")))
    for going in (notes.deleting("c", "b", "a"), notes.deleting(user_id="u"), replacing):
        last = await fill()
        await notes.write(going)
        events = [event for event in await notes.events(last) if event.record_id != "new"]
        assert [
            (event.action, event.record_id, event.before and event.before.content)
            for event in events
        ] == gone
    for whole in (notes.deleting(), DropCollection(TENANT, NOTES)):
        last = await fill()
        await notes.write(whole)
        events = [event for event in await notes.events(last) if event.record_id != "new"]
        assert [
            (event.action, event.record_id, event.before and event.before.content)
            for event in events
        ] == gone
        assert all(event.after is None for event in events)
    # The collection of that name is another now, and so are its records.
    await notes.put("a", "again")
    assert told(await notes.history("a")) == [("added", 1, None, "again")]


async def test_what_is_refused_is_not_told(notes: "Notes") -> None:
    await notes.put("a", "one", user_id="u")
    mine = notes.putting(notes.record("b"), notes.record("a", "two", user_id="v"), user_id="v")
    outcomes = await notes.store.write(
        [
            notes.changing("a", content="three"),
            mine,
            notes.changing("a", content="never", if_version=1),
            notes.changing("a", content="four"),
        ]
    )
    assert [isinstance(one, APIError) for one in outcomes] == [False, True, True, False]
    assert told(await notes.events()) == [
        ("added", 1, None, "one"),
        ("updated", 2, "one", "three"),
        ("updated", 3, "three", "four"),
    ]
    assert await notes.ids() == ["a"]


async def test_a_batch_tells_each_of_its_steps(notes: "Notes") -> None:
    await notes.store.write(
        [
            notes.putting(notes.record("a", "one")),
            notes.changing("a", content="two"),
            notes.deleting("a"),
            notes.putting(notes.record("a", "three"), notes.record("a", "four")),
            notes.restoring("a", 1),
        ]
    )
    assert told(await notes.history("a")) == [
        ("added", 1, None, "one"),
        ("updated", 2, "one", "two"),
        ("deleted", 3, "two", None),
        ("added", 4, None, "three"),
        ("updated", 5, "three", "four"),
        ("updated", 6, "four", "one"),
    ]


# The feed of all events


async def test_the_feed_has_what_its_request_admits(notes: "Notes") -> None:
    theirs = replace(notes.putting(notes.record("a", user_id="u")), tenant="another")
    await notes.write(theirs)
    places: list[dict[str, Any]] = [
        {"user_id": "u", "agent_id": "g", "namespace": ("x", "y")},
        {"user_id": "v", "agent_id": "g", "session_id": "s", "namespace": ("x",)},
        {"user_id": "u", "session_id": "s"},
        {},
    ]
    for number, scope in enumerate(places):
        await notes.put(str(number), **scope)
    await notes.write(notes.putting(notes.record("0", user_id="u"), collection="other"))

    async def admitted(**fields: Any) -> list[str | None]:
        return [event.record_id for event in await notes.events(**fields)]

    assert await admitted() == ["0", "1", "2", "3", "0"]
    assert await admitted(user_id="u") == ["0", "2", "0"]
    assert await admitted(user_id="u", collection=NOTES) == ["0", "2"]
    assert await admitted(collection="other") == ["0"]
    assert await admitted(agent_id="g") == ["0", "1"]
    assert await admitted(session_id="s") == ["1", "2"]
    assert await admitted(namespace=("x",)) == ["0", "1"]
    assert await admitted(namespace=("x", "y")) == ["0"]
    assert await admitted(user_id="w") == await admitted(collection="none") == []
    first, second = await notes.events(limit=2)
    assert await admitted(after=first.id, limit=2) == ["1", "2"]
    assert await admitted(after=second.id) == ["2", "3", "0"]
    assert await admitted(after=await notes.store.last_event()) == []


async def test_an_erasure_is_told_to_all_who_follow_the_user(notes: "Notes") -> None:
    await notes.put("a", user_id="u", agent_id="g")
    await notes.put("b", user_id="v")
    await notes.write(Erase(TENANT, "u", times.now()))
    requests: list[dict[str, Any]] = [
        {},
        {"user_id": "u"},
        {"agent_id": "g"},
        {"collection": NOTES},
    ]
    for fields in requests:
        assert [event.action for event in await notes.events(**fields)][-1] == "erased"
    assert [event.record_id for event in await notes.events(user_id="v")] == ["b"]
    (erased,) = await notes.events(user_id="u")
    assert (erased.collection, erased.record_id, erased.version) == (None, None, None)
    assert erased.scope == Scope("u")


async def test_the_last_event_is_known_and_never_comes_again(notes: "Notes") -> None:
    assert await notes.store.last_event() == 0
    await notes.put("a", user_id="u")
    first = await notes.store.last_event()
    assert first == (await notes.events())[-1].id
    await notes.write(Erase(TENANT, "u", times.now()))
    await notes.write(Forget(times.now() + 1, times.now(), 10))
    assert await notes.events() == []
    last = await notes.store.last_event()
    assert last > first
    await notes.reopen()
    assert await notes.store.last_event() == last
    await notes.put("a")
    assert await notes.store.last_event() > last


async def test_a_listener_is_told_once_of_each_commit_with_events(notes: "Notes") -> None:
    heard: list[tuple[str, bool]] = []
    thread = threading.get_ident()

    def listen(name: str) -> None:
        heard.append((name, threading.get_ident() == thread))

    notes.store.on_commit(partial(listen, "one"))
    notes.store.on_commit(partial(listen, "two"))

    async def hears(*writes: Any) -> int:
        heard.clear()
        await notes.store.write(writes)
        await asyncio.sleep(0)
        assert heard == [("one", True), ("two", True)] * (len(heard) // 2)
        return len(heard) // 2

    now = times.now()
    assert (
        await hears(notes.putting(notes.record("a", ttl=9 * SECOND, expires_at=now + SECOND))) == 1
    )
    assert await hears(*[notes.putting(notes.record(str(n))) for n in range(3)]) == 1
    assert await hears() == 0
    assert await hears(notes.changing("none", content="x"), notes.deleting("none")) == 0
    assert await hears(notes.putting(notes.record("b", vectors=b"12345678" * 2))) == 1
    assert await hears(notes.changing("a", content="x", if_version=9)) == 0
    assert await hears(Refresh(TENANT, NOTES, ["a"], now)) == 0
    assert await hears(Forget(now, now, 10), Sweep(now, 10)) == 0
    key = ApiKey("k", b"d", TENANT, "n", frozenset({"read"}), None, None, now)
    assert await hears(PutKey(key)) == 0
    assert await hears(notes.deleting("a")) == 1
    assert await hears(notes.deleting(), DropCollection(TENANT, NOTES)) == 1


# What is kept, and for how long


async def test_of_what_has_expired_nothing_is_told(notes: "Notes", clock: "Clock") -> None:
    await notes.put("a", "one")
    await notes.change("a", content="two", expires_at=clock.now + SECOND)
    await notes.change("a", content="three")
    assert told(await notes.history("a"))[-1] == ("updated", 3, "two", "three")
    clock.advance(SECOND)
    nothing: list[Told] = [
        ("added", 1, None, None),
        ("updated", 2, None, None),
        ("updated", 3, None, None),
    ]
    assert told(await notes.history("a")) == told(await notes.events()) == nothing
    for version in (1, 2, 3):
        with pytest.raises(NotFound, match="no longer kept"):
            await notes.restore("a", version)
    await notes.write(Sweep(clock.now, 10))
    assert told(await notes.history("a")) == [*nothing, ("expired", 4, None, None)]
    with pytest.raises(NotFound, match="no longer kept"):
        await notes.restore("a", 1)
    with pytest.raises(InvalidRequest, match="was not there"):
        await notes.restore("a", 4)
    assert (await notes.put("a", "new")).version == 5
    assert told(await notes.history("a"))[3:] == [
        ("expired", 4, None, None),
        ("added", 5, None, "new"),
    ]


async def test_what_takes_the_place_of_what_has_expired_is_new(
    notes: "Notes", clock: "Clock"
) -> None:
    await notes.put("put", "old", expires_at=clock.now + 1)
    await notes.put("cleared", "old", expires_at=clock.now + 1)
    await notes.put("living", "old")
    clock.advance(1)
    await notes.put("put", "new")
    assert told(await notes.history("put")) == [
        ("added", 1, None, None),
        ("expired", 2, None, None),
        ("added", 3, None, "new"),
    ]
    await notes.write(notes.deleting())
    assert told(await notes.history("cleared"))[1:] == [("expired", 2, None, None)]
    assert told(await notes.history("living"))[1:] == [("deleted", 2, "old", None)]
    assert told(await notes.history("put"))[2:] == [
        ("added", 3, None, "new"),
        ("deleted", 4, "new", None),
    ]


async def test_a_state_that_has_expired_goes_and_leaves_the_others(
    notes: "Notes", clock: "Clock"
) -> None:
    """The third state's vectors are the second's too, which are told of by the third's image."""
    await notes.put("a", "one", vectors=NORTH)
    await notes.change("a", content="two", vectors=WEST)
    await notes.change("a", content="three", expires_at=clock.now + SECOND)
    await notes.change("a", content="four", expires_at=None, vectors=EAST)
    clock.advance(SECOND)
    expected = [
        ("added", 1, None, "one"),
        ("updated", 2, "one", "two"),
        ("updated", 3, "two", None),
        ("updated", 4, None, "four"),
    ]
    for _ in range(2):
        assert told(await notes.history("a")) == expected
        with pytest.raises(NotFound, match="no longer kept"):
            await notes.restore("a", 3)
        forgotten = await notes.write(Forget(0, clock.now, 10))
    assert forgotten == 0
    await notes.restore("a", 2)
    assert (await notes.get_there("a")).vectors == WEST
    await notes.restore("a", 1)
    assert (await notes.get_there("a")).vectors == NORTH


async def test_old_events_are_forgotten_in_steps(notes: "Notes", clock: "Clock") -> None:
    for number in range(5):
        await notes.put(str(number), "old")
    await notes.change("0", content="newer")
    clock.advance(SECOND)
    middle = clock.now
    await notes.change("0", content="newest")
    await notes.delete("1")
    assert await notes.store.forgotten() == 0
    events = await notes.events()
    forget = Forget(middle, clock.now, 4)
    assert await notes.write(forget) == 4
    assert await notes.store.forgotten() == events[3].id
    assert await notes.events() == events[4:]
    assert await notes.write(forget) == 2
    assert await notes.write(forget) == 0
    await notes.reopen()
    assert await notes.store.forgotten() == events[5].id
    # What is kept has its before, though nothing is known of how that came.
    assert told(await notes.history("0")) == [("updated", 3, "newer", "newest")]
    assert told(await notes.history("1")) == [("deleted", 2, "old", None)]
    with pytest.raises(NotFound, match="no longer kept"):
        await notes.restore("0", 1)
    assert (await notes.restore("0", 2)).content == "newer"
    assert (await notes.restore("1", 1)).version == 3
    assert await notes.write(Forget(clock.now + 1, clock.now, 100)) == 4
    assert await notes.events() == []
    with pytest.raises(NotFound, match="no longer kept"):
        await notes.restore("0", 3)
    with pytest.raises(NotFound, match="no version 9"):
        await notes.restore("0", 9)


async def test_what_is_forgotten_takes_no_vectors_from_what_is_kept(
    notes: "Notes", clock: "Clock"
) -> None:
    await notes.put("a", "one", vectors=NORTH)
    await notes.change("a", content="two")
    middle = clock.advance(SECOND)
    await notes.delete("a")
    assert await notes.write(Forget(middle, clock.now, 10)) == 2
    assert (await notes.restore("a", 2)).content == "two"
    assert (await notes.get_there("a")).vectors == NORTH


async def test_an_erasure_is_not_forgotten_events(notes: "Notes") -> None:
    await notes.put("a", user_id="u")
    await notes.write(Erase(TENANT, "u", times.now()))
    assert await notes.store.forgotten() == 0


# Brought back


async def test_a_record_goes_back_to_each_of_its_states(notes: "Notes", clock: "Clock") -> None:
    start = clock.now
    states = [
        await notes.put("a", "alpha", metadata={"n": 1}, session_id="s", vectors=NORTH),
        await notes.change("a", content="beta"),
        await notes.change("a", content="gamma", vectors=WEST),
        await notes.change("a", metadata={"n": True}, payload=[1], index_texts=["delta"]),
        await notes.put("a", "epsilon", session_id="s", vectors=b""),
    ]
    vectors = [NORTH, NORTH, WEST, WEST, b""]
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    await notes.near(EAST)
    for number in (0, 3, 1, 4, 2):
        clock.advance(SECOND)
        version = states[-1].version
        restored = await notes.restore("a", number + 1)
        assert restored.version > version
        states.append(restored)
        for _ in range(2):
            found = await notes.get_there("a")
            assert replace(found, vectors=None) == replace(
                states[number], updated_at=clock.now, created_at=start, vectors=None
            )
            assert repr(found.metadata) == repr(states[number].metadata)
            assert found.vectors == (vectors[number] or None)
            assert await notes.near(vectors[number] or EAST) == (["a"] if vectors[number] else [])
            assert await notes.saying(" ".join(words)) == ["a"]
            assert await notes.saying(" ".join(words[:number] + words[number + 1 :])) == []
            await notes.reopen()
    last = (await notes.history("a"))[-1]
    assert (last.action, last.version, last.at) == ("updated", states[-1].version, clock.now)


async def test_a_deleted_record_comes_back_to_its_place(notes: "Notes", clock: "Clock") -> None:
    start = clock.now
    await notes.put("before", "hello", session_id="s")
    await notes.put("a", "alpha", metadata={"n": 1}, session_id="s", vectors=NORTH)
    await notes.put("after", "omega", session_id="s")
    # So many that the index of vectors is packed when they go.
    many = [notes.record(str(number), "") for number in range(3_000)]
    await notes.store.write([notes.putting(record) for record in many])
    assert (await notes.near(NORTH))[0] == "a"
    seq = (await notes.get_there("a")).seq
    for going in (notes.deleting("a"), notes.deleting(session_id="s"), notes.deleting()):
        clock.advance(SECOND)
        await notes.write(going)
        await notes.delete(*[str(number) for number in range(3_000)])
        assert "a" not in await notes.near(NORTH)
        version = (await notes.history("a"))[-1].version or 0
        restored = await notes.restore("a", 1)
        assert (restored.seq, restored.created_at) == (seq, start)
        assert (restored.version, restored.updated_at) == (version + 1, clock.now)
        assert (await notes.near(NORTH))[0] == "a"
        assert (await notes.get_there("a")).vectors == NORTH
        assert "a" in await notes.saying("alpha")
        assert told(await notes.history("a"))[-1] == ("added", version + 1, None, "alpha")
        for id in {"before", "after"} - set(await notes.ids()):
            await notes.restore(id, 1)
        assert await notes.ids() == ["before", "a", "after"]
        assert set(await notes.saying("alpha")) == {"a", "after"}  # its next turn answers it
    await notes.reopen()
    assert (await notes.near(NORTH))[0] == "a"
    new = await notes.put("new")
    assert new.seq > seq


async def test_the_vectors_of_each_life_come_back(notes: "Notes") -> None:
    """Deleted, and brought back to what it was before: the later vectors are still known."""
    await notes.put("a", "one", vectors=NORTH)
    await notes.change("a", content="two", vectors=WEST)
    await notes.delete("a")
    await notes.put("a", "another", vectors=EAST)
    await notes.delete("a")
    lives = {1: NORTH, 2: WEST, 4: EAST}
    first, second = (await notes.history("a"))[0], (await notes.history("a"))[3]
    assert first.before is second.before is None
    for version in (1, 4, 2, 1, 1, 2, 4, 4, 1):
        restored = await notes.restore("a", version)
        assert (await notes.get_there("a")).vectors == lives[version]
        assert await notes.near(lives[version]) == ["a"]
        if version != 4:
            await notes.delete("a")
            continue
        await notes.change("a", content=f"changed {restored.version}", vectors=NORTH)


async def test_to_what_it_is_a_record_goes_without_a_change(notes: "Notes", clock: "Clock") -> None:
    await notes.put("a", "one", metadata={"n": 1})
    await notes.put("a", "one", metadata={"n": True})
    clock.advance(SECOND)
    unchanged = await notes.restore("a", 2)
    assert unchanged.version == 2
    first = await notes.restore("a", 1)
    again = await notes.restore("a", 1)  # its answer was lost
    assert again.version == first.version == 3
    assert len(await notes.history("a")) == 3


async def test_a_restored_record_may_move(notes: "Notes") -> None:
    await notes.put("a", "one", user_id="u", vectors=NORTH)
    await notes.put("a", "two", user_id="v", vectors=WEST)
    restored = await notes.restore("a", 1)
    assert (restored.user_id, restored.version) == ("u", 5)
    assert told(await notes.history("a")) == [
        ("added", 1, None, "one"),
        ("deleted", 2, "one", None),
        ("added", 3, None, "two"),
        ("deleted", 4, "two", None),
        ("added", 5, None, "one"),
    ]
    assert (await notes.get_there("a")).vectors == NORTH
    await notes.restore("a", 3)
    assert (await notes.get_there("a")).vectors == WEST


async def test_what_is_another_user_s_is_not_there_to_restore(notes: "Notes") -> None:
    await notes.put("a", "one", user_id="u")
    await notes.put("a", "two", user_id="v")
    with pytest.raises(Conflict, match="in use"):
        await notes.restore("a", 1, user_id="u")
    for version in (1, 2, 4):
        with pytest.raises(NotFound, match=f"no version {version}|no longer kept"):
            await notes.restore("a", version, user_id="v")
    with pytest.raises(NotFound, match="no version 3"):
        await notes.restore("a", 3, user_id="u")
    with pytest.raises(InvalidRequest):
        await notes.restore("a", 2, user_id="u")
    assert (await notes.restore("a", 3, user_id="v")).version == 3
    await notes.delete("a")
    assert (await notes.restore("a", 1, user_id="u")).user_id == "u"
    with pytest.raises(Conflict):
        await notes.restore("a", 3, user_id="v")
    assert (await notes.get_there("a")).content == "one"


async def test_what_the_history_does_not_know_is_not_restored(notes: "Notes") -> None:
    with pytest.raises(NotFound):
        await notes.restore("a", 1)
    await notes.put("a")
    await notes.put("b")
    for id, version in (("a", 2), ("a", 9), ("c", 1), ("a", 0)):
        with pytest.raises(NotFound):
            await notes.restore(id, version)
    await notes.write(DropCollection(TENANT, NOTES))
    with pytest.raises(NotFound):
        await notes.restore("a", 1)
    await notes.put("b")
    with pytest.raises(NotFound):
        await notes.restore("a", 1)


async def test_old_vectors_come_back_where_the_server_embeds(notes: "Notes") -> None:
    server = Embedding("server", "model", 2, "cosine")
    await notes.write(notes.putting(notes.record("a", vectors=NORTH), embedding=server))
    await notes.write(notes.putting(notes.record("a", "other", vectors=WEST), embedding=server))
    assert (await notes.restore("a", 1)).content == "text"
    assert (await notes.get_there("a")).vectors == NORTH
