"""What a search is told of its candidates: their tokens, and which turn follows which."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import apsw
import asyncpg
import numpy as np
import pytest
from agentmem_server.storage import (
    LONGEST_TURN,
    LOOKED_AT,
    NEIGHBOURS,
    OPENING,
    Candidates,
    Erase,
    Ranked,
    SearchRequest,
    Selection,
    Sweep,
    Turns,
    Update,
    sqlite_path,
)
from agentmem_server.storage.postgres.connections import Address

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"
EAST, NORTH = (np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1]))
SIGNS = b"\x80\x40"


async def turns(notes: "Notes", *, with_tokens: bool = True) -> dict[str, Any]:
    """Of each record by its id: its opening, its tokens, and the ids of the turns after it."""
    found: list[Turns] = []

    def rank(candidates: Candidates) -> Ranked:
        found[:] = [candidates.turns(candidates.ids, with_tokens)]
        return candidates.ids, np.zeros(len(candidates.ids))

    collection = await notes.store.collection(TENANT, NOTES)
    if collection is None:
        return {}
    request = SearchRequest(Selection(), EAST, [], 100, rank)
    ids = [record.id for record, _ in await notes.store.search(collection, request)]
    if not found:
        return {}
    told: dict[str, tuple[str | None, bytes, dict[str, int]]] = {
        id: (opening, tokens, {})
        for id, opening, tokens in zip(ids, found[0].openings, found[0].tokens, strict=True)
    }
    for one, other, apart in found[0].pairs.tolist():
        told[ids[one]][2][ids[other]] = apart
    return told


async def say(notes: "Notes", *ids: str, session: str | None = "s", **fields: Any) -> None:
    for id in ids:
        await notes.write(notes.putting(notes.record(id, id, session_id=session, **fields)))


async def test_turns_follow_each_other_in_their_session(notes: "Notes") -> None:
    await say(notes, "a", "b")
    await say(notes, "x", session="other")
    await say(notes, "y", session=None)
    await say(notes, "c", "d", "e")
    told = await turns(notes)
    assert told["a"][2] == {"b": 1, "c": 2, "d": 3}
    assert told["c"][2] == {"d": 1, "e": 2}
    assert told["e"][2] == told["x"][2] == told["y"][2] == {}
    assert NEIGHBOURS == 3


async def test_turns_of_other_users_are_between_nobodys(notes: "Notes") -> None:
    await say(notes, "a", user_id="ann")
    await say(notes, "b", user_id="bob")
    await say(notes, "c")
    await say(notes, "d", user_id="ann")
    await say(notes, "e")
    told = await turns(notes)
    assert told["a"][2] == {"d": 1}
    assert told["c"][2] == {"e": 1}
    assert told["b"][2] == {}


async def test_only_so_many_turns_of_others_are_looked_through(notes: "Notes") -> None:
    await say(notes, "a", user_id="ann")
    await say(notes, *(f"b{number}" for number in range(LOOKED_AT)), user_id="bob")
    await say(notes, "z", user_id="ann")
    assert (await turns(notes))["a"][2] == {}


async def test_what_is_gone_or_found_by_nothing_is_no_turn(notes: "Notes", clock: "Clock") -> None:
    await say(notes, "a")
    await say(notes, "expiring", expires_at=clock.now + 10)
    await say(notes, "hidden", index_texts=[], vectors=b"")
    await say(notes, "deleted")
    await say(notes, "b")
    await notes.write(notes.deleting("deleted"))
    assert (await turns(notes))["a"][2] == {"expiring": 1, "b": 2}
    clock.advance(10)
    assert (await turns(notes))["a"][2] == {"b": 1}


async def test_the_beginning_of_a_turn_is_told(notes: "Notes") -> None:
    await say(notes, "a")
    await notes.write(notes.putting(notes.record("b", "é" * 70, session_id="s")))
    await notes.write(notes.putting(notes.record("c", "no turn")))
    await notes.write(notes.putting(notes.record("d", "x" * (LONGEST_TURN + 1), session_id="s")))
    told = await turns(notes)
    assert {id: one[0] for id, one in told.items()} == {
        "a": "a",
        "b": "é" * OPENING,
        "c": None,
        "d": None,
    }


async def tokens(notes: "Notes") -> dict[str, bytes]:
    return {id: one[1] for id, one in (await turns(notes)).items()}


async def test_tokens_are_those_that_were_stored_with_the_vectors(notes: "Notes") -> None:
    record = notes.record("a", tokens=SIGNS)
    await notes.write(notes.putting(record, notes.record("b"), notes.record("c", tokens=b"")))
    assert await tokens(notes) == {"a": SIGNS, "b": b"", "c": b""}
    assert await count_tokens(notes) == 1
    assert {one[1] for one in (await turns(notes, with_tokens=False)).values()} == {b""}
    await notes.reopen()
    assert (await tokens(notes))["a"] == SIGNS


async def test_tokens_stay_and_go_with_the_vectors(notes: "Notes") -> None:
    await notes.write(notes.putting(notes.record("a", tokens=SIGNS)))
    await notes.write(notes.changing("a", metadata={"n": 1}))
    assert await tokens(notes) == {"a": SIGNS}
    other = notes.changing("a", vectors=NORTH)
    assert isinstance(other, Update)
    await notes.write(replace(other, tokens=b"\x01"))
    assert await tokens(notes) == {"a": b"\x01"}
    await notes.write(notes.changing("a", vectors=EAST))
    assert await tokens(notes) == {"a": b""}


async def test_a_record_that_is_stored_anew_has_the_new_tokens(notes: "Notes") -> None:
    await notes.write(notes.putting(notes.record("a", tokens=SIGNS), notes.record("b")))
    both = [notes.record("a", "new", tokens=b"\x02"), notes.record("b", "new", tokens=b"\x03")]
    await notes.write(notes.putting(*both))
    assert await tokens(notes) == {"a": b"\x02", "b": b"\x03"}
    await notes.write(notes.putting(notes.record("a", "newer")))
    assert await tokens(notes) == {"a": b"", "b": b"\x03"}


@pytest.mark.parametrize("how", ["ids", "everything", "user", "expiry"])
async def test_tokens_of_what_is_gone_are_gone(notes: "Notes", clock: "Clock", how: str) -> None:
    record = notes.record("a", user_id="ann", tokens=SIGNS, expires_at=clock.now + 10)
    await notes.write(notes.putting(record))
    match how:
        case "ids":
            await notes.write(notes.deleting("a"))
        case "everything":
            await notes.write(notes.deleting())
        case "user":
            await notes.write(Erase(TENANT, "ann", clock.now))
        case _:
            await notes.write(Sweep(clock.advance(10), 100))
    assert await count_tokens(notes) == 0


async def test_a_record_that_comes_back_has_no_tokens_until_it_is_embedded(notes: "Notes") -> None:
    await notes.write(notes.putting(notes.record("a", tokens=SIGNS)))
    await notes.write(notes.deleting("a"))
    await notes.write(notes.restoring("a", 1))
    assert await tokens(notes) == {"a": b""}


async def count_tokens(notes: "Notes") -> object:
    """How many rows have tokens, by a look at the tables themselves."""
    query = "SELECT count(*) FROM token"
    if notes.url.startswith("sqlite"):
        connection = apsw.Connection(sqlite_path(notes.url))
        try:
            return connection.execute(query).get
        finally:
            connection.close()
    address = Address.parse(notes.url)
    settings = {"search_path": f'"{address.schema}"'}
    other = await asyncpg.connect(address.dsn, server_settings=settings)
    try:
        return await other.fetchval(query)
    finally:
        await other.close()
