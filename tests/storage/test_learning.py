"""Facts are stored once: what is known gets the sources of who says it again."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from agentmem_client.errors import DimensionMismatch
from agentmem_client.models import MAX_SOURCES
from agentmem_server.storage import STALE, Embedding, Learn, Learned, Record, Source
from agentmem_server.storage.learning import fact_id, normalised

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

SECOND = 1_000_000
TENANT, NOTES = "tenant", "notes"
EMBEDDING = Embedding("client", None, 2, "cosine")
EAST, NORTH = (np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1]))


def learning(
    notes: "Notes",
    content: str,
    *messages: str,
    similar: tuple[str, str] | None = None,
    since: int | None = None,
    **fields: Any,
) -> Learn:
    record = notes.record("", content, **{"user_id": "ann", **fields})
    record.sources = [Source(list(messages), None, record.created_at)]
    return Learn(TENANT, NOTES, EMBEDDING, record, similar, since)


async def learn(notes: "Notes", content: str, *messages: str, **fields: Any) -> Learned:
    learned: Learned = await notes.write(learning(notes, content, *messages, **fields))
    return learned


def said(record: Record) -> list[tuple[list[str], str | None]]:
    return [(source.message_ids, source.content) for source in record.sources or ()]


async def test_a_fact_is_stored_with_its_source(notes: "Notes", clock: "Clock") -> None:
    learned = await learn(notes, "Ann likes tea.", "m1", "m2")
    assert learned.created
    kept = await notes.get_there(learned.record.id)
    assert (kept.content, kept.version) == ("Ann likes tea.", 1)
    assert kept.sources == [Source(["m1", "m2"], None, clock.now)]
    assert await notes.saying("tea") == await notes.near(EAST) == [kept.id]


@pytest.mark.parametrize("again", ["Ann likes tea.", "ann  LIKES\ntea", "“Ann likes tea!”"])
async def test_a_fact_that_is_known_is_linked(notes: "Notes", clock: "Clock", again: str) -> None:
    first = await learn(notes, "Ann likes tea.", "m1")
    clock.advance(SECOND)
    second = await learn(notes, again, "m7")
    assert not second.created
    assert await notes.ids() == [first.record.id] == [second.record.id]
    kept = await notes.get_there(first.record.id)
    assert (kept.content, kept.version, kept.updated_at) == ("Ann likes tea.", 2, clock.now)
    assert said(kept) == [(["m1"], None), (["m7"], None)]
    third = await learn(notes, again, "m7")  # said before by the same message: nothing is new
    assert (third.created, third.record.version) == (False, 2)
    assert [event.version for event in await notes.history(kept.id)] == [1, 2]
    await notes.reopen()
    assert await notes.get_there(kept.id) == kept


async def test_facts_of_other_scopes_are_others(notes: "Notes") -> None:
    scopes: list[dict[str, Any]] = [
        {},
        {"user_id": "bob"},
        {"user_id": None},
        {"agent_id": "g"},
        {"session_id": "s"},
        {"namespace": ("a",)},
        {"namespace": ("a", "b")},
    ]
    learned = [await learn(notes, "Ann likes tea.", "m", **scope) for scope in scopes]
    assert all(one.created for one in learned)
    assert len(set(await notes.ids())) == len(scopes)


async def test_what_others_wrote_to_the_scope_since_is_to_be_looked_at(notes: "Notes") -> None:
    scope: dict[str, Any] = {"agent_id": "g", "session_id": "s", "namespace": ("a", 'b"')}
    await notes.put("before", user_id="ann", **scope)
    since = await notes.store.last_event()
    others: list[dict[str, Any]] = [
        {"user_id": "bob"},
        {"user_id": None},
        {"agent_id": "h"},
        {"agent_id": None},
        {"session_id": "t"},
        {"session_id": None},
        {"namespace": ("a",)},
        {"namespace": None},
    ]
    for number, other in enumerate(others):
        await notes.put(f"other {number}", **{"user_id": "ann", **scope, **other})
    await notes.write(notes.putting(notes.record("x", user_id="ann", **scope), collection="other"))

    # Nobody else wrote to the scope, and what is learnt together is no news to each other.
    together = [learning(notes, fact, "m", since=since, **scope) for fact in ("One.", "Two.")]
    assert all(isinstance(one, Learned) for one in await notes.store.write(together))
    stored = await notes.ids()
    # But to whoever looked before.
    news = learning(notes, "Three.", "m", since=since, **scope)
    assert await notes.write(news) == STALE
    assert await notes.ids() == stored
    known = learning(notes, "One.", "m2", since=since, **scope)
    assert not (await notes.write(known)).created
    (found,) = [id for id in stored if (await notes.get_there(id)).content == "Two."]
    similar = learning(notes, "2.", "m2", since=since, similar=(found, "Two."), **scope)
    assert not (await notes.write(similar)).created
    for at in (await notes.store.last_event(), None):
        assert (await notes.write(replace(news, since=at))).created is (at is not None)


async def test_the_same_fact_learnt_at_once_is_stored_once(notes: "Notes") -> None:
    batches = [
        [learning(notes, content, f"{number}-{position}")]
        for number in range(8)
        for position, content in enumerate(["Ann likes tea.", "ann likes tea", "Bob sails"])
    ]
    outcomes: list[Any] = []
    for batch in await asyncio.gather(*map(notes.store.write, batches)):
        outcomes += batch
    assert sum(one.created for one in outcomes) == 2
    ids = await notes.ids()
    assert len(ids) == 2
    messages = [
        source.message_ids for id in ids for source in (await notes.get_there(id)).sources or ()
    ]
    assert len(messages) == 24


async def test_the_same_fact_twice_in_one_transaction_is_stored_once(notes: "Notes") -> None:
    one, other = learning(notes, "Ann likes tea.", "a"), learning(notes, "Ann likes tea", "b")
    outcomes: list[Any] = list(await notes.store.write([one, other]))
    first, second = outcomes
    assert (first.created, second.created) == (True, False)
    assert first.record.id == second.record.id
    assert said(await notes.get_there(first.record.id)) == [(["a"], None), (["b"], None)]


async def test_a_fact_in_other_words_is_linked_with_its_words(notes: "Notes") -> None:
    known = await notes.put("own", "Ann loves tea.", user_id="ann")
    similar = (known.id, known.content)
    learned = await learn(notes, "Ann is fond of tea.", "m", similar=similar, vectors=NORTH)
    assert (learned.created, learned.record.id) == (False, "own")
    kept = await notes.get_there("own")
    assert said(kept) == [(["m"], "Ann is fond of tea.")]
    assert (kept.content, kept.vectors) == ("Ann loves tea.", EAST)


@pytest.mark.parametrize("change", ["content", "gone", "expired", "scope"])
async def test_what_it_was_found_to_say_must_still_be_there(
    notes: "Notes", clock: "Clock", change: str
) -> None:
    user = "bob" if change == "scope" else "ann"
    expiry = clock.now + SECOND if change == "expired" else None
    await notes.put("own", "Ann loves tea.", user_id=user, expires_at=expiry)
    if change == "content":
        await notes.change("own", content="Ann loves coffee.")
    elif change == "gone":
        await notes.delete("own")
    clock.advance(SECOND)
    learned = await learn(notes, "Ann is fond of tea.", similar=("own", "Ann loves tea."))
    assert learned.created
    assert learned.record.id != "own"


async def test_what_happened_on_another_day_is_another_fact(notes: "Notes") -> None:
    day = 86_400_000_000
    ran = [("m1", 30 * day), ("m2", 60 * day), ("m3", 30 * day + 1), ("m4", None), ("m5", 60 * day)]
    learned = [await learn(notes, "Ann ran 5 km.", id, event_at=at) for id, at in ran]
    assert [one.created for one in learned] == [True, True, False, False, False]
    first, second = [await notes.get_there(id) for id in await notes.ids()]
    assert said(first) == [(["m1"], None), (["m3"], None), (["m4"], None)]
    assert said(second) == [(["m2"], None), (["m5"], None)]


async def test_a_memory_that_was_corrected_hides_no_fact(notes: "Notes") -> None:
    first = await learn(notes, "Ann likes tea.", "m")
    await notes.change(first.record.id, content="Ann likes coffee.")
    second = await learn(notes, "Ann likes tea.", "n")
    assert second.created
    assert second.record.id == fact_id(second.record.scope, "Ann likes tea.", 1)
    third = await learn(notes, "Ann likes tea.", "o")
    assert (third.created, third.record.id) == (False, second.record.id)
    assert (await notes.get_there(first.record.id)).content == "Ann likes coffee."


async def test_a_fact_that_is_gone_is_learnt_anew(notes: "Notes", clock: "Clock") -> None:
    first = await learn(notes, "Ann likes tea.", "m", expires_at=clock.now + SECOND)
    clock.advance(SECOND)
    second = await learn(notes, "Ann likes tea.", "n")
    assert (second.created, second.record.id) == (True, first.record.id)
    assert said(await notes.get_there(first.record.id)) == [(["n"], None)]
    await notes.delete(first.record.id)
    assert (await learn(notes, "Ann likes tea.", "o")).created


async def test_of_many_sources_the_first_and_the_latest_stay(notes: "Notes") -> None:
    writes = [learning(notes, "Ann likes tea.", str(n)) for n in range(MAX_SOURCES + 10)]
    outcomes: list[Any] = list(await notes.store.write(writes))
    assert sum(one.created for one in outcomes) == 1
    kept = await notes.get_there(outcomes[0].record.id)
    expected = ["0", *map(str, range(11, MAX_SOURCES + 10))]
    assert [messages for messages, _ in said(kept)] == [[id] for id in expected]


async def test_vectors_of_another_kind_are_refused(notes: "Notes") -> None:
    await notes.put("a")
    other = replace(learning(notes, "fact"), embedding=Embedding("client", None, 3, "cosine"))
    with pytest.raises(DimensionMismatch):
        await notes.write(other)
    assert await notes.ids() == ["a"]


def test_what_changes_nothing_of_a_fact() -> None:
    alike = ["Café au lait", "cafe\u0301  AU\nlait.", ' "Café au lait"! ', "CAFÉ AU LAIT…"]
    assert len({normalised(text) for text in alike}) == 1
    others = ["C", "C++", "c#", "not c", "1.5", "15"]
    assert len({normalised(text) for text in others}) == len(others)


def test_a_megabyte_of_full_stops_holds_nobody_up() -> None:
    assert normalised("Ann likes tea" + "." * 1_000_000 + " x") == (
        "ann likes tea" + "." * 1_000_000 + " x"
    )
