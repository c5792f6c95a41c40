"""Searches by binary codes against exact ones."""

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from agentmem_client.models import Metric
from agentmem_server.storage.vectors import Sizes, VectorIndex
from agentmem_server.storage.vectors.codes import Codes, pool
from numpy.typing import NDArray

CODED = Sizes(coded=500)
EXACT = Sizes(coded=10**9)
DIMENSION = 384
Vectors = NDArray[np.float32]


def clusters(count: int, seed: int = 0, lean: float = 0.0) -> Vectors:
    """Vectors of length 1 around 50 centres, all of which may lean to one side."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(50, DIMENSION))
    around = centres[chance.integers(50, size=count)] + chance.normal(size=(count, DIMENSION))
    around = around / np.linalg.norm(around, axis=1, keepdims=True) + lean
    unit: Vectors = (around / np.linalg.norm(around, axis=1, keepdims=True)).astype("<f4")
    return unit


def filled(
    vectors: Vectors, metric: Metric = "cosine", sizes: Sizes = CODED, per_record: int = 1
) -> VectorIndex:
    """An index of vectors, so many of them a record."""
    index = VectorIndex(DIMENSION, metric, sizes=sizes)
    records = vectors.reshape(-1, per_record * DIMENSION)
    index.put_many([(rid, vector.tobytes(), None) for rid, vector in enumerate(records)])
    return index


def recall(
    coded: VectorIndex, exact: VectorIndex, queries: Iterable[Vectors], k: int, now: int = 0
) -> float:
    """The share of the best that are found; each that is found has its exact score."""
    shares = []
    for query in queries:
        ids, scores = coded.top(query.tobytes(), k, now)
        best, _ = exact.top(query.tobytes(), k, now)
        assert len(ids) == len(set(ids.tolist())) == len(best)
        assert scores == pytest.approx(exact.scores(query.tobytes(), ids), abs=1e-6)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        shares.append(len(np.intersect1d(ids, best)) / len(best))
    return float(np.mean(shares))


def looks_at_codes(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many codes each search from now on looks for."""
    looks: list[int] = []
    nearest = Codes.nearest

    def look(self: Codes, query: Vectors, count: int, wanted: int, here: object) -> object:
        looks.append(wanted)
        return nearest(self, query, count, wanted, here)  # type: ignore[arg-type]  # as the original

    monkeypatch.setattr(Codes, "nearest", look)
    return looks


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("lean", [0.0, 0.2])
def test_the_best_are_found_by_their_codes(
    metric: Metric, lean: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clusters(4_000, lean=lean) * np.float32(3)
    coded, exact = filled(vectors, metric), filled(vectors, metric, EXACT)
    looks = looks_at_codes(coded, monkeypatch)
    assert recall(coded, exact, clusters(40, seed=1, lean=lean), k=10) > 0.97
    assert len(looks) == 40
    assert max(looks) < 500


def test_among_some_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clusters(3_000)
    coded, exact = filled(vectors), filled(vectors, sizes=EXACT)
    looks = looks_at_codes(coded, monkeypatch)
    for query in clusters(5, seed=1):
        for step in (2, 30):
            some = np.arange(0, 3_000, step)
            found = coded.top(query.tobytes(), 20, 0, some)
            expected = exact.top(query.tobytes(), 20, 0, some)
            assert found[0].tolist() == expected[0].tolist()
            assert found[1] == pytest.approx(expected[1])
    assert looks == []


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_where_lengths_count_all_are_compared(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clusters(3_000)
    coded, exact = filled(vectors, metric), filled(vectors, metric, EXACT)
    long = vectors[7] * np.float32(1.5)
    for index in (coded, exact):  # it had codes until then
        index.put(3_000, long.tobytes(), None)
    looks = looks_at_codes(coded, monkeypatch)
    assert recall(coded, exact, clusters(10, seed=1), k=10) == 1
    assert looks == []


def test_short_vectors_and_deep_searches_compare_all(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    short = VectorIndex(16, "cosine", sizes=CODED)
    short.put_many([(n, chance.normal(size=16).astype("<f4").tobytes(), None) for n in range(900)])
    long = filled(clusters(900))
    looks = looks_at_codes(long, monkeypatch)
    assert len(short.top(chance.normal(size=16).astype("<f4").tobytes(), 10, 0)[0]) == 10
    assert len(long.top(clusters(1, seed=1).tobytes(), 900, 0)[0]) == 900
    assert looks == []


def test_what_is_gone_or_expired_takes_no_place() -> None:
    vectors, query = clusters(4_000), clusters(1, seed=1)[0]
    crowd = query + np.float32(0.1) * clusters(600, seed=2)
    coded, exact = filled(vectors), filled(vectors, sizes=EXACT)
    for index in (coded, exact):
        index.put_many([(5_000 + n, vector.tobytes(), None) for n, vector in enumerate(crowd)])
        index.apply(dict.fromkeys(range(5_000, 5_300)))
        for rid in range(5_300, 5_600):
            index.set_expiry(rid, 5)
    assert set(coded.top(query.tobytes(), 10, now=4)[0].tolist()) <= set(range(5_300, 5_600))
    assert recall(coded, exact, [query], k=10, now=5) > 0.8


def test_the_best_of_several_vectors_counts() -> None:
    vectors = clusters(6_000)
    np.random.default_rng(5).shuffle(vectors)
    coded = filled(vectors, per_record=3)
    exact = filled(vectors, sizes=EXACT, per_record=3)
    assert recall(coded, exact, clusters(30, seed=1), k=10) > 0.97


def test_a_record_of_very_many_vectors_hides_no_other() -> None:
    vectors = clusters(3_000)
    coded, exact = filled(vectors), filled(vectors, sizes=EXACT)
    crowd = vectors[5] + 0.01 * clusters(1_500, seed=3)
    for index in (coded, exact):
        index.put(9_999, crowd.tobytes(), None)
    ids, _ = coded.top(vectors[5].tobytes(), 10, 0)
    assert set(ids.tolist()) == set(exact.top(vectors[5].tobytes(), 10, 0)[0].tolist())


def test_of_equal_vectors_any_number_is_found() -> None:
    coded = filled(np.repeat(clusters(1), 3_000, axis=0))
    for k in (1, 10, 40):
        ids, scores = coded.top(clusters(1).tobytes(), k, 0)
        assert len(set(ids.tolist())) == k
        assert scores == pytest.approx([1.0] * k)


def test_codes_follow_changes() -> None:
    vectors, other = clusters(3_000), clusters(3_000, seed=7)
    coded, exact = filled(vectors), filled(vectors, sizes=EXACT)
    chance = np.random.default_rng(0)
    for turn in range(12):
        gone = chance.integers(3_000, size=150).tolist()
        new = [
            (rid, other[rid].tobytes(), None)
            for rid in sorted({*chance.integers(3_000 + 100 * turn, size=200).tolist()} - {*gone})
            if rid < 3_000
        ]
        for index in (coded, exact):
            index.apply(dict.fromkeys(gone))
            index.put_many(new)
    assert len(coded) == len(exact)
    assert recall(coded, exact, clusters(20, seed=1), k=10) > 0.97
    # Most are removed, so that the others are packed, and more come than there ever were.
    for index in (coded, exact):
        index.apply(dict.fromkeys(range(2_200)))
    assert recall(coded, exact, clusters(20, seed=1), k=10) > 0.97
    for index in (coded, exact):
        index.put_many(
            [(5_000 + n, vector.tobytes(), None) for n, vector in enumerate(clusters(5_000, 8))]
        )
    assert recall(coded, exact, clusters(20, seed=1), k=10) > 0.97


def test_searches_beside_changes_find_what_stays(tmp_path: Path) -> None:
    sizes = Sizes(coded=500, filed=1_000_000)
    index = VectorIndex(DIMENSION, "cosine", folder=tmp_path, sizes=sizes)
    vectors = clusters(1_200)
    index.put_many([(rid, vector.tobytes(), None) for rid, vector in enumerate(vectors[:600])])
    done = threading.Event()
    wrong: list[object] = []

    def search() -> None:
        try:
            for turn in range(10**9):
                if done.is_set():
                    break
                rid = turn % 300
                ids, scores = index.top(vectors[rid].tobytes(), 3, 0)
                if ids[0] != rid or abs(scores[0] - 1) > 1e-5:
                    wrong.append((rid, ids, scores))
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(40):  # all but the first 300 are replaced, removed, and come again
            first = 300 + turn % 3 * 300
            some = range(first, first + 300)
            index.put_many([(rid, vectors[rid % 1_200].tobytes(), None) for rid in some])
            index.apply(dict.fromkeys(range(300, 300 + turn % 4 * 250)))
        index.put_many(
            [(2_000 + n, vector.tobytes(), None) for n, vector in enumerate(clusters(4_000, 9))]
        )
        index.apply(dict.fromkeys(range(300, 6_000)))  # packed
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(index) == 300


def test_more_is_compared_of_more_vectors_and_for_more_hits() -> None:
    sizes = [pool(10, count, 1, DIMENSION) for count in (1_000, 8_000, 50_000, 90_000, 1_000_000)]
    assert sizes == [478, 478, 478, 641, 2134]
    assert pool(16, 8_000, 1, DIMENSION) == 478
    assert pool(17, 8_000, 1, DIMENSION) == 803
    assert pool(10, 8_000, 3, DIMENSION) == 1_432
    assert pool(10, 8_000, 1, DIMENSION // 2) == 1_909
