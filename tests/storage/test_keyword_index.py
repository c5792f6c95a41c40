"""What the keyword channel finds is what is stored, however the writes came that led there."""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client.errors import APIError
from agentmem_server.storage import (
    Erase,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Write,
    open_store,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

WORDS = ["ant", "bee", "cat", "dog", "elk", "fox"]
IDS = [f"id{number}" for number in range(8)]


def some_writes(notes: "Notes", seed: int) -> list[Write]:
    """Adds, changes, moves between sessions, deletions; some are refused half-way."""
    chosen = random.Random(seed)

    def content() -> str:
        return " ".join(chosen.choices(WORDS, k=3))

    def session() -> str | None:
        return chosen.choice(["s1", "s2", None])

    def one() -> Write:
        id = chosen.choice(IDS)
        match chosen.choices(range(8), weights=[8, 3, 3, 1, 4, 1, 1, 2])[0]:
            case 0:
                return notes.putting(notes.record(id, content(), session_id=session()))
            case 1:
                return notes.changing(id, content=content())
            case 2:
                return notes.changing(id, session_id=session())
            case 3:
                return notes.changing(id, index_texts=[])
            case 4:
                return notes.deleting(*chosen.sample(IDS, 2))
            case 5:
                return notes.deleting()
            case 6:
                return Erase("tenant", "ann", 1)
            case _:
                # Refused where one of these ids is another's; the second time after all is deleted.
                user = chosen.choice([None, "bob"])
                mine = notes.record(f"{id}-of-ann", content(), user_id=user, session_id=session())
                others = [notes.record(name, content(), user_id="ann") for name in (id, mine.id)]
                everything = chosen.choice([None, Selection()])
                return notes.putting(mine, *others, user_id="ann", replacing=everything)

    return [notes.putting(notes.record("first")), *(one() for _ in range(30))]


async def said(notes: "Notes") -> dict[str, list[tuple[str, float]]]:
    """What is found by each word, with its scores."""
    found = {}
    for word in WORDS:
        request = SearchRequest(
            Selection(), None, [word], 100, lambda c: (c.keyword_ids, c.keyword_scores)
        )
        hits = await notes.store.search(await notes.collection(), request)
        found[word] = sorted((one.id, round(score, 9)) for one, score in hits)
    return found


@pytest.mark.parametrize("seed", range(20))
async def test_writes_together_lead_where_they_lead_one_by_one(
    new_url: Callable[[], str], new_notes: "type[Notes]", clock: "Clock", seed: int
) -> None:
    urls = [new_url(), new_url()]
    together, apart = [new_notes(url, await open_store(url, readers=1)) for url in urls]
    try:
        writes = some_writes(together, seed)
        outcomes = await together.store.write(writes)
        singly = [(await apart.store.write([write]))[0] for write in some_writes(apart, seed)]
        assert refused(outcomes) == refused(singly)
        assert await said(together) == await said(apart)
        assert await stored(together) == await stored(apart)
        assert await happened(together) == await happened(apart)
    finally:
        await together.store.close()
        await apart.store.close()


async def stored(notes: "Notes") -> list[Record | None]:
    """The records in their order, vectors included."""
    return [await notes.get(id) for id in await notes.ids()]


async def happened(notes: "Notes") -> list[tuple[Any, ...]]:
    """The events in their order, what was before each included."""
    return [
        (event.action, event.record_id, event.version, event.scope, event.before)
        for event in await notes.events()
    ]


def refused(outcomes: Sequence[object]) -> list[bool]:
    return [isinstance(outcome, APIError) for outcome in outcomes]


@pytest.mark.parametrize("everything", [Selection(), Selection(Scope(session_id="s"))])
async def test_what_is_replaced_may_be_of_the_same_commit(
    notes: "Notes", everything: Selection
) -> None:
    await notes.put("old", "zebra", session_id="s")
    outcomes = await notes.store.write(
        [
            notes.putting(notes.record("before", "zebra", session_id="s")),
            notes.putting(notes.record("after", "zebra", session_id="s"), replacing=everything),
            notes.putting(notes.record("last", "zebra", session_id="s")),
        ]
    )
    assert refused(outcomes) == [False] * 3
    assert await notes.ids() == sorted(await notes.saying("zebra")) == ["after", "last"]
    happened = [event.record_id for event in await notes.events()]
    assert happened == ["old", "before", "old", "before", "after", "last"]


async def test_what_is_over_when_it_is_stored_is_no_turn_before_another(
    notes: "Notes", clock: "Clock"
) -> None:
    said = [("a", "ant", None), ("b", "bee", clock.now), ("c", "cat", None)]
    await notes.write(
        notes.putting(
            *(
                notes.record(id, text, session_id="s", expires_at=expires_at)
                for id, text, expires_at in said
            )
        )
    )
    assert await notes.saying("ant") == ["a", "c"]
    assert await notes.saying("bee") == []


async def test_a_word_that_is_gone_is_found_no_more_within_one_commit(notes: "Notes") -> None:
    """Also by the memory after it in the session, of which it is the turn before."""
    first = notes.record("first", "zebra", session_id="s")
    second = notes.record("second", "yes", session_id="s")
    await notes.store.write([notes.putting(first), notes.putting(second)])
    assert await notes.saying("zebra") == ["first", "second"]
    await notes.store.write(
        [notes.changing("second", importance=0.5), notes.changing("first", content="horse")]
    )
    assert await notes.saying("zebra") == []
    assert sorted(await notes.saying("horse")) == ["first", "second"]
    await notes.store.write([notes.changing("second", importance=0.6), notes.deleting("first")])
    assert await notes.saying("horse") == []
    assert await notes.saying("yes") == ["second"]
