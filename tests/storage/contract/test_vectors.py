"""Vectors: none, one or several of a record, compared by the metric, kept bit by bit."""

import random
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from agentmem_client.filters import parse
from agentmem_client.models import Metric
from agentmem_server.storage import Embedding, SearchRequest, Selection, Store

from tests.storage.contract.stores import (
    EAST,
    EMBEDDING,
    NORTH,
    UP,
    both,
    by_both,
    by_vector,
    changing,
    deleting,
    get,
    listed,
    near,
    opened,
    put,
    record,
    selecting,
    vector,
    write,
)


async def test_a_record_may_have_no_vector(store: Store) -> None:
    await put(store, record("a", "word", vectors=None), record("b", "word"))
    assert await near(store, EAST) == ["b"]
    request = SearchRequest(Selection(), EAST, ["word"], 5, by_both)
    found = await store.search(await opened(store), request)
    assert {one.id for one, _ in found} == {"a", "b"}
    assert [one.vectors for one in await store.get(await opened(store), ["a"])] == [None]
    sparse = SearchRequest(Selection(), None, ["word"], 5, by_both)
    assert len(await store.search(await opened(store), sparse)) == 2


@pytest.mark.parametrize("warm", [True, False])
async def test_a_record_may_get_its_vector_after_later_ones(store: Store, warm: bool) -> None:
    await put(store, record("a", vectors=None), record("b", vectors=NORTH), record("c", vectors=UP))
    if warm:
        assert len(await near(store, EAST)) == 2
    await write(store, changing("a", EAST))
    assert (await near(store, EAST))[0] == "a"
    await write(store, changing("a", vector(0, 0, 0, 1)))
    assert (await near(store, vector(0, 0, 0, 1)))[0] == "a"
    assert sorted(await near(store, EAST)) == ["a", "b", "c"]
    for name in "abc":
        assert await near(store, EAST, selecting({"@id": name})) == [name]
    await write(store, deleting(selecting(ids=["a"])))
    assert sorted(await near(store, EAST)) == ["b", "c"]


def closeness(metric: Metric, point: Any, others: Any) -> Any:
    if metric == "dot":
        return others @ point
    if metric == "euclidean":
        return 1 / (1 + np.linalg.norm(others - point, axis=1))
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(point)
    return np.divide(others @ point, lengths, out=np.zeros(len(others)), where=lengths > 0)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
async def test_similarities_are_those_of_the_metric(store: Store, metric: Metric) -> None:
    chance = np.random.default_rng(3)
    points = chance.normal(size=(300, 8)).astype("<f4") * chance.exponential(size=(300, 1))
    points = points.astype("<f4")
    points[17] = 0
    embedding = Embedding("client", None, 8, metric)
    await put(
        store,
        *[record(str(n), vectors=point.tobytes()) for n, point in enumerate(points)],
        embedding=embedding,
    )
    await write(store, deleting(selecting(ids=[str(n) for n in range(250, 300)])))
    expected_of = points[:250].astype(np.float64)
    for query in chance.normal(size=(20, 8)).astype("<f4"):
        expected = closeness(metric, query.astype(np.float64), expected_of)
        request = SearchRequest(Selection(), query.tobytes(), [], 10, by_vector)
        found = await store.search(await opened(store), request)
        assert [score for _, score in found] == pytest.approx(
            np.sort(expected)[::-1][:10], abs=1e-5
        )
        for one, score in found:
            assert score == pytest.approx(expected[int(one.id)], abs=1e-5)


async def test_equal_similarities_come_newest_first(store: Store) -> None:
    await put(store, *[record(name) for name in "abc"])
    assert await near(store, EAST) == ["c", "b", "a"]
    assert await near(store, EAST, depth=2) == ["c", "b"]


VECTORS = [
    [1.0, -0.0, 3.4028235e38, 1e-45],
    [-3.4028235e38, 1.1754944e-38, 0.1, 1 / 3],
    [0.0, 0.0, 0.0, 0.0],
]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
async def test_vectors_come_back_bit_by_bit(store: Store, metric: Metric) -> None:
    embedding = replace(EMBEDDING, metric=metric)
    packed = [struct.pack("<4f", *numbers) for numbers in VECTORS]
    await put(
        store,
        *[record(str(n), vectors=one) for n, one in enumerate(packed)],
        embedding=embedding,
    )
    notes = await opened(store)
    got = await store.get(notes, ["0", "1", "2"], with_vectors=True)
    assert [one.vectors for one in got] == packed
    page = await listed(store, with_vectors=True)
    assert [one.vectors for one in page.records] == packed
    request = SearchRequest(Selection(), EAST, [], 9, by_vector, with_vectors=True)
    found = await store.search(notes, request)
    assert {one.id: one.vectors for one, _ in found} == dict(zip("012", packed, strict=True))


