from typing import Any

import numpy as np
import pytest
from agentmem_server.engine import ranking
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

COSINE = st.floats(-1, 1, width=32)
BM25 = st.floats(2**-20, 64, width=32)
ALPHA = st.floats(0, 1)


def int64(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def float32(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def fuse(*arguments: Any, **options: Any) -> tuple[Any, Any]:
    found = ranking.fuse(*arguments, **options)
    return found.ids, found.scores


def mmr(*arguments: Any, **options: Any) -> NDArray[np.int64]:
    return ranking.mmr(*arguments, **options)[0]


def candidates(cosine: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Any, Any, Any, Any]]:
    """Arguments of fuse: the two sides share some ids, and either may be empty."""
    ids = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 8)
    by_vector = st.dictionaries(ids, cosine, max_size=12)
    by_keyword = st.dictionaries(ids, BM25, max_size=12)
    return st.tuples(by_vector, by_keyword).map(
        lambda sides: (
            int64(*sides[0]),
            float32(*sides[0].values()),
            int64(*sides[1]),
            float32(*sides[1].values()),
        )
    )


# fuse


def test_the_score_is_the_weighted_sum_of_both_channels() -> None:
    ids, scores = fuse(int64(1, 2, 3), float32(0.2, 0.6, 0.4), int64(1, 3), float32(8, 2))
    # minmax of the cosines: 0, 1, .5; shares of the largest BM25: 1, 0, .25
    assert ids.tolist() == [2, 1, 3]
    assert scores == pytest.approx([0.5, 0.5, 0.375], abs=1e-6)


def test_alpha_0_orders_by_keywords_and_leaves_the_rest_at_0() -> None:
    ids, scores = fuse(int64(1, 2, 3), float32(0.1, 0.9, 0.5), int64(3, 1), float32(1, 4), alpha=0)
    assert ids.tolist() == [1, 3, 2]
    assert scores.tolist() == [1.0, 0.25, 0.0]


def test_alpha_1_orders_what_only_keywords_found_by_its_cosine_too() -> None:
    ids, scores = fuse(int64(1, 2, 3), float32(0.1, 0.5, 0.3), int64(3), float32(7), alpha=1)
    assert ids.tolist() == [2, 3, 1]
    assert scores == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)


def test_equal_scores_put_the_newer_id_first() -> None:
    ids, scores = fuse(int64(5, 9, 7), float32(0.3, 0.3, 0.3), int64(), float32())
    assert ids.tolist() == [9, 7, 5]
    assert scores.tolist() == [0.5, 0.5, 0.5]


def test_what_differs_by_rounding_alone_counts_alike() -> None:
    cosines = np.array([0.7, 0.7 + 1e-8, np.nan])
    _, scores = fuse(np.array([1, 2, 3]), cosines, np.array([], np.int64), np.array([]))
    assert scores.tolist() == [0.5, 0.5, 0.0]


def test_equal_bm25_all_count_in_full() -> None:
    _, scores = fuse(int64(), float32(), int64(1, 2), float32(0.001, 0.001), alpha=0)
    assert scores.tolist() == [1.0, 1.0]


def test_one_candidate_found_by_both_scores_1() -> None:
    ids, scores = fuse(int64(4), float32(-0.2), int64(4), float32(0.3))
    assert (ids.tolist(), scores.tolist()) == ([4], [1.0])


def test_a_record_without_a_vector_gets_nothing_from_the_vector_channel() -> None:
    ids, scores = fuse(int64(1, 2), float32(np.nan, 0.1), int64(1, 2), float32(3, 3))
    assert (ids.tolist(), scores.tolist()) == ([2, 1], [1.0, 0.5])


def test_no_vector_anywhere_leaves_the_keywords() -> None:
    nan = float32(np.nan, np.nan)
    ids, scores = fuse(int64(1, 2), nan, int64(2, 1), float32(2, 4))
    assert (ids.tolist(), scores.tolist()) == ([1, 2], [0.5, 0.25])


