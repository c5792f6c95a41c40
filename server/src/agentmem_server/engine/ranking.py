"""Ranking of candidates: hybrid fusion and maximal marginal relevance.

Pure functions over numpy arrays. In the shapes, n counts candidates and d is the
dimension of a vector.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.floating[Any]]

_ROUNDING = 1e-6
"""The share of a value that is no difference: of sums in float32, another order gives others."""


class Scored(NamedTuple):
    """Candidates with their scores, best first.

    Attributes:
        ids: (n,) each once.
        scores: (n,) the sums of the parts.
        parts: (n,) each, by name: what the scores are made of.
        values: (n,) each, by name: what the parts are made of, NaN where there is none.
    """

    ids: Ids
    scores: Scores
    parts: Mapping[str, Scores]
    values: Mapping[str, Scores]

    @classmethod
    def ranked(
        cls, ids: Ids, parts: Mapping[str, Scores], values: Mapping[str, Scores]
    ) -> "Scored":
        """Candidates in any order, put in order: of equal ones the larger id, the newer, first."""
        scores = np.asarray(sum(parts.values()))
        order = np.lexsort((ids, scores))[::-1]
        return cls(
            ids[order],
            scores[order],
            {name: part[order] for name, part in parts.items()},
            {name: value[order] for name, value in values.items()},
        )


def fuse(
    ids: Ids,
    cosines: Floats,
    keyword_ids: Ids,
    bm25: Floats,
    *,
    alpha: float = 0.5,
) -> Scored:
    """Rank the union of the vector and the keyword candidates, best first.

        score = alpha * minmax(cosine) + (1 - alpha) * bm25 / max(bm25)

    Both spread over the pool. What a channel doesn't know (no vector, no match) gets 0
    from it, and is ranked all the same.

    Args:
        ids: (n,) the candidates whose cosine was computed, each once. Give it the whole
            pool, not the vector top alone: what only the keywords found has a cosine too.
        cosines: (n,) cosine of each with the query, NaN where the record has no vector.
        keyword_ids: (m,) what the keywords found, each once, in any order.
        bm25: (m,) BM25 of each, positive, larger is better.
        alpha: the share of the vector in the score, 0 (keywords alone) to 1 (vector alone).

    Returns:
        The distinct ids of both inputs with scores in [0, 1]. Equal scores are in descending
        order of id, newer first. A score compares the candidates of one query; it means
        nothing next to another query's. The parts and values ``similarity`` and ``keyword``.
    """
    pool = np.union1d(ids, keyword_ids).astype(np.int64)
    by_vector = np.full(len(pool), np.nan)
    by_vector[np.searchsorted(pool, ids)] = cosines
    by_keyword = np.full(len(pool), np.nan)
    by_keyword[np.searchsorted(pool, keyword_ids)] = bm25

    parts = {
        "similarity": alpha * minmax(by_vector),
        "keyword": (1 - alpha) * share_of_max(by_keyword),
    }
    return Scored.ranked(pool, parts, {"similarity": by_vector, "keyword": by_keyword})


def mmr(
    relevance: Floats, vectors: Floats, *, k: int, lambda_mult: float = 0.5
) -> tuple[Ids, Scores]:
    """Choose k candidates that are relevant and unlike one another.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998). The most relevant
    candidate goes first; then, again and again, the one with the largest

        lambda * relevance - (1 - lambda) * max(cosine with those already chosen)

    Args:
        relevance: (n,) larger is better, on the scale of a cosine.
        vectors: (n, d) of length 1. A row of zeros or NaN (no vector) resembles nothing.
        k: how many to choose; all of them when there are fewer.
        lambda_mult: 1 looks at relevance only, 0 at diversity only.

    Returns:
        (min(k, n),) indices into the candidates, in the order chosen, and the cosine of each
        with the closest of those chosen before; NaN for the first. Equal candidates are taken
        in the order given.
    """
    gain = lambda_mult * relevance.astype(np.float64)
    rows = np.nan_to_num(vectors)
    resemblance = np.full(len(gain), -np.inf)  # to the closest of those chosen so far
    waiting = np.ones(len(gain), dtype=np.bool_)
    order = np.empty(max(0, min(k, len(gain))), dtype=np.int64)
    closest = np.full(len(order), np.nan)
    # The first has nothing to differ from: the most relevant leads even at lambda 0.
    marginal = relevance.astype(np.float64)
    for position in range(len(order)):
        chosen = np.argmax(np.where(waiting, marginal, -np.inf))
        order[position] = chosen
        if position:
            closest[position] = resemblance[chosen]
        waiting[chosen] = False
        # One product with the newcomer alone: O(k n d) in all, and never n x n.
        np.maximum(resemblance, rows @ rows[chosen], out=resemblance)
        marginal = gain - (1 - lambda_mult) * resemblance
    return order, closest


def minmax(values: Scores) -> Scores:
    """(n,) Spread the values over [0, 1]: where all are as good as equal, all are 1. NaN is 0."""
    known = ~np.isnan(values)
    if not known.any():
        return np.zeros(len(values))
    low, high = values[known].min(), values[known].max()
    if high - low <= _ROUNDING * max(abs(high), abs(low)):
        return known.astype(np.float64)
    # The cosines of one query crowd into a narrow band that depends on the model: they
    # are stretched before they are weighed against BM25.
    scaled = (values - low) / (high - low)
    return np.where(known, scaled, 0.0)


def share_of_max(values: Scores) -> Scores:
    """(n,) Divide by the largest. Not minmax: the last match still beats no match. NaN is 0."""
    known = np.where(np.isnan(values), 0.0, values)
    highest = known.max(initial=0.0)
    return known / highest if highest > 0 else known
