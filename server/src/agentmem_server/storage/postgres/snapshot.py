"""One state of a PostgreSQL store, read while servers write to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ... import times
from .. import EVERYBODY, Collection, Record, Selection, memory_rows
from ..sql import Dialect
from . import collections, jobs, reader, rows, schema
from .blocking import BlockingConnection, check_version
from .connections import Address, Connection, set_up
from .dialect import dialect_of, numbered

_ROWS = 500
_BYTES = 4_000_000
"""Of records that are read at once, about; one that alone is larger comes alone."""

# Rows of which nothing long is looked at before it is known which are wanted.
_PAGE = f"""
SELECT {{columns}} FROM (
    SELECT m.*, sum(octet_length(m.content) + octet_length(m.metadata)
        + coalesce(octet_length(m.payload), 0) + coalesce(octet_length(m.index_texts), 0)
        + coalesce(octet_length(m.sources), 0)
    ) OVER (ORDER BY m.rid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
        SELECT * FROM memory m WHERE {{condition}} AND m.rid > $1 ORDER BY m.rid LIMIT {_ROWS}
    ) m
) m WHERE coalesce(before, 0) < {_BYTES} ORDER BY m.rid
"""


class PostgresSnapshot:
    """A `Snapshot` of a schema: what one transaction on one connection sees."""

    def __init__(self, connection: BlockingConnection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect
        self._now = times.now()

    def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""
        return self._connection.run("read", collections.listed, tenant)

    def count(self, collection: Collection) -> int:
        """How many living records the collection holds."""
        return self._connection.run("read", reader.count, self._dialect, collection, EVERYBODY)

    def records(self, collection: Collection, *, with_vectors: bool) -> Iterator[Record]:
        """The living records, by seq, some at once."""
        after = 0
        while found := self._connection.run("read", self._page, collection, after, with_vectors):
            yield from found
            after = found[-1].seq

    def get(self, collection: Collection, ids: Sequence[str]) -> list[Record]:
        """The records with these ids and their vectors, in this order; missing ones are skipped."""
        return self._connection.run(
            "read", reader.get, self._dialect, collection, Selection(ids=ids), True
        )

    def undone_jobs(self, tenant: str) -> int:
        """How many jobs of a tenant wait, run, or have failed."""
        return self._connection.run("read", jobs.undone, tenant)

    async def _page(
        self, connection: Connection, collection: Collection, after: int, with_vectors: bool
    ) -> list[Record]:
        condition = memory_rows.condition(collection, Selection(), self._now, self._dialect)
        found = await connection.fetch(
            _PAGE.format(columns=rows.columns(with_vectors), condition=numbered(condition, 2)),
            after,
            *condition.parameters,
        )
        return [rows.record(row, with_vectors) for row in found]


@contextmanager
def open_snapshot(url: str) -> Iterator[PostgresSnapshot]:
    """Read one state of a schema, which is neither made nor changed.

    While it is open, PostgreSQL keeps what servers delete and replace.

    Raises:
        NotFound: there is no such schema, or nothing in it.
        Unavailable: when it can't be read, is not ours or of another version, or a migration into
            it is not finished; here or later.
    """
    address = Address.parse(url)
    connection = BlockingConnection(address)
    try:
        yield PostgresSnapshot(connection, connection.run("opened", _begin, address.schema))
    finally:
        connection.close()


async def _begin(connection: Connection, name: str) -> Dialect:
    # Who reads may be slow: a pipe, a disk.
    await connection.execute(
        "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0"
    )
    await rows.snapshot(connection).start()
    await check_version(connection, name)  # the first read: what is seen from here on is one state
    await schema.check_whole(connection, name)
    await set_up(connection, name, await schema.check_extension(connection, make=False))
    return await dialect_of(connection)
