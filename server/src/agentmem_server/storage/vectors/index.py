"""A collection's vectors: exact where it is asked for, or cheap; else by codes and then exact.

One thread changes an index at a time; any number search it meanwhile. A search may see a vector
that is replaced beside it half old and half new: its answer overlaps the write, is ranked a little
wrong at worst, and is not kept, for the write ends with a new version.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import structlog
from agentmem_client.models import Metric
from numpy.typing import NDArray

from .codes import MIN_DIMENSION, pool
from .entries import NOWHERE, Entries
from .measures import (
    Ids,
    Scores,
    Slots,
    Vectors,
    best,
    best_of_each,
    each_once,
    lengths,
    normalised,
    places_of_best,
    point,
    products,
    score,
)
from .rows import FILES, FileRows, MemoryRows, Rows
from .table import NEVER, Chosen, Table

Change: TypeAlias = "tuple[bytes | None, int | None] | None"
"""What became of a record: its vectors (None: they stayed) and expiry; None: it is gone."""

_LENGTHS_ALIKE = 1.01
"""How much longer than the shortest the longest vector may be for directions to decide."""
_WORTH = 8
"""Codes are worth it where they leave no more than one vector in so many to be compared."""
_BY_DIFFERENCES = 6
"""How many times as long a distance takes as an inner product."""
_SAMPLE = 16
"""Vectors of which it is told whether the others are in memory."""
_COMPARED, _WANTED = 300, 1_200
"""Bytes of vectors that are read while one vector's score is placed, and while one record of those
that are wanted is put in order."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Sizes:
    """From which sizes on an index does what.

    Attributes:
        coded: vectors from which on they have codes. Up to there comparing all takes 0.2 ms.
        filed: bytes of vectors from which on they are in a file.
    """

    coded: int = 8_000
    filed: int = 64 << 20


DEFAULT = Sizes()


