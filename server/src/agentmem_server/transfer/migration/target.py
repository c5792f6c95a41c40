"""The PostgreSQL schema that memories are moved to: how far it is, and what is added to it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
from agentmem_client.errors import Conflict, Unavailable

from ... import times
from ...storage.postgres import hnsw, schema
from ...storage.postgres.blocking import check_version
from ...storage.postgres.clock import Clock
from ...storage.postgres.connections import (
    Address,
    Connection,
    connect,
    disconnect,
    failing_as_unavailable,
    set_up,
)
from ...storage.postgres.dialect import dialect_of
from ...storage.postgres.keyword_index import PendingKeywords
from .chunks import COLUMNS, Chunk, Kind
from .source import API_KEY, COLLECTION, JOB, Row, Source

_KINDS: tuple[Kind, ...] = ("memory", "vector", "event")

PATIENCE = "10s"
"""How long it waits for another migration to end, which may be one that has been killed."""

# Reading the source may take its time in a transaction, and so may a statement about all rows.
_SETTINGS = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0"

_COUNTERS = "UPDATE clock SET commits = $1, cid = $2, rid = $3, eid = $4, forgotten = $5"

_JOB_COUNTER = "SELECT setval('job_seq_seq', greatest($1::bigint, 1), $1 > 0)"


@dataclass(frozen=True)
class State:
    """How far a migration is.

    Attributes:
        positions: of each kind, the id of the source up to which rows are there.
        finished_at: when it was finished.
        commits: the only commit there is until it is finished.
        is_new: it begins now.
    """

    positions: dict[Kind, int]
    finished_at: int | None
    commits: int
    is_new: bool = False


class Target:
    """A schema of our tables that nobody else writes to.

    Attributes:
        connection: the only one.
    """

    def __init__(self, connection: Connection, schema: str) -> None:
        """Use `open_target`."""
        self.connection = connection
        self._schema = schema

    async def begin(self, source: Source) -> State:
        """Put what is small into an empty schema, or see how far its migration is.

        Raises:
            Conflict: it holds something else.
        """
        connection = self.connection
        async with connection.transaction():
            clock = await Clock.lock(connection)
            state = await self._state(source)
            if state is not None:
                return state
            if clock.cid or clock.rid or clock.eid or await self._has_more():
                raise Conflict(
                    f"the schema {self._schema!r} holds memories, keys or jobs already: name a new "
                    "one with ?schema= in --to"
                )
            last = source.numbers
            numbers = (clock.commits, last.cid, last.rid, last.eid, last.forgotten)
            await connection.execute(_COUNTERS, *numbers)
            collections = [(*row, clock.commits) for row in source.collections.values()]
            await self._copy("collection", (*COLLECTION, "version"), collections)
            await self._copy("api_key", API_KEY, source.keys)
            await self._copy("job", JOB, source.jobs())
            await connection.execute(_JOB_COUNTER, last.job)
            await connection.execute(
                "INSERT INTO migration (source, commits, started_at) VALUES ($1, $2, $3)",
                source.identity,
                clock.commits,
                times.now(),
            )
            begun = await self._state(source)
        assert begun is not None
        return replace(begun, is_new=True)

    async def add(self, chunk: Chunk, state: State) -> None:
        """Put rows into the tables, and that they are there.

        Raises:
            Conflict: somebody else writes to the schema.
        """
        async with self.connection.transaction():
            await self._check_alone(state)
            clock = await Clock.lock(self.connection)
            clock.commits = state.commits
            for table, rows in chunk.rows.items():
                columns = tuple(name.strip('"') for name in COLUMNS[table])
                await self._copy(table, columns, rows)
            keywords = PendingKeywords(self.connection)
            for cid, rid in chunk.indexed:
                keywords.changed(cid, rid)
            await clock.save(self.connection, grown=await keywords.write(times.now()))
            await self.connection.execute(f"UPDATE migration SET {chunk.kind} = $1", chunk.last)

    async def analyze(self) -> None:
        """Tell the planner what there is, and clear away what the filling has left behind."""
        tables = (
            "collection, memory, embedding, token, tag, keyword, term, event, image, api_key, job"
        )
        await self.connection.execute(f"VACUUM (ANALYZE) {tables}")

    async def index(self) -> None:
        """Make the indexes that a server would begin to make in its first minute."""
        await hnsw.tend(self.connection)

    async def finish(self, state: State) -> State:
        """The schema is a server's from now on.

        Raises:
            Conflict: somebody else has written to it.
        """
        now = times.now()
        async with self.connection.transaction():
            await self._check_alone(state)
            await self.connection.execute("UPDATE migration SET finished_at = $1", now)
        return replace(state, finished_at=now)

    async def is_untouched(self, state: State) -> bool:
        """Whether no server has written anything since it was finished."""
        commits = await self.connection.fetchval("SELECT commits FROM clock")
        return bool(commits == state.commits)

    async def _state(self, source: Source) -> State | None:
        row = await self.connection.fetchrow("SELECT * FROM migration")
        if row is None:
            return None
        finished_at = row["finished_at"]
        if row["source"] != source.identity:
            name = schema.quoted(self._schema)
            raise Conflict(
                f"the schema {self._schema!r} was filled from another file, or from this one "
                "before it changed: name a new one with ?schema= in --to"
                if finished_at is not None
                else f"the schema {self._schema!r} has an unfinished migration of another file, or "
                f"of this one before it changed: name a new one with ?schema= in --to, or begin "
                f"anew after DROP SCHEMA {name} CASCADE"
            )
        return State({kind: row[kind] for kind in _KINDS}, finished_at, row["commits"])

    async def _has_more(self) -> bool:
        return bool(
            await self.connection.fetchval(
                "SELECT EXISTS (SELECT FROM api_key) OR EXISTS (SELECT FROM job)"
            )
        )

    async def _check_alone(self, state: State) -> None:
        commits = await self.connection.fetchval("SELECT commits FROM clock FOR UPDATE")
        if commits != state.commits:
            name = schema.quoted(self._schema)
            raise Conflict(
                f"a server has written to the schema {self._schema!r} meanwhile: stop it, and "
                f"begin anew after DROP SCHEMA {name} CASCADE, or with a new one (?schema= in --to)"
            )

    async def _copy(self, table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        await self.connection.copy_records_to_table(table, columns=columns, records=rows)


@asynccontextmanager
async def open_target(address: Address) -> AsyncIterator[Target]:
    """Connect to a schema, which is made if it isn't there.

    Raises:
        Unavailable: it can't be opened, is not ours, or another migration into it is under way;
            here or later.
        InvalidRequest: for a URL that asyncpg can't read.
    """
    connection = await connect(address)
    try:
        with failing_as_unavailable("migrated to"):
            await connection.execute(_SETTINGS)
            await dialect_of(connection)
            extension_schema = await schema.check_extension(connection, make=True)
            await _lock(connection, address.schema)
            await set_up(connection, address.schema, extension_schema)
            if await schema.version(connection, address.schema) is None:
                await schema.prepare_tables(connection, address.schema, address.partitions)
            await check_version(connection, address.schema)
            yield Target(connection, address.schema)
    finally:
        await disconnect(connection)


async def _lock(connection: Connection, name: str) -> None:
    """Keep others away for as long as the connection lasts."""
    await connection.execute(f"SET lock_timeout = '{PATIENCE}'")
    try:
        await connection.execute(
            "SELECT pg_advisory_lock(hashtextextended($1, 1))", f"migration into {name}"
        )
    except asyncpg.LockNotAvailableError:
        raise Unavailable(
            f"another migration into the schema {name!r} is under way: let it end"
        ) from None
