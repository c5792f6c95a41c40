"""Searches of what is in memory, on the event loop's own thread.

Asking another thread takes longer than such a search does. It waits for nobody: where the writer is
telling memory of a commit, something is not known, or it would keep the loop for long, it leaves
the search to a thread that reads, which also makes known what was not.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import apsw
import numpy as np

from ... import times
from ...telemetry.watch import Watch
from .. import Candidates, Collection, KeptRow, SearchRequest, Selection
from ..vectors import Chosen, Ids, VectorIndex
from . import reader, schema
from .memory_state import MemoryState
from .selections import Selections

_MOST_BYTES = 6_000_000
"""Bytes of vectors that are looked at: some 500 µs."""
_MOST_READ = 32
"""Rows that are read of the file, a few microseconds each where it is in the system's memory."""
_SLOW = 0.005
"""Seconds for these, after which the file is taken for one that is not."""
_PAUSE = 0.01
"""Seconds for which it is read no more then; twice as many each time, until a read is quick."""
_LONGEST_PAUSE = 60.0
_CACHE = "PRAGMA cache_size=-4096"


class _NotInMemory(Exception):
    """Ranking asks for what only the file has."""


class SqliteAtOnce:
    """An `AtOnce` of a SQLite file. Only one thread may call it.

    Args:
        path: of the file.
        state: what is in memory of it.
        watch: is told how long each search took.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        path: Path,
        state: MemoryState,
        watch: Watch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = schema.connect(path, readonly=True)
        self._connection.execute(_CACHE)
        self._connection.set_busy_timeout(0)
        self._connection.execute("SELECT 1 FROM memory").fetchone()  # reads the schema
        self._state = state
        self._watch = watch
        self._clock = clock
        self._reads_again = 0.0
        self._pause = _PAUSE

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""
        return self._state.find(tenant, name)

    def search(
        self, collection: Collection, request: SearchRequest
    ) -> Sequence[tuple[KeptRow, float]] | None:
        """The ranked records with their scores, best first; None where memory is not enough."""
        if request.vector is None or request.terms or request.with_vectors:
            return None
        started = time.perf_counter()
        kept = self._state.kept
        if not kept.lock.acquire(blocking=False):
            return None
        try:
            found = self._search(collection, request, request.vector)
        except _NotInMemory:
            return None
        finally:
            kept.lock.release()
        if found is not None:
            self._watch.store("search", time.perf_counter() - started)
        return found

    def _search(
        self, collection: Collection, request: SearchRequest, vector: bytes
    ) -> Sequence[tuple[KeptRow, float]] | None:
        index = self._state.vectors(collection)
        if index is None:
            return None
        among: Chosen | None = None
        if request.selection != Selection():
            among = self._meant(collection, index, request.selection)
            if among is None:
                return None
        if index.cost(request.depth, among) > _MOST_BYTES:
            return None
        ids, similarities = index.top(vector, request.depth, times.now(), among)
        ids, scores = request.rank(
            Candidates(
                ids,
                similarities,
                reader.NO_IDS,
                reader.NO_SCORES,
                vectors=index.vectors,
                attributes=_not_in_memory,
                turns=_not_in_memory,
            )
        )
        rows = self._rows(collection, ids, request)
        return None if rows is None else list(zip(rows, scores.tolist(), strict=True))

    def _meant(
        self, collection: Collection, index: VectorIndex, selection: Selection
    ) -> Chosen | None:
        key = Selections.key(collection, selection)
        known = None if key is None else self._state.kept.selections.get(key)
        if known is None or key is None:
            return None
        current = index.current(known)
        if current is not known:
            self._state.kept.selections.put(key, current)
        return current

    def _rows(
        self, collection: Collection, ids: Ids, request: SearchRequest
    ) -> Sequence[KeptRow] | None:
        kept = self._state.kept.rows
        wanted = ids.tolist()
        found = [kept.get(rid) for rid in wanted]
        missing = [rid for rid, row in zip(wanted, found, strict=True) if row is None]
        if missing:
            read = self._read(collection, missing, request)
            if read is None:
                return None
            found = [
                read[rid] if row is None else row for rid, row in zip(wanted, found, strict=True)
            ]
        return [row for row in found if row is not None]

    def _read(
        self, collection: Collection, rids: list[int], request: SearchRequest
    ) -> dict[int, KeptRow] | None:
        """Rows of the file, which are kept from here on; None where they can't be had at once."""
        kept, started = self._state.kept, self._clock()
        if request.render is None or len(rids) > _MOST_READ or started < self._reads_again:
            return None
        if not kept.says_as_file(collection.key, rids):
            return None
        try:
            records = reader.fetch(self._connection, np.array(rids, dtype=np.int64), False)
        except apsw.Error:  # a thread that reads may wait, and says what is wrong
            return None
        self._took(self._clock() - started)
        if len(records) < len(rids):
            return None
        read = {
            rid: KeptRow(collection.key, request.render(record), record.expires_at)
            for rid, record in records.items()
        }
        for rid, row in read.items():
            kept.rows.put(rid, row)
        return read

    def _took(self, seconds: float) -> None:
        """A read took so long: many slow ones are far apart, a single one changes little."""
        if seconds > _SLOW:
            self._reads_again = self._clock() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._pause = _PAUSE


def _not_in_memory(*_: Any) -> NoReturn:
    raise _NotInMemory
