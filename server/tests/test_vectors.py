"""The vectors in memory against a plain numpy oracle."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pytest
from agentmem_client.models import Metric
from agentmem_server.storage.vectors import NEVER, Chosen, Sizes, VectorIndex
from agentmem_server.storage.vectors.measures import each_once
from agentmem_server.storage.vectors.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

METRICS: list[Metric] = ["cosine", "dot", "euclidean"]
BIG = 3.4028235e38

NewIndex: TypeAlias = Callable[[int, Metric], VectorIndex]


@pytest.fixture(scope="module", params=["memory", "file"])
def new_index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewIndex:
    """Makes an empty index of a dimension and a metric; its rows are in memory, or in a file."""
    if request.param == "memory":
        return VectorIndex
    folder = tmp_path_factory.mktemp("rows")
    return lambda dimension, metric: VectorIndex(
        dimension, metric, folder=folder, sizes=Sizes(filed=0)
    )


def packed(numbers: Sequence[float] | NDArray[Any]) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


def closeness(metric: Metric, a: NDArray[Any], b: NDArray[Any]) -> float:
    """What the metric says of two vectors, larger is better; a zero vector has no direction."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "dot":
        return float(a @ b)
    if metric == "euclidean":
        return float(1 / (1 + np.linalg.norm(a - b)))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


@dataclass
class Oracle:
    """What the index must answer: a dict of vectors and expiries."""

    metric: Metric
    vectors: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    expires_at: dict[int, int] = field(default_factory=dict)

    def score(self, query: bytes, rid: int) -> float:
        return closeness(self.metric, np.frombuffer(query, dtype="<f4"), self.vectors[rid])

    def put(self, rid: int, vector: bytes, expires_at: int | None) -> None:
        self.vectors[rid] = np.frombuffer(vector, dtype="<f4").astype(np.float64)
        self.expires_at[rid] = NEVER if expires_at is None else expires_at

    def remove(self, rid: int) -> None:
        self.vectors.pop(rid, None)

    def alive(self, now: int) -> list[int]:
        return [rid for rid in self.vectors if self.expires_at[rid] > now]


