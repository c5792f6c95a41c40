"""Records as they are answered, kept in memory by their row ids."""

from collections.abc import Iterable, Sequence

from .. import KeptRow

MAX_BYTES = 48 << 20
_ENTRY = 250
"""Bytes that an entry takes beside its JSON, about."""
_LARGEST = 64
"""One row takes so small a part of the room at most."""


class KeptRows:
    """Rows, those answered last.

    What is kept is what the file says, as long as `drop` is told of every row that a commit changes
    or deletes. A row that has expired may still be here.

    Room is made by what was not asked for since all that is here was young. That finds as much as
    the order of use would, and has nothing to put in order. There are dictionaries of numbers and
    bytes alone, which the garbage collector doesn't look through: of objects, 50,000 hold it up for
    10 ms.

    Args:
        max_bytes: the room for all of them.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.clear()

    def __len__(self) -> int:
        return len(self._collections)

    @property
    def size(self) -> int:
        """The bytes that they take, about."""
        return self._bytes

    def get(self, rids: Iterable[int]) -> dict[int, bytes]:
        """The JSON of those of some rows that are kept, by their ids."""
        young, old = self._young, self._old
        found: dict[int, bytes] = {}
        for rid in rids:
            row = young.get(rid)
            if row is None:
                row = old.pop(rid, None)
                if row is None:
                    continue
                young[rid] = row
            found[rid] = row
        return found

    def expiries(self, rids: Sequence[int]) -> list[int]:
        """When those of some rows expire that are kept and do expire."""
        ends = self._expiries
        return [ends[rid] for rid in rids if rid in ends] if ends else []

    def put(self, rid: int, row: KeptRow) -> None:
        """Keep a row."""
        self.drop(rid)
        size = _ENTRY + len(row.rendered)
        if size > self._max_bytes // _LARGEST:
            return
        while self._bytes + size > self._max_bytes:
            self._make_room()
        self._bytes += size
        self._young[rid] = row.rendered
        self._collections[rid] = row.collection
        if row.expires_at is not None:
            self._expiries[rid] = row.expires_at

    def drop(self, rid: int) -> None:
        """A row is another than before, or gone."""
        for generation in (self._young, self._old):
            if rid in generation:
                self._forget(rid, generation.pop(rid))

    def cleared(self, collection: int) -> None:
        """All rows of a collection went."""
        for rid in [rid for rid, where in self._collections.items() if where == collection]:
            self.drop(rid)

    def clear(self) -> None:
        """Keep nothing."""
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._collections: dict[int, int] = {}
        self._expiries: dict[int, int] = {}
        self._bytes = 0

    def _make_room(self) -> None:
        if not self._old:
            self._old, self._young = self._young, {}
        self._forget(*self._old.popitem())

    def _forget(self, rid: int, row: bytes) -> None:
        self._bytes -= _ENTRY + len(row)
        del self._collections[rid]
        self._expiries.pop(rid, None)
