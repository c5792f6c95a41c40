"""Rows of the table ``memory``: which are meant, and what they hold; alike in every database."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from . import labels
from .filter_sql import compile_filter
from .records import Collection, Record, Selection, Source
from .sql import Dialect, Sql, all_of

COLUMNS = (
    "m.id, m.content, m.metadata, m.user_id, m.agent_id, m.session_id, m.type, m.importance, "
    "m.event_at, m.expires_at, m.created_at, m.updated_at, m.payload, m.namespace, m.ttl, "
    "m.archived, m.index_texts, m.sources, m.rid, m.version"
)
"""What `to_record` reads, in its order; the vectors may follow."""

IMAGE_COLUMNS = (
    "e.id, i.content, i.metadata, e.user_id, e.agent_id, e.session_id, i.type, i.importance, "
    "i.event_at, i.expires_at, i.created_at, i.updated_at, i.payload, e.namespace, i.ttl, "
    "i.archived, i.index_texts, i.sources, i.rid, e.version - 1"
)
"""An image ``i`` of an event ``e`` as `to_record` reads it."""

_NARROWEST = ("session_id", "user_id", "agent_id")
"""Parts of a scope, those first that hold the fewest memories as a rule."""


def to_record(row: Sequence[Any]) -> Record:
    """The record of a row of `COLUMNS`, and of its vectors if there is one column more."""
    payload, namespace, ttl, archived, index_texts, sources, rid, version, *vectors = row[12:]
    record = Record(row[0], row[1], from_json(row[2]), *row[3:12])
    record.payload = None if payload is None else from_json(payload)
    record.namespace = None if namespace is None else labels.decode(namespace)
    record.ttl, record.archived = ttl, bool(archived)
    record.seq, record.version = rid, version
    record.index_texts = None if index_texts is None else from_json(index_texts)
    record.sources = None if sources is None else [Source(*one) for one in from_json(sources)]
    record.vectors = vectors[0] if vectors else None
    return record


def values(record: Record) -> tuple[Any, ...]:
    """What an update may change, as it stands in the columns from ``content`` to ``sources``.

    In this order: content, metadata, user_id, agent_id, session_id, type, importance, event_at,
    expires_at, payload, namespace, ttl, archived, index_texts, sources.
    """
    return (
        record.content,
        to_json(record.metadata).decode(),
        record.user_id,
        record.agent_id,
        record.session_id,
        record.type,
        record.importance,
        record.event_at,
        record.expires_at,
        None if record.payload is None else to_json(record.payload).decode(),
        None if record.namespace is None else labels.encode(record.namespace),
        record.ttl,
        record.archived,
        None if record.index_texts is None else to_json(record.index_texts).decode(),
        None if record.sources is None else _sources(record.sources),
    )


def _sources(sources: Sequence[Source]) -> str:
    """Sources as a JSON array of arrays: what each says is known by its place."""
    return to_json([(one.message_ids, one.content, one.at) for one in sources]).decode()


def condition(
    collection: Collection, selection: Selection, now: int | None, dialect: Dialect
) -> Sql:
    """The SQL condition for the rows of a collection that a selection means.

    Those that live at a time; without one, what has expired too.
    """
    parts = [Sql("m.cid = ?", (collection.key,))]
    if now is not None:
        parts.append(Sql("(m.expires_at IS NULL OR m.expires_at > ?)", (now,)))
    scope = dict(selection.scope.items())
    narrowest = next((name for name in _NARROWEST if name in scope), None)
    if selection.ids is not None:
        narrowest = None  # nothing is narrower than ids
    for name, value in scope.items():
        column = f"m.{name}" if name == narrowest else dialect.aside(f"m.{name}")
        parts.append(Sql(f"{column} = ?", (value,)))
    if selection.scope.namespace is not None:
        parts.append(labels.within("m.namespace", selection.scope.namespace, dialect))
    if selection.ids is not None:
        parts.append(dialect.ids(selection.ids))
    if selection.filter is not None:
        compiled = compile_filter(selection.filter, collection.key, dialect)
        parts.append(dialect.filtered(compiled))
    return all_of(parts)