def test_no_candidates() -> None:
    ids, scores = fuse(int64(), float32(), int64(), float32())
    assert ids.tolist() == scores.tolist() == []
    assert ids.dtype == np.int64
    assert scores.dtype == np.float64


@given(candidates(COSINE | st.just(float("nan"))), ALPHA)
def test_every_candidate_is_ranked_once(arguments: tuple[Any, Any, Any, Any], alpha: float) -> None:
    ids, scores = fuse(*arguments, alpha=alpha)
    assert sorted(ids.tolist()) == sorted({*arguments[0].tolist(), *arguments[2].tolist()})
    ranked = list(zip(scores.tolist(), ids.tolist(), strict=True))
    assert ranked == sorted(ranked, reverse=True)
    assert np.all((scores >= 0) & (scores <= 1))


@given(candidates(COSINE | st.just(float("nan"))), ALPHA)
def test_the_parts_add_up_to_the_score(arguments: tuple[Any, Any, Any, Any], alpha: float) -> None:
    ids, cosines, keyword_ids, bm25 = arguments
    found = ranking.fuse(*arguments, alpha=alpha)
    assert found.scores.tolist() == (found.parts["similarity"] + found.parts["keyword"]).tolist()
    assert np.all(found.parts["similarity"] <= alpha)
    assert np.all(found.parts["keyword"] <= 1 - alpha)
    for name, known in (
        ("similarity", dict(zip(ids.tolist(), cosines.tolist(), strict=True))),
        ("keyword", dict(zip(keyword_ids.tolist(), bm25.tolist(), strict=True))),
    ):
        expected = [known.get(one, np.nan) for one in found.ids.tolist()]
        assert np.array_equal(found.values[name], expected, equal_nan=True)


@given(candidates(COSINE), ALPHA, st.randoms())
def test_the_order_of_the_inputs_does_not_matter(
    arguments: tuple[Any, Any, Any, Any], alpha: float, random: Any
) -> None:
    ids, cosines, keyword_ids, bm25 = arguments
    one = random.sample(range(len(ids)), len(ids))
    two = random.sample(range(len(keyword_ids)), len(keyword_ids))
    shuffled = fuse(ids[one], cosines[one], keyword_ids[two], bm25[two], alpha=alpha)
    for got, expected in zip(shuffled, fuse(*arguments, alpha=alpha), strict=True):
        np.testing.assert_array_equal(got, expected)


@given(candidates(COSINE))
def test_alpha_1_orders_as_the_cosine(arguments: tuple[Any, Any, Any, Any]) -> None:
    ids, cosines, keyword_ids, bm25 = arguments
    known = np.isin(keyword_ids, ids)
    ranked, _ = fuse(ids, cosines, keyword_ids[known], bm25[known], alpha=1)
    cosine_of = dict(zip(ids.tolist(), cosines.tolist(), strict=True))
    falling = np.diff([cosine_of[record] for record in ranked.tolist()])
    assert np.all(falling <= 1e-12)  # scaling may merge what differs by less


@given(candidates(COSINE))
def test_alpha_0_orders_as_bm25(arguments: tuple[Any, Any, Any, Any]) -> None:
    ranked, _ = fuse(*arguments, alpha=0)
    bm25_of = dict(zip(arguments[2].tolist(), arguments[3].tolist(), strict=True))
    assert np.all(np.diff([bm25_of.get(record, 0.0) for record in ranked.tolist()]) <= 0)


# mmr


def unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


@st.composite
def pools(draw: st.DrawFn) -> tuple[Floats, Floats]:
    n = draw(st.integers(0, 8))
    grid = st.integers(-3, 3).map(float)  # coarse, so that duplicates and ties do occur
    relevance = draw(hnp.arrays(np.float64, n, elements=grid)) / 3
    return relevance, unit(draw(hnp.arrays(np.float64, (n, 3), elements=grid)))


def gain(
    candidate: int, chosen: list[int], relevance: Floats, vectors: Floats, lambda_mult: float
) -> float:
    """The definition, word by word: every similarity computed anew."""
    if not chosen:
        return float(relevance[candidate])
    closest = max(float(vectors[candidate] @ vectors[other]) for other in chosen)
    return lambda_mult * float(relevance[candidate]) - (1 - lambda_mult) * closest


