"""The store in one SQLite file: one writer thread, a few readers, vectors in memory.

The file is the only source of truth. No other process may have it open as a server at the same
time, for what is kept in memory of it would go stale: a lock beside the file sees to that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import apsw
from agentmem_client.errors import APIError, Unavailable
from agentmem_client.models import JobStatus
from filelock import Timeout

from ... import times
from ...telemetry.watch import NOBODY, Watch
from .. import (
    EVERYBODY,
    ApiKey,
    Collection,
    EventPage,
    EventsRequest,
    Figures,
    Job,
    JobsRequest,
    ListRequest,
    NamespaceRequest,
    Outcome,
    Page,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Session,
    Write,
)
from ..vectors import VectorIndex
from . import events, figures, heap, history, jobs, keys, reader, schema
from .at_once import SqliteAtOnce
from .loading import load_vectors
from .memory_state import MemoryState
from .threads import Threads
from .writer import Writer

_MANY_VECTORS = 10_000
"""From so many on, what reading them has left behind is worth giving back."""
_LONGEST_WRITE = 60.0
"""Seconds after which a write under way is taken for one that hangs."""

_NAMES: Mapping[Callable[..., object], str] = {
    keys.get: "key",
    keys.listed: "keys",
    keys.any_there: "has_keys",
    jobs.get: "job",
    jobs.listed: "jobs",
    jobs.next_due: "next_job",
    jobs.counts: "job_counts",
}
"""What these are called in metrics and traces; all others are by their own names."""

P = ParamSpec("P")
R = TypeVar("R")


class SqliteStore:
    """A `Store` in a SQLite file."""

    def __init__(self, path: Path, readers: int, watch: Watch = NOBODY) -> None:
        """Open the file; blocks. Use `open` from a coroutine."""
        path = path.resolve()  # one lock for the file, by whatever link it is opened
        self._lock = schema.server_lock(path)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Unavailable(
                f"another AgentMem server has {path} open: stop that one, or name another file"
            ) from None
        try:
            self._write_connection = schema.connect(path)
            schema.prepare(self._write_connection, path)
            jobs.take_over(self._write_connection, times.now())
            self._read_connections: SimpleQueue[apsw.Connection] = SimpleQueue()
            for _ in range(readers):
                self._read_connections.put(schema.connect(path, readonly=True))
        except BaseException:
            self._lock.release()
            raise
        self.identity = uuid4().hex  # of this opening: nobody else reads what is derived of it
        self._readers = readers
        self._watch = watch
        self._busy_since: float | None = None
        self._state = MemoryState(self._write_connection)
        self._listeners: list[Callable[[], None]] = []
        self._loads: dict[int, asyncio.Task[VectorIndex]] = {}
        self._writer = Writer(self._write_connection, self._state)
        self.at_once = SqliteAtOnce(path, self._state, watch)
        self._write_thread = Threads(1, "agentmem-write")
        self._read_threads = Threads(readers, "agentmem-read")

    @classmethod
    async def open(cls, path: str, *, readers: int, watch: Watch = NOBODY) -> "SqliteStore":
        """Open a file, making it and its folder if they aren't there.

        Raises:
            Unavailable: when it can't be opened, is in use, or is not ours.
        """
        schema.check_sqlite(apsw.sqlite_lib_version())
        file = Path(path)

        def open_file() -> SqliteStore:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                return cls(file, readers, watch)
            except (OSError, apsw.Error) as error:
                raise Unavailable(f"the database {file} can't be opened: {error}") from error

        return await asyncio.to_thread(open_file)

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, durably; a refused one is its own outcome and leaves no trace."""
        loop = asyncio.get_running_loop()

        def announce() -> None:
            for listener in self._listeners:
                loop.call_soon_threadsafe(listener)

        return await self._on_writer(self._writer.write, writes, announce)

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""
        return self._state.find(tenant, name)

    async def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""
        return self._state.all(tenant)

    async def count(self, collection: Collection, scope: Scope = EVERYBODY) -> int:
        """How many memories of a scope it holds."""
        return await self._read(reader.count, collection, scope)

    async def get(
        self,
        collection: Collection,
        ids: Sequence[str],
        *,
        scope: Scope = EVERYBODY,
        with_vectors: bool = False,
    ) -> list[Record]:
        """The records of a scope with these ids, in this order; missing ones are skipped."""
        return await self._read(reader.get, collection, Selection(scope, ids=ids), with_vectors)

    async def page(self, collection: Collection, request: ListRequest) -> Page:
        """One page of the selected records."""
        return await self._read(reader.page, collection, request)

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        """The ranked records with their scores, best first."""
        index = None if request.vector is None else await self._index(collection)
        return await self._read(reader.search, self._state, collection, index, request)

    async def lacking_tokens(
        self, model: str, *, after: tuple[int, int], limit: int
    ) -> list[tuple[Collection, Record]]:
        """Records with vectors that this model of the server's made, and without their tokens."""
        return await self._read(reader.lacking_tokens, model, after, limit)

    async def sessions(
        self, collection: Collection, selection: Selection, *, after: str | None, limit: int
    ) -> list[Session]:
        """The sessions that selected records are in, by their ids, those after one."""
        return await self._read(reader.sessions, collection, selection, after, limit)

    async def namespaces(
        self, collection: Collection, request: NamespaceRequest
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold living records, sorted label by label."""
        return await self._read(reader.namespaces, collection, request)

    async def history(
        self, collection: Collection, id: str, *, user_id: str | None, after: int, limit: int
    ) -> EventPage:
        """Events of one record, and where a user is given of that one's, after an event's id."""
        return await self._read(events.history, collection, id, user_id, after, limit)

    async def events(self, tenant: str, request: EventsRequest) -> EventPage:
        """Events of a tenant, by their ids."""
        return await self._read(events.events, tenant, request)

    async def last_event(self) -> int:
        """The id of the last event of all tenants; 0 before the first."""
        return await self._read(history.last_event)

    async def forgotten(self) -> int:
        """The id of the last event that is no longer kept; 0 where all are."""
        return await self._read(history.last_forgotten)

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call this, in the event loop's thread, after each commit that has new events."""
        self._listeners.append(listener)

    def on_erase(self, listener: Callable[[str, str], None]) -> None:
        """Nothing to listen to: a file has one server."""

    async def figures(self, tenant: str, user_id: str | None, since: int) -> Figures:
        """What there is of a tenant or of one of its users; days from that of ``since`` on."""
        return await self._read(figures.figures, tenant, user_id, since)

    async def key(self, id: str) -> ApiKey | None:
        """One API key, if it is there."""
        return await self._read(keys.get, id)

    async def keys(self, tenant: str | None) -> list[ApiKey]:
        """The API keys of one tenant or of all, by their time of creation."""
        return await self._read(keys.listed, tenant)

    async def has_keys(self) -> bool:
        """Whether there are API keys, be they revoked or expired."""
        return await self._read(keys.any_there)

    async def job(self, tenant: str, id: str) -> Job | None:
        """One job, if it is there."""
        return await self._read(jobs.get, tenant, id)

    async def jobs(self, tenant: str, request: JobsRequest) -> list[Job]:
        """Jobs of a tenant, the newest first; without ``request`` and ``result``."""
        return await self._read(jobs.listed, tenant, request)

    async def next_job(self) -> int | None:
        """When the next job of all tenants is due: to be tried, or to be taken over."""
        return await self._read(jobs.next_due)

    async def job_counts(self) -> Mapping[JobStatus, int]:
        """How many jobs of all tenants there are, by their status."""
        return await self._read(jobs.counts)

    async def version(self, tenant: str, collection: str) -> int:
        """The number of the last commit that wrote to the collection."""
        return self._state.version(tenant, collection)

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The parts, each with a coroutine function that raises when it doesn't work."""
        return {"database": self._check_database, "vector_store": self._check_vectors}

    async def close(self) -> None:
        """Finish what was accepted, fold the WAL into the file, and let go of it."""

        def close() -> None:
            self._write_thread.close()
            self._read_threads.close()
            for _ in range(self._readers):
                self._read_connections.get_nowait().close()
            self.at_once.close()
            self._write_connection.close()
            self._lock.release()

        for task in self._loads.values():
            task.cancel()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        await asyncio.to_thread(close)

    async def _check_database(self) -> None:
        def begin() -> None:
            self._write_connection.execute("BEGIN IMMEDIATE; ROLLBACK")

        if self._busy_since is None:
            await self._on(self._write_thread, begin)
        elif (seconds := time.monotonic() - self._busy_since) > _LONGEST_WRITE:
            raise Unavailable(f"a write has been under way for {seconds:.0f} s")

    async def _check_vectors(self) -> None:
        def check(connection: apsw.Connection) -> None:
            connection.execute("SELECT data FROM vector LIMIT 1").fetchall()

        await self._read(check)

    async def _index(self, collection: Collection) -> VectorIndex:
        """The collection's vectors, read into memory by the first who asks."""
        index = self._state.vectors(collection)
        if index is not None:
            return index
        task = self._loads.get(collection.key)
        if task is None:
            task = asyncio.create_task(self._load(collection))
            self._loads[collection.key] = task
            task.add_done_callback(lambda task: self._loaded(collection, task))
        # Unlike awaiting a task, waiting for it doesn't cancel it with this request.
        await asyncio.wait([task])
        return task.result()

    async def _load(self, collection: Collection) -> VectorIndex:
        loading = self._state.begin_loading(collection)
        try:
            while await self._read(load_vectors, loading):
                pass
            # On the writer's thread, so that no commit comes between the last look and the index.
            index = await self._on_writer(self._state.end_loading, self._write_connection, loading)
        except BaseException:
            self._state.give_up_loading(loading)
            raise
        if len(index) >= _MANY_VECTORS:
            await self._on(self._read_threads, heap.trim)
        return index

    def _loaded(self, collection: Collection, task: "asyncio.Task[VectorIndex]") -> None:
        del self._loads[collection.key]
        if not task.cancelled():
            task.exception()  # is told to those who wait, of whom there may be none left

    async def _on_writer(self, function: Callable[..., R], *args: object) -> R:
        self._busy_since = time.monotonic()
        try:
            timed = self._timed(function)
            return await self._on(self._write_thread, lambda: timed(*args))
        finally:
            self._busy_since = None

    async def _read(
        self, read: Callable[Concatenate[apsw.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        timed = self._timed(read)

        def run() -> R:
            connection = self._read_connections.get()
            try:
                return timed(connection, *args, **kwargs)
            finally:
                self._read_connections.put(connection)

        with self._watch.span(f"store.{_name(read)}"):
            return await self._on(self._read_threads, run)

    def _timed(self, function: Callable[P, R]) -> Callable[P, R]:
        """A function that tells how long it took, under its name."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._watch.store(_name(function), time.perf_counter() - started)

        return timed

    @staticmethod
    async def _on(threads: Threads, function: Callable[[], R]) -> R:
        try:
            return await threads.run(function)
        except apsw.Error as error:
            raise Unavailable(f"the database could not be read: {error}") from error


def _name(operation: Callable[..., object]) -> str:
    return _NAMES.get(operation, operation.__name__)
