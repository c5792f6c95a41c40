"""Versions of records, and writes that are meant for one of them."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client.errors import APIError, Conflict, VersionConflict
from agentmem_server import times
from agentmem_server.storage import Archive, Deleted, Erase, Forget, Selection, Sweep

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"


async def test_each_change_gives_the_next_version(notes: "Notes") -> None:
    async def versions() -> list[int]:
        found = await notes.get("a")
        return [] if found is None else [found.version]

    assert (await notes.put("a")).version == 1
    assert (await notes.change("a", content="x")).version == 2
    assert (await notes.put("a")).version == 3
    (archived,) = await notes.write(Archive(TENANT, NOTES, Selection(), archived=True))
    assert archived.version == 4
    assert await versions() == [4]
    await notes.reopen()
    assert await versions() == [4]
    await notes.delete("a")
    assert (await notes.put("a")).version == 6
    assert (await notes.restore("a", 2)).version == 7
    assert await versions() == [7]
    first, second = await notes.write(notes.putting(notes.record("a"), notes.record("a")))
    assert (first.record.version, second.record.version) == (8, 9)


async def test_a_version_never_means_two_states(notes: "Notes", clock: "Clock") -> None:
    """Whoever read one before it was deleted, expired or replaced can't change what came after."""
    seen: dict[int, str] = {}
    for number in range(4):
        stored = await notes.put("a", f"put {number}", expires_at=clock.now + 10)
        assert stored.version not in seen
        seen[stored.version] = stored.content
        match number:
            case 0:
                await notes.delete("a")
            case 1:
                clock.advance(10)
            case 2:
                clock.advance(10)
                await notes.write(Sweep(clock.now, 10))
            case 3:
                await notes.delete()
    stored = await notes.put("a")
    for version in seen:
        with pytest.raises(VersionConflict):
            await notes.change("a", content="x", if_version=version)
        with pytest.raises(VersionConflict):
            await notes.delete("a", if_version=version)


async def test_what_nothing_is_known_of_begins_anew(notes: "Notes") -> None:
    await notes.put("a", user_id="u")
    await notes.change("a", content="x")
    await notes.write(Erase(TENANT, "u", times.now()))
    assert (await notes.put("a")).version == 1
    await notes.delete("a")
    await notes.write(Forget(times.now() + 1, times.now(), 100))
    assert (await notes.put("a")).version == 1


async def test_a_write_for_another_version_is_refused(notes: "Notes") -> None:
    await notes.put("a", "one")
    await notes.change("a", content="two")
    for write in (
        notes.changing("a", content="x", if_version=1),
        notes.changing("a", content="x", if_version=3),
        notes.deleting("a", if_version=1),
        replace(notes.deleting("a", if_version=1), returning=True),
    ):
        with pytest.raises(VersionConflict, match="read it again") as refused:
            await notes.write(write)
        assert refused.value.details["actual"] == 2
        assert refused.value.details["expected"] == getattr(write, "if_version", None)
    assert (await notes.get_there("a")).content == "two"
    assert (await notes.change("a", content="three", if_version=2)).version == 3
    assert await notes.delete("a", if_version=3) == 1


async def test_what_is_gone_has_no_version(notes: "Notes") -> None:
    assert await notes.change("a", content="x", if_version=1) is None
    assert await notes.write(notes.deleting("a", if_version=1)) == Deleted(0)
    await notes.put("a")
    assert await notes.delete("a", if_version=1) == 1
    assert await notes.delete("a", if_version=1) == 0  # its answer was lost
    assert await notes.change("a", content="x", if_version=1) is None


async def test_a_change_that_was_made_is_known_by_its_key(notes: "Notes") -> None:
    async def change(key: str | None, version: int = 1, **fields: Any) -> int | None:
        try:
            fields = {"content": "x", **fields}
            change = notes.changing("a", if_version=version, idempotency_key=key, **fields)
            return int((await notes.write(change)).version)
        except VersionConflict:
            return None

    await notes.put("a", user_id="u")
    assert await change("key") == 2
    assert await change("key") == 2
    assert await change("other") is None
    assert await change(None) is None
    assert await change("key", version=3) is None
    await notes.reopen()
    assert await change("key") == 2
    assert await change("second", version=2, content="y") == 3
    assert await change("key") == 3  # and its answer is what there is by now
    assert (await notes.get_there("a")).content == "y"
    assert len(await notes.history("a")) == 3
    assert (
        await notes.write(notes.changing("a", if_version=1, idempotency_key="key", user_id="v"))
        is None
    )


async def test_of_many_changes_of_one_version_one_is_made(notes: "Notes") -> None:
    await notes.put("a", "0")
    for version in range(1, 6):
        changes = [notes.change("a", content=str(n), if_version=version) for n in range(8)]
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        made = [one for one in outcomes if not isinstance(one, BaseException)]
        assert [one.version for one in made] == [version + 1]
        assert all(isinstance(one, VersionConflict) for one in outcomes if one not in made)
    assert len(await notes.history("a")) == 6


async def test_another_user_s_record_is_not_replaced(notes: "Notes", clock: "Clock") -> None:
    await notes.put("theirs", "one", user_id="v")
    await notes.put("nobody's", "one")
    await notes.put("mine", "one", user_id="u")
    for id in ("theirs", "nobody's"):
        records = [notes.record("mine", "two", user_id="u"), notes.record(id, "two", user_id="u")]
        with pytest.raises(Conflict, match="the id is in use in this collection"):
            await notes.write(notes.putting(*records, user_id="u"))
    assert [(await notes.get_there(id)).content for id in await notes.ids()] == ["one"] * 3
    mine = notes.putting(notes.record("mine", "two", user_id="u"), user_id="u")
    assert (await notes.write(mine))[0].record.version == 2
    assert await notes.change("theirs", content="x", user_id="u") is None
    await notes.delete("theirs")
    await notes.put("nobody's", expires_at=clock.now + 1)
    clock.advance(1)
    for id in ("theirs", "nobody's"):  # nobody has it by now
        (stored,) = await notes.write(
            notes.putting(notes.record(id, "two", user_id="u"), user_id="u")
        )
        assert stored.created


async def test_a_write_that_is_refused_half_way_takes_no_other_along(notes: "Notes") -> None:
    """One that was made before it in the same batch, and one that comes after it."""
    await notes.put("theirs", "one", user_id="v")
    half = notes.putting(
        notes.record("first", "half", user_id="u"), notes.record("theirs", user_id="u"), user_id="u"
    )
    collection = replace(half, collection="new")
    outcomes = await notes.store.write(
        [
            notes.putting(notes.record("before", "alpha")),
            half,
            notes.changing("before", content="beta", if_version=1),
            replace(collection, records=[collection.records[0]]),
            notes.changing("before", content="gamma", if_version=1),
        ]
    )
    refused = [type(one) for one in outcomes if isinstance(one, APIError)]
    assert refused == [Conflict, VersionConflict]
    assert await notes.ids() == ["theirs", "before"]
    assert await notes.saying("beta") == ["before"]
    assert await notes.saying("half") == await notes.saying("alpha") == []
    assert set(await notes.near(notes.record("x").vectors or b"")) == {"theirs", "before"}
    assert len(await notes.events(collection=NOTES)) == 3
    assert [event.record_id for event in await notes.events(collection="new")] == ["first"]
