"""Where the vectors are: each in a slot of its own, a number, until it is removed.

The arrays of a table are written in place, and replaced as a whole, table and all, when they grow
or shrink, so that a search keeps a consistent set.
"""

from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codes import Codes
from .entries import Entries
from .measures import Ids, Slots, Vectors, normalised
from .rows import Rows

NEVER: int = np.iinfo(np.int64).max
"""When what doesn't expire expires."""
_GONE: int = np.iinfo(np.int64).min
"""When what was removed expired."""

_COPIED = 4_096
"""Rows that are read and written at once."""
_NUMBERS = count()


class Chosen(NamedTuple):
    """The vectors of some records, good for as long as these records don't change.

    Attributes:
        ids: whose each of them is: (n,).
        slots: where each is: (n,).
        table: in the table of this number.
    """

    ids: Ids
    slots: Slots
    table: int


class Table:
    """The arrays by slot.

    Attributes:
        number: no other table's.
        rows: the vectors; zeros where there is none.
        codes: their binary codes, where there are some.
        entries: the slots of each record.
        ids: whose vector it is.
        expires_at: when that expires, in microseconds; before any time where there is no vector.
        count: slots from this one on were never used.
    """

    def __init__(self, rows: Rows, entries: Entries) -> None:
        capacity = len(rows.array)
        self.number = next(_NUMBERS)
        self.rows = rows
        self.codes: Codes | None = None
        self.entries = entries
        self.ids: Ids = np.zeros(capacity, dtype=np.int64)
        self.expires_at: Ids = np.zeros(capacity, dtype=np.int64)
        self.count = 0
        self._free: list[int] = []

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return len(self.ids)

    @property
    def living(self) -> int:
        """How many vectors there are."""
        return self.count - len(self._free)

    def resized(self, rows: Rows) -> "Table":
        """The same with other rows, that have the same vectors in the same slots, and more room."""
        grown = Table(rows, Entries(*self.entries.living(), len(rows.array), self.entries.several))
        for name in ("ids", "expires_at"):
            getattr(grown, name)[: self.count] = getattr(self, name)[: self.count]
        grown.codes = None if self.codes is None else self.codes.resized(grown.capacity)
        grown.count, grown._free = self.count, self._free
        return grown

    def packed(self, rows: Rows) -> "Table":
        """The living alone, in other rows, that are empty.

        Raises:
            OSError: the rows have no room.
        """
        ids, slots = self.entries.living()
        new = np.arange(len(slots))
        packed = Table(rows, Entries(ids, new, len(rows.array), self.entries.several))
        for start in range(0, len(slots), _COPIED):
            part = slice(start, start + _COPIED)
            rows.write(new[part], self.rows.array[slots[part]])
        if self.codes is not None:
            packed.codes = self.codes.chosen(slots, packed.capacity)
        packed.ids[: len(ids)] = ids
        packed.expires_at[: len(ids)] = self.expires_at[slots]
        packed.count = len(ids)
        return packed

    def take(self, wanted: int) -> Slots:
        """So many free slots; there must be room."""
        again = min(wanted, len(self._free))
        kept = len(self._free) - again
        taken = sorted(self._free[kept:])
        del self._free[kept:]
        return np.array([*taken, *range(self.count, self.count + wanted - again)], dtype=np.int64)

    def fill(self, slots: Slots, ids: Ids, expires_at: Ids, directions: Vectors) -> None:
        """Let vectors count whose rows are written already.

        Args:
            slots: where they are.
            ids: whose they are.
            expires_at: when these expire.
            directions: the vectors, of length 1.
        """
        if self.codes is not None:
            self.codes.write(slots, directions)
        self.ids[slots] = ids
        self.expires_at[slots] = expires_at
        # Last: a search reads as many slots as this says, and they must be whole by then.
        self.count = max(self.count, int(slots.max()) + 1)

    def empty(self, slots: Slots) -> None:
        """The vectors in these slots no longer count, and others may take their place."""
        self.expires_at[slots] = _GONE
        if self.codes is not None:
            self.codes.clear(slots)
        self._free += slots.tolist()

    def chosen(self, ids: Ids) -> Chosen:
        """The vectors of records, by their ids; those without any have none."""
        return Chosen(*self.entries.pairs(ids), self.number)

    def here(self, slots: Slots | slice, now: int) -> NDArray[np.bool_]:
        """Which of these vectors are alive at a time."""
        here: NDArray[np.bool_] = self.expires_at[slots] > now
        return here

    def still_has(self, chosen: Chosen, now: int) -> NDArray[np.bool_]:
        """Which of its chosen vectors are alive at a time.

        Where one was that is removed, there may be another record's by now, which nobody chose.
        """
        same: NDArray[np.bool_] = self.ids[chosen.slots] == chosen.ids
        return self.here(chosen.slots, now) & same

    def encoded(self) -> Codes:
        """Codes of all vectors, around their mean."""
        slots = np.flatnonzero(self.expires_at[: self.count] != _GONE)
        parts = [slots[start : start + _COPIED] for start in range(0, len(slots), _COPIED)]
        mean = np.zeros(self.rows.array.shape[1])
        for part in parts:
            mean += normalised(self.rows.array[part]).sum(axis=0, dtype=np.float64)
        codes = Codes(self.capacity, (mean / max(1, len(slots))).astype(np.float32))
        for part in parts:
            codes.write(part, normalised(self.rows.array[part]))
        return codes