class VectorIndex:
    """Vectors of one dimension, found by their record ids.

    A record may have several vectors; its best one counts. A search among some ids is exact. One
    among all is exact where the collection is small, the vectors are short, or their lengths differ
    and count (by `dot` and `euclidean`): the codes know directions alone.

    Args:
        dimension: numbers a vector.
        metric: how they are compared.
        folder: where there may be a file of them; None: they are kept in memory.
        sizes: from where on there are codes, and a file.
        capacity: vectors that are expected.
    """

    def __init__(
        self,
        dimension: int,
        metric: Metric,
        *,
        folder: Path | None = None,
        sizes: Sizes = DEFAULT,
        capacity: int = 0,
    ) -> None:
        self.dimension = dimension
        self.metric = metric
        self._folder = folder if FILES else None
        self._sizes = sizes
        self._records = 0
        self._shortest, self._longest = math.inf, 0.0
        nothing = np.empty(0, dtype=np.int64)
        rows = self._new_rows(max(64, capacity))
        self._table = Table(rows, Entries(nothing, nothing, len(rows.array)))

    def __len__(self) -> int:
        return self._table.living

    @property
    def in_file(self) -> bool:
        """Whether the vectors are in a file, which may be in memory or not."""
        return not isinstance(self._table.rows, MemoryRows)

    @classmethod
    def build(
        cls,
        dimension: int,
        metric: Metric,
        rows: Iterable[tuple[int, bytes, int | None]],
        count: int,
    ) -> "VectorIndex":
        """An index in memory of (id, float32 bytes, expiry in microseconds or None), by id."""
        index = cls(dimension, metric, capacity=count)
        index.put_many(list(rows))
        return index

    def apply(self, changes: Mapping[int, Change]) -> None:
        """Follow a commit, in which this became of records."""
        self._remove([rid for rid, change in changes.items() if change is None])
        put: list[tuple[int, bytes, int | None]] = []
        for rid, change in changes.items():
            if change is not None and change[0] is None:
                self.set_expiry(rid, change[1])
            elif change is not None and change[0] is not None:
                put.append((rid, change[0], change[1]))
        self.put_many(sorted(put))

    def put(self, rid: int, vectors: bytes, expires_at: int | None) -> None:
        """Add the vectors of a new record, one after the other, or replace those of a known one."""
        self.put_many([(rid, vectors, expires_at)])

    def put_many(self, records: Sequence[tuple[int, bytes, int | None]]) -> None:
        """Put records, by ascending id, as (id, float32 bytes, expiry in microseconds or None)."""
        self._remove([rid for rid, vectors, _ in records if not vectors])
        records = [record for record in records if record[1]]
        if not records:
            return
        ids = np.array([rid for rid, _, _ in records], dtype=np.int64)
        sizes = np.array([len(vectors) for _, vectors, _ in records]) // (4 * self.dimension)
        expiries = [NEVER if at is None else at for _, _, at in records]
        given = np.frombuffer(b"".join(vectors for _, vectors, _ in records), dtype="<f4")
        values = given.astype(np.float32).reshape(-1, self.dimension)
        directions = normalised(values)
        if self.metric == "cosine":
            values = directions
        else:
            self._measure(values)
        slots = self._slots_for(ids, sizes)
        self._write(slots, values)
        owners = np.repeat(ids, sizes)
        table = self._table
        table.fill(slots, owners, np.repeat(np.array(expiries, np.int64), sizes), directions)
        table.entries.several |= int(sizes.max()) > 1
        if not table.entries.are_newer(ids):
            new = np.repeat(table.entries.first(ids) == NOWHERE, sizes)
            owners, slots = owners[new], slots[new]
        table.entries = table.entries.added(owners, slots)
        self._encode()

    def _slots_for(self, ids: Ids, sizes: NDArray[np.int64]) -> Slots:
        """Slots for so many vectors of each record: those that it has, or else free ones."""
        if self._table.entries.are_newer(ids):
            self._records += len(ids)
            return self._free_slots(int(sizes.sum()))
        has = self._table.entries.counts(ids)
        other = ids[(has != sizes) & (has > 0)]
        self._remove(other)
        self._records += int(np.count_nonzero(has == 0)) + len(other)
        stays = has == sizes
        in_place = np.repeat(stays, sizes)
        slots = np.empty(len(in_place), dtype=np.int64)
        slots[in_place] = self._table.entries.find(ids[stays])
        slots[~in_place] = self._free_slots(int(np.count_nonzero(~in_place)))
        return slots

    def _free_slots(self, wanted: int) -> Slots:
        missing = self._table.living + wanted - self._table.capacity
        if missing > 0:
            self._resize(max(2 * self._table.capacity, self._table.capacity + missing))
        return self._table.take(wanted)

    def reserve(self, count: int) -> None:
        """Make room for so many vectors."""
        if count > self._table.capacity:
            self._resize(count)

    def set_expiry(self, rid: int, expires_at: int | None) -> None:
        """Change when a record expires; an unknown one is no error."""
        slots = self._table.entries.find(np.array([rid], dtype=np.int64))
        self._table.expires_at[slots] = NEVER if expires_at is None else expires_at

    def remove(self, rid: int) -> None:
        """Forget a record; an unknown one is no error."""
        self._remove([rid])

    def _remove(self, rids: Sequence[int] | Ids) -> None:
        if not len(rids):
            return
        ids = np.array(rids, dtype=np.int64)
        slots = self._table.entries.find(ids)
        if not len(slots):
            return
        table = self._table
        self._records -= int(np.count_nonzero(table.entries.first(ids) != NOWHERE))
        table.entries = table.entries.removed(ids)
        table.empty(slots)
        self._write(slots, np.zeros((len(slots), self.dimension), dtype=np.float32))
        if self._table.living < self._table.capacity // 4 and self._table.capacity > 1_024:
            self._pack()

    def choose(self, ids: Ids) -> Chosen:
        """The vectors of records, by their ids; an unknown one is no error."""
        return self._table.chosen(ids)

    def current(self, chosen: Chosen) -> Chosen:
        """The same vectors where they are now, if no record of them has changed since."""
        if chosen.table == self._table.number:
            return chosen
        return self._table.chosen(each_once(chosen.ids))

    def cost(self, k: int, among: Chosen | None = None) -> int:
        """How long finding the k best takes, in bytes of vectors that are read meanwhile, about."""
        vector = 4 * self.dimension * (_BY_DIFFERENCES if self.metric == "euclidean" else 1)
        compared = len(self) if among is None else len(among.slots)
        cost = min(k, compared) * _WANTED
        if among is None and self._goes_by_codes(self._table, wanted := self._pool(k)):
            return cost + compared * self.dimension // 8 + wanted * (vector + _COMPARED)
        return cost + compared * (vector + _COMPARED)

    def sample(self, among: Chosen | None = None) -> Iterator[float]:
        """A number of some of the vectors, to see how long reading each takes."""
        table = self._table
        if among is None:
            some: Iterable[int] = range(0, table.count, 1 + table.count // _SAMPLE)
        else:
            some = among.slots[:: 1 + len(among.slots) // _SAMPLE].tolist()
        for slot in some:
            yield table.rows.array.item(slot, 0)

    def top(
        self, query: bytes, k: int, now: int, among: Ids | Chosen | None = None
    ) -> tuple[Ids, Scores]:
        """The k best records, best first, by the metric (larger is better).

        Args:
            query: float32 bytes of this dimension.
            k: how many at most.
            now: microseconds; records that expired by then are left out.
            among: only these, by their ids or chosen before, all of them compared; None for all
                there are.
        """
        table = self._table
        asked = point(self.metric, query)
        if among is not None:
            chosen = among if isinstance(among, Chosen) else table.chosen(among)
            return self._best_of_chosen(table, asked, chosen, k, now)
        wanted = self._pool(k)
        while self._goes_by_codes(table, wanted):
            assert table.codes is not None
            direction = asked if self.metric == "cosine" else normalised(asked)
            near = table.codes.nearest(
                direction, table.count, wanted, lambda slots: table.here(slots, now)
            )
            ids, scores = self._scored(table, asked, near)
            if len(ids) >= k:
                return best(ids, scores, k)
            wanted *= 4  # some records have many vectors
        return best(*self._scored(table, asked, self._best_slots(table, asked, k, now)), k)

    def _goes_by_codes(self, table: Table, wanted: int) -> bool:
        """Whether the codes bring those to compare, so many."""
        return table.codes is not None and wanted * _WORTH <= table.living >= self._sizes.coded

    def _best_slots(self, table: Table, asked: Vectors, k: int, now: int) -> Slots:
        """The slots of the k best of all, and of those that are as good; or else of all."""
        count = table.count
        living = table.here(slice(count), now)
        if self.metric == "euclidean" or table.entries.several or k >= count:
            return np.flatnonzero(living)
        scores = products(asked, table.rows.array[:count])
        if scores is None:
            return np.flatnonzero(living)
        # One number for each, and no more of those that are not wanted.
        np.copyto(scores, -np.inf, where=~living)
        last = np.partition(scores, count - k)[count - k]
        return np.flatnonzero((scores >= last) & living)

    def _pool(self, k: int) -> int:
        """How many vectors are compared exactly, of those with the nearest codes."""
        living = self._table.living
        return pool(k, living, living / max(1, self._records), self.dimension)

    def scores(self, query: bytes, ids: Ids) -> Scores:
        """The score of each id; NaN for one that is not here."""
        table = self._table
        found = np.full(len(ids), np.nan)
        known, scores = best_of_each(
            *self._of_chosen(table, point(self.metric, query), table.chosen(ids), now=-1)
        )
        if len(known):
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            here = known[places] == ids
            found[here] = scores[places[here]]
        return found

    def vectors(self, ids: Ids) -> Vectors:
        """The vectors (n, dimension) of these ids, scaled to length 1, the first of several.

        Zeros for what is not here.
        """
        table = self._table
        found = np.zeros((len(ids), self.dimension), dtype=np.float32)
        slots = table.entries.first(ids)
        here = slots != NOWHERE
        found[here] = normalised(table.rows.array[slots[here]])
        return found

    def _best_of_chosen(
        self, table: Table, asked: Vectors, chosen: Chosen, k: int, now: int
    ) -> tuple[Ids, Scores]:
        if table.entries.several or chosen.table != table.number:
            return best(*self._of_chosen(table, asked, chosen, now), k)
        scores = self._scores(table, asked, chosen)
        places = places_of_best(chosen.ids, scores, k)
        found = Chosen(chosen.ids[places], chosen.slots[places], chosen.table)
        # As a rule all of them live, and nobody has to look at the others.
        if np.count_nonzero(table.still_has(found, now)) == len(places):
            return found.ids, scores[places]
        here = table.still_has(chosen, now)
        return best(chosen.ids[here], scores[here], k)

    def _scored(self, table: Table, asked: Vectors, slots: Slots) -> tuple[Ids, Scores]:
        """The records whose vectors these are, each with its best score."""
        chosen = Chosen(table.ids[slots], slots, table.number)
        return self._of_chosen(table, asked, chosen, now=-1)

    def _of_chosen(
        self, table: Table, asked: Vectors, chosen: Chosen, now: int
    ) -> tuple[Ids, Scores]:
        """Chosen records that live at a time, each with its best score."""
        if chosen.table != table.number:
            chosen = table.chosen(each_once(chosen.ids))
        ids, scores = chosen.ids, self._scores(table, asked, chosen)
        here = table.still_has(chosen, now)
        if not here.all():
            ids, scores = ids[here], scores[here]
        return best_of_each(ids, scores) if table.entries.several else (ids, scores)

    def _scores(self, table: Table, asked: Vectors, chosen: Chosen) -> Scores:
        """What the metric says of chosen vectors, of what is there no longer too."""
        return score(self.metric, asked, table.rows.array[: table.count], chosen.slots)

    def _measure(self, values: Vectors) -> None:
        found = lengths(values)
        self._shortest = min(self._shortest, float(found.min()))
        self._longest = max(self._longest, float(found.max()))

    def _encode(self) -> None:
        """Keep codes where they are of use."""
        table = self._table
        if self.metric != "cosine" and self._longest > _LENGTHS_ALIKE * self._shortest:
            table.codes = None
        elif (
            table.codes is None
            and self.dimension >= MIN_DIMENSION
            and table.living >= self._sizes.coded
        ):
            table.codes = table.encoded()

    def _write(self, slots: Slots, values: Vectors) -> None:
        try:
            self._table.rows.write(slots, values)
        except OSError as error:
            self._leave_file(error)
            self._table.rows.write(slots, values)

    def _resize(self, capacity: int) -> None:
        table = self._table
        try:
            if not self.in_file and self._goes_into_file(capacity):
                rows = self._new_rows(capacity)
                rows.write(np.arange(table.count), table.rows.array[: table.count])
            else:
                rows = table.rows.resized(capacity)
        except OSError as error:
            self._leave_file(error)
            rows = self._table.rows.resized(capacity)
        self._table = table.resized(rows)

    def _pack(self) -> None:
        """Give back what most vectors took that are gone."""
        capacity = max(64, 2 * self._table.living)
        try:
            self._table = self._table.packed(self._new_rows(capacity))
        except OSError as error:
            self._leave_file(error)
            self._table = self._table.packed(self._new_rows(capacity))

    def _leave_file(self, error: OSError) -> None:
        """From now on the vectors are in memory: the disk is full, or doesn't work."""
        _log.warning("vectors_kept_in_memory", error=str(error))
        self._folder = None
        table = self._table
        rows = MemoryRows(table.capacity, self.dimension)
        rows.array[: table.count] = table.rows.array[: table.count]
        self._table = table.resized(rows)

    def _goes_into_file(self, capacity: int) -> bool:
        return self._folder is not None and 4 * capacity * self.dimension >= self._sizes.filed

    def _new_rows(self, capacity: int) -> Rows:
        if self._folder is not None and self._goes_into_file(capacity):
            return FileRows(capacity, self.dimension, self._folder)
        return MemoryRows(capacity, self.dimension)
