"""One state of a SQLite file, read while others may write to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
from agentmem_client.errors import NotFound, Unavailable

from ... import times
from .. import EVERYBODY, Collection, Record, Selection
from ..memory_rows import COLUMNS, to_record
from . import jobs, reader, rows, schema
from .memory_state import MemoryState


class SqliteSnapshot:
    """A `Snapshot` of a SQLite file: what one transaction on one connection sees."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._now = times.now()
        self._state = MemoryState(connection)

    def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""
        return self._state.all(tenant)

    def count(self, collection: Collection) -> int:
        """How many living records the collection holds."""
        return reader.count(self._connection, collection, EVERYBODY)

    def records(self, collection: Collection, *, with_vectors: bool) -> Iterator[Record]:
        """The living records, by seq, read as they are asked for."""
        condition = rows.condition(collection, Selection(), self._now)
        vectors = ", v.data" if with_vectors else ""
        join = " LEFT JOIN vector v USING (rid)" if with_vectors else ""
        # By this index they come in order; sorting would hold all of them.
        cursor = self._connection.execute(
            f"SELECT {COLUMNS}{vectors} FROM memory m INDEXED BY memory_by_seq{join} "
            f"WHERE {condition.text} ORDER BY m.rid",
            condition.parameters,
        )
        for row in cursor:
            yield to_record(row)

    def get(self, collection: Collection, ids: Sequence[str]) -> list[Record]:
        """The records with these ids and their vectors, in this order; missing ones are skipped."""
        return reader.get(self._connection, collection, Selection(ids=ids), True)

    def undone_jobs(self, tenant: str) -> int:
        """How many jobs of a tenant wait, run, or have failed."""
        return jobs.undone(self._connection, tenant)


@contextmanager
def open_snapshot(path: Path) -> Iterator[SqliteSnapshot]:
    """Read one state of a file, as `one_state` does, and with its errors."""
    with one_state(path) as connection:
        yield SqliteSnapshot(connection)


@contextmanager
def one_state(path: Path) -> Iterator[apsw.Connection]:
    """A connection that sees one state of a file, which is neither made nor changed.

    While it is open, the WAL that a server writes grows and is not folded into the file.

    Raises:
        NotFound: there is no such file.
        Unavailable: when it can't be read, is not ours or of another version; here or later.
    """
    schema.check_sqlite(apsw.sqlite_lib_version())
    if not path.exists():
        raise NotFound(f"there is no database {path}: name another file")
    try:
        connection = schema.connect(path, readonly=True)
        try:
            connection.execute("BEGIN")
            _check(connection, path)  # the first read: what is seen from here on is one state
            yield connection
        finally:
            connection.close()
    except apsw.Error as error:
        raise Unavailable(f"the database {path} can't be read: {error}") from error


def _check(connection: apsw.Connection, path: Path) -> None:
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if connection.pragma("application_id") != schema.APPLICATION_ID:
        raise Unavailable(f"{path} is no database of AgentMem: name another file")
    version = connection.pragma("user_version")
    if version > schema.VERSION:
        raise Unavailable(
            f"{path} was written by a newer AgentMem (schema {version}, this one knows "
            f"{schema.VERSION}): upgrade agentmem-server"
        )
    if version < schema.VERSION:
        raise Unavailable(
            f"{path} is of an older AgentMem (schema {version}, this one reads {schema.VERSION}): "
            "start this version's server on it once, which brings it up to date"
        )
