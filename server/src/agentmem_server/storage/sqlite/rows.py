"""Rows of the table ``memory``: which are meant, and what they hold."""

from collections.abc import Sequence
from typing import Any

import apsw
from pydantic_core import from_json, to_json

from .. import Collection, Record, Selection, labels
from ..filter_sql import SQLITE, Sql, compile_filter

COLUMNS = (
    "m.id, m.content, m.metadata, m.user_id, m.agent_id, m.session_id, m.type, m.importance, "
    "m.event_at, m.expires_at, m.created_at, m.updated_at, m.payload, m.namespace, m.ttl, "
    "m.archived, m.index_texts, m.rid"
)
"""What `to_record` reads, in its order; the vectors may follow."""

_EXPIRES_AT = 9


def to_record(row: Sequence[Any]) -> Record:
    """The record of a row of `COLUMNS`, and of its vectors if there is one column more."""
    payload, namespace, ttl, archived, index_texts, rid, *vectors = row[12:]
    record = Record(row[0], row[1], from_json(row[2]), *row[3:12])
    record.payload = None if payload is None else from_json(payload)
    record.namespace = None if namespace is None else labels.decode(namespace)
    record.ttl, record.archived, record.seq = ttl, bool(archived), rid
    record.index_texts = None if index_texts is None else from_json(index_texts)
    record.vectors = vectors[0] if vectors else None
    return record


def read(connection: apsw.Connection, rid: int) -> Record:
    """The record of a row that is there."""
    (row,) = connection.execute(f"SELECT {COLUMNS} FROM memory m WHERE rid = ?", (rid,)).fetchall()
    return to_record(row)


def expired(row: Sequence[Any], now: int) -> bool:
    """Whether a row of `COLUMNS` is past its expiry at a time in microseconds."""
    expires_at = row[_EXPIRES_AT]
    return expires_at is not None and expires_at <= now


def condition(collection: Collection, selection: Selection, now: int) -> Sql:
    """The SQL condition for the living rows of a collection that a selection means."""
    parts = [
        Sql("m.cid = ?", (collection.key,)),
        Sql("(m.expires_at IS NULL OR m.expires_at > ?)", (now,)),
    ]
    for name, value in selection.scope.items():
        parts.append(Sql(f"m.{name} = ?", (value,)))
    if selection.scope.namespace is not None:
        parts.append(labels.within("m.namespace", selection.scope.namespace))
    if selection.ids is not None:
        # As one value: a filter beside them may need as many marks as SQLite has.
        ids = to_json(list(selection.ids)).decode()
        parts.append(Sql("m.id IN (SELECT value FROM json_each(?))", (ids,)))
    if selection.filter is not None:
        parts.append(compile_filter(selection.filter, collection.key, SQLITE))
    return Sql(
        " AND ".join(part.text for part in parts),
        tuple(parameter for part in parts for parameter in part.parameters),
    )
