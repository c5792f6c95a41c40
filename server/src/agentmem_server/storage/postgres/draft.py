"""What a write transaction has read and changed of memories, until it is flushed to the tables.

Writes change records here; their rows are read together before, and written together after, so that
a batch of many costs as many round trips as one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from .. import Collection, Record, labels
from ..memory_rows import COLUMNS, to_record, values
from . import vectors
from .connections import Connection
from .inserts import (
    EVENT,
    IMAGE,
    MEMORY,
    TAG,
    TOKEN,
    VECTOR,
    Inserts,
    arrays_of,
    tag_rows,
    unnested,
)
from .keyword_index import PendingKeywords

_LOAD = f"""
SELECT {COLUMNS}, {vectors.COLUMNS}, k.cid, k.id,
    CASE WHEN m.rid IS NULL THEN (
        SELECT e.version FROM event e WHERE e.cid = k.cid AND e.id = k.id
        ORDER BY e.eid DESC LIMIT 1
    ) END
FROM unnest($1::bigint[], $2::text[]) AS k(cid, id)
LEFT JOIN memory m ON m.cid = k.cid AND m.id = k.id
"""
_CHANGED = {name: kind for name, kind in MEMORY.items() if name not in ("id", "created_at")}
_UPDATE = (
    "UPDATE memory m SET "
    + ", ".join(f"{name} = n.{name}" for name in _CHANGED if name not in ("cid", "rid"))
    + f" FROM {unnested(_CHANGED)} AS n({', '.join(_CHANGED)}) "
    + "WHERE m.cid = n.cid AND m.rid = n.rid"
)
_KEYS = {"cid": "bigint", "rid": "bigint"}
_THESE = f"FROM {unnested(_KEYS)} AS n(cid, rid) WHERE t.cid = n.cid AND t.rid = n.rid"

Key = tuple[int, int]
"""Of a row: the collection's key and the row id."""


@dataclass(slots=True)
class Entry:
    """What has an id in a collection.

    Attributes:
        record: the record, without its vectors; None where there is none.
        vectors: its vectors.
        last_version: where there is no record, the last version that the id had; 0 for none.
    """

    record: Record | None
    vectors: bytes = b""
    last_version: int = 0