async def similar(store: Store, along: bytes, k: int = 9, **how: Any) -> dict[str, float]:
    request = SearchRequest(Selection(**how), along, [], k, by_vector)
    found = await store.search(await opened(store), request)
    return {one.id: score for one, score in found}


@pytest.mark.parametrize("warm", [False, True])
async def test_the_best_of_several_vectors_counts(store: Store, warm: bool) -> None:
    if warm:  # the index is there, and follows each write
        await put(store, record("0", vectors=vector(0, 0, 0, 1)))
        await near(store, EAST)
    await put(
        store,
        record("1", vectors=both(EAST, UP)),
        record("2", vectors=NORTH),
        record("3", vectors=both(NORTH, EAST, vector(1, 1, 0, 0))),
    )
    assert list(await similar(store, UP, 1)) == ["1"]
    assert await similar(store, EAST, 2) == pytest.approx({"3": 1.0, "1": 1.0})
    everything = await similar(store, NORTH)
    assert everything == pytest.approx({"3": 1, "2": 1, "1": 0} | ({"0": 0} if warm else {}))
    some = await similar(store, EAST, filter=parse({"@id": {"$in": ["1", "2"]}}))
    assert some == pytest.approx({"1": 1, "2": 0})
    assert (await get(store, "3")).vectors == both(NORTH, EAST, vector(1, 1, 0, 0))


async def test_vectors_grow_shrink_and_go(store: Store) -> None:
    await put(store, *[record(str(n), vectors=both(EAST, NORTH)) for n in range(3)])
    await near(store, EAST)
    await put(store, record("1", vectors=UP))  # fewer
    assert await similar(store, EAST) == pytest.approx({"2": 1, "0": 1, "1": 0})
    await put(store, record("1", vectors=both(UP, EAST, NORTH)))  # more, in the middle
    assert await similar(store, EAST) == pytest.approx({"2": 1, "1": 1, "0": 1})
    assert (await similar(store, UP))["1"] == pytest.approx(1)
    await put(store, record("2", vectors=both(UP, UP, UP, UP)))  # more, at the end
    assert await similar(store, EAST) == pytest.approx({"1": 1, "0": 1, "2": 0})
    await put(store, record("0", vectors=b"", index_texts=[]))  # none
    assert set(await similar(store, EAST)) == {"1", "2"}
    assert (await get(store, "0")).vectors is None
    await write(store, deleting(selecting(ids=["1"])))
    assert set(await similar(store, EAST)) == {"2"}
    await put(store, record("0", vectors=both(NORTH, EAST)))
    assert await similar(store, EAST) == pytest.approx({"0": 1, "2": 0})


METRICS: list[Metric] = ["cosine", "dot", "euclidean"]


def compared(metric: Metric, query: list[float], point: list[float]) -> float:
    a, b = np.array(query), np.array(point)
    match metric:
        case "cosine":
            return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        case "dot":
            return float(a @ b)
    return float(1 / (1 + np.linalg.norm(a - b)))


@pytest.mark.parametrize("metric", METRICS)
async def test_several_vectors_under_random_writes_score_as_a_plain_model(
    store: Store, metric: Metric
) -> None:
    """Against a dictionary of lists, with filters, expiry of the index and every size."""
    chance = random.Random(7)
    embedding = replace(EMBEDDING, metric=metric)
    model: dict[str, list[list[float]]] = {}
    for step in range(120):
        name = f"r{chance.randrange(12)}"
        if chance.random() < 0.2:
            await write(store, deleting(selecting(ids=[name])))
            model.pop(name, None)
        else:
            points = [[chance.uniform(-1, 1) for _ in range(4)] for _ in range(chance.randrange(4))]
            packed = both(*[vector(*point) for point in points])
            group = {"even": int(name[1:]) % 2 == 0}
            one = record(name, vectors=packed, metadata=group)
            await put(store, one, embedding=embedding)
            model[name] = points
        if step % 5:
            continue
        query = [chance.uniform(-1, 1) for _ in range(4)]
        for filters in (None, {"even": True}):
            expected = {
                name: max(compared(metric, query, point) for point in points)
                for name, points in model.items()
                if points and (filters is None or int(name[1:]) % 2 == 0)
            }
            chosen = None if filters is None else parse(filters)
            found = await similar(store, vector(*query), 99, filter=chosen)
            assert found == pytest.approx(expected, abs=1e-5)
            ranked = sorted(found.values(), reverse=True)
            assert list(found.values()) == ranked
