"""The store in a PostgreSQL database that several servers may share.

The tables are the only source of truth, and nothing of them is kept in memory. All servers' writes
come one after the other, each in a transaction with what else is waiting on its server; reads go
side by side, each in one snapshot.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from agentmem_client.errors import APIError, Unavailable
from agentmem_client.models import JobStatus

from ...batcher import Batcher
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
    Pool,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Session,
    Write,
)
from ..sql import Dialect
from . import collections, events, figures, jobs, keys, reader, schema, search
from .collections import Look
from .connections import (
    Address,
    Connection,
    Connections,
    acquired,
    close,
    connect,
    disconnect,
    failing_as_unavailable,
    is_down,
    open_pool,
    set_up,
)
from .dialect import dialect_of
from .erasures import Erasures
from .listener import Listener, channel
from .tending import Tending
from .writer import Writer

_NAMES: Mapping[Callable[..., object], str] = {
    collections.look: "collection",
    collections.listed: "collections",
    keys.get: "key",
    keys.listed: "keys",
    keys.any_there: "has_keys",
    jobs.get: "job",
    jobs.listed: "jobs",
    jobs.next_due: "next_job",
    jobs.counts: "job_counts",
}
"""What these are called in metrics and traces; all others are by their own names."""


_LOOKS, _MOST_LOOKS = 500, 1_000_000
"""Collections that are looked for at once, and that may wait for it."""

P = ParamSpec("P")
R = TypeVar("R")


class PostgresStore:
    """A `Store` in a schema of a PostgreSQL database.

    Attributes:
        identity: the database's own, the same on every server.
        at_once: nothing, for every search asks the database.
    """

    def __init__(
        self,
        address: Address,
        connections: Connections,
        dialect: Dialect,
        *,
        identity: str,
        last_event: int,
        bounds: Pool,
        watch: Watch,
    ) -> None:
        """Use `open`."""
        process = uuid4().hex
        self.identity = identity
        self.at_once = None
        self._connections = connections
        self._dialect = dialect
        self._bounds = bounds
        self._watch = watch
        self._writer = Writer(dialect, channel(address.schema), process)
        # Every request asks for a collection, and many at once for the same one.
        self._looks: Batcher[tuple[str, str], Look] = Batcher(
            self._look, max_batch=_LOOKS, max_pending=_MOST_LOOKS, name="collection"
        )
        self._under_way = 0
        self._ended = asyncio.Event()
        self._commit_listeners: list[Callable[[], None]] = []
        self._erasures = Erasures(lambda after: self._read(events.erased, after), last_event)
        self._listener = Listener(address, process, self._announce, self._erasures.hear)
        self._tending = Tending(address)

    @classmethod
    async def open(cls, url: str, *, pool: Pool, watch: Watch = NOBODY) -> "PostgresStore":
        """Open a schema, making it and its tables if they aren't there.

        Raises:
            InvalidRequest: for a URL that is none.
            Unavailable: when it can't be opened, is not ours, or pgvector is missing or too old.
        """
        address = Address.parse(url)
        connection = await connect(address)
        try:
            with failing_as_unavailable("opened"):
                dialect = await dialect_of(connection)
                extension_schema = await schema.check_extension(connection, make=True)
                await set_up(connection, address.schema, extension_schema)
                await schema.prepare(connection, address.schema, address.partitions)
                clock = await connection.fetchrow("SELECT identity, eid FROM clock")
                assert clock is not None
        finally:
            await disconnect(connection)
        connections = await open_pool(address, extension_schema, pool)
        store = cls(
            address,
            connections,
            dialect,
            identity=clock["identity"].hex,
            last_event=clock["eid"],
            bounds=pool,
            watch=watch,
        )
        try:
            await store._listener.start()
        except BaseException:
            connections.terminate()
            raise
        store._tending.start()
        return store

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, durably; a refused one is its own outcome and leaves no trace."""
        if not writes:
            return []
        try:
            written = await self._timed("write", self._writer.write, writes)
        except Unavailable as error:
            if is_down(error):
                return [error] * len(writes)
            raise
        if written.has_events:
            self._announce()
        return written.outcomes

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""
        found, _ = await self._looks.submit((tenant, name))
        return found

    async def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""
        return await self._read(collections.listed, tenant)

    async def count(self, collection: Collection, scope: Scope = EVERYBODY) -> int:
        """How many memories of a scope it holds."""
        return await self._read(reader.count, self._dialect, collection, scope)

    async def get(
        self,
        collection: Collection,
        ids: Sequence[str],
        *,
        scope: Scope = EVERYBODY,
        with_vectors: bool = False,
    ) -> list[Record]:
        """The records of a scope with these ids, in this order; missing ones are skipped."""
        selection = Selection(scope, ids=ids)
        return await self._read(reader.get, self._dialect, collection, selection, with_vectors)

    async def page(self, collection: Collection, request: ListRequest) -> Page:
        """One page of the selected records."""
        return await self._read(reader.page, self._dialect, collection, request)

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        """The ranked records with their scores, best first."""
        return await self._read(search.search, self._dialect, collection, request)

    async def lacking_tokens(
        self, model: str, *, after: tuple[int, int], limit: int
    ) -> list[tuple[Collection, Record]]:
        """Records with vectors that this model of the server's made, and without their tokens."""
        return await self._read(reader.lacking_tokens, model, after, limit)

    async def sessions(
        self, collection: Collection, selection: Selection, *, after: str | None, limit: int
    ) -> list[Session]:
        """The sessions that selected records are in, by their ids, those after one."""
        return await self._read(reader.sessions, self._dialect, collection, selection, after, limit)

    async def namespaces(
        self, collection: Collection, request: NamespaceRequest
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold living records, sorted label by label."""
        return await self._read(reader.namespaces, self._dialect, collection, request)

    async def history(
        self, collection: Collection, id: str, *, user_id: str | None, after: int, limit: int
    ) -> EventPage:
        """Events of one record, and where a user is given of that one's, after an event's id."""
        return await self._read(events.history, collection, id, user_id, after, limit)

    async def events(self, tenant: str, request: EventsRequest) -> EventPage:
        """Events of a tenant, by their ids."""
        return await self._read(events.events, self._dialect, tenant, request)

    async def last_event(self) -> int:
        """The id of the last event of all tenants; 0 before the first."""
        return await self._read(events.last_event)

    async def forgotten(self) -> int:
        """The id of the last event that is no longer kept; 0 where all are."""
        return await self._read(events.forgotten)

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call this, in the event loop's thread, after each commit that has new events."""
        self._commit_listeners.append(listener)

    def on_erase(self, listener: Callable[[str, str], None]) -> None:
        """Call this, likewise, with tenant and user that another server of this store erased."""
        self._erasures.listen(listener)

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
        _, version = await self._looks.submit((tenant, collection))
        return version

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The parts, each with a coroutine function that raises when it doesn't work."""
        return {"database": self._check_database, "vector_store": self._check_vectors}

    async def close(self) -> None:
        """Finish what was accepted, and let go of the connections."""
        await self._tending.close()
        await self._listener.close()
        await self._erasures.close()
        while self._under_way:
            self._ended.clear()
            await self._ended.wait()
        await close(self._connections)

    async def _check_database(self) -> None:
        async def check(connection: Connection) -> None:
            if await connection.fetchval("SELECT pg_is_in_recovery() FROM clock"):
                raise Unavailable("the database is a standby, which can't be written")

        await self._read(check)

    async def _check_vectors(self) -> None:
        async def check(connection: Connection) -> None:
            await connection.fetchval("SELECT data <#> data FROM embedding LIMIT 1")

        await self._read(check)

    async def _look(self, names: Sequence[tuple[str, str]]) -> Sequence[Look | Exception]:
        try:
            return await self._read(collections.look, names)
        except Unavailable as error:
            return [error] * len(names)

    def _announce(self) -> None:
        for listener in self._commit_listeners:
            listener()

    async def _read(
        self,
        read: Callable[Concatenate[Connection, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        name = _NAMES.get(read, read.__name__)
        with self._watch.span(f"store.{name}"):
            return await self._timed(name, read, *args, **kwargs)

    async def _timed(
        self,
        name: str,
        function: Callable[Concatenate[Connection, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call with a connection, and tell how long it took."""
        self._under_way += 1
        try:
            with failing_as_unavailable("written" if name == "write" else "read"):
                async with acquired(self._connections, self._bounds) as connection:
                    started = time.perf_counter()
                    try:
                        return await function(connection, *args, **kwargs)
                    finally:
                        self._watch.store(name, time.perf_counter() - started)
        finally:
            self._under_way -= 1
            self._ended.set()
