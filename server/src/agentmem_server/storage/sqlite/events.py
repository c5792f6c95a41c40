"""Reads of the history: events, each with what its memory was before and after it."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import apsw
from pydantic_core import to_json

from ... import times
from .. import Collection, Event, EventPage, EventsRequest, Record, Scope, event_rows, labels
from ..memory_rows import COLUMNS, IMAGE_COLUMNS, to_record
from ..sql import Sql
from . import rows

_EVENT_COLUMNS = (
    "e.eid, e.action, e.at, e.collection, e.id, e.version, "
    "e.user_id, e.agent_id, e.session_id, e.namespace"
)


def history(
    connection: apsw.Connection,
    collection: Collection,
    id: str,
    user_id: str | None,
    after: int,
    limit: int,
) -> EventPage:
    """Events of one memory, by their ids, those after one."""
    condition = event_rows.of_memory(collection, id, user_id, after)
    return _read(connection, condition, EventsRequest(after, limit))


def events(connection: apsw.Connection, tenant: str, request: EventsRequest) -> EventPage:
    """Events of a tenant, by their ids."""
    condition = event_rows.of_tenant(tenant, request, rows.SQLITE)
    return _read(connection, condition, request)


def _read(connection: apsw.Connection, condition: Sql, request: EventsRequest) -> EventPage:
    now = times.now()
    with rows.snapshot(connection):
        found: list[Any] = connection.execute(
            f"SELECT {_EVENT_COLUMNS}, m.rid, m.expires_at, CASE WHEN e.action IN "
            "('added', 'updated') THEN (SELECT min(n.eid) FROM event n WHERE n.cid = e.cid "
            "AND n.id = e.id AND n.eid > e.eid) END "
            "FROM event e LEFT JOIN memory m ON m.cid = e.cid AND m.id = e.id "
            f"WHERE {condition.text} ORDER BY e.eid LIMIT ?",
            (*condition.parameters, request.limit + 1),
        ).fetchall()
        fitting, size = _fitting(connection, found, request)
        images = _images(connection, [eid for row in fitting for eid in (row[0], row[-1])], now)
        memories = _memories(connection, [row[-3] for row in fitting if _is_last(row)])
    answer = []
    for row in fitting:
        *columns, rid, expires_at, following = row
        eid, action, at, collection, id, version, user, agent, session, namespace = columns
        before, after = images.get(eid), images.get(following)
        if _is_last(row):
            after = memories.get(rid)
        if expires_at is not None and expires_at <= now:
            before, after = _unless_of(rid, before), _unless_of(rid, after)
        scope = Scope(user, agent, session, labels.decode(namespace) if namespace else None)
        answer.append(Event(eid, action, at, collection, id, version, scope, before, after))
    return EventPage(answer, len(fitting) < len(found), size)


def _is_last(row: Any) -> bool:
    """Whether the memory is now what it was after an event."""
    return row[-1] is None and row[1] in ("added", "updated")


def _fitting(
    connection: apsw.Connection, found: Sequence[Any], request: EventsRequest
) -> tuple[Sequence[Any], int]:
    """As many of these events as may come at once, and the bytes that they tell of."""
    images = _sizes(connection, "image", "eid", [eid for row in found for eid in (row[0], row[-1])])
    memories = _sizes(connection, "memory", "rid", [row[-3] for row in found if _is_last(row)])
    whole = 0
    for number, row in enumerate(found[: request.limit]):
        size = images.get(row[0], 0) + images.get(row[-1], 0)
        if _is_last(row):
            size += memories.get(row[-3], 0)
        if whole + size > request.max_bytes and (number or not request.large):
            return found[:number], whole
        whole += size
    return found[: request.limit], whole


def _sizes(
    connection: apsw.Connection, table: str, key: str, keys: Iterable[int | None]
) -> dict[int, int]:
    """The bytes of what can be long in a row; SQLite knows them without reading it."""
    wanted = to_json([one for one in set(keys) if one is not None]).decode()
    found = connection.execute(
        f"SELECT {key}, octet_length(content) + octet_length(metadata) "
        "+ coalesce(octet_length(payload), 0) + coalesce(octet_length(index_texts), 0) "
        "+ coalesce(octet_length(sources), 0) "
        f"FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))",
        (wanted,),
    ).fetchall()
    return dict(cast("list[tuple[int, int]]", found))


def _unless_of(rid: int, state: Record | None) -> Record | None:
    """A state, unless it is one of this row's, which has expired."""
    return None if state is None or state.seq == rid else state


def _images(connection: apsw.Connection, eids: Iterable[int | None], now: int) -> dict[int, Record]:
    """Images by the ids of their events, those that have expired left out."""
    return {
        row[0]: to_record(row[1:])
        for row in connection.execute(
            f"SELECT i.eid, {IMAGE_COLUMNS} FROM image i JOIN event e USING (eid) "
            "WHERE i.eid IN (SELECT value FROM json_each(?)) "
            "AND (i.expires_at IS NULL OR i.expires_at > ?)",
            (to_json([eid for eid in eids if eid is not None]).decode(), now),
        )
    }


def _memories(connection: apsw.Connection, rids: Iterable[int | None]) -> dict[int, Record]:
    wanted = [rid for rid in set(rids) if rid is not None]
    return {
        row[0]: to_record(row[1:])
        for row in connection.execute(
            f"SELECT m.rid, {COLUMNS} FROM memory m "
            "WHERE m.rid IN (SELECT value FROM json_each(?))",
            (to_json(wanted).decode(),),
        )
    }
