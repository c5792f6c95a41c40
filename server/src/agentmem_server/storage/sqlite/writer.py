"""Writes: a batch of operations in one transaction, a savepoint for each.

All of this runs on the one writer thread. What an operation changes in memory is noted down while
it runs and applied when the transaction is on disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import apsw
from agentmem_client.errors import APIError, Conflict, Unavailable, shown
from agentmem_client.filters import And, Condition, RecordField
from pydantic_core import to_json

from ... import times
from .. import (
    STALE,
    Archive,
    Collection,
    Delete,
    Deleted,
    DropCollection,
    Embedding,
    Outcome,
    Put,
    PutCollection,
    Record,
    Refresh,
    Scope,
    Selection,
    Stored,
    Sweep,
    Update,
    Write,
    labels,
)
from ..tags import tags
from . import keyword_index, rows
from .memory_state import MemoryState

CollectionWrite: TypeAlias = (
    Put | Update | Delete | Archive | Refresh | PutCollection | DropCollection
)
"""A write to one collection."""


class Writer:
    """Applies writes to the file, and then to what is kept in memory of it."""

    def __init__(self, connection: apsw.Connection, state: MemoryState) -> None:
        self._connection = connection
        self._state = state

    def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, in one durable transaction.

        Returns:
            What each answers, or the error that refused it; that one left no trace.

        Raises:
            Unavailable: when nothing could be written (a full disk, a broken file).
        """
        outcomes: list[Outcome | APIError] = []
        after_commit: list[Callable[[], None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                outcomes.append(self._attempt(write, after_commit))
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._state.forget_draft()
            if isinstance(error, apsw.Error):
                raise Unavailable(f"the database could not be written: {error}") from error
            raise
        self._state.publish_draft()
        for apply in after_commit:
            apply()
        # Last, so that nobody caches under a new version what the old state answered.
        self._state.bump({_name(write) for write in writes if not isinstance(write, Sweep)})
        return outcomes

    def _attempt(self, write: Write, after_commit: list[Callable[[], None]]) -> Outcome | APIError:
        operation = _Operation(self._connection, self._state)
        self._connection.execute("SAVEPOINT operation")
        try:
            outcome = operation.run(write)
        except APIError as refused:
            operation.undo()
            self._connection.execute("ROLLBACK TO operation; RELEASE operation")
            return refused
        self._connection.execute("RELEASE operation")
        after_commit.extend(operation.after_commit)
        return outcome


class _Operation:
    """One write inside its savepoint."""

    def __init__(self, connection: apsw.Connection, state: MemoryState) -> None:
        self._connection = connection
        self._state = state
        self._made: list[Collection] = []
        self.after_commit: list[Callable[[], None]] = []

    def run(self, write: Write) -> Outcome:
        match write:
            case Put():
                return self._put(write)
            case Update():
                return self._update(write)
            case Delete():
                return self._delete(write)
            case Archive():
                return self._archive(write)
            case Refresh():
                return self._refresh(write)
            case Sweep():
                return self._sweep(write)
            case PutCollection():
                return self._put_collection(write)
            case DropCollection():
                return self._drop_collection(write)

    def undo(self) -> None:
        """Take back what later writes of the same transaction would have seen."""
        for collection in self._made:
            # By hand: FTS5 fails the commit when a table is rolled back with rows in it.
            keyword_index.drop(self._connection, collection.key)
            self._state.remove(collection)

    def _put(self, write: Put) -> list[Stored]:
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            now = write.records[0].created_at
            collection = self._make(write.tenant, write.collection, write.embedding, now)
        elif any(record.vectors for record in write.records):
            collection.embedding.check_given(write.embedding)
        if write.replacing is not None:
            self._delete(Delete(write.tenant, write.collection, write.replacing))
        return [self._put_record(collection, record) for record in write.records]

    def _put_record(self, collection: Collection, record: Record) -> Stored:
        found = self._connection.execute(
            f"SELECT rid, {rows.COLUMNS} FROM memory m WHERE cid = ? AND id = ?",
            (collection.key, record.id),
        ).fetchone()
        if found is not None and rows.expired(found[1:], record.updated_at):
            self._delete_rows(collection, [found[0]])
            found = None
        if found is None:
            rid = self._insert(collection, record)
            record.seq = rid
            self._index(collection, rid, record, moved=True)
            return Stored(record, created=True)
        rid, before = found[0], rows.to_record(found[1:])
        stored = replace(record, seq=rid, created_at=before.created_at)
        self._replace(collection, rid, before, stored)
        return Stored(stored, created=False)

    def _update(self, write: Update) -> Record | Literal["stale"] | None:
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return None
        if write.embedding is not None:
            collection.embedding.check_given(write.embedding)
        found = self._connection.execute(
            f"SELECT rid, {rows.COLUMNS} FROM memory m WHERE cid = ? AND id = ?",
            (collection.key, write.id),
        ).fetchone()
        if found is None or rows.expired(found[1:], write.updated_at):
            return None
        before = rows.to_record(found[1:])
        after = replace(before, **write.changes, updated_at=write.updated_at, vectors=write.vectors)
        if write.vectors and not after.texts:
            return STALE
        if write.found_by is not None and not write.found_by == before.texts == after.texts:
            return STALE
        if write.texts is not None:
            kept = write.texts if write.vectors is not None else before.dense_texts
            if not write.texts == kept == after.dense_texts:
                return STALE
        self._replace(collection, found[0], before, after)
        return after

    def _insert(self, collection: Collection, record: Record) -> int:
        self._connection.execute(
            "INSERT INTO memory (cid, id, content, metadata, user_id, agent_id, session_id, type, "
            "importance, event_at, expires_at, payload, namespace, ttl, archived, index_texts, "
            "created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (collection.key, record.id, *_values(record), record.created_at, record.updated_at),
        )
        rid = self._connection.last_insert_rowid()
        self._add_tags(collection, rid, record)
        return rid

    def _replace(self, collection: Collection, rid: int, before: Record, after: Record) -> None:
        self._connection.execute(
            "UPDATE memory SET content = ?, metadata = ?, user_id = ?, agent_id = ?, "
            "session_id = ?, type = ?, importance = ?, event_at = ?, expires_at = ?, "
            "payload = ?, namespace = ?, ttl = ?, archived = ?, index_texts = ?, "
            "updated_at = ? WHERE rid = ?",
            (*_values(after), after.updated_at, rid),
        )
        if before.metadata != after.metadata or to_json(before.metadata) != to_json(after.metadata):
            self._remove_tags(collection, rid, before)
            self._add_tags(collection, rid, after)
        moved = (before.user_id, before.session_id) != (after.user_id, after.session_id)
        left = self._following(collection, rid, before) if moved else None
        other = before.content != after.content or bool(before.texts) != bool(after.texts)
        self._index(collection, rid, after, moved=moved or other)
        if left is not None:
            self._index_keywords(collection, left)

    def _index(self, collection: Collection, rid: int, record: Record, *, moved: bool) -> None:
        """Bring vectors and keywords in line with the row; where it moved, its successor's too."""
        if record.vectors:
            self._connection.execute(
                "INSERT OR REPLACE INTO vector (rid, data) VALUES (?, ?)", (rid, record.vectors)
            )
        elif record.vectors is not None:
            self._connection.execute("DELETE FROM vector WHERE rid = ?", (rid,))
        keyword_index.put(self._connection, collection.key, rid, record)
        following = self._following(collection, rid, record) if moved else None
        if following is not None:
            self._index_keywords(collection, following)
        vectors, expires_at = record.vectors, record.expires_at
        self.after_commit.append(
            lambda: self._state.put_vectors(collection, rid, vectors, expires_at)
        )

    def _index_keywords(self, collection: Collection, rid: int) -> None:
        record = rows.read(self._connection, rid)
        keyword_index.put(self._connection, collection.key, rid, record)

    def _following(self, collection: Collection, rid: int, record: Record) -> int | None:
        """The record whose keyword text has this one as its previous turn."""
        if record.session_id is None:
            return None
        return keyword_index.neighbour(
            self._connection, collection.key, rid, record.user_id, record.session_id, before=False
        )

    def _add_tags(self, collection: Collection, rid: int, record: Record) -> None:
        self._connection.executemany(
            "INSERT INTO tag (cid, path, kind, value, full, rid) VALUES (?, ?, ?, ?, ?, ?)",
            [(collection.key, *tag, rid) for tag in tags(record.metadata)],
        )

    def _remove_tags(self, collection: Collection, rid: int, record: Record) -> None:
        self._connection.executemany(
            "DELETE FROM tag WHERE cid = ? AND path = ? AND kind = ? AND value = ? AND full = ? "
            "AND rid = ?",
            [(collection.key, *tag, rid) for tag in tags(record.metadata)],
        )

    def _delete(self, write: Delete) -> Deleted:
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return Deleted(0, [] if write.returning else None)
        if write.returning:
            gone = self._selected(collection, write.selection)
            self._delete_rows(collection, [record.seq for record in gone])
            return Deleted(len(gone), gone)
        condition = rows.condition(collection, write.selection, times.now())
        if write.selection == Selection():
            live: int = self._connection.execute(
                f"SELECT count(*) FROM memory m WHERE {condition.text}", condition.parameters
            ).get
            self._clear(collection)
            return Deleted(live)
        found = self._connection.execute(
            f"SELECT rid FROM memory m WHERE {condition.text}", condition.parameters
        ).fetchall()
        self._delete_rows(collection, [rid for (rid,) in cast("list[tuple[int]]", found)])
        return Deleted(len(found))

    def _selected(self, collection: Collection, selection: Selection) -> list[Record]:
        """The living records that are meant, by seq."""
        condition = rows.condition(collection, selection, times.now())
        found = self._connection.execute(
            f"SELECT {rows.COLUMNS} FROM memory m WHERE {condition.text} ORDER BY m.rid",
            condition.parameters,
        )
        return [rows.to_record(row) for row in found]

    def _archive(self, write: Archive) -> list[Record]:
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return []
        other = Condition(RecordField("archived", "boolean"), "$eq", not write.archived)
        asked = write.selection.filter
        narrowed = other if asked is None else And((other, asked))
        found = self._selected(collection, replace(write.selection, filter=narrowed))
        now = times.now()
        self._connection.executemany(
            "UPDATE memory SET archived = ?, updated_at = ? WHERE rid = ?",
            [(write.archived, now, record.seq) for record in found],
        )
        return [replace(record, archived=write.archived, updated_at=now) for record in found]

    def _refresh(self, write: Refresh) -> int:
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return 0
        condition = rows.condition(collection, Selection(ids=write.ids), write.at)
        found = self._connection.execute(
            f"UPDATE memory AS m SET expires_at = ? + ttl WHERE {condition.text} "
            "AND ttl IS NOT NULL RETURNING rid, expires_at",
            (write.at, *condition.parameters),
        ).fetchall()
        for rid, expires_at in cast("list[tuple[int, int]]", found):
            self.after_commit.append(
                partial(self._state.put_vectors, collection, rid, None, expires_at)
            )
        return len(found)

    def _delete_rows(self, collection: Collection, rids: Sequence[int]) -> None:
        followers: set[int | None] = set()
        for rid in rids:
            record = rows.read(self._connection, rid)
            followers.add(self._following(collection, rid, record))
            self._remove_tags(collection, rid, record)
            keyword_index.remove(self._connection, collection.key, rid)
            self._connection.execute("DELETE FROM vector WHERE rid = ?", (rid,))
            self._connection.execute("DELETE FROM memory WHERE rid = ?", (rid,))
        # Their keyword texts held words of what is gone.
        for follower in followers - {None, *rids}:
            assert follower is not None
            self._index_keywords(collection, follower)
        self.after_commit.append(lambda: self._state.remove_vectors(collection, rids))

    def _clear(self, collection: Collection) -> None:
        """Empty a collection without looking at each of its rows."""
        key = (collection.key,)
        self._connection.execute(
            "DELETE FROM vector WHERE rid IN (SELECT rid FROM memory WHERE cid = ?)", key
        )
        self._connection.execute("DELETE FROM tag WHERE cid = ?", key)
        self._connection.execute("DELETE FROM memory WHERE cid = ?", key)
        keyword_index.drop(self._connection, collection.key)
        keyword_index.create(self._connection, collection.key)
        self.after_commit.append(lambda: self._state.clear_vectors(collection))

    def _sweep(self, write: Sweep) -> int:
        swept = 0
        for collection in self._state.drafts():
            found = self._connection.execute(
                "SELECT rid FROM memory WHERE cid = ? AND expires_at <= ? LIMIT ?",
                (collection.key, write.now, write.limit),
            ).fetchall()
            if found:
                self._delete_rows(collection, [rid for (rid,) in cast("list[tuple[int]]", found)])
            swept += len(found)
        return swept

    def _put_collection(self, write: PutCollection) -> Collection:
        found = self._state.draft(write.tenant, write.name)
        if found is None:
            return self._make(write.tenant, write.name, write.embedding, write.created_at)
        if found.embedding != write.embedding:
            raise Conflict(
                f"the collection {shown(write.name)} exists with other settings: delete it "
                "first, or use another name",
                details={
                    "existing": _described(found.embedding),
                    "requested": _described(write.embedding),
                },
            )
        return found

    def _make(self, tenant: str, name: str, embedding: Embedding, now: int) -> Collection:
        self._connection.execute(
            "INSERT INTO collection (tenant, name, embedder, model, dimension, metric, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                tenant,
                name,
                embedding.embedder,
                embedding.model,
                embedding.dimension,
                embedding.metric,
                now,
            ),
        )
        cid = self._connection.last_insert_rowid()
        keyword_index.create(self._connection, cid)
        collection = Collection(cid, tenant, name, embedding, now)
        self._state.add(collection)
        self._made.append(collection)
        return collection

    def _drop_collection(self, write: DropCollection) -> int:
        collection = self._state.draft(write.tenant, write.name)
        if collection is None:
            return 0
        deleted = self._delete(Delete(write.tenant, write.name, Selection(Scope()))).count
        keyword_index.drop(self._connection, collection.key)
        self._connection.execute("DELETE FROM collection WHERE cid = ?", (collection.key,))
        self._state.remove(collection)
        self.after_commit.append(lambda: self._state.drop_vectors(collection))
        return deleted


def _values(record: Record) -> tuple[Any, ...]:
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
    )


def _described(embedding: Embedding) -> dict[str, Any]:
    return {
        "embedder": embedding.embedder,
        "model": embedding.model,
        "dimension": embedding.dimension,
        "metric": embedding.metric,
    }


def _name(write: CollectionWrite) -> tuple[str, str]:
    name = write.name if isinstance(write, PutCollection | DropCollection) else write.collection
    return write.tenant, name
