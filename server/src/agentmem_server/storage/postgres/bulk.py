"""Many memories at once: in the tables, to which the draft is flushed before."""

from collections.abc import Sequence

from ... import times
from .. import Collection, Record, Selection
from ..memory_rows import COLUMNS, condition, to_record
from ..sql import Dialect
from . import collections
from .connections import Connection
from .dialect import numbered
from .draft import Draft
from .history import History
from .keyword_index import PendingKeywords


class Bulk:
    """Finds and changes memories of the transaction under way by one statement a table.

    What finds them flushes the draft; what is given row ids takes them from that.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        draft: Draft,
        history: History,
        keywords: PendingKeywords,
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._draft = draft
        self._history = history
        self._keywords = keywords

    async def selected(self, collection: Collection, selection: Selection) -> list[Record]:
        """The living records that are meant, by seq."""
        await self._draft.flush()
        meant = condition(collection, selection, times.now(), self._dialect)
        found = await self._connection.fetch(
            f"SELECT {COLUMNS} FROM memory m WHERE {numbered(meant)} ORDER BY m.rid",
            *meant.parameters,
        )
        return [to_record(tuple(row)) for row in found]

    async def rids(self, collection: Collection, selection: Selection, now: int) -> list[int]:
        """The row ids of the living records that are meant, in order."""
        await self._draft.flush()
        meant = condition(collection, selection, now, self._dialect)
        found = await self._connection.fetch(
            f"SELECT m.rid FROM memory m WHERE {numbered(meant)} ORDER BY m.rid",
            *meant.parameters,
        )
        return [rid for (rid,) in found]

    async def other_version(
        self, collection: Collection, selection: Selection, version: int, now: int
    ) -> int | None:
        """The version of one that is meant and has another version than this; None without one."""
        await self._draft.flush()
        meant = condition(collection, selection, now, self._dialect)
        other: int | None = await self._connection.fetchval(
            f"SELECT m.version FROM memory m WHERE {numbered(meant, first=2)} "
            "AND m.version <> $1 LIMIT 1",
            version,
            *meant.parameters,
        )
        return other

    async def of_user(
        self, collection: Collection, user_id: str, at: int
    ) -> list[tuple[int, bool]]:
        """The row ids of a user's records, and whether each is alive at a time."""
        await self._draft.flush()
        found = await self._connection.fetch(
            "SELECT rid, coalesce(expires_at > $3, true) FROM memory "
            "WHERE cid = $1 AND user_id = $2",
            collection.key,
            user_id,
            at,
        )
        return [(rid, is_alive) for rid, is_alive in found]

    async def expired(self, now: int, limit: int) -> list[tuple[Collection, list[int]]]:
        """The row ids of expired records of all tenants, up to ``limit`` a collection."""
        await self._draft.flush()
        found = await self._connection.fetch(
            f"SELECT {collections.COLUMNS}, gone.rids FROM collection c CROSS JOIN LATERAL ("
            "SELECT array_agg(rid) AS rids FROM (SELECT rid FROM memory m WHERE m.cid = c.cid "
            "AND m.expires_at <= $1 LIMIT $2) AS few) AS gone WHERE gone.rids IS NOT NULL",
            now,
            limit,
        )
        return [(collections.to_collection(columns), rids) for *columns, rids in found]

    async def delete(self, collection: Collection, rids: Sequence[int], at: int) -> None:
        """Delete rows; their vectors stay, for their last images."""
        await self._history.rows_deleted(collection, rids, at)
        await self.remove(collection, rids, keep_vectors=True)

    async def expire(self, collection: Collection, rids: Sequence[int], at: int) -> None:
        """Delete rows that have expired."""
        await self._history.rows_expired(collection, rids, at)
        await self.remove(collection, rids, keep_vectors=False)

    async def expire_all(self, collection: Collection, now: int) -> None:
        """Delete all that has expired in a collection."""
        await self._draft.flush()
        found = await self._connection.fetch(
            "SELECT rid FROM memory WHERE cid = $1 AND expires_at <= $2 ORDER BY rid",
            collection.key,
            now,
        )
        if found:
            await self.expire(collection, [rid for (rid,) in found], now)

    async def remove(
        self, collection: Collection, rids: Sequence[int], *, keep_vectors: bool
    ) -> None:
        """Delete rows without a word in the history."""
        tables = ["tag", "token"] if keep_vectors else ["tag", "token", "embedding"]
        for table in tables:
            await self._connection.execute(
                f"DELETE FROM {table} WHERE cid = $1 AND rid = ANY($2::bigint[])",
                collection.key,
                rids,
            )
        gone = await self._connection.fetch(
            "DELETE FROM memory WHERE cid = $1 AND rid = ANY($2::bigint[]) "
            "RETURNING rid, user_id, session_id",
            collection.key,
            rids,
        )
        for rid, user_id, session_id in gone:
            self._keywords.removed(collection.key, rid)
            if session_id is not None:
                self._keywords.around(collection.key, rid, user_id, session_id)
        self._draft.forget()

    async def refresh(self, collection: Collection, ids: Sequence[str], at: int) -> int:
        """Start the times to live of living records anew; how many have one."""
        await self._draft.flush()
        meant = condition(collection, Selection(ids=ids), at, self._dialect)
        status = await self._connection.execute(
            f"UPDATE memory AS m SET expires_at = $1 + ttl WHERE {numbered(meant, first=2)} "
            "AND ttl IS NOT NULL",
            at,
            *meant.parameters,
        )
        self._draft.forget()
        return int(status.split()[-1])

    async def put_tokens(
        self, collection: Collection, given: Sequence[tuple[int, int, bytes]]
    ) -> int:
        """Give rows that have a version still their tokens: (row id, version, tokens) of each."""
        await self._draft.flush()
        rids, versions, tokens = map(list, zip(*given, strict=True))
        status = await self._connection.execute(
            "INSERT INTO token (cid, rid, data) SELECT m.cid, m.rid, n.data "
            "FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS n(rid, version, data) "
            "JOIN memory m ON m.cid = $1 AND m.rid = n.rid AND m.version = n.version "
            "ON CONFLICT (cid, rid) DO UPDATE SET data = excluded.data",
            collection.key,
            rids,
            versions,
            tokens,
        )
        return int(status.split()[-1])
