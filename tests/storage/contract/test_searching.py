"""Searches: what is admitted, and the candidates of both channels."""

import numpy as np
import pytest
from agentmem_server.storage import (
    STALE,
    Candidates,
    PutCollection,
    Ranked,
    SearchRequest,
    Selection,
    Store,
)
from numpy.typing import NDArray

from tests.storage.contract.stores import (
    EAST,
    EMBEDDING,
    TENANT,
    UP,
    both,
    by_both,
    by_words,
    changing,
    everywhere,
    get,
    ids,
    near,
    opened,
    put,
    record,
    saying,
    selecting,
    vector,
    write,
)


async def test_a_selection_bounds_a_search_before_its_limit(store: Store) -> None:
    """Of 1,000 records only the worst 5 match, and all 5 come, by every channel."""
    await put(
        store,
        *[
            record(
                f"r{n}",
                "word" if n < 995 else "word " + "filler " * 50,
                metadata={"worst": n >= 995},
                user_id="few" if n >= 995 else "many",
                agent_id="g",
                vectors=vector(1, n / 1_000, 0, 0),
            )
            for n in range(1_000)
        ],
    )
    worst = {f"r{n}" for n in range(995, 1_000)}
    assert not worst & set(await near(store, EAST, depth=900))
    assert not worst & set(await saying(store, "word", depth=900))
    for selection in (
        selecting({"worst": True}),
        selecting(user_id="few"),
        selecting({"worst": True}, user_id="few"),
        selecting({"worst": {"$ne": False}}, agent_id="g"),
        selecting({"@id": {"$in": sorted(worst)}}),
    ):
        assert await near(store, EAST, selection, depth=5) == [f"r{n}" for n in range(995, 1_000)]
        assert set(await saying(store, "word", selection, depth=5)) == worst
        request = SearchRequest(selection, EAST, ["word"], 5, by_both)
        found = await store.search(await opened(store), request)
        assert {one.id for one, _ in found} == worst
    assert len(await near(store, EAST, depth=7)) == 7
    assert len(await saying(store, "word", depth=7)) == 7


async def test_nothing_selected_finds_nothing(store: Store) -> None:
    await put(store, record("a", "word"))
    for selection in (selecting(user_id="nobody"), selecting({"n": 1})):
        assert await everywhere(store, "word", selection) == [set()] * 3
    await write(store, PutCollection(TENANT, "empty", EMBEDDING, 5))
    empty = await opened(store, "empty")
    assert await near(store, EAST, collection=empty) == []
    assert await saying(store, "word", collection=empty) == []


async def test_candidates_join_what_the_channels_found(store: Store) -> None:
    await put(
        store,
        record("near", "nothing", vectors=vector(2, 0, 0, 0)),
        record("far", "word word", vectors=vector(0, 3, 0, 0)),
        record("middle", "word and much else", vectors=vector(3, 4, 0, 0)),
    )
    seen: list[Candidates] = []
    lengths: list[NDArray[np.float32]] = []

    def rank(candidates: Candidates) -> Ranked:
        seen.append(candidates)
        lengths.append(candidates.vectors(candidates.ids))
        return candidates.ids[::-1], candidates.similarities[::-1]

    request = SearchRequest(Selection(), EAST, ["word"], 1, rank, with_vectors=True)
    found = await store.search(await opened(store), request)
    candidates = seen[-1]
    assert [one.id for one, _ in found] == ["far", "near"]  # as it was ranked
    assert [score for _, score in found] == pytest.approx([0, 1])
    assert [one.vectors for one, _ in found] == [vector(0, 3, 0, 0), vector(2, 0, 0, 0)]
    assert candidates.ids.dtype == candidates.keyword_ids.dtype == np.int64
    assert candidates.similarities == pytest.approx([1, 0])
    assert candidates.keyword_ids.tolist() == candidates.ids[1:].tolist()
    assert (candidates.keyword_scores > 0).all()
    assert lengths[-1] == pytest.approx(np.array([[1, 0, 0, 0], [0, 1, 0, 0]]))


async def test_candidates_tell_of_their_times_and_importance(store: Store) -> None:
    await put(
        store,
        record("a", "word", created_at=5, updated_at=7, importance=0.25, event_at=-(10**15)),
        record("b", "word", created_at=6, updated_at=6, vectors=vector(0, 1, 0, 0)),
        record("c", "word word", created_at=8, updated_at=9, importance=0.0, vectors=None),
    )
    seen: list[NDArray[np.float64]] = []

    def rank(candidates: Candidates) -> Ranked:
        there = candidates.attributes(candidates.ids[::-1])
        of_none = candidates.attributes(candidates.ids[:0])
        assert of_none.created_at.shape == of_none.importance.shape == (0,)
        seen.append(
            np.stack([there.event_at, there.created_at, there.updated_at, there.importance], 1)
        )
        return candidates.ids, np.zeros(len(candidates.ids))

    request = SearchRequest(Selection(), EAST, ["word"], 10, rank)
    found = [one.id for one, _ in await store.search(await opened(store), request)]
    expected = {"a": (-1e15, 5, 7, 0.25), "b": (np.nan, 6, 6, np.nan), "c": (np.nan, 8, 9, 0)}
    assert seen[-1] == pytest.approx(np.array([expected[id] for id in found[::-1]]), nan_ok=True)


async def test_candidates_without_vectors_have_none_to_compare(store: Store) -> None:
    await put(store, record("a", "word", vectors=None))
    shapes: list[tuple[int, ...]] = []

    def rank(candidates: Candidates) -> Ranked:
        assert np.isnan(candidates.similarities).all()
        vectors = candidates.vectors(candidates.ids)
        assert not vectors.any()
        shapes.append(vectors.shape)
        shapes.append(candidates.vectors(candidates.ids[:0]).shape)
        return by_words(candidates)

    notes = await opened(store)
    for along in (EAST, None):
        request = SearchRequest(Selection(), along, ["word"], 5, rank)
        assert [one.id for one, _ in await store.search(notes, request)] == ["a"]
    assert shapes == [(1, 4), (0, 4)] * 2


async def test_texts_of_choice_stand_for_the_content(store: Store) -> None:
    await put(
        store,
        record("1", "hidden", index_texts=["apple pie", "sailing boat"], vectors=both(EAST, UP)),
        record("2", "apple"),
        record("3", "hidden apple", index_texts=[], vectors=b""),
    )
    assert set(await saying(store, "apple")) == {"1", "2"}
    assert await saying(store, "boats") == ["1"]
    assert await saying(store, "hidden") == []
    assert set(await near(store, EAST)) == {"1", "2"}
    assert await ids(store) == ["1", "2", "3"]
    assert (await get(store, "1")).index_texts == ["apple pie", "sailing boat"]
    await put(store, record("1", "hidden"), record("2", "apple", index_texts=[], vectors=b""))
    assert await saying(store, "hidden") == ["1"]
    assert await saying(store, "apple") == []
    assert await write(store, changing("2", EAST)) == STALE  # no search may find it
    assert await near(store, EAST) == ["1"]
