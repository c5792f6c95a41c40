"""Rows of the table ``memory``: which are meant, and what they hold."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import apsw
from pydantic_core import from_json, to_json

from .. import Collection, Record, Scope, Selection, labels
from ..filter_sql import SQLITE, Sql, compile_filter

COLUMNS = (
    "m.id, m.content, m.metadata, m.user_id, m.agent_id, m.session_id, m.type, m.importance, "
    "m.event_at, m.expires_at, m.created_at, m.updated_at, m.payload, m.namespace, m.ttl, "
    "m.archived, m.index_texts, m.rid, m.version"
)
"""What `to_record` reads, in its order; the vectors may follow."""


def to_record(row: Sequence[Any]) -> Record:
    """The record of a row of `COLUMNS`, and of its vectors if there is one column more."""
    payload, namespace, ttl, archived, index_texts, rid, version, *vectors = row[12:]
    record = Record(row[0], row[1], from_json(row[2]), *row[3:12])
    record.payload = None if payload is None else from_json(payload)
    record.namespace = None if namespace is None else labels.decode(namespace)
    record.ttl, record.archived = ttl, bool(archived)
    record.seq, record.version = rid, version
    record.index_texts = None if index_texts is None else from_json(index_texts)
    record.vectors = vectors[0] if vectors else None
    return record


def find(connection: apsw.Connection, rid: int) -> Record | None:
    """The record of a row, if it is there."""
    row = connection.execute(f"SELECT {COLUMNS} FROM memory m WHERE rid = ?", (rid,)).fetchone()
    return None if row is None else to_record(row)


def read(connection: apsw.Connection, rid: int) -> Record:
    """The record of a row that is there."""
    found = find(connection, rid)
    assert found is not None
    return found


def vectors(connection: apsw.Connection, rid: int) -> bytes:
    """The vectors of a row, one after the other; empty where it has none."""
    found = connection.execute("SELECT data FROM vector WHERE rid = ?", (rid,)).fetchone()
    return b"" if found is None else bytes(found[0])


def is_expired(record: Record, at: int) -> bool:
    """Whether a record is past its expiry at a time in microseconds."""
    return record.expires_at is not None and record.expires_at <= at


def scope_of(record: Record) -> Scope:
    """Whose a record is."""
    return Scope(record.user_id, record.agent_id, record.session_id, record.namespace)


def alike(one: Record, other: Record) -> bool:
    """Whether two records hold the same, vectors aside; JSON's true is not 1."""
    return replace(one, vectors=None) == replace(other, vectors=None) and (
        to_json([one.metadata, one.payload]) == to_json([other.metadata, other.payload])
    )


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
    return all_of(parts)


def all_of(conditions: Sequence[Sql]) -> Sql:
    """One condition that is met where each of these is."""
    return Sql(
        " AND ".join(one.text for one in conditions),
        tuple(parameter for one in conditions for parameter in one.parameters),
    )


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Reads that all see one state of the file."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")  # nothing was written
