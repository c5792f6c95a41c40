"""Searches of what is in memory, on the event loop's own thread.

Asking another thread takes longer than such a search does. It waits for nobody: where the writer is
telling memory of a commit, something is not known, it would keep the loop for long, or the disk was
slow, it leaves the search to a thread that reads, which also makes known what was not.
"""

import time
from pathlib import Path
from typing import Any, NoReturn

import apsw

from ... import times
from ...telemetry.watch import Watch
from .. import Candidates, Collection, KeptHits, KeptRow, SearchRequest, Selection
from ..vectors import Chosen, VectorIndex
from . import reader, schema
from .disk_waits import DiskWaits
from .memory_state import MemoryState
from .selections import Key, Selections

_LONGEST = 6_500_000
"""What a search may cost, in bytes of vectors that are looked at: some 500 µs."""
_MOST_READ = 32
"""Rows that are read of the file, a few microseconds each where it is in the system's memory."""
_LARGEST_READ = 32_768
"""Bytes of such a row at most."""
_CACHE = "PRAGMA cache_size=-4096"


class _NotAtOnce(Exception):
    """Ranking asks for what only the file has, or for vectors, to compare them with each other."""


class SqliteAtOnce:
    """An `AtOnce` of a SQLite file. Only one thread may call it.

    Args:
        path: of the file.
        state: what is in memory of it.
        watch: is told how long each search took.
    """

    def __init__(self, path: Path, state: MemoryState, watch: Watch) -> None:
        self._connection = schema.connect(path, readonly=True)
        self._connection.execute(_CACHE)
        self._connection.set_busy_timeout(0)
        self._connection.execute("SELECT 1 FROM memory").fetchone()  # reads the schema
        self._state = state
        self._watch = watch
        self._disk_waits: DiskWaits | None = None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""
        return self._state.find(tenant, name)

    def search(self, collection: Collection, request: SearchRequest) -> KeptHits | None:
        """The ranked records; None where memory is not enough."""
        if request.vector is None or request.terms or request.with_vectors:
            return None
        started = time.perf_counter()
        kept = self._state.kept
        if not kept.lock.acquire(blocking=False):
            return None
        try:
            found = self._search(collection, request, request.vector)
        except _NotAtOnce:
            return None
        finally:
            kept.lock.release()
        if found is not None:
            self._watch.store("search", time.perf_counter() - started)
        return found

    def _search(
        self, collection: Collection, request: SearchRequest, vector: bytes
    ) -> KeptHits | None:
        index = self._state.vectors(collection)
        if index is None:
            return None
        among: Chosen | None = None
        key: Key | None = None
        if request.selection != Selection():
            key = Selections.key(collection, request.selection)
            among = None if key is None else self._state.kept.selections.get(key)
            if among is None:
                return None
        if index.cost(request.depth, among) > _LONGEST:
            return None
        if key is not None and among is not None:
            among = self._current(key, among, index)
        if index.in_file and self._would_wait(index, among):
            return None
        started = time.monotonic()
        ids, similarities = index.top(vector, request.depth, times.now(), among)
        if index.in_file:
            self._waits.took(time.monotonic() - started)
        ids, scores = request.rank(
            Candidates(
                ids,
                similarities,
                reader.NO_IDS,
                reader.NO_SCORES,
                vectors=_not_at_once,
                attributes=_not_at_once,
                turns=_not_at_once,
            )
        )
        return self._hits(collection, ids.tolist(), scores.tolist(), request)

    def _would_wait(self, index: VectorIndex, among: Chosen | None) -> bool:
        """Whether vectors are not in memory, as far as some of them tell."""
        return not self._waits.are_over() or self._waits.meet(index.sample(among))

    def _current(self, key: Key, known: Chosen, index: VectorIndex) -> Chosen:
        """What a selection means, with its vectors where they are now."""
        current = index.current(known)
        if current is not known:
            self._state.kept.selections.put(key, current)
        return current

    def _hits(
        self, collection: Collection, rids: list[int], scores: list[float], request: SearchRequest
    ) -> KeptHits | None:
        kept = self._state.kept.rows
        found = kept.get(rids)
        expiries = kept.expiries(rids)
        missing = [rid for rid in rids if rid not in found]
        if missing:
            read = self._read(collection, missing, request)
            if read is None:
                return None
            found.update((rid, row.rendered) for rid, row in read.items())
            expiries += [row.expires_at for row in read.values() if row.expires_at is not None]
        return KeptHits([found[rid] for rid in rids], scores, expiries)

    def _read(
        self, collection: Collection, rids: list[int], request: SearchRequest
    ) -> dict[int, KeptRow] | None:
        """Rows of the file, which are kept from here on; None where they can't be had at once."""
        kept = self._state.kept
        if request.render is None or len(rids) > _MOST_READ or not self._waits.are_over():
            return None
        if not kept.says_as_file(collection.key, rids):
            return None
        started = time.monotonic()
        try:
            records = reader.fetch(self._connection, rids, largest=_LARGEST_READ)
        except apsw.Error:  # a thread that reads may wait, and says what is wrong
            return None
        self._waits.took(time.monotonic() - started)
        if len(records) < len(rids):
            return None
        read = {
            rid: KeptRow(collection.key, request.render(record), record.expires_at)
            for rid, record in records.items()
        }
        for rid, row in read.items():
            kept.rows.put(rid, row)
        return read

    @property
    def _waits(self) -> DiskWaits:
        """Of the thread that searches, which is not the one that opens the file."""
        if self._disk_waits is None:
            self._disk_waits = DiskWaits()
        return self._disk_waits


def _not_at_once(*_: Any) -> NoReturn:
    raise _NotAtOnce
