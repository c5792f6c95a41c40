"""States that a memory had, by its history."""

from dataclasses import replace

from agentmem_client.errors import InvalidRequest, NotFound

from .. import Collection, Record, Restore, rules
from ..memory_rows import IMAGE_COLUMNS, to_record
from . import vectors as vector_rows
from .connections import Connection


async def state(
    connection: Connection, collection: Collection, current: Record | None, asked: Restore
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
        return replace(current, vectors=await vectors(connection, collection.key, current.seq))
    found = await _image(connection, collection, asked.id, asked.version)
    if found is None or asked.user_id not in (None, found.user_id):
        raise await _refusal(connection, collection, current, asked)
    if found.is_expired(asked.at) or found.seq == ended:
        raise rules.not_kept(asked)
    return found


async def vectors(connection: Connection, cid: int, rid: int) -> bytes:
    """The vectors of a row, one after the other; empty where it has none."""
    row = await connection.fetchrow(
        f"SELECT {vector_rows.COLUMNS} FROM (SELECT $1::bigint AS cid, $2::bigint AS rid) m",
        cid,
        rid,
    )
    assert row is not None
    return vector_rows.as_given(*row)


async def _refusal(
    connection: Connection, collection: Collection, current: Record | None, asked: Restore
) -> NotFound | InvalidRequest:
    """Why there is no state of a version."""
    known = await connection.fetchrow(
        "SELECT version, action FROM event WHERE cid = $1 AND id = $2 AND version >= $3 "
        "AND ($4::text IS NULL OR user_id = $4) ORDER BY eid LIMIT 1",
        collection.key,
        asked.id,
        asked.version,
        asked.user_id,
    )
    if known is not None and known[0] == asked.version and known[1] in ("deleted", "expired"):
        return rules.was_not_there(asked)
    if known is not None or (current is not None and asked.version < current.version):
        return rules.not_kept(asked)
    return rules.no_version(asked)


async def _image(
    connection: Connection, collection: Collection, id: str, version: int
) -> Record | None:
    found = await connection.fetchrow(
        f"SELECT {IMAGE_COLUMNS}, i.eid FROM event e JOIN image i USING (eid) "
        "WHERE e.cid = $1 AND e.id = $2 AND e.version = $3",
        collection.key,
        id,
        version + 1,
    )
    if found is None:
        return None
    record = to_record(found[:-1])
    record.vectors = await _vectors(connection, collection, record, since=found[-1])
    return record


async def _vectors(
    connection: Connection, collection: Collection, state: Record, since: int
) -> bytes:
    """The vectors of an image: its own or a later one's, or those that are still there."""
    found: bytes | None = await connection.fetchval(
        "SELECT vectors FROM image WHERE rid = $1 AND eid >= $2 AND vectors IS NOT NULL "
        "ORDER BY eid LIMIT 1",
        state.seq,
        since,
    )
    return await vectors(connection, collection.key, state.seq) if found is None else found
