"""States that a memory had, by its history."""

from dataclasses import replace

import apsw
from agentmem_client.errors import InvalidRequest, NotFound

from .. import Collection, Record, Restore, rules
from ..memory_rows import IMAGE_COLUMNS, to_record
from . import rows


def state(
    connection: apsw.Connection, collection: Collection, current: Record | None, asked: Restore
) -> Record:
    """What a memory was in one of its versions, vectors included; ``current`` is what it is.

    Raises:
        NotFound: the history has no such version, or doesn't keep what it was.
        InvalidRequest: the memory was not there in it.
    """
    ended = None
    if current is not None and current.is_expired(asked.at):
        ended, current = current.seq, None
    if current is not None and asked.user_id not in (None, current.user_id):
        current = None
    if current is not None and current.version == asked.version:
        return replace(current, vectors=rows.vectors(connection, current.seq))
    found = _image(connection, collection, asked.id, asked.version)
    if found is None or asked.user_id not in (None, found.user_id):
        raise _refusal(connection, collection, current, asked)
    if found.is_expired(asked.at) or found.seq == ended:
        raise rules.not_kept(asked)
    return found


def _refusal(
    connection: apsw.Connection, collection: Collection, current: Record | None, asked: Restore
) -> NotFound | InvalidRequest:
    """Why there is no state of a version."""
    known = connection.execute(
        "SELECT version, action FROM event WHERE cid = ? AND id = ? AND version >= ? "
        "AND (? IS NULL OR user_id = ?) ORDER BY eid LIMIT 1",
        (collection.key, asked.id, asked.version, asked.user_id, asked.user_id),
    ).fetchone()
    if known is not None and known[0] == asked.version and known[1] in ("deleted", "expired"):
        return rules.was_not_there(asked)
    if known is not None or (current is not None and asked.version < current.version):
        return rules.not_kept(asked)
    return rules.no_version(asked)


def _image(
    connection: apsw.Connection, collection: Collection, id: str, version: int
) -> Record | None:
    found = connection.execute(
        f"SELECT {IMAGE_COLUMNS}, i.eid FROM event e JOIN image i USING (eid) "
        "WHERE e.cid = ? AND e.id = ? AND e.version = ?",
        (collection.key, id, version + 1),
    ).fetchone()
    if found is None:
        return None
    record = to_record(found[:-1])
    record.vectors = _vectors(connection, record, since=found[-1])
    return record


def _vectors(connection: apsw.Connection, state: Record, since: int) -> bytes:
    """The vectors of an image: its own or a later one's, or those that are still there."""
    found = connection.execute(
        "SELECT vectors FROM image WHERE rid = ? AND eid >= ? AND vectors IS NOT NULL "
        "ORDER BY eid LIMIT 1",
        (state.seq, since),
    ).fetchone()
    return rows.vectors(connection, state.seq) if found is None else bytes(found[0])
