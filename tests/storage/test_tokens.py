"""Tokens that records lack are found and given to them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from agentmem_server import times
from agentmem_server.storage import Embedding, Erase, Purge, PutTokens, Write

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

EAST = np.array([1, 0], dtype="<f4").tobytes()
OURS = Embedding("server", "model", 2, "cosine")


async def lacking(
    notes: "Notes", after: tuple[int, int] = (0, 0), limit: int = 100, model: str = "model"
) -> list[tuple[str, str, str]]:
    found = await notes.store.lacking_tokens(model, after=after, limit=limit)
    return [(collection.tenant, collection.name, record.id) for collection, record in found]


async def test_records_that_lack_tokens_are_told_in_order(notes: "Notes") -> None:
    put = notes.putting(
        notes.record("b"),
        notes.record("has some", tokens=b"\x01"),
        notes.record("a"),
        notes.record("found by nothing", index_texts=[], vectors=b""),
        embedding=OURS,
    )
    await notes.write(put)
    await notes.write(replace(put, tenant="another", records=[notes.record("c")]))
    theirs = replace(OURS, model="other")
    await notes.write(notes.putting(notes.record("d"), embedding=theirs, collection="other"))
    await notes.write(notes.putting(notes.record("e"), collection="client"))
    everything = [("tenant", "notes", "b"), ("tenant", "notes", "a"), ("another", "notes", "c")]
    assert await lacking(notes) == everything
    assert await lacking(notes, limit=1) == everything[:1]
    (collection, first), *_ = await notes.store.lacking_tokens("model", after=(0, 0), limit=1)
    assert (collection.embedding, first.content) == (OURS, "text")
    assert await lacking(notes, after=(collection.key, first.seq)) == everything[1:]
    assert await lacking(notes, model="other") == [("tenant", "other", "d")]


async def test_they_are_given_to_the_version_that_they_are_of(notes: "Notes") -> None:
    await notes.write(notes.putting(*(notes.record(id) for id in ("a", "b", "c")), embedding=OURS))
    found = await notes.store.lacking_tokens("model", after=(0, 0), limit=10)
    await notes.change("a", metadata={"n": 1})
    await notes.delete("b")
    before = await notes.store.version("tenant", "notes"), await notes.store.last_event()
    rows = [(record.seq, record.version, b"\x01") for _, record in found]
    assert await notes.write(PutTokens("tenant", "notes", rows)) == 1
    assert await lacking(notes) == [("tenant", "notes", "a")]
    after = await notes.store.version("tenant", "notes"), await notes.store.last_event()
    assert before[0] != after[0]  # what was found before is not answered any more
    assert before[1] == after[1]
    assert await notes.write(PutTokens("tenant", "nowhere", rows)) == 0
    assert await notes.write(PutTokens("another", "notes", rows)) == 0
    assert await notes.write(PutTokens("tenant", "notes", [])) == 0


async def test_no_more_are_counted_where_an_index_was_purged_of_what_was_erased(
    notes: "Notes",
) -> None:
    """All of it in one transaction, in which words are still to be written out."""
    await notes.write(notes.putting(notes.record("a", "one", user_id="ann"), notes.record("b")))
    await notes.write(Erase("tenant", "ann", times.now()))
    seq = (await notes.get_there("b")).seq
    writes: list[Write] = [
        notes.putting(notes.record("c", "new words")),
        Purge(),
        PutTokens("tenant", "notes", [(seq, 1, b"\x01"), (seq, 9, b"\x02")]),
    ]
    *_, given = await notes.store.write(writes)
    assert given == 1
