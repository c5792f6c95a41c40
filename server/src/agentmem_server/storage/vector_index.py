"""A collection's vectors in memory, compared exactly.

The index is derived: it is built from the store's rows and follows each commit. One thread changes
it at a time; any number search it meanwhile. A search may see a vector that is replaced beside it
half old and half new: its answer overlaps the write, is ranked a little wrong at worst, and is not
kept, for the write ends with a new version.
"""

from collections.abc import Iterable

import numpy as np
from agentmem_client.models import Metric
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Scores = NDArray[np.float64]

NEVER = np.iinfo(np.int64).max
_GATHER_BELOW = 0.3
"""Up to this share of the rows, gathering the candidates' rows beats scoring all of them."""


class VectorIndex:
    """Vectors of one dimension, found by their record ids, which only ever grow.

    A record may have several vectors, in rows side by side; its best one counts. A row stays where
    it was put, so that the ids stay sorted and are found by bisection; a deleted one is marked, and
    the rows are packed when a third of them is.
    """

    def __init__(self, dimension: int, metric: Metric) -> None:
        self.dimension = dimension
        self.metric = metric
        self._rows = _Rows.empty(dimension, capacity=64)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._rows.alive[: self._rows.count]))

    @classmethod
    def build(
        cls,
        dimension: int,
        metric: Metric,
        rows: Iterable[tuple[int, bytes, int | None]],
        count: int,
    ) -> "VectorIndex":
        """An index of (id, float32 bytes, expiry in microseconds or None), by ascending id."""
        index = cls(dimension, metric)
        index._rows = _Rows.empty(dimension, capacity=max(64, count + count // 8))
        for rid, vector, expires_at in rows:
            index.put(rid, vector, expires_at)
        return index

    def put(self, rid: int, vectors: bytes, expires_at: int | None) -> None:
        """Add the vectors of a new record, one after the other, or replace those of a known one."""
        if not vectors:
            self.remove(rid)
            return
        values = np.frombuffer(vectors, dtype="<f4").astype(np.float32)
        values = values.reshape(-1, self.dimension)
        if self.metric == "cosine":
            values = normalised(values)
        first = self._free_rows(rid, len(values))
        place = slice(first, first + len(values))
        self._rows.vectors[place] = values
        self._rows.expires_at[place] = NEVER if expires_at is None else expires_at
        self._rows.alive[place] = True
        # Last: a search reads as many rows as this says, and they must be whole by then.
        self._rows.count = max(self._rows.count, place.stop)

    def _free_rows(self, rid: int, wanted: int) -> int:
        """The first of so many rows side by side for a record, in place of those it has."""
        rows = self._rows
        first, end = rows.span(rid)
        if end - first >= wanted:
            rows.bury(first + wanted, end)
            return first
        if end < rows.count:
            # Rare: a record that got vectors, or more of them, after later ones did. Copies all.
            rows.bury(first, end)
            self._rows, first = rows.opened(rid, wanted)
        elif first + wanted > len(rows.ids):
            self._rows = rows.resized(2 * rows.count + wanted)
        self._rows.ids[first : first + wanted] = rid
        self._rows.several |= wanted > 1
        return first

    def set_expiry(self, rid: int, expires_at: int | None) -> None:
        """Change when a record expires; an unknown one is no error."""
        first, end = self._rows.span(rid)
        self._rows.expires_at[first:end] = NEVER if expires_at is None else expires_at

    def remove(self, rid: int) -> None:
        """Forget a record; an unknown one is no error."""
        self._rows.bury(*self._rows.span(rid))
        if self._rows.dead > max(1_000, self._rows.count // 3):
            self._rows = self._rows.packed()

    def top(self, query: bytes, k: int, now: int, among: Ids | None = None) -> tuple[Ids, Scores]:
        """The k best records, best first, by the metric (larger is better).

        Args:
            query: float32 bytes of this dimension.
            k: how many at most.
            now: microseconds; records that expired by then are left out.
            among: only these ids; None for all.
        """
        rows = self._rows
        count = rows.count
        if among is None:
            chosen = np.flatnonzero(rows.alive[:count] & (rows.expires_at[:count] > now))
        else:
            chosen = rows.positions(among, count)
        ids, scores = rows.ids[chosen], self._score(query, rows, count, chosen)
        if rows.several:
            ids, scores = _best_of_each(ids, scores)
        if k < len(ids):
            # With all that are as good as the last: a page may end among equals.
            last = np.partition(scores, len(scores) - k)[len(scores) - k]
            best = np.flatnonzero(scores >= last)
            ids, scores = ids[best], scores[best]
        order = np.lexsort((-ids, -scores))[:k]
        return ids[order], scores[order]

    def scores(self, query: bytes, ids: Ids) -> Scores:
        """The score of each id; NaN for one that is not here."""
        rows = self._rows
        count = rows.count
        found = np.full(len(ids), np.nan)
        chosen = rows.positions(ids, count)
        known, scores = _best_of_each(rows.ids[chosen], self._score(query, rows, count, chosen))
        if len(known):
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            here = known[places] == ids
            found[here] = scores[places[here]]
        return found

    def vectors(self, ids: Ids) -> NDArray[np.float32]:
        """The vectors (n, dimension) of these ids, scaled to length 1, the first of several.

        Zeros for what is not here.
        """
        rows = self._rows
        found = np.zeros((len(ids), self.dimension), dtype=np.float32)
        positions, known = rows.locate(ids, rows.count)
        for row in np.flatnonzero(known):
            found[row] = normalised(rows.vectors[positions[row]])
        return found

    def _score(self, query: bytes, rows: "_Rows", count: int, chosen: NDArray[np.int64]) -> Scores:
        point = np.frombuffer(query, dtype="<f4").astype(np.float32)
        if self.metric == "cosine":
            point = normalised(point)
        if self.metric == "euclidean":
            return _closeness(point, rows.vectors, chosen)
        with np.errstate(over="ignore", invalid="ignore"):
            if len(chosen) < _GATHER_BELOW * count:
                products = rows.vectors[chosen] @ point
            else:
                products = (rows.vectors[:count] @ point)[chosen]
        if not np.isfinite(products).all():  # a product of large numbers overflowed float32
            products = rows.vectors[chosen].astype(np.float64) @ point.astype(np.float64)
        return products.astype(np.float64)


class _Rows:
    """The arrays, replaced as a whole when they grow, so that a search keeps a consistent set."""

    def __init__(
        self,
        ids: Ids,
        vectors: NDArray[np.float32],
        expires_at: Ids,
        alive: NDArray[np.bool_],
        count: int,
    ) -> None:
        self.ids = ids
        self.vectors = vectors
        self.expires_at = expires_at
        self.alive = alive
        self.count = count
        self.dead = 0
        self.several = False
        """Whether a record has, or had, more than one row."""

    @classmethod
    def empty(cls, dimension: int, capacity: int) -> "_Rows":
        return cls(
            np.zeros(capacity, dtype=np.int64),
            np.zeros((capacity, dimension), dtype=np.float32),
            np.full(capacity, NEVER, dtype=np.int64),
            np.zeros(capacity, dtype=np.bool_),
            count=0,
        )

    def resized(self, capacity: int, keep: NDArray[np.int64] | None = None) -> "_Rows":
        keep = np.arange(self.count) if keep is None else keep
        grown = _Rows.empty(self.vectors.shape[1], capacity)
        for name in ("ids", "vectors", "expires_at", "alive"):
            getattr(grown, name)[: len(keep)] = getattr(self, name)[keep]
        grown.count = len(keep)
        grown.several = self.several
        grown.dead = int(grown.count - np.count_nonzero(grown.alive[: grown.count]))
        return grown

    def opened(self, rid: int, wanted: int) -> "tuple[_Rows, int]":
        """Packed, with rows for an id where it belongs, dead as yet; and the first of them."""
        packed = self.packed()
        row = int(np.searchsorted(packed.ids[: packed.count], rid))
        keep = np.insert(np.arange(packed.count), [row] * wanted, 0)
        opened = packed.resized(len(keep) + len(keep) // 8 + 64, keep)
        place = slice(row, row + wanted)
        opened.ids[place], opened.alive[place] = rid, False
        opened.several |= wanted > 1
        return opened, row

    def packed(self) -> "_Rows":
        living = np.flatnonzero(self.alive[: self.count])
        return self.resized(max(64, len(living) + len(living) // 8), living)

    def span(self, rid: int) -> tuple[int, int]:
        """The rows of an id, dead ones too: the first, and the one after the last."""
        ids = self.ids[: self.count]
        return int(np.searchsorted(ids, rid)), int(np.searchsorted(ids, rid, "right"))

    def bury(self, first: int, end: int) -> None:
        """Mark rows as dead."""
        self.dead += int(np.count_nonzero(self.alive[first:end]))
        self.alive[first:end] = False

    def locate(self, ids: Ids, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each id stands first, and whether it does."""
        if not count:
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        positions = np.minimum(np.searchsorted(self.ids[:count], ids), count - 1)
        return positions, (self.ids[positions] == ids) & self.alive[positions]

    def positions(self, ids: Ids, count: int) -> NDArray[np.int64]:
        """Every row of these ids."""
        if not self.several:
            positions, known = self.locate(ids, count)
            return positions[known]
        first = np.searchsorted(self.ids[:count], ids)
        lengths = np.searchsorted(self.ids[:count], ids, "right") - first
        # Counts on from the first row of each id: 7 8 9, 20 21, …
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        every: NDArray[np.int64] = np.repeat(first, lengths) + offsets
        return every[self.alive[every]]


def _best_of_each(ids: Ids, scores: Scores) -> tuple[Ids, Scores]:
    """The best score of each id; the ids sorted, each once."""
    if not len(ids):
        return ids, scores
    order = np.argsort(ids, kind="stable")
    ids, scores = ids[order], scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return ids[starts], np.maximum.reduceat(scores, starts)


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """One vector (d,), or several (n, d), each scaled to length 1; zeros stay."""
    # In float64, where the squares of float32 numbers neither overflow nor vanish.
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("...i,...i->...", wide, wide))[..., np.newaxis]
    return np.where(lengths == 0, wide, wide / np.where(lengths == 0, 1, lengths)).astype(
        np.float32
    )


def _closeness(
    point: NDArray[np.float32], vectors: NDArray[np.float32], chosen: NDArray[np.int64]
) -> Scores:
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
