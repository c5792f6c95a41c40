"""How a collection's vectors get from the file into memory, while others write.

They are read in slices, by ascending row id, each in a snapshot of its own: a long one would keep
the WAL from being cut. What is written meanwhile is noted by its row ids, and read again.
"""

import threading
from collections.abc import Iterable
from typing import cast

import apsw
import numpy as np

from .. import Collection
from ..vectors import Change, VectorIndex

_SLICE = 2 << 20
"""Bytes of vectors that are read at once."""
_MOST = 1_024
"""Records that are read at once."""
_FEW = 256
"""Changed records that are left for the writer thread, which reads them between commits."""

_IN_ORDER = """
SELECT rid, data, expires_at FROM memory JOIN vector USING (rid)
WHERE cid = ? AND rid > ? ORDER BY rid LIMIT ?
"""
_CHANGED = """
SELECT rid, data, expires_at FROM memory JOIN vector USING (rid)
WHERE cid = ? AND rid IN (SELECT value FROM carray(?))
"""


class Loading:
    """An index that is being built; nobody searches it yet.

    `read` is called by one thread at a time, `changed` by the writer's.

    Args:
        collection: whose vectors.
        index: an empty one for them.
    """

    def __init__(self, collection: Collection, index: VectorIndex) -> None:
        self.collection = collection
        self.index = index
        self._size = max(1, min(_MOST, _SLICE // (4 * collection.embedding.dimension)))
        self._last = -1
        self._read_all = False
        self._changed: set[int] = set()
        self._lock = threading.Lock()

    def read(self, connection: apsw.Connection) -> bool:
        """Read a slice, or some of what has changed; whether much is left."""
        if self._read_all:
            self._read_changed(connection)
        else:
            self._read_slice(connection)
        return not self._read_all or len(self._changed) > _FEW

    def changed(self, rids: Iterable[int]) -> None:
        """A commit changed these records."""
        with self._lock:
            self._changed.update(rids)

    def catch_up(self, connection: apsw.Connection) -> None:
        """Read all that has changed; between commits."""
        while self._changed:
            self._read_changed(connection)

    def _read_slice(self, connection: apsw.Connection) -> None:
        key = self.collection.key
        if self._last < 0:
            count = connection.execute("SELECT count(*) FROM memory WHERE cid = ?", (key,)).get
            self.index.reserve(count)
        found = _rows(connection.execute(_IN_ORDER, (key, self._last, self._size)))
        self.index.put_many(found)
        self._read_all = len(found) < self._size
        if not self._read_all:
            connection.release_memory()  # pages that are read once
        self._last = found[-1][0] if found else self._last

    def _read_changed(self, connection: apsw.Connection) -> None:
        with self._lock:  # before they are read: what changes from here on is noted anew
            rids = [self._changed.pop() for _ in range(min(self._size, len(self._changed)))]
        wanted = apsw.carray(np.array(rids, dtype=np.int64))
        found = _rows(connection.execute(_CHANGED, (self.collection.key, wanted)))
        changes: dict[int, Change] = dict.fromkeys(rids)
        changes.update((rid, (vectors, expires_at)) for rid, vectors, expires_at in found)
        self.index.apply(changes)


def _rows(cursor: apsw.Cursor) -> list[tuple[int, bytes, int | None]]:
    return cast("list[tuple[int, bytes, int | None]]", cursor.fetchall())


def load_vectors(connection: apsw.Connection, loading: Loading) -> bool:
    """One step of loading; whether there are more."""
    return loading.read(connection)
