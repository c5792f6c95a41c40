"""Which slots the vectors of each record are in."""

import numpy as np
from numpy.typing import NDArray

from .measures import Ids, Slots

NOWHERE = -1
"""No slot: that of an unknown id, and of an entry that no longer counts."""
_MANY = 1_000
"""Entries that are gone, up to which they are left where they are."""


class Entries:
    """Pairs of a record's id and a slot, sorted by id, so that ids are found by bisection.

    Ids mostly grow, and what they add is written in place. Anything else makes other entries, and
    leaves these to those who read them.

    Args:
        ids: ascending; a record with several vectors has its id once for each.
        slots: where these are.
        capacity: how many there may be in place.
        several: whether a record has, or had, more than one vector.
    """

    def __init__(self, ids: Ids, slots: Slots, capacity: int, several: bool = False) -> None:
        self._ids = np.empty(max(capacity, len(ids)), dtype=np.int64)
        self._slots = np.empty(max(capacity, len(ids)), dtype=np.int64)
        self._ids[: len(ids)], self._slots[: len(ids)] = ids, slots
        self._count = len(ids)
        self._gone = 0
        self.several = several

    def first(self, ids: Ids) -> Slots:
        """The first slot of each id; -1 for one that is not here."""
        count = self._count
        if not count:
            return np.full(len(ids), NOWHERE, dtype=np.int64)
        places = np.minimum(np.searchsorted(self._ids[:count], ids), count - 1)
        return np.where(self._ids[places] == ids, self._slots[places], NOWHERE)

    def find(self, ids: Ids) -> Slots:
        """Every slot of these ids, in their order."""
        return self.pairs(ids)[1]

    def pairs(self, ids: Ids) -> tuple[Ids, Slots]:
        """Every slot of these ids, in their order, after the id that it is of."""
        if self.several:
            places = self._places(ids)
            ids, slots = self._ids[places], self._slots[places]
        else:
            slots = self.first(ids)
        here = slots != NOWHERE
        return ids[here], slots[here]

    def counts(self, ids: Ids) -> NDArray[np.int64]:
        """How many slots each id has."""
        first, end = self._spans(ids)
        return np.where(self.first(ids) == NOWHERE, 0, end - first)

    def are_newer(self, ids: Ids) -> bool:
        """Whether ascending ids, at least one, come after all that are here."""
        return not self._count or int(ids[0]) > int(self._ids[self._count - 1])

    def added(self, ids: Ids, slots: Slots) -> "Entries":
        """These entries and more: ascending ids, that are not here."""
        if not len(ids):
            return self
        end = self._count + len(ids)
        if self.are_newer(ids) and end <= len(self._ids):
            self._ids[self._count : end] = ids
            self._slots[self._count : end] = slots
            # Last: a search reads as many as this says.
            self._count = end
            return self
        known_ids, known_slots = self.living()
        places = np.searchsorted(known_ids, ids)
        return Entries(
            np.insert(known_ids, places, ids),
            np.insert(known_slots, places, slots),
            2 * len(known_ids) + len(ids),
            self.several,
        )

    def removed(self, ids: Ids) -> "Entries":
        """These entries without those of some ids."""
        places = self._places(ids)
        self._gone += int(np.count_nonzero(self._slots[places] != NOWHERE))
        self._slots[places] = NOWHERE
        if self._gone <= max(_MANY, self._count // 3):
            return self
        return Entries(*self.living(), len(self._ids), self.several)

    def living(self) -> tuple[Ids, Slots]:
        """The ids and slots that count."""
        here = np.flatnonzero(self._slots[: self._count] != NOWHERE)
        return self._ids[here], self._slots[here]

    def _spans(self, ids: Ids) -> tuple[Slots, Slots]:
        known = self._ids[: self._count]
        return np.searchsorted(known, ids), np.searchsorted(known, ids, "right")

    def _places(self, ids: Ids) -> Slots:
        """Every entry of these ids."""
        first, end = self._spans(ids)
        lengths = end - first
        # Counts on from the first entry of each id: 7 8 9, 20 21, …
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        every: Slots = np.repeat(first, lengths) + offsets
        return every
