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

    A row stays where it was put, so that the ids stay sorted and are found by bisection; a deleted
    one is marked, and the rows are packed when a third of them is.
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

    def put(self, rid: int, vector: bytes, expires_at: int | None) -> None:
        """Add the vector of a new record, or replace that of a known one."""
        values = np.frombuffer(vector, dtype="<f4").astype(np.float32)
        if self.metric == "cosine":
            values = _normalised(values)
        row = self._rows.find(rid)
        if row is None:
            row = self._free_row(rid)
        self._rows.vectors[row] = values
        self._rows.expires_at[row] = NEVER if expires_at is None else expires_at
        self._rows.alive[row] = True
        # Last: a search reads as many rows as this says, and they must be whole by then.
        self._rows.count = max(self._rows.count, row + 1)

    def _free_row(self, rid: int) -> int:
        rows = self._rows
        last = rows.count - 1
        if rows.count and rid <= rows.ids[last]:
            # Rare: a record that got its vector after later ones did. Copies all.
            self._rows, row = rows.opened(rid)
            return row
        if rows.count == len(rows.ids):
            self._rows = rows = rows.resized(2 * rows.count)
        rows.ids[rows.count] = rid
        return rows.count

    def set_expiry(self, rid: int, expires_at: int | None) -> None:
        """Change when a record expires; an unknown one is no error."""
        row = self._rows.find(rid)
        if row is not None:
            self._rows.expires_at[row] = NEVER if expires_at is None else expires_at

    def remove(self, rid: int) -> None:
        """Forget a record; an unknown one is no error."""
        row = self._rows.find(rid)
        if row is None:
            return
        self._rows.alive[row] = False
        self._rows.dead += 1
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
        scores = self._score(query, rows, count, chosen)
        if k < len(chosen):
            best = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
            chosen, scores = chosen[best], scores[best]
        ids = rows.ids[chosen]
        order = np.lexsort((-ids, -scores))
        return ids[order], scores[order]

    def scores(self, query: bytes, ids: Ids) -> Scores:
        """The score of each id; NaN for one that is not here."""
        rows = self._rows
        count = rows.count
        found = np.full(len(ids), np.nan)
        positions, known = rows.locate(ids, count)
        found[known] = self._score(query, rows, count, positions[known])
        return found

    def vectors(self, ids: Ids) -> NDArray[np.float32]:
        """The vectors (n, dimension) of these ids, scaled to length 1; zeros if unknown."""
        rows = self._rows
        positions, known = rows.locate(ids, rows.count)
        found = np.zeros((len(ids), self.dimension), dtype=np.float32)
        for row in np.flatnonzero(known):
            found[row] = _normalised(rows.vectors[positions[row]])
        return found

    def _score(self, query: bytes, rows: "_Rows", count: int, chosen: NDArray[np.int64]) -> Scores:
        point = np.frombuffer(query, dtype="<f4").astype(np.float32)
        if self.metric == "cosine":
            point = _normalised(point)
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
        grown.dead = int(grown.count - np.count_nonzero(grown.alive[: grown.count]))
        return grown

    def opened(self, rid: int) -> "tuple[_Rows, int]":
        """Packed, with a row for an id where it belongs, dead as yet; and which row that is."""
        packed = self.packed()
        row = int(np.searchsorted(packed.ids[: packed.count], rid))
        keep = np.insert(np.arange(packed.count), row, 0)
        opened = packed.resized(len(keep) + len(keep) // 8 + 64, keep)
        opened.ids[row], opened.alive[row] = rid, False
        return opened, row

    def packed(self) -> "_Rows":
        living = np.flatnonzero(self.alive[: self.count])
        return self.resized(max(64, len(living) + len(living) // 8), living)

    def find(self, rid: int) -> int | None:
        row = int(np.searchsorted(self.ids[: self.count], rid))
        return row if row < self.count and self.ids[row] == rid and self.alive[row] else None

    def locate(self, ids: Ids, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each id stands, and whether it does."""
        if not count:
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        positions = np.minimum(np.searchsorted(self.ids[:count], ids), count - 1)
        return positions, (self.ids[positions] == ids) & self.alive[positions]

    def positions(self, ids: Ids, count: int) -> NDArray[np.int64]:
        positions, known = self.locate(ids, count)
        return positions[known]


def _normalised(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64, where the squares of float32 numbers neither overflow nor vanish.
    wide = vector.astype(np.float64)
    length = np.linalg.norm(wide)
    return vector if length == 0 else (wide / length).astype(np.float32)


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
