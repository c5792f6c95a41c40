"""How near vectors are to one another, and the best of each record."""

import math
import threading

import numpy as np
from agentmem_client.models import Metric
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]
Slots = NDArray[np.int64]

_GATHER_BELOW = 0.3
"""Up to this share of the rows, gathering the candidates' rows beats scoring all of them."""
_GATHERED = 256
"""Rows that are gathered at once: they stay in the cache until they are compared."""
_SORTED = 200
"""Scores that are sorted sooner than the best of them are told from the others."""


def point(metric: Metric, query: bytes) -> Vectors:
    """A query's float32 bytes as the metric compares them."""
    given = np.frombuffer(query, dtype="<f4")
    if metric == "cosine":
        wide = given.astype(np.float64)
        wide /= math.sqrt(wide.dot(wide)) or 1.0
        given = wide
    return given.astype(np.float32)


def score(metric: Metric, point: Vectors, vectors: Vectors, chosen: Slots) -> Scores:
    """What the metric says of some of the vectors (n, d); larger is better."""
    if metric == "euclidean":
        return _closeness(point, vectors, chosen)
    if metric == "cosine":  # of vectors of length 1
        return _products(point, vectors, chosen).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        products = _products(point, vectors, chosen)
    if not np.isfinite(products).all():  # a product of large numbers overflowed float32
        products = np.vecdot(vectors[chosen].astype(np.float64), point.astype(np.float64))
    scores: Scores = products.astype(np.float64)
    return scores


class _Buffer(threading.local):
    """Each thread's room for the rows that it gathers: new room costs as much as comparing them."""

    rows: Vectors = np.empty((0, 0), dtype=np.float32)


_buffer = _Buffer()


def _products(point: Vectors, vectors: Vectors, chosen: Slots) -> Vectors:
    """The inner product with each of some vectors (n, d).

    Not by matrix products: the threads of these wait for one another, tens of milliseconds where
    something else has a core. Dot products also come out the same wherever a row stands.
    """
    if len(chosen) >= _GATHER_BELOW * len(vectors):
        every: Vectors = np.vecdot(vectors, point)[chosen]
        return every
    if _buffer.rows.shape[1] != len(point):
        _buffer.rows = np.empty((_GATHERED, len(point)), dtype=np.float32)
    found = np.empty(len(chosen), dtype=np.float32)
    for start in range(0, len(chosen), _GATHERED):
        part = chosen[start : start + _GATHERED]
        # By any other mode than "clip" take copies into room of its own first.
        rows = vectors.take(part, axis=0, out=_buffer.rows[: len(part)], mode="clip")
        np.vecdot(rows, point, out=found[start : start + len(part)])
    return found


def products(point: Vectors, vectors: Vectors) -> Vectors | None:
    """The inner product with each vector (n, d); None where one overflows float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Vectors = np.vecdot(vectors, point)
    return found if np.isfinite(found).all() else None


def _closeness(point: Vectors, vectors: Vectors, chosen: Slots) -> Scores:
    """1 / (1 + Euclidean distance), the distance from the differences themselves.

    The expanded form |a|^2 - 2ab + |b|^2 is faster but loses the small distances to rounding.
    """
    scores = np.empty(len(chosen))
    for start in range(0, len(chosen), 4_096):
        part = chosen[start : start + 4_096]
        difference = np.subtract(vectors[part], point, dtype=np.float64)
        distance = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        scores[start : start + len(part)] = 1 / (1 + distance)
    return scores


def best_of_each(ids: Ids, scores: Scores) -> tuple[Ids, Scores]:
    """The best score of each id; the ids sorted, each once."""
    if not len(ids):
        return ids, scores
    order = np.argsort(ids, kind="stable")
    ids, scores = ids[order], scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return ids[starts], np.maximum.reduceat(scores, starts)


def each_once(ids: Ids) -> Ids:
    """Ids of which equal ones stand side by side, each of them once.

    `numpy.unique`, which can't know that they do, takes 20 ms for 100,000, this 0.1.
    """
    return ids[np.concatenate([[True], ids[1:] != ids[:-1]])] if len(ids) else ids


def best(ids: Ids, scores: Scores, k: int) -> tuple[Ids, Scores]:
    """The k best, best first, of equal ones the newest."""
    places = places_of_best(ids, scores, k)
    return ids[places], scores[places]


def places_of_best(ids: Ids, scores: Scores, k: int) -> NDArray[np.int64]:
    """Where the k best are, best first, of equal ones the newest."""
    if len(ids) <= max(k, _SORTED):
        return np.lexsort((ids, scores))[: -k - 1 : -1]
    # With all that are as good as the last: a page may end among equals.
    ordered = scores.copy()
    ordered.partition(len(scores) - k)
    good = (scores >= ordered[len(scores) - k]).nonzero()[0]
    found: NDArray[np.int64] = good[np.lexsort((ids[good], scores[good]))[: -k - 1 : -1]]
    return found


def lengths(vectors: Vectors) -> Scores:
    """The length of each vector (n, d), in float64, where no square overflows or vanishes."""
    wide = vectors.astype(np.float64)
    found: Scores = np.sqrt(np.einsum("...i,...i->...", wide, wide))
    return found


def normalised(vectors: Vectors) -> Vectors:
    """One vector (d,), or several (n, d), each scaled to length 1; zeros stay."""
    wide = vectors.astype(np.float64)
    size = np.sqrt(np.einsum("...i,...i->...", wide, wide))[..., np.newaxis]
    size[size == 0] = 1
    scaled: Vectors = (wide / size).astype(np.float32)
    return scaled