class Draft:
    """The memories of all collections, as the transaction under way has them.

    Args:
        connection: in a transaction that has locked the clock.
        keywords: what is to be brought in line at the end.
    """

    def __init__(self, connection: Connection, keywords: PendingKeywords) -> None:
        self._connection = connection
        self._keywords = keywords
        self._entries: dict[tuple[int, str], Entry] = {}
        self._stored: dict[Key, Record] = {}
        self._rows: dict[Key, Record | None] = {}
        self._vectors: dict[Key, list[tuple[int, bytes, bytes | None]]] = {}
        self._kept_vectors: set[Key] = set()
        self._tokens: dict[Key, bytes | None] = {}
        self._events: list[tuple[Any, ...]] = []
        self._images: list[tuple[Any, ...]] = []
        self._without_images: set[int] = set()

    async def load(self, wanted: Iterable[tuple[int, str]]) -> None:
        """Read what is not known yet of these ids, each with its collection's key."""
        missing = list({key: None for key in wanted if key not in self._entries})
        if not missing:
            return
        found = await self._connection.fetch(_LOAD, *map(list, zip(*missing, strict=True)))
        for row in found:
            *columns, data, given, cid, id, last_version = row
            if columns[-2] is None:
                self._entries[cid, id] = Entry(None, last_version=last_version or 0)
            else:
                record = to_record(columns)
                self._entries[cid, id] = Entry(record, vectors.as_given(data, given))
                self._stored[cid, record.seq] = record

    async def entry(self, collection: Collection, id: str) -> Entry:
        """What has an id now."""
        await self.load([(collection.key, id)])
        return self._entries[collection.key, id]

    def insert(
        self, collection: Collection, entry: Entry, record: Record, *, is_back: bool = False
    ) -> None:
        """Store a new record, its seq and version given; or one that was there before."""
        key = (collection.key, record.seq)
        entry.record, entry.vectors = record, record.vectors or b""
        self._rows[key] = record
        self._set_vectors(collection, record.seq, entry.vectors, replacing=is_back)
        self._tokens[key] = record.tokens
        self._index(collection, record, moved=True)

    def replace(self, collection: Collection, entry: Entry, after: Record) -> None:
        """Change a record that is there, of the same seq."""
        before = entry.record
        assert before is not None
        entry.record = after
        self._rows[collection.key, after.seq] = after
        if after.vectors is not None and after.vectors != entry.vectors:
            entry.vectors = after.vectors
            self._set_vectors(collection, after.seq, after.vectors, replacing=True)
        if after.vectors is not None:
            self._tokens[collection.key, after.seq] = after.tokens
        moved = (before.user_id, before.session_id) != (after.user_id, after.session_id)
        if moved:
            self._around(collection, before)
        other = before.content != after.content or bool(before.texts) != bool(after.texts)
        self._index(collection, after, moved=moved or other)

    def delete(
        self, collection: Collection, entry: Entry, last_version: int, *, keep_vectors: bool
    ) -> None:
        """Delete a record that is there; its vectors may stay, for its last image."""
        record = entry.record
        assert record is not None
        self._rows[collection.key, record.seq] = None
        self._tokens[collection.key, record.seq] = None
        if not keep_vectors:
            self._set_vectors(collection, record.seq, b"", replacing=True)
        entry.record, entry.vectors, entry.last_version = None, b"", last_version
        self._keywords.removed(collection.key, record.seq)
        self._around(collection, record)

    def add_event(self, eid: int, values: tuple[Any, ...]) -> None:
        """A row of the table ``event``, without its first column."""
        self._events.append((eid, *values))

    def add_image(
        self, eid: int, collection: Collection, before: Record, old: bytes | None
    ) -> None:
        """What a record is before an event; ``old`` are its vectors, None where they stay."""
        content, metadata, _, _, _, type, importance, event_at, expires_at, *rest = values(before)
        payload, _, ttl, archived, index_texts, sources = rest
        of = (eid, collection.key, before.seq)
        first = (content, metadata, type, importance, event_at, expires_at)
        last = (payload, ttl, archived, index_texts, sources, old)
        self._images.append((*of, *first, before.created_at, before.updated_at, *last))

    def remove_images(self, rid: int) -> None:
        """Nothing of what a row was stays."""
        self._images = [image for image in self._images if image[2] != rid]
        self._without_images.add(rid)

    def was_made(self, cid: int, id: str, version: int, idempotency_key: str) -> bool:
        """Whether an event that is not flushed yet has this version and key."""
        return any(
            (event[2], event[4], event[5], event[12]) == (cid, id, version, idempotency_key)
            for event in self._events
        )

    async def flush(self) -> None:
        """Write all of it to the tables; what is indexed by words comes at the end."""
        changed = {key: one for key, one in self._rows.items() if one and key in self._stored}
        gone = [key for key, one in self._rows.items() if one is None and key in self._stored]
        retagged = [
            key
            for key, one in changed.items()
            if to_json(one.metadata) != to_json(self._stored[key].metadata)
        ]
        if self._without_images:
            await self._connection.execute(
                "DELETE FROM image WHERE rid = ANY($1::bigint[])", list(self._without_images)
            )
        await self._delete("memory", gone)
        await self._delete("tag", gone + retagged)
        await self._delete("embedding", self._kept_vectors)
        await self._delete("token", [key for key in self._tokens if key in self._stored])
        if changed:
            rows = [_changed_row(cid, one) for (cid, _), one in changed.items()]
            await self._connection.execute(_UPDATE, *arrays_of(_CHANGED, rows))
        new = [(key, one) for key, one in self._rows.items() if one and key not in self._stored]
        tagged = [*new, *((key, changed[key]) for key in retagged)]
        inserts = Inserts()
        inserts.add("memory", MEMORY, [_row(cid, one) for (cid, _), one in new])
        inserts.add(
            "embedding",
            VECTOR,
            [(*key, *row) for key, rows_ in self._vectors.items() for row in rows_],
        )
        tokens = [(*key, data) for key, data in self._tokens.items() if data]
        inserts.add("token", TOKEN, tokens)
        inserts.add("tag", TAG, [row for key, one in tagged for row in tag_rows(key, one.metadata)])
        inserts.add("event", EVENT, self._events)
        inserts.add("image", IMAGE, self._images)
        await inserts.execute(self._connection)
        for key, one in self._rows.items():
            if one is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = one
        for pending in (self._rows, self._vectors, self._kept_vectors, self._without_images):
            pending.clear()
        self._tokens.clear()
        self._events.clear()
        self._images.clear()

    def forget(self) -> None:
        """The tables were changed past this: what is known of them is old. Only when flushed."""
        self._entries.clear()
        self._stored.clear()

    async def _delete(self, table: str, keys: Iterable[Key]) -> None:
        rows = list(keys)
        if rows:
            await self._connection.execute(
                f"DELETE FROM {table} t USING {_THESE.removeprefix('FROM ')}",
                *arrays_of(_KEYS, rows),
            )

    def _set_vectors(
        self, collection: Collection, rid: int, given: bytes, *, replacing: bool
    ) -> None:
        embedding = collection.embedding
        key = (collection.key, rid)
        self._vectors[key] = vectors.rows_of(embedding.metric, embedding.dimension, given)
        if replacing:
            self._kept_vectors.add(key)

    def _index(self, collection: Collection, record: Record, *, moved: bool) -> None:
        self._keywords.changed(collection.key, record.seq)
        if moved:
            self._around(collection, record)

    def _around(self, collection: Collection, record: Record) -> None:
        if record.session_id is not None:
            self._keywords.around(collection.key, record.seq, record.user_id, record.session_id)


def namespace_text(record: Record) -> str | None:
    """A record's namespace as it stands in a column."""
    return None if record.namespace is None else labels.encode(record.namespace)


def _row(cid: int, record: Record) -> tuple[Any, ...]:
    times = (record.created_at, record.updated_at)
    return (cid, record.seq, record.id, *values(record), *times, record.version)


def _changed_row(cid: int, record: Record) -> tuple[Any, ...]:
    return (cid, record.seq, *values(record), record.updated_at, record.version)