def test_a_near_copy_waits_behind_something_different() -> None:
    vectors = unit(float32(1, 0, 0.99, 0.1, 0, 1).reshape(3, 2))
    relevance = float32(0.9, 0.89, 0.5)
    assert mmr(relevance, vectors, k=3, lambda_mult=0.5).tolist() == [0, 2, 1]
    assert mmr(relevance, vectors, k=2, lambda_mult=1).tolist() == [0, 1]


def test_the_most_relevant_leads_even_at_lambda_0() -> None:
    vectors = unit(float32(1, 0, 0, 1, -1, 0).reshape(3, 2))
    assert mmr(float32(0.1, 0.7, 0.3), vectors, k=1, lambda_mult=0).tolist() == [1]


def test_an_opposite_is_more_different_than_an_orthogonal_one() -> None:
    vectors = float32(1, 0, 0, 1, -1, 0).reshape(3, 2)
    assert mmr(float32(1, 0.5, 0.5), vectors, k=2, lambda_mult=0.5).tolist() == [0, 2]


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_a_row_without_a_vector_resembles_nothing(missing: float) -> None:
    vectors = float32(1, 0, 1, 0, 0, 1, missing, missing).reshape(4, 2)
    # After the first: a copy of it, something different, and the one without a vector.
    assert mmr(float32(0.9, 0.8, 0.8, 0.4), vectors, k=4, lambda_mult=0.5).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("k", [-1, 0])
def test_nothing_is_asked_for(k: int) -> None:
    assert mmr(float32(0.5), float32(1, 0).reshape(1, 2), k=k).shape == (0,)


def test_nothing_to_choose_from() -> None:
    order = mmr(float32(), np.empty((0, 384), dtype=np.float32), k=5)
    assert order.tolist() == []
    assert order.dtype == np.int64


def test_one_candidate() -> None:
    assert mmr(float32(-0.5), float32(1, 0).reshape(1, 2), k=5).tolist() == [0]


@given(pools(), st.integers(0, 9), st.floats(0, 1))
def test_the_choice_is_distinct_and_as_long_as_asked(
    pool: tuple[Floats, Floats], k: int, lambda_mult: float
) -> None:
    order = mmr(*pool, k=k, lambda_mult=lambda_mult).tolist()
    assert len(order) == min(k, len(pool[0]))
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(len(pool[0])))


@given(pools())
def test_lambda_1_orders_as_relevance(pool: tuple[Floats, Floats]) -> None:
    relevance, vectors = pool
    expected = np.argsort(-relevance, kind="stable").tolist()
    assert mmr(relevance, vectors, k=len(relevance), lambda_mult=1).tolist() == expected


@given(pools(), st.floats(0, 1))
def test_each_choice_is_the_best_of_those_left(
    pool: tuple[Floats, Floats], lambda_mult: float
) -> None:
    order = mmr(*pool, k=len(pool[0]), lambda_mult=lambda_mult).tolist()
    for position, choice in enumerate(order):
        chosen, left = order[:position], order[position:]
        best = max(gain(candidate, chosen, *pool, lambda_mult) for candidate in left)
        # Near-equality: rounding decides ties one way here and another way there.
        assert gain(choice, chosen, *pool, lambda_mult) == pytest.approx(best, abs=1e-9)


@given(pools(), st.floats(0, 1))
def test_each_choice_is_told_with_the_closest_of_those_before_it(
    pool: tuple[Floats, Floats], lambda_mult: float
) -> None:
    order, closest = ranking.mmr(*pool, k=len(pool[0]), lambda_mult=lambda_mult)
    vectors = pool[1]
    for position, choice in enumerate(order):
        expected = [float(vectors[choice] @ vectors[other]) for other in order[:position]]
        if expected:
            assert closest[position] == pytest.approx(max(expected))
        else:
            assert np.isnan(closest[position])
