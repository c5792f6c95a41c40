"""The history: an event for each change of a memory, and what the memory was before.

All of it is written in the change's own transaction. What a memory was after an event is what it
was before its next one, or is now; so a new memory costs one small row, and a change one copy.
"""

from collections.abc import Sequence

from agentmem_client.models import Action

from .. import Collection, Record, Scope, Update, event_rows
from .clock import Clock
from .connections import Connection
from .dialect import numbered
from .draft import Draft, Entry, Key, namespace_text

_KEPT = (
    "rid, content, metadata, type, importance, event_at, expires_at, created_at, updated_at, "
    "payload, ttl, archived, index_texts, sources"
)
"""What an image copies of a memory's row."""

_THEIR_VECTORS = """
DELETE FROM embedding v USING unnest($1::bigint[], $2::bigint[]) AS gone(cid, rid)
WHERE v.cid = gone.cid AND v.rid = gone.rid
AND NOT EXISTS (SELECT FROM memory m WHERE m.cid = gone.cid AND m.rid = gone.rid)
AND NOT EXISTS (
    SELECT FROM image i WHERE i.vectors IS NULL
    AND i.eid = (SELECT max(eid) FROM image WHERE rid = gone.rid)
)
"""
"""Vectors of deleted memories whose last image doesn't need them."""


