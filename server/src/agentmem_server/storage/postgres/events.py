"""Reads of the history: events, each with what its memory was before and after it."""

from collections.abc import Sequence

import asyncpg

from ... import times
from .. import Collection, Event, EventPage, EventsRequest, Record, Scope, event_rows, labels
from ..memory_rows import COLUMNS, IMAGE_COLUMNS, to_record
from ..sql import Dialect, Sql
from . import rows
from .connections import Connection
from .dialect import numbered


async def history(
    connection: Connection,
    collection: Collection,
    id: str,
    user_id: str | None,
    after: int,
    limit: int,
) -> EventPage:
    """Events of one memory, by their ids, those after one."""
    condition = event_rows.of_memory(collection, id, user_id, after)
    return await _read(connection, condition, EventsRequest(after, limit))


async def events(
    connection: Connection, dialect: Dialect, tenant: str, request: EventsRequest
) -> EventPage:
    """Events of a tenant, by their ids."""
    condition = event_rows.of_tenant(tenant, request, dialect)
    return await _read(connection, condition, request)


async def last_event(connection: Connection) -> int:
    """The id of the last event, whether it is kept or not."""
    found: int = await connection.fetchval("SELECT eid FROM clock")
    return found


async def forgotten(connection: Connection) -> int:
    """The id of the last event that is no longer kept."""
    found: int = await connection.fetchval("SELECT forgotten FROM clock")
    return found


async def erased(connection: Connection, after: int) -> list[tuple[int, str, str]]:
    """The erasures that are kept after an event: its id, the tenant and the user, by the id."""
    found = await connection.fetch(
        "SELECT eid, tenant, user_id FROM event WHERE action = 'erased' AND eid > $1 ORDER BY eid",
        after,
    )
    return [(eid, tenant, user_id) for eid, tenant, user_id in found]


_LONG = ("content", "metadata", "payload", "index_texts", "sources")


def _size(table: str) -> str:
    """The bytes of what can be long in a row; PostgreSQL knows them without reading it."""
    parts = [f"coalesce(octet_length({table}.{name}), 0)" for name in _LONG]
    return f"({' + '.join(parts)})"


_NOW_AS_AFTER = "n.eid IS NULL AND e.action IN ('added', 'updated')"
_FOUND = f"""
SELECT e.eid, e.action, e.at, e.collection, e.id, e.version, e.user_id, e.agent_id, e.session_id,
    e.namespace, e.cid, m.rid, m.expires_at, i.eid AS before, f.eid AS after,
    {_NOW_AS_AFTER} AS is_last,
    {_size("i")} + {_size("f")} + CASE WHEN {_NOW_AS_AFTER} THEN {_size("m")} ELSE 0 END AS size
FROM (SELECT * FROM event e WHERE {{condition}} ORDER BY e.eid LIMIT $1) e
LEFT JOIN memory m ON m.cid = e.cid AND m.id = e.id
LEFT JOIN LATERAL (
    SELECT n.eid FROM event n
    WHERE n.cid = e.cid AND n.id = e.id AND n.eid > e.eid AND e.action IN ('added', 'updated')
    ORDER BY n.eid LIMIT 1
) n ON true
LEFT JOIN image i ON i.eid = e.eid
LEFT JOIN image f ON f.eid = n.eid
ORDER BY e.eid
"""
"""Events ``e``, each with the memory ``m`` that has its id, the memory's next event ``n`` where it
was there after this one, and the images of both: what it was before the event, and after it."""


async def _read(connection: Connection, condition: Sql, request: EventsRequest) -> EventPage:
    now = times.now()
    async with rows.snapshot(connection):
        found = await connection.fetch(
            _FOUND.format(condition=numbered(condition, 2)),
            request.limit + 1,
            *condition.parameters,
        )
        fitting, size = _fitting(found, request)
        images = await _images(connection, fitting, now)
        memories = await _memories(connection, fitting)
    told = [_event(row, images, memories, now) for row in fitting]
    return EventPage(told, len(fitting) < len(found), size)


def _fitting(
    found: Sequence[asyncpg.Record], request: EventsRequest
) -> tuple[Sequence[asyncpg.Record], int]:
    """As many of these events as may come at once, and the bytes that they tell of."""
    whole = 0
    for number, row in enumerate(found[: request.limit]):
        if whole + row["size"] > request.max_bytes and (number or not request.large):
            return found[:number], whole
        whole += row["size"]
    return found[: request.limit], whole


async def _images(
    connection: Connection, events: Sequence[asyncpg.Record], now: int
) -> dict[int | None, Record]:
    """Images by the ids of their events, those that have expired left out."""
    eids = {eid for row in events for eid in (row["before"], row["after"]) if eid is not None}
    if not eids:
        return {}
    found = await connection.fetch(
        f"SELECT i.eid, {IMAGE_COLUMNS} FROM image i JOIN event e USING (eid) "
        "WHERE i.eid = ANY($1::bigint[]) AND (i.expires_at IS NULL OR i.expires_at > $2)",
        list(eids),
        now,
    )
    return {row[0]: to_record(row[1:]) for row in found}


async def _memories(
    connection: Connection, events: Sequence[asyncpg.Record]
) -> dict[int | None, Record]:
    """What the memories of these events are, where that is what they were after them."""
    keys = {(row["cid"], row["rid"]) for row in events if row["is_last"] and row["rid"] is not None}
    if not keys:
        return {}
    cids, rids = zip(*keys, strict=True)
    found = await connection.fetch(
        f"SELECT m.rid, {COLUMNS} FROM unnest($1::bigint[], $2::bigint[]) AS k(cid, rid) "
        "JOIN memory m ON m.cid = k.cid AND m.rid = k.rid",
        cids,
        rids,
    )
    return {row[0]: to_record(row[1:]) for row in found}


def _event(
    row: asyncpg.Record,
    images: dict[int | None, Record],
    memories: dict[int | None, Record],
    now: int,
) -> Event:
    before = images.get(row["before"])
    after = memories.get(row["rid"]) if row["is_last"] else images.get(row["after"])
    if row["expires_at"] is not None and row["expires_at"] <= now:
        before, after = _unless_of(row["rid"], before), _unless_of(row["rid"], after)
    namespace = row["namespace"]
    return Event(
        id=row["eid"],
        action=row["action"],
        at=row["at"],
        collection=row["collection"],
        record_id=row["id"],
        version=row["version"],
        scope=Scope(
            row["user_id"],
            row["agent_id"],
            row["session_id"],
            None if namespace is None else labels.decode(namespace),
        ),
        before=before,
        after=after,
    )


def _unless_of(rid: int, state: Record | None) -> Record | None:
    """A state, unless it is one of this row's, which has expired."""
    return None if state is None or state.seq == rid else state
