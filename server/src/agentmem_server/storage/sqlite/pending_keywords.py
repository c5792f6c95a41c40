"""What a transaction has yet to bring in line in the full-text indexes."""

import math
from typing import Self

import apsw

from .. import Record
from . import keyword_index, rows


class PendingKeywords:
    """The memories that a transaction changed, of each collection; indexed at its end, by row id.

    FTS5 writes out all it has gathered when the next row id is not a larger one: a segment for each
    memory that changes, where their order is any other.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._pending: dict[int, dict[int, Record | None]] = {}
        self._first_new: dict[int, int] = {}
        """Of each collection, the row id from which on the index has none."""

    def copy(self) -> Self:
        """What is pending now, whatever is added or forgotten."""
        made = type(self)(self._connection)
        made.become(self)
        return made

    def become(self, other: Self) -> None:
        """Go back to what was pending at the time of a copy."""
        self._pending = {cid: dict(pending) for cid, pending in other._pending.items()}
        self._first_new = dict(other._first_new)

    def added(self, cid: int, record: Record) -> None:
        """A memory is stored that is newer than all others."""
        self._first_new.setdefault(cid, record.seq)
        self.changed(cid, record)

    def changed(self, cid: int, record: Record) -> None:
        """A memory is stored like this."""
        self._pending.setdefault(cid, {})[record.seq] = record

    def removed(self, cid: int, rid: int) -> None:
        """A memory was deleted."""
        self._pending.setdefault(cid, {})[rid] = None

    def around_changed(self, cid: int, rid: int) -> None:
        """A memory has another previous turn, or that another content."""
        self._pending.setdefault(cid, {}).setdefault(rid, None)

    def forget(self, cid: int) -> None:
        """The collection's index was dropped or emptied."""
        self._pending.pop(cid, None)
        self._first_new.pop(cid, None)

    def write(self) -> None:
        """Bring the indexes in line with the rows."""
        for cid, pending in self._pending.items():
            first_new = self._first_new.get(cid, math.inf)
            for rid in sorted(rid for rid in pending if rid < first_new):
                stored = pending[rid] or rows.find(self._connection, rid)
                if stored is None:
                    keyword_index.remove(self._connection, cid, rid)
                else:
                    keyword_index.put(self._connection, cid, stored)
            new = [one for rid, one in sorted(pending.items()) if one and rid >= first_new]
            keyword_index.add(self._connection, cid, new)
        self._pending.clear()
        self._first_new.clear()
