"""Reading by id, by scope and by session; what was given comes back as it was."""

import json
from typing import Any

import pytest
from agentmem_server.storage import Scope, SearchRequest, Selection, Store

from tests.storage.contract.stores import (
    EAST,
    SECOND,
    Clock,
    by_vector,
    changing,
    everywhere,
    get,
    ids,
    listed,
    opened,
    put,
    record,
    selecting,
    write,
)


async def test_get_answers_in_the_order_asked_for(store: Store) -> None:
    await put(store, *[record(name) for name in "abc"])
    notes = await opened(store)
    found = await store.get(notes, ["c", "nobody", "a", "c"])
    assert [one.id for one in found] == ["c", "a", "c"]
    assert [one.vectors for one in found] == [None] * 3
    assert await store.get(notes, []) == []


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        ({}, {"a", "b", "c", "d"}),
        ({"user_id": "x"}, {"a", "b"}),
        ({"agent_id": "x"}, {"b", "c"}),
        ({"session_id": "x"}, {"c"}),
        ({"user_id": "x", "agent_id": "x"}, {"b"}),
        ({"agent_id": "x", "session_id": "x"}, {"c"}),
        ({"user_id": "x", "session_id": "x"}, set()),
        ({"user_id": "X"}, set()),
        ({"user_id": "x "}, {"d"}),
    ],
)
async def test_a_scope_narrows_every_read(
    store: Store, scope: dict[str, Any], seen: set[str]
) -> None:
    await put(
        store,
        record("a", "word", user_id="x"),
        record("b", "word", user_id="x", agent_id="x"),
        record("c", "word", agent_id="x", session_id="x"),
        record("d", "word", user_id="x "),
    )
    assert await everywhere(store, "word", selecting(**scope)) == [seen, seen, seen]
    both = selecting({"@id": {"$in": ["a", "c", "d"]}}, **scope)
    assert await everywhere(store, "word", both) == [seen - {"b"}] * 3


METADATA: list[dict[str, Any]] = [
    {},
    {"a": 1, "b": 1.0, "c": True, "d": None, "e": "1", "f": -0.0, "g": 0},
    {"big": 2**63 - 1, "bigger": 2**63, "biggest": 10**300, "least": -(2**63), "below": -(10**300)},
    {"huge": 1.7976931348623157e308, "tiny": 5e-324, "third": 1 / 3, "e": 1e16, "n": 1e22},
    {"z": 1, "a": 2, "m": {"z": 1, "a": {"y": [], "b": {}}}},
    {"": {"": ""}, ".": {".": "."}, "a.b": 1, "@id": 2, "$eq": 3, "\\": 4, '"': 5, "'": 6, " ": 7},
    {"list": [1, 1.0, True, None, "1", [1, [1.0]], {"a": [1]}, 1, 1.0]},
    {"text": "x" * 100_000, "Ünï": "𝄞 e\u0301 é \u202e \ufffe \ufeff \u2028 \n\t\x01\x7f"},
    {"deep": json.loads("[" * 31 + "]" * 31)},
]


async def test_metadata_comes_back_as_it_was_given(store: Store) -> None:
    given = [json.dumps(one) for one in METADATA]  # in which 1 is not 1.0, and order counts
    await put(store, *[record(str(n), metadata=one) for n, one in enumerate(METADATA)])
    names = [str(n) for n in range(len(METADATA))]
    notes = await opened(store)
    assert [json.dumps(one.metadata) for one in await store.get(notes, names)] == given
    assert [json.dumps(one.metadata) for one in (await listed(store)).records] == given
    request = SearchRequest(Selection(), EAST, [], 99, by_vector)
    found = {one.id: json.dumps(one.metadata) for one, _ in await store.search(notes, request)}
    assert [found[name] for name in names] == given
    # Replaced by one another, so that each finds and removes what the last one left.
    for one in (*METADATA[1:], METADATA[0]):
        await write(store, changing("0", metadata=one))
        assert json.dumps((await get(store, "0")).metadata) == json.dumps(one)
    assert await ids(store, selecting({"a": {"$exists": True}}, ids=["0"])) == []


async def test_texts_come_back_as_they_were_given(store: Store) -> None:
    texts = ["", " ", "a/b?c#d%2f", "\\", "'; DROP TABLE memory; --", "é", "e\u0301", "𝄞" * 200]
    fields = ("user_id", "agent_id", "session_id", "type")
    records = [
        record(text or "empty", text, **dict.fromkeys(fields, text), importance=0.1 + n / 100)
        for n, text in enumerate(texts)
    ]
    await put(store, *records)
    assert (await listed(store, with_vectors=True)).records == records
    for one in records:
        assert await get(store, one.id) == one
        assert await ids(store, selecting(user_id=one.content)) == [one.id]


async def test_a_payload_comes_back_as_it_was_given(store: Store) -> None:
    payloads: list[Any] = [{"a": [1, 1.0, True, None, "é\n"]}, [], {}, "text", 0, False, 1e300]
    await put(store, *[record(str(n), payload=one) for n, one in enumerate(payloads)])
    found = [(await get(store, str(n))).payload for n in range(len(payloads))]
    assert repr(found) == repr(payloads)
    await write(store, changing("0", payload={"b": 2}))
    await write(store, changing("1", payload=None))
    assert (await get(store, "0")).payload == {"b": 2}
    assert (await get(store, "1")).payload is None
    assert await ids(store, selecting({"a": {"$exists": True}})) == []


async def test_sessions_are_listed_by_id_with_their_counts(store: Store, clock: Clock) -> None:
    start = clock.now
    await put(store, record("1", "x", session_id="b"), record("2", "x", session_id="a"))
    clock.advance(SECOND)
    await put(
        store,
        record("3", "y", session_id="b", user_id="u", namespace=("n",)),
        record("4", "x", session_id="c", expires_at=clock.now + 1),
        record("5"),
    )
    clock.advance(1)

    async def sessions(selection: Selection, after: str | None = None, n: int = 9) -> list[Any]:
        collection = await opened(store)
        found = await store.sessions(collection, selection, after=after, limit=n)
        return [(one.id, one.count, one.first_at, one.last_at) for one in found]

    a, b = ("a", 1, start, start), ("b", 2, start, start + SECOND)
    assert await sessions(Selection()) == [a, b]
    assert await sessions(Selection(), n=1) == [a]
    assert await sessions(Selection(), after="a") == [b]
    late = ("b", 1, start + SECOND, start + SECOND)
    assert await sessions(selecting(user_id="u")) == [late]
    assert await sessions(selecting({"@content": "y"})) == [late]
    assert await sessions(Selection(Scope(namespace=("n",)))) == [late]


async def test_seq_is_what_records_are_told_apart_by(store: Store) -> None:
    first, second = await put(store, record("a"), record("b"))
    assert first.record.seq < second.record.seq == (await get(store, "b")).seq
    (again,) = await put(store, record("a", "new"))
    assert again.record.seq == first.record.seq
    assert await ids(store, selecting({"@seq": {"$gt": first.record.seq}})) == ["b"]
