"""The history: an event for each change of a memory, and what the memory was before.

All of it is written in the change's own transaction, before the memory's rows change. What a memory
was after an event is what it was before its next one, or is now; so a new memory costs one small
row, and a change one copy.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import apsw
from agentmem_client.models import Action

from .. import Collection, Record, Scope, Update, event_rows, labels

_KEPT = (
    "rid, content, metadata, type, importance, event_at, expires_at, created_at, updated_at, "
    "payload, ttl, archived, index_texts, sources"
)
"""What an image copies of a memory's row."""
_INSERT_IMAGE = (
    f"INSERT INTO image (eid, {_KEPT}, vectors) "
    f"VALUES ({', '.join('?' * (len(_KEPT.split(',')) + 2))})"
)

_INSERT_EVENT = (
    "INSERT INTO event (tenant, cid, collection, id, version, action, at, user_id, agent_id, "
    "session_id, namespace, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def first_version(connection: apsw.Connection, collection: Collection, id: str) -> int:
    """The version of a new memory: after the last one that its id had, in as far as it is known."""
    found = connection.execute(
        "SELECT version FROM event WHERE cid = ? AND id = ? ORDER BY eid DESC LIMIT 1",
        (collection.key, id),
    ).fetchone()
    return 1 if found is None else cast("int", found[0]) + 1


Added: TypeAlias = tuple[Collection, Record, int]
"""A memory that is new, its version given, and when that is."""


def added(connection: apsw.Connection, memories: Sequence[Added]) -> None:
    """Memories are new."""
    connection.executemany(
        _INSERT_EVENT,
        [
            _row(collection, "added", record, record.version, at)
            for collection, record, at in memories
        ],
    )


def changed(
    connection: apsw.Connection,
    collection: Collection,
    before: Record,
    after: Record,
    at: int,
    idempotency_key: str | None = None,
) -> None:
    """A memory is about to change; the new state gets its version."""
    if before.scope == after.scope:
        after.version = before.version + 1
        eid = _event(connection, collection, "updated", before, after.version, at, idempotency_key)
        _keep(connection, eid, before.seq, after.vectors, stay=after.vectors is None)
    else:
        moved(connection, collection, before, at)
        after.version = before.version + 2
        _event(connection, collection, "added", after, after.version, at)


def was_made(connection: apsw.Connection, collection: Collection, update: Update) -> bool:
    """Whether an update of one version was made before, by the key that it came with."""
    if update.if_version is None or update.idempotency_key is None:
        return False
    found = connection.execute(
        "SELECT 1 FROM event WHERE cid = ? AND id = ? AND version = ? AND idempotency_key = ?",
        (collection.key, update.id, update.if_version + 1, update.idempotency_key),
    ).fetchone()
    return found is not None


def deleted(connection: apsw.Connection, collection: Collection, before: Record, at: int) -> None:
    """A memory is about to be deleted; its vectors stay."""
    eid = _event(connection, collection, "deleted", before, before.version + 1, at)
    _keep(connection, eid, before.seq, None, stay=True)


def moved(connection: apsw.Connection, collection: Collection, before: Record, at: int) -> None:
    """A memory is about to leave its scope."""
    eid = _event(connection, collection, "deleted", before, before.version + 1, at)
    _keep(connection, eid, before.seq, None, stay=False)


def restored(connection: apsw.Connection, collection: Collection, state: Record, at: int) -> None:
    """A deleted memory is about to come back as it was once, under the row id that it had."""
    _event(connection, collection, "added", state, state.version, at)
    # The vectors that stayed are no longer the deleted one's alone.
    connection.execute(
        "UPDATE image SET vectors = coalesce((SELECT data FROM vector WHERE rid = ?1), x'') "
        "WHERE eid = (SELECT max(eid) FROM image WHERE rid = ?1) AND vectors IS NULL",
        (state.seq,),
    )


def expired(connection: apsw.Connection, collection: Collection, before: Record, at: int) -> None:
    """A memory that has expired is about to be deleted: nothing of what it was stays.

    What had its id before it was another memory, perhaps another user's.
    """
    _event(connection, collection, "expired", before, before.version + 1, at)
    _remove_images(connection, "rid = ?", (before.seq,))


def cleared(connection: apsw.Connection, collection: Collection, at: int) -> None:
    """All memories of a collection are about to be deleted: each has its event."""
    _remove_images(
        connection,
        "rid IN (SELECT rid FROM memory WHERE cid = ? AND expires_at <= ?)",
        (collection.key, at),
    )
    _all_events(connection, collection, "expired", "expires_at <= ?", at)
    living = "(expires_at IS NULL OR expires_at > ?)"
    connection.execute(
        f"INSERT INTO image (eid, {_KEPT}) SELECT ? + row_number() OVER (ORDER BY rid), {_KEPT} "
        f"FROM memory WHERE cid = ? AND {living}",
        (last_event(connection), collection.key, at),
    )
    _all_events(connection, collection, "deleted", living, at)


def dropped(connection: apsw.Connection, collection: Collection) -> None:
    """A collection is about to go: no memory comes back into it."""
    connection.execute(
        "DELETE FROM vector WHERE rid IN "
        "(SELECT i.rid FROM event e JOIN image i USING (eid) WHERE e.cid = ?)",
        (collection.key,),
    )


def places(connection: apsw.Connection, tenant: str, user_id: str) -> set[int]:
    """The keys of the collections that a user's events are of; some may be gone."""
    found = connection.execute(
        "SELECT DISTINCT cid FROM event WHERE tenant = ? AND user_id = ? AND cid IS NOT NULL",
        (tenant, user_id),
    )
    return {cid for (cid,) in cast("list[tuple[int]]", found.fetchall())}


def erased(connection: apsw.Connection, tenant: str, user_id: str, at: int) -> int:
    """All of a user's memories are gone: so is their history, how many events that was."""
    user = (tenant, user_id)
    _remove_images(
        connection, "eid IN (SELECT eid FROM event WHERE tenant = ? AND user_id = ?)", user
    )
    connection.execute(
        "DELETE FROM event WHERE tenant = ? AND user_id = ? AND id IS NOT NULL", user
    )
    removed = connection.changes()
    connection.execute("DELETE FROM event WHERE tenant = ? AND user_id = ?", user)  # said before
    connection.execute(
        "INSERT INTO event (tenant, action, at, user_id) VALUES (?, 'erased', ?, ?)",
        (tenant, at, user_id),
    )
    return removed


def forget(connection: apsw.Connection, before: int, now: int, limit: int) -> int:
    """Remove events from before a time, and images that have expired; ``limit`` of each."""
    oldest = connection.execute("SELECT eid, at FROM event ORDER BY eid LIMIT ?", (limit,))
    last = 0
    for eid, at in cast("list[tuple[int, int]]", oldest.fetchall()):
        if at >= before:
            break
        last = eid
    _remove_images(connection, "eid <= ?", (last,))
    connection.execute("DELETE FROM event WHERE eid <= ?", (last,))
    removed = connection.changes()
    if removed:
        connection.execute("UPDATE forgotten SET eid = ?", (last,))
    return removed + _forget_expired(connection, now, limit)


def _forget_expired(connection: apsw.Connection, now: int, limit: int) -> int:
    gone = connection.execute(
        "SELECT eid, rid, vectors FROM image WHERE expires_at <= ? LIMIT ?", (now, limit)
    ).fetchall()
    for eid, rid, vectors in gone:
        if vectors is not None:
            # An earlier state may have had the same vectors, and has them from here.
            connection.execute(
                "UPDATE image SET vectors = ? WHERE vectors IS NULL AND eid = "
                "(SELECT max(eid) FROM image WHERE rid = ? AND eid < ?)",
                (vectors, rid, eid),
            )
        _remove_images(connection, "eid = ?", (eid,))
    return len(gone)


def _remove_images(
    connection: apsw.Connection, condition: str, parameters: tuple[Any, ...]
) -> None:
    """Remove images, and what only they needed of the vectors of deleted memories."""
    found = connection.execute(
        f"DELETE FROM image WHERE {condition} RETURNING rid", parameters
    ).fetchall()
    connection.executemany(
        "DELETE FROM vector WHERE rid = ?1 AND NOT EXISTS (SELECT 1 FROM memory WHERE rid = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM image WHERE vectors IS NULL "
        "AND eid = (SELECT max(eid) FROM image WHERE rid = ?1))",
        set(cast("list[tuple[int]]", found)),
    )


def last_event(connection: apsw.Connection) -> int:
    """The id of the last event, whether it is kept or not."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return 0 if found is None else cast("int", found[0])


def has_events(
    connection: apsw.Connection, collection: Collection, scope: Scope, after: int, until: int
) -> bool:
    """Whether there are events of a very scope after one event and up to another one."""
    condition = event_rows.of_scope(collection, scope, after, until)
    found = connection.execute(
        f"SELECT 1 FROM event e WHERE {condition.text} LIMIT 1", condition.parameters
    )
    return after < until and found.fetchone() is not None


def last_forgotten(connection: apsw.Connection) -> int:
    """The id of the last event that is no longer kept."""
    return cast("int", connection.execute("SELECT eid FROM forgotten").get)


def _event(
    connection: apsw.Connection,
    collection: Collection,
    action: Action,
    record: Record,
    version: int,
    at: int,
    idempotency_key: str | None = None,
) -> int:
    connection.execute(
        _INSERT_EVENT, _row(collection, action, record, version, at, idempotency_key)
    )
    return connection.last_insert_rowid()


def _row(
    collection: Collection,
    action: Action,
    record: Record,
    version: int,
    at: int,
    idempotency_key: str | None = None,
) -> tuple[object, ...]:
    return (
        collection.tenant,
        collection.key,
        collection.name,
        record.id,
        version,
        action,
        at,
        record.user_id,
        record.agent_id,
        record.session_id,
        None if record.namespace is None else labels.encode(record.namespace),
        idempotency_key,
    )


def _keep(
    connection: apsw.Connection, eid: int, rid: int, vectors: bytes | None, *, stay: bool
) -> None:
    """The image of a memory as it is; its vectors unless they stay or the new ones are the same."""
    image = connection.execute(
        f"SELECT ?, {_KEPT}, CASE WHEN ? THEN NULL ELSE nullif(coalesce((SELECT data FROM vector v "
        "WHERE v.rid = memory.rid), x''), ?) END FROM memory WHERE rid = ?",
        (eid, stay, vectors, rid),
    ).fetchone()
    # Not INSERT … SELECT: it can fail half-way, and so FTS5 would write out all it has before it.
    connection.execute(_INSERT_IMAGE, image)


def _all_events(
    connection: apsw.Connection, collection: Collection, action: Action, condition: str, at: int
) -> None:
    """The same event for all memories of a collection that meet a condition, by their seq."""
    connection.execute(
        "INSERT INTO event SELECT ? + row_number() OVER (ORDER BY rid), ?, cid, ?, id, "
        "version + 1, ?, ?, user_id, agent_id, session_id, namespace, NULL FROM memory "
        f"WHERE cid = ? AND {condition}",
        (
            last_event(connection),
            collection.tenant,
            collection.name,
            action,
            at,
            collection.key,
            at,
        ),
    )
