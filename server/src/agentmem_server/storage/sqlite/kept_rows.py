"""Records as they are answered, kept in memory by their row ids."""

from collections import OrderedDict
from collections.abc import Iterable

from .. import KeptRow

MAX_BYTES = 48 << 20
_ENTRY = 300
"""Bytes that an entry takes beside its JSON, about."""
_LARGEST = 64
"""One row takes so small a part of the room at most."""


class KeptRows:
    """Rows, those answered last.

    What is kept is what the file says, as long as `drop` is told of every row that a commit changes
    or deletes. A row that has expired may still be here.

    Args:
        max_bytes: the room for all of them.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, KeptRow] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """The bytes that they take, about."""
        return self._bytes

    def get(self, rids: Iterable[int]) -> dict[int, KeptRow]:
        """Those of some rows that are kept, by their ids."""
        kept = self._kept
        found = {rid: kept[rid] for rid in rids if rid in kept}
        for rid in found:
            kept.move_to_end(rid)
        return found

    def put(self, rid: int, row: KeptRow) -> None:
        """Keep a row."""
        self.drop(rid)
        size = _size(row)
        if size > self._max_bytes // _LARGEST:
            return
        self._kept[rid] = row
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)

    def drop(self, rid: int) -> None:
        """A row is another than before, or gone."""
        row = self._kept.pop(rid, None)
        if row is not None:
            self._bytes -= _size(row)

    def cleared(self, collection: int) -> None:
        """All rows of a collection went."""
        for rid in [rid for rid, row in self._kept.items() if row.collection == collection]:
            self.drop(rid)

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._bytes = 0


def _size(row: KeptRow) -> int:
    return _ENTRY + len(row.rendered)
