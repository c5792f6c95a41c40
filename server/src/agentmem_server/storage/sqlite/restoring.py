"""States that a memory had, by its history."""

from dataclasses import replace

import apsw
from agentmem_client.errors import InvalidRequest, NotFound, shown

from .. import Collection, Record, Restore, Update
from . import rows
from .events import IMAGE_COLUMNS


def state(
    connection: apsw.Connection, collection: Collection, current: Record | None, asked: Restore
) -> Record:
    """What a memory was in one of its versions, vectors included; ``current`` is what it is.

    Raises:
        NotFound: the history has no such version, or doesn't keep what it was.
        InvalidRequest: the memory was not there in it.
    """
    if current is not None and rows.is_expired(current, asked.at):
        raise _not_kept(asked)
    if (
        current is not None
        and current.version == asked.version
        and asked.user_id
        in (
            None,
            current.user_id,
        )
    ):
        return replace(current, vectors=rows.vectors(connection, current.seq))
    found = _image(connection, collection, asked.id, asked.version)
    if found is None or (asked.user_id is not None and found.user_id != asked.user_id):
        raise _refusal(connection, collection, asked)
    if rows.is_expired(found, asked.at):
        raise _not_kept(asked)
    found.vectors = _vectors(connection, collection, asked.id, asked.version, current)
    return found


def made(
    connection: apsw.Connection, collection: Collection, current: Record, update: Update
) -> bool:
    """Whether a memory is what an update has made, or would have, of the version it was for."""
    assert update.if_version is not None
    before = _image(connection, collection, update.id, update.if_version)
    if before is None:
        return False
    after = replace(before, **update.changes)
    moved = rows.scope_of(before) != rows.scope_of(after)
    if current.version != update.if_version + (2 if moved else 1):
        return False
    if update.vectors is not None and update.vectors != rows.vectors(connection, current.seq):
        return False
    after = replace(after, updated_at=current.updated_at)
    if update.changes.get("ttl") is not None:
        after = replace(after, expires_at=current.expires_at)
    return after.seq == current.seq and rows.alike(after, current)


def no_version(asked: Restore) -> NotFound:
    """The refusal of what the history doesn't know."""
    return NotFound(
        f"the history of the memory {shown(asked.id)} has no version {asked.version}: list it"
    )


def _not_kept(asked: Restore) -> NotFound:
    return NotFound(
        f"what the memory {shown(asked.id)} was in version {asked.version} is no longer kept"
    )


def _refusal(
    connection: apsw.Connection, collection: Collection, asked: Restore
) -> NotFound | InvalidRequest:
    """Why there is no state of a version."""
    known = connection.execute(
        "SELECT version, action, user_id FROM event WHERE cid = ? AND id = ? AND version >= ? "
        "AND (? IS NULL OR user_id = ?) ORDER BY eid LIMIT 1",
        (collection.key, asked.id, asked.version, asked.user_id, asked.user_id),
    ).fetchone()
    if known is None:
        return no_version(asked)
    if known[0] == asked.version and known[1] in ("deleted", "expired"):
        return InvalidRequest(
            f"the memory {shown(asked.id)} was deleted in version {asked.version}: choose one in "
            "which it was there"
        )
    return _not_kept(asked)


def _image(
    connection: apsw.Connection, collection: Collection, id: str, version: int
) -> Record | None:
    found = connection.execute(
        f"SELECT {IMAGE_COLUMNS} FROM event e JOIN image i USING (eid) "
        "WHERE e.cid = ? AND e.id = ? AND e.version = ?",
        (collection.key, id, version + 1),
    ).fetchone()
    return None if found is None else rows.to_record(found)


def _vectors(
    connection: apsw.Connection,
    collection: Collection,
    id: str,
    version: int,
    current: Record | None,
) -> bytes:
    """The vectors of a version: those that a later event replaced, or that are still there."""
    found = connection.execute(
        "SELECT i.vectors FROM event e JOIN image i USING (eid) WHERE e.cid = ? AND e.id = ? "
        "AND e.version > ? AND i.vectors IS NOT NULL ORDER BY e.eid LIMIT 1",
        (collection.key, id, version),
    ).fetchone()
    if found is not None:
        return bytes(found[0])
    return b"" if current is None else rows.vectors(connection, current.seq)
