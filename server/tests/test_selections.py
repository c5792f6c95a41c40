"""Kept selections: what drops them, what they may take, what tells them apart."""

from typing import Any

import numpy as np
import pytest
from agentmem_client import filters
from agentmem_server.storage import Collection, Embedding, Scope, Selection
from agentmem_server.storage.sqlite.selections import Key, Selections
from agentmem_server.storage.vectors import Chosen

EMBEDDING = Embedding("client", None, 2, "cosine")
NOTES = Collection(1, "tenant", "notes", EMBEDDING, 0)


def chosen(count: int = 3) -> Chosen:
    return Chosen(np.arange(count), np.arange(count), 0)


def key(collection: int = 1, filter: Any = None, **scope: Any) -> Key:
    selection = Selection(Scope(**scope), None if filter is None else filters.parse(filter))
    made = Selections.key(Collection(collection, "tenant", "notes", EMBEDDING, 0), selection)
    assert made is not None
    return made


def test_a_user_s_records_change_what_may_mean_them() -> None:
    kept = Selections()
    every = [
        key(user_id="ann"),
        key(user_id="ann", session_id="s"),
        key(user_id="ann", filter={"a": 1}),
        key(user_id="bob"),
        key(filter={"a": 1}),
        key(2, user_id="ann"),
    ]
    for one in every:
        kept.put(one, chosen())
    kept.changed(1, "ann")
    assert [kept.get(one) is not None for one in every] == [False, False, False, True, False, True]
    kept.put(every[4], chosen())
    kept.changed(1, None)
    assert [kept.get(one) is not None for one in every] == [False, False, False, True, False, True]
    kept.cleared(1)
    assert [kept.get(one) is not None for one in every] == [False] * 5 + [True]
    kept.clear()
    assert len(kept) == kept.size == 0
    assert kept._by_user == {}


def test_those_asked_for_last_stay() -> None:
    kept = Selections(max_bytes=20_000)
    for number in range(50):
        kept.put(key(user_id=f"u{number}"), chosen(100))
        assert kept.get(key(user_id="u0")) is not None
        assert kept.size <= 20_000
    assert kept.get(key(user_id="u1")) is None
    assert kept.get(key(user_id="u49")) is not None
    assert len(kept) == 20_000 // (1_000 + 1_600)


def test_a_large_one_leaves_room_for_others() -> None:
    kept = Selections(max_bytes=20_000)
    kept.put(key(user_id="ann"), chosen(100))
    kept.put(key(user_id="bob"), chosen(1_000))
    kept.put(key(filter={"name": "x" * 5_000}), chosen())
    assert len(kept) == 1


LONG = "x" * 5_000


@pytest.mark.parametrize(
    "scope",
    [
        Scope(user_id=LONG),
        Scope(agent_id=LONG),
        Scope(session_id=LONG),
        Scope(namespace=(LONG, "x")),
    ],
)
def test_long_names_count(scope: Scope) -> None:
    kept = Selections(max_bytes=20_000)
    for one in (Scope("ann"), scope):
        asked = Selections.key(NOTES, Selection(one))
        assert asked is not None
        kept.put(asked, chosen())
    assert len(kept) == 1


def test_one_that_is_put_again_counts_once() -> None:
    kept = Selections()
    for count in (100, 10):
        kept.put(key(user_id="ann"), chosen(count))
    found = kept.get(key(user_id="ann"))
    assert found is not None
    assert len(found.ids) == 10
    assert kept.size == 1_000 + 160 + 60 + 4 * len("ann")


@pytest.mark.parametrize("one", [1, True, 1.0, "1", None, [1], [True]])
def test_values_of_different_types_are_different(one: Any) -> None:
    others = [1, True, 1.0, "1", None, [1], [True], "True"]
    same = [other for other in others if key(filter={"a": one}) == key(filter={"a": other})]
    assert same == [one]
    assert type(same[0]) is type(one)


def test_ids_are_no_selection_to_keep() -> None:
    assert Selections.key(NOTES, Selection(ids=["a"])) is None