def check_top(
    index: VectorIndex,
    oracle: Oracle,
    query: bytes,
    k: int,
    *,
    now: int = 0,
    among: list[int] | None = None,
) -> None:
    """The index's best k are the oracle's: the same scores, best first, of the right records."""
    asked = None if among is None else np.array(among, dtype=np.int64)
    ids, scores = index.top(query, k, now, asked)
    living = oracle.alive(now) if among is None else [rid for rid in among if rid in oracle.vectors]
    each = {rid: oracle.score(query, rid) for rid in living}
    expected = sorted(each.values(), reverse=True)[:k]
    assert len(set(ids.tolist())) == len(ids)
    assert set(ids.tolist()) <= set(living)
    assert scores.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    for rid, score in zip(ids.tolist(), scores.tolist(), strict=True):
        assert score == pytest.approx(each[rid], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_are_those_of_the_metric(new_index: NewIndex, metric: Metric) -> None:
    chance = np.random.default_rng(1)
    index, oracle = new_index(16, metric), Oracle(metric)
    for rid, vector in enumerate(chance.normal(size=(500, 16)) * 3):
        for each in (index, oracle):
            each.put(rid * 3, packed(vector), None)
    assert len(index) == 500
    for query in chance.normal(size=(3, 16)):
        for k in (1, 10, 499, 500, 501, 10_000):
            check_top(index, oracle, packed(query), k)
        # From a few to more than half of the rows, known and unknown ids, in any order.
        for size in (1, 20, 149, 150, 151, 400, 1_500):
            among = chance.permutation(1_500)[:size].tolist()
            for k in (1, 5, 2_000):
                check_top(index, oracle, packed(query), k, among=among)
    assert index.top(packed(query), 5, 0, np.empty(0, dtype=np.int64))[0].tolist() == []


numbers = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
vectors = st.lists(numbers, min_size=3, max_size=3).map(packed)
expiries = st.none() | st.integers(1, 6)
steps = st.one_of(
    st.tuples(st.just("put"), vectors, expiries),
    st.tuples(st.just("older"), st.integers(0, 60), vectors, expiries),
    st.tuples(st.just("replace"), st.integers(0, 40), vectors, expiries),
    st.tuples(st.just("expire"), st.integers(0, 40), expiries),
    st.tuples(st.just("remove"), st.integers(0, 40)),
    st.tuples(st.just("search"), vectors, st.integers(1, 8), st.integers(0, 7)),
    st.tuples(st.just("among"), vectors, st.integers(1, 8), st.sets(st.integers(0, 60))),
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(METRICS), st.lists(steps, min_size=10, max_size=40))
def test_any_sequence_of_changes_is_followed(
    new_index: NewIndex, metric: Metric, plan: list[Any]
) -> None:
    index, oracle = new_index(3, metric), Oracle(metric)
    newest = -1
    for step in plan:
        match step:
            case "put", vector, expires_at:
                newest += 2  # ids grow, with gaps
                index.put(newest, vector, expires_at)
                oracle.put(newest, vector, expires_at)
            case "older", rid, vector, expires_at if rid < newest:
                index.put(rid, vector, expires_at)  # its vector came after those of later ones
                oracle.put(rid, vector, expires_at)
            case "replace", rid, vector, expires_at if rid in oracle.vectors:
                index.put(rid, vector, expires_at)
                oracle.put(rid, vector, expires_at)
            case "expire", rid, expires_at:
                index.set_expiry(rid, expires_at)
                oracle.expires_at[rid] = NEVER if expires_at is None else expires_at
            case "remove", rid:
                index.remove(rid)
                oracle.remove(rid)
            case "search", query, k, now:
                check_top(index, oracle, query, k, now=now)
            case "among", query, k, some:
                check_top(index, oracle, query, k, among=sorted(some))
        assert len(index) == len(oracle.vectors)
    everything = np.arange(-1, 70, dtype=np.int64)
    point = packed([1, 2, 3])
    for rid, score in zip(everything.tolist(), index.scores(point, everything), strict=True):
        if rid in oracle.vectors:
            assert score == pytest.approx(oracle.score(point, rid), abs=1e-5)
        else:
            assert np.isnan(score)


@pytest.mark.parametrize("metric", METRICS)
def test_thousands_of_removals_are_packed_away(new_index: NewIndex, metric: Metric) -> None:
    chance = np.random.default_rng(2)
    index, oracle = new_index(4, metric), Oracle(metric)
    for rid, vector in enumerate(chance.normal(size=(6_000, 4))):
        for each in (index, oracle):
            each.put(rid, packed(vector), rid if rid % 5 == 0 and rid else None)
    query = packed(chance.normal(size=4))
    for turn, rid in enumerate(chance.permutation(6_000)[:5_900].tolist()):
        index.remove(rid)
        index.remove(rid)  # nothing more to forget
        oracle.remove(rid)
        if turn % 590 == 0:
            check_top(index, oracle, query, 20, now=2_000)
            check_top(index, oracle, query, 20, among=list(range(0, 6_000, 7)))
            known = np.array(list(oracle.vectors)[:50], dtype=np.int64)
            expected = [oracle.score(query, one) for one in known.tolist()]
            assert index.scores(query, known) == pytest.approx(expected, abs=1e-5)
    assert len(index) == 100
    # And it goes on: new ones, replaced ones, until none is left.
    for rid in [*range(6_000, 6_500), *list(oracle.vectors)[:50]]:
        vector = packed(chance.normal(size=4))
        for each in (index, oracle):
            each.put(rid, vector, None)
    check_top(index, oracle, query, 700)
    for rid in list(oracle.vectors):
        index.remove(rid)
        oracle.remove(rid)
    assert len(index) == 0
    check_top(index, oracle, query, 5)
    index.put(9_999, query, None)
    assert index.top(query, 5, 0)[0].tolist() == [9_999]


def test_memory_is_given_back_when_most_are_removed(new_index: NewIndex) -> None:
    index = new_index(4, "cosine")
    for rid in range(5_000):
        index.put(rid, packed([1, 0, 0, 0]), None)
    full = index._table.rows.array.nbytes
    for rid in range(4_900):
        index.remove(rid)
    assert index._table.rows.array.nbytes < full / 2


@pytest.mark.parametrize("seed", range(5))
def test_vectors_may_come_in_any_order(new_index: NewIndex, seed: int) -> None:
    chance = np.random.default_rng(seed)
    index, oracle = new_index(4, "cosine"), Oracle("cosine")
    for rid in chance.permutation(300).tolist():
        for each in (index, oracle):
            each.put(rid, packed(vector_of(rid)), None)
        if rid % 3 == 0:
            index.remove(rid // 2)
            oracle.remove(rid // 2)
    assert len(index) == len(oracle.vectors)
    check_top(index, oracle, packed(vector_of(1_000)), 400)
    check_top(index, oracle, packed(vector_of(1_000)), 5, among=list(range(0, 300, 2)))
    for rid in oracle.vectors:
        assert index.scores(packed(vector_of(rid)), np.array([rid])) == pytest.approx([1])


def vector_of(rid: int) -> NDArray[np.float64]:
    return np.random.default_rng(rid).normal(size=4)


def test_an_index_is_built_from_rows() -> None:
    rows = [(rid, packed([rid, 1]), rid or None) for rid in range(0, 300, 3)]
    for count in (0, 100, 1_000):  # how many are expected is a hint
        index = VectorIndex.build(2, "dot", iter(rows), count)
        ids, scores = index.top(packed([1, 0]), 3, now=0)
        assert (ids.tolist(), scores.tolist()) == ([297, 294, 291], [297, 294, 291])
        assert index.top(packed([1, 0]), 3, now=294)[0].tolist() == [297, 0]
    assert len(VectorIndex.build(2, "dot", iter([]), 0)) == 0


def test_expiry_is_a_moment_that_no_longer_shows(new_index: NewIndex) -> None:
    index = new_index(2, "cosine")
    for rid, expires_at in enumerate([None, 10, 11]):
        index.put(rid, packed([1, rid]), expires_at)
    assert index.top(packed([1, 0]), 9, now=9)[0].tolist() == [0, 1, 2]
    assert index.top(packed([1, 0]), 9, now=10)[0].tolist() == [0, 2]
    assert index.top(packed([1, 0]), 1, now=11)[0].tolist() == [0]
    index.set_expiry(0, 5)
    index.set_expiry(1, None)
    index.set_expiry(77, 5)
    assert index.top(packed([1, 0]), 9, now=11)[0].tolist() == [1]
    index.put(0, packed([1, 0]), None)
    assert index.top(packed([1, 0]), 9, now=11)[0].tolist() == [0, 1]


def test_short_vectors_and_long_pages_cost_more_than_their_bytes() -> None:
    few, many = VectorIndex(2, "cosine"), VectorIndex(2, "cosine")
    for index, count in ((few, 100), (many, 10_000)):
        index.put_many([(rid, packed([1, rid]), None) for rid in range(count)])
    assert few.cost(10) < few.cost(100) == few.cost(1_000) < many.cost(100)
    assert many.cost(10) > 10_000 * 100
    assert many.cost(10_000) - many.cost(10) > 10_000 * 1_000
    assert many.cost(10, many.choose(np.arange(100))) == few.cost(10)


def test_equal_scores_come_newest_first(new_index: NewIndex) -> None:
    index = new_index(2, "dot")
    for rid in range(10):
        index.put(rid, packed([1, 0]), None)
    assert index.top(packed([1, 0]), 20, 0)[0].tolist() == list(range(9, -1, -1))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_of_equal_scores_are_the_first_of_more(
    new_index: NewIndex, metric: Metric, rows: int
) -> None:
    index = new_index(2, metric)
    for rid in range(1, 60):
        index.put(rid, packed([1.0, float(rid % 3)] * rows), None)
    every = index.top(packed([1.0, 0.0]), 59, now=0)[0].tolist()
    for k in range(1, 60):
        assert index.top(packed([1.0, 0.0]), k, now=0)[0].tolist() == every[:k]


@pytest.mark.parametrize("metric", METRICS)
def test_zero_vectors_have_scores_like_any(new_index: NewIndex, metric: Metric) -> None:
    index, oracle = new_index(2, metric), Oracle(metric)
    points: list[list[float]] = [[0, 0], [1, 1], [-1, 0], [0, -0.0]]
    for rid, vector in enumerate(points):
        for each in (index, oracle):
            each.put(rid, packed(vector), None)
    for query in ([0, 0], [1, 0]):
        check_top(index, oracle, packed(query), 9)
    assert not index.vectors(np.array([0])).any()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("among", [None, [0, 1], [0, 1, 2, 3, 4, 5, 6]])
def test_huge_and_tiny_numbers_have_finite_scores(
    new_index: NewIndex, metric: Metric, among: list[int] | None
) -> None:
    index, oracle = new_index(4, metric), Oracle(metric)
    extremes: list[list[float]] = [
        [BIG, BIG, BIG, BIG],
        [-BIG, BIG, -BIG, BIG],
        [BIG / 2, 0, 0, 0],
        [1e-45, 0, 0, 0],
        [1e-45, 1e-45, 1e-45, -1e-45],
        [1, 2, 3, 4],
        [1e-20, -1e20, 1e-20, 1e20],
    ]
    for rid, vector in enumerate(extremes):
        for each in (index, oracle):
            each.put(rid, packed(vector), None)
    for query in extremes:
        ids, scores = index.top(packed(query), 9, 0, None if among is None else np.array(among))
        assert np.isfinite(scores).all()
        expected = {rid: oracle.score(packed(query), rid) for rid in among or range(7)}
        found = dict(zip(ids.tolist(), scores.tolist(), strict=True))
        assert found.keys() == expected.keys()
        for rid, score in expected.items():
            size = 1.0
            if metric == "dot":  # large terms may cancel out; rounding is in proportion to them
                size = max(1.0, float(np.linalg.norm(query) * np.linalg.norm(oracle.vectors[rid])))
            assert found[rid] == pytest.approx(score, rel=1e-4, abs=1e-6 * size)


def test_small_distances_are_not_lost_to_large_coordinates(new_index: NewIndex) -> None:
    index = new_index(2, "euclidean")
    for rid in range(4):
        index.put(rid, packed([10_000, rid / 64]), None)
    ids, scores = index.top(packed([10_000, 0]), 4, 0)
    assert ids.tolist() == [0, 1, 2, 3]
    assert scores.tolist() == pytest.approx([1 / (1 + rid / 64) for rid in range(4)])


def test_vectors_come_with_length_one_and_zeros_where_unknown(new_index: NewIndex) -> None:
    for metric in METRICS:
        index = new_index(2, metric)
        nobody = np.array([1, 2], dtype=np.int64)
        assert index.vectors(nobody).tolist() == [[0, 0], [0, 0]]
        index.put(5, packed([3, 4]), None)
        index.put(6, packed([0, BIG]), None)
        index.put(7, packed([1, 0]), None)
        index.remove(7)
        assert index.vectors(nobody).tolist() == [[0, 0], [0, 0]]
        found = index.vectors(np.array([6, 4, 5, 7], dtype=np.int64))
        assert found == pytest.approx(np.array([[0, 1], [0, 0], [0.6, 0.8], [0, 0]]))
        assert index.vectors(np.empty(0, dtype=np.int64)).shape == (0, 2)


def test_a_change_of_what_was_given_or_answered_changes_nothing(new_index: NewIndex) -> None:
    index = new_index(2, "dot")
    index.put(1, packed([1, 0]), None)
    ids, scores = index.top(packed([1, 0]), 1, 0)
    ids[:], scores[:] = 7, 7
    index.vectors(np.array([1]))[:] = 7
    assert index.top(packed([1, 0]), 1, 0)[0].tolist() == [1]
    assert index.scores(packed([1, 0]), np.array([1])).tolist() == [1.0]


@pytest.mark.parametrize("metric", METRICS)
def test_searches_beside_changes_see_whole_records(new_index: NewIndex, metric: Metric) -> None:
    """One thread changes; three search. What stays untouched is found by every search, what was
    never put or was removed before by none, and each score is that of a vector that the record
    had."""
    index = new_index(8, metric)
    fixed = {rid: packed(np.eye(8)[rid] * 2) for rid in range(8)}
    for rid, vector in fixed.items():
        index.put(rid, vector, None)
    for rid in range(8, 500):
        index.put(rid, packed(np.full(8, 0.01)), None)
    for rid in range(8, 500):
        index.remove(rid)
    query = packed(np.eye(8)[3])
    allowed = {0.0} | {closeness(metric, np.eye(8)[3], np.eye(8)[i] * 2) for i in range(8)}
    allowed |= {closeness(metric, np.eye(8)[3], np.full(8, c)) for c in (1.0, -1.0)}
    highest = 500
    done = threading.Event()
    wrong: list[object] = []

    def search(number: int) -> None:
        among = np.array([1, 3, 5, 100, 499, 10**9], dtype=np.int64)
        try:
            while not done.is_set():
                ids, scores = index.top(query, 10_000, 0)
                found = set(ids.tolist())
                if not fixed.keys() <= found:
                    wrong.append(f"missing: {fixed.keys() - found}")
                if found & set(range(8, 500)) or max(found) > highest:
                    wrong.append("found what is not there")
                if len(found) != len(ids):
                    wrong.append("found one twice")
                if any(min(abs(score - one) for one in allowed) > 1e-4 for score in set(scores)):
                    wrong.append(f"a score of no vector: {set(scores)}")
                if set(index.top(query, 10, 0, among)[0].tolist()) != {1, 3, 5}:
                    wrong.append("found others than those asked for")
                if index.scores(query, among[:3]).argmax() != 1:
                    wrong.append("wrong scores")
                index.vectors(ids[:number])
        except BaseException as error:
            wrong.append(error)
            raise

    living: list[int] = []
    late = [501 + turn for turn in range(0, 2_000, 50)]
    threads = [threading.Thread(target=search, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(2_000):
            highest = 502 + 2 * turn
            index.put(highest, packed(np.full(8, 1.0 if turn % 2 else -1.0)), None)
            living.append(highest)
            if turn % 3:
                index.remove(living.pop(turn % len(living)))
            if turn % 7 == 0:
                index.set_expiry(living[-1], None)
            if 501 + turn in late:  # its vector came after those of later ones
                index.put(501 + turn, packed(np.full(8, 1.0)), None)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert set(index.top(query, 10_000, 0)[0].tolist()) == {*fixed, *living, *late}


def test_a_record_that_moves_where_a_chosen_one_was_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between looking up where vectors are and comparing them, a commit may come."""
    index = VectorIndex(2, "cosine")
    one = np.array([1, 0], dtype="<f4").tobytes()
    for rid in (1, 2, 3):
        index.put(rid, one, None)
    chosen = Table.chosen

    def then_changed(self: Table, ids: NDArray[np.int64]) -> Chosen:
        found = chosen(self, ids)
        index.remove(1)
        index.put(9, one, None)
        return found

    monkeypatch.setattr(Table, "chosen", then_changed)
    ids, scores = index.top(one, 10, 0, np.array([1, 2]))
    assert ids.tolist() == [2]
    assert len(scores) == 1
    assert index._table.ids[0] == 9


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 3)), unique_by=lambda one: one[0]))
def test_equal_ids_side_by_side_are_told_once(groups: list[tuple[int, int]]) -> None:
    ids = np.array([rid for rid, times in groups for _ in range(times)], dtype=np.int64)
    assert each_once(ids).tolist() == [rid for rid, _ in groups]


def test_what_was_chosen_is_found_where_it_went() -> None:
    index = VectorIndex(2, "cosine")
    vectors = np.random.default_rng(0).normal(size=(300, 2)).astype("<f4")
    index.put_many([(rid, vector.tobytes(), None) for rid, vector in enumerate(vectors[:50])])
    chosen = index.choose(np.array([3, 30, 7_777]))
    assert chosen.ids.tolist() == [3, 30]
    assert index.current(chosen) is chosen
    before = index.top(vectors[0].tobytes(), 10, 0, chosen)
    index.put_many([(50 + n, vector.tobytes(), None) for n, vector in enumerate(vectors[50:])])
    current = index.current(chosen)
    assert current.table != chosen.table
    for one in (chosen, current):
        ids, scores = index.top(vectors[0].tobytes(), 10, 0, one)
        assert ids.tolist() == before[0].tolist()
        assert scores == pytest.approx(before[1])


def test_a_record_of_several_vectors_is_found_where_it_went() -> None:
    index = VectorIndex(2, "cosine")
    vectors = np.random.default_rng(0).normal(size=(300, 3, 2)).astype("<f4")
    index.put_many([(rid, three.tobytes(), None) for rid, three in enumerate(vectors[:20])])
    chosen = index.choose(np.array([13, 3, 7_777]))
    assert chosen.ids.tolist() == [13, 13, 13, 3, 3, 3]
    before = index.top(vectors[0, 0].tobytes(), 10, 0, chosen)
    index.put_many([(20 + n, three.tobytes(), None) for n, three in enumerate(vectors[20:])])
    current = index.current(chosen)
    assert current.table != chosen.table
    assert current.ids.tolist() == chosen.ids.tolist()
    for one in (chosen, current):
        ids, scores = index.top(vectors[0, 0].tobytes(), 10, 0, one)
        assert sorted(ids.tolist()) == [3, 13]
        assert ids.tolist() == before[0].tolist()
        assert scores == pytest.approx(before[1])