class History:
    """What the transaction under way adds to the history, and what it takes from it.

    What one memory's change adds goes to the draft; what is done to many rows at once goes to the
    tables, so that the draft must be flushed before.
    """

    def __init__(self, connection: Connection, clock: Clock, draft: Draft) -> None:
        self._connection = connection
        self._clock = clock
        self._draft = draft
        self._had: dict[tuple[int, Scope, int], bool] = {}

    async def has_events(
        self, collection: Collection, scope: Scope, after: int, until: int
    ) -> bool:
        """Whether there are events of a very scope after one event and up to another one."""
        if after >= until:
            return False
        key = (collection.key, scope, after)
        if key not in self._had:
            condition = event_rows.of_scope(collection, scope, after, until)
            self._had[key] = await self._connection.fetchval(
                f"SELECT EXISTS (SELECT FROM event e WHERE {numbered(condition)})",
                *condition.parameters,
            )
        return self._had[key]

    def added(self, collection: Collection, record: Record, at: int) -> None:
        """A memory is new; its version is given."""
        self._event(collection, "added", record, record.version, at)

    def changed(
        self,
        collection: Collection,
        entry: Entry,
        after: Record,
        at: int,
        idempotency_key: str | None = None,
    ) -> None:
        """A memory is about to change; the new state gets its version."""
        before = entry.record
        assert before is not None
        if before.scope == after.scope:
            after.version = before.version + 1
            eid = self._event(collection, "updated", before, after.version, at, idempotency_key)
            stay = after.vectors is None or after.vectors == entry.vectors
            self._draft.add_image(eid, collection, before, None if stay else entry.vectors)
            return
        eid = self._event(collection, "deleted", before, before.version + 1, at)
        self._draft.add_image(eid, collection, before, entry.vectors)
        after.version = before.version + 2
        self._event(collection, "added", after, after.version, at)

    def deleted(self, collection: Collection, before: Record, at: int) -> None:
        """A memory is about to be deleted; its vectors stay."""
        eid = self._event(collection, "deleted", before, before.version + 1, at)
        self._draft.add_image(eid, collection, before, None)

    def expired(self, collection: Collection, before: Record, at: int) -> None:
        """A memory that has expired is about to be deleted: nothing of what it was stays."""
        self._event(collection, "expired", before, before.version + 1, at)
        self._draft.remove_images(before.seq)

    async def was_made(self, collection: Collection, update: Update) -> bool:
        """Whether an update of one version was made before, by the key that it came with."""
        if update.if_version is None or update.idempotency_key is None:
            return False
        version, key = update.if_version + 1, update.idempotency_key
        if self._draft.was_made(collection.key, update.id, version, key):
            return True
        return bool(
            await self._connection.fetchval(
                "SELECT EXISTS (SELECT FROM event WHERE cid = $1 AND id = $2 AND version = $3 "
                "AND idempotency_key = $4)",
                collection.key,
                update.id,
                version,
                key,
            )
        )

    async def restored(self, collection: Collection, state: Record, vectors: bytes) -> None:
        """A deleted memory comes back: its vectors that stayed are no longer its image's alone."""
        await self._connection.execute(
            "UPDATE image SET vectors = $2 "
            "WHERE eid = (SELECT max(eid) FROM image WHERE rid = $1) AND vectors IS NULL",
            state.seq,
            vectors,
        )

    async def rows_deleted(self, collection: Collection, rids: Sequence[int], at: int) -> None:
        """Rows are about to be deleted, in this order; their vectors stay."""
        await self._images(collection, rids)
        await self._events(collection, "deleted", rids, at)

    async def rows_expired(self, collection: Collection, rids: Sequence[int], at: int) -> None:
        """Rows that have expired are about to be deleted: nothing of what they were stays."""
        await self._remove_images("rid = ANY($1::bigint[])", rids)
        await self._events(collection, "expired", rids, at)

    async def dropped(self, collection: Collection) -> None:
        """A collection is about to go: no memory comes back into it."""
        await self._connection.execute("DELETE FROM embedding WHERE cid = $1", collection.key)

    async def erased(self, tenant: str, user_id: str, at: int) -> int:
        """All of a user's memories are gone: so is their history, how many events that was."""
        await self._remove_images(
            "eid IN (SELECT eid FROM event WHERE tenant = $1 AND user_id = $2)", tenant, user_id
        )
        removed: int = await self._connection.fetchval(
            "WITH gone AS (DELETE FROM event WHERE tenant = $1 AND user_id = $2 RETURNING id) "
            "SELECT count(id) FROM gone",  # without an id are those that said this before
            tenant,
            user_id,
        )
        nothing = (None, None, None, None)
        event = (tenant, *nothing, "erased", at, user_id, *nothing)
        self._draft.add_event(self._clock.next_eid(), event)
        return removed

    async def forget(self, before: int, now: int, limit: int) -> int:
        """Remove events from before a time, and images that have expired; ``limit`` of each."""
        last = await self._connection.fetchval(
            "SELECT coalesce(min(eid) FILTER (WHERE at >= $1) - 1, max(eid)) "
            "FROM (SELECT eid, at FROM event ORDER BY eid LIMIT $2) AS oldest",
            before,
            limit,
        )
        removed = 0
        if last is not None:
            await self._remove_images("eid <= $1", last)
            removed = await self._connection.fetchval(
                "WITH gone AS (DELETE FROM event WHERE eid <= $1 RETURNING eid) "
                "SELECT count(*) FROM gone",
                last,
            )
        if removed:
            self._clock.forgotten = last
        return removed + await self._forget_expired(now, limit)

    async def _forget_expired(self, now: int, limit: int) -> int:
        gone = await self._connection.fetch(
            "SELECT eid, rid, vectors FROM image WHERE expires_at <= $1 LIMIT $2", now, limit
        )
        for eid, rid, vectors in gone:
            if vectors is not None:
                # An earlier state may have had the same vectors, and has them from here.
                await self._connection.execute(
                    "UPDATE image SET vectors = $1 WHERE vectors IS NULL AND eid = "
                    "(SELECT max(eid) FROM image WHERE rid = $2 AND eid < $3)",
                    vectors,
                    rid,
                    eid,
                )
            await self._remove_images("eid = $1", eid)
        return len(gone)

    async def _remove_images(self, condition: str, *parameters: object) -> None:
        """Remove images, and what only they needed of the vectors of deleted memories."""
        found = await self._connection.fetch(
            f"DELETE FROM image WHERE {condition} RETURNING cid, rid", *parameters
        )
        keys: set[Key] = {(cid, rid) for cid, rid in found}
        if keys:
            await self._connection.execute(
                _THEIR_VECTORS, [cid for cid, _ in keys], [rid for _, rid in keys]
            )

    def _event(
        self,
        collection: Collection,
        action: Action,
        record: Record,
        version: int,
        at: int,
        idempotency_key: str | None = None,
    ) -> int:
        eid = self._clock.next_eid()
        of = (collection.tenant, collection.key, collection.name)
        scope = (record.user_id, record.agent_id, record.session_id, namespace_text(record))
        self._draft.add_event(
            eid,
            (*of, record.id, version, action, at, *scope, idempotency_key),
        )
        return eid

    async def _images(self, collection: Collection, rids: Sequence[int]) -> None:
        """Images of rows as they are, for the events that come next."""
        await self._connection.execute(
            f"INSERT INTO image (eid, cid, {_KEPT}) "
            "SELECT $3 + n.place, m.cid, m." + _KEPT.replace(", ", ", m.") + " "
            "FROM unnest($2::bigint[]) WITH ORDINALITY AS n(rid, place) "
            "JOIN memory m ON m.cid = $1 AND m.rid = n.rid",
            collection.key,
            rids,
            self._clock.eid,
        )

    async def _events(
        self, collection: Collection, action: Action, rids: Sequence[int], at: int
    ) -> None:
        """The same event for rows that are there, in this order."""
        await self._connection.execute(
            "INSERT INTO event SELECT $3 + n.place, $4, m.cid, $5, m.id, m.version + 1, $6, $7, "
            "m.user_id, m.agent_id, m.session_id, m.namespace, NULL "
            "FROM unnest($2::bigint[]) WITH ORDINALITY AS n(rid, place) "
            "JOIN memory m ON m.cid = $1 AND m.rid = n.rid",
            collection.key,
            rids,
            self._clock.eid,
            collection.tenant,
            collection.name,
            action,
            at,
        )
        self._clock.eid += len(rids)
