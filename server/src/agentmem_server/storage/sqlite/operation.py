"""One write inside its transaction."""

from dataclasses import replace
from typing import Literal, cast

import apsw
from agentmem_client.filters import And, Condition, RecordField

from ... import times
from .. import (
    STALE,
    Archive,
    Collection,
    Delete,
    Deleted,
    DropCollection,
    Embedding,
    Erase,
    Erased,
    Learn,
    Learned,
    Put,
    PutCollection,
    PutTokens,
    Record,
    Refresh,
    Restore,
    Scope,
    Selection,
    Stored,
    Sweep,
    Update,
    learning,
    rules,
)
from ..memory_rows import COLUMNS, to_record
from ..sql import Sql
from . import history, jobs, keyword_index, restoring, rows
from .memories import Memories
from .memory_state import MemoryState


class Operation:
    """What each write does; `undo` is its part of taking it back.

    Args:
        connection: in the transaction.
        state: what is kept in memory.
        memories: as the transaction has them.
        last_event: the last one before the transaction.

    Attributes:
        touched: collections that it wrote to beside the one that the write names: (tenant, name).
    """

    def __init__(
        self,
        connection: apsw.Connection,
        state: MemoryState,
        memories: Memories,
        last_event: int,
    ) -> None:
        self._connection = connection
        self._last_event = last_event
        self._state = state
        self._memories = memories
        self._made: list[Collection] = []
        self.touched: set[tuple[str, str]] = set()

    def undo(self) -> None:
        """Take back what later writes of the same transaction would have seen."""
        for collection in self._made:
            # By hand: FTS5 fails the commit when a table is rolled back with rows in it.
            keyword_index.drop(self._connection, collection.key)
            self._state.remove(collection)

    def put(self, write: Put) -> list[Stored]:
        """Store records, all or none."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            now = write.records[0].created_at
            collection = self._make(write.tenant, write.collection, write.embedding, now)
        elif any(record.vectors for record in write.records):
            collection.embedding.check_given(write.embedding)
        if write.replacing is not None:
            self._memories.new.flush()
            self.delete(Delete(write.tenant, write.collection, write.replacing))
        return [self._put_record(collection, record, write) for record in write.records]

    def _put_record(self, collection: Collection, record: Record, write: Put) -> Stored:
        user_id, now = write.user_id, record.updated_at if write.at is None else write.at
        new = self._memories.new
        if new.is_unknown(collection, record.id):
            record.version = 1
            new.add(collection, record, now)
            return Stored(record, created=True)
        new.flush()
        before = self._memories.find(collection, record.id)
        if before is not None and before.is_expired(now):
            self._expire(collection, [before.seq], now)
            before = None
        if before is None:
            record.version = history.first_version(self._connection, collection, record.id)
            new.add(collection, record, now)
            return Stored(record, created=True)
        if user_id is not None and before.user_id != user_id:
            raise rules.id_in_use()
        stored = replace(record, seq=before.seq, created_at=before.created_at)
        self._change(collection, before, stored, now)
        return Stored(stored, created=False)

    def learn(self, write: Learn) -> Learned | Literal["stale"]:
        """Store a record unless what it says is known."""
        collection = self._state.draft(write.tenant, write.collection)
        record = write.record
        if collection is None:
            collection = self._make(
                write.tenant, write.collection, write.embedding, record.created_at
            )
        else:
            collection.embedding.check_given(write.embedding)
        now = record.updated_at
        for id in learning.ids(record):
            record.id = id
            there = self._memories.find(collection, id)
            if there is None or there.is_expired(now):
                break
            if learning.is_known(there, record):
                return self._link(collection, there, record)
        if write.similar is not None:
            similar = self._memories.find(collection, write.similar[0])
            if learning.is_still(similar, record, write.similar[1]):
                return self._link(collection, similar, record)
        if write.since is not None and history.has_events(
            self._connection, collection, record.scope, write.since, self._last_event
        ):
            return STALE
        put = Put(write.tenant, write.collection, write.embedding, [record])
        return Learned(self._put_record(collection, record, put).record, created=True)

    def _link(self, collection: Collection, known: Record, record: Record) -> Learned:
        after = learning.linked(known, record)
        if after is None:
            return Learned(known, created=False)
        self._change(collection, known, after, record.updated_at)
        return Learned(after, created=False)

    def _change(
        self,
        collection: Collection,
        before: Record,
        after: Record,
        at: int,
        idempotency_key: str | None = None,
    ) -> None:
        history.changed(self._connection, collection, before, after, at, idempotency_key)
        self._memories.replace(collection, before, after)

    def _expire(self, collection: Collection, rids: list[int], at: int) -> None:
        self._memories.delete(
            collection,
            rids,
            lambda gone: history.expired(self._connection, collection, gone, at),
        )

    def update(self, write: Update) -> Record | Literal["stale"] | None:
        """Change fields of one record, if it is what the change was prepared for."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return None
        if write.embedding is not None:
            collection.embedding.check_given(write.embedding)
        before = self._memories.find(collection, write.id)
        if before is None or before.is_expired(write.updated_at):
            return None
        if write.user_id is not None and before.user_id != write.user_id:
            return None
        if write.if_version is not None and write.if_version != before.version:
            if history.was_made(self._connection, collection, write):
                return before
            raise rules.version_conflict(write.if_version, before.version)
        after = rules.updated(before, write)
        if after is None:
            return STALE
        key = None if write.if_version is None else write.idempotency_key
        self._change(collection, before, after, write.updated_at, key)
        return after

    def delete(self, write: Delete) -> Deleted:
        """Delete the selected records."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return Deleted(0, [] if write.returning else None)
        now = times.now()
        condition = rows.condition(collection, write.selection, now)
        if write.if_version is not None:
            self._check_version(write.if_version, condition)
        if write.returning:
            gone = self._selected(collection, write.selection)
            self._delete_rows(collection, [record.seq for record in gone], now)
            return Deleted(len(gone), gone)
        if write.selection == Selection():
            live: int = self._connection.execute(
                f"SELECT count(*) FROM memory m WHERE {condition.text}", condition.parameters
            ).get
            history.cleared(self._connection, collection, now)
            self._memories.clear(collection, now)
            return Deleted(live)
        found = self._connection.execute(
            f"SELECT rid FROM memory m WHERE {condition.text}", condition.parameters
        ).fetchall()
        self._delete_rows(collection, [rid for (rid,) in cast("list[tuple[int]]", found)], now)
        return Deleted(len(found))

    def _check_version(self, version: int, condition: Sql) -> None:
        other = self._connection.execute(
            f"SELECT m.version FROM memory m WHERE {condition.text} AND m.version <> ? LIMIT 1",
            (*condition.parameters, version),
        ).fetchone()
        if other is not None:
            raise rules.version_conflict(version, cast("int", other[0]))

    def _delete_rows(self, collection: Collection, rids: list[int], now: int) -> None:
        self._memories.delete(
            collection,
            rids,
            lambda gone: history.deleted(self._connection, collection, gone, now),
            keep_vectors=True,
        )

    def _selected(self, collection: Collection, selection: Selection) -> list[Record]:
        """The living records that are meant, by seq."""
        condition = rows.condition(collection, selection, times.now())
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM memory m WHERE {condition.text} ORDER BY m.rid",
            condition.parameters,
        )
        return [to_record(row) for row in found]

    def archive(self, write: Archive) -> list[Record]:
        """Set the selected records aside, or take them back."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return []
        other = Condition(RecordField("archived", "boolean"), "$eq", not write.archived)
        asked = write.selection.filter
        narrowed = other if asked is None else And((other, asked))
        found = self._selected(collection, write.selection._replace(filter=narrowed))
        now = times.now()
        changed = []
        for before in found:
            after = replace(before, archived=write.archived, updated_at=now)
            history.changed(self._connection, collection, before, after, now)
            changed.append(after)
        self._connection.executemany(
            "UPDATE memory SET archived = ?, updated_at = ?, version = ? WHERE rid = ?",
            [(write.archived, now, record.version, record.seq) for record in changed],
        )
        for record in changed:
            self._memories.touch(collection, record.seq, record.user_id)
        return changed

    def refresh(self, write: Refresh) -> int:
        """Start times to live anew."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return 0
        condition = rows.condition(collection, Selection(ids=write.ids), write.at)
        found = self._connection.execute(
            f"UPDATE memory AS m SET expires_at = ? + ttl WHERE {condition.text} "
            "AND ttl IS NOT NULL RETURNING rid, expires_at, user_id",
            (write.at, *condition.parameters),
        ).fetchall()
        self._memories.expire(collection, cast("list[tuple[int, int, str | None]]", found))
        return len(found)

    def restore(self, write: Restore) -> Record:
        """Take a record back to a version of its history."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            raise rules.no_version(write)
        current = self._memories.find(collection, write.id)
        state = restoring.state(self._connection, collection, current, write)
        if current is not None and current.is_expired(write.at):
            self._expire(collection, [current.seq], write.at)
            current = None
        if current is None:
            state.version = history.first_version(self._connection, collection, write.id)
            state.updated_at = write.at
            history.restored(self._connection, collection, state, write.at)
            self._memories.bring_back(collection, state)
            return state
        if write.user_id is not None and current.user_id != write.user_id:
            raise rules.id_in_use()
        state = replace(state, seq=current.seq, created_at=current.created_at)
        vectors = rows.vectors(self._connection, current.seq)
        if replace(state, updated_at=current.updated_at).is_like(current) and (
            state.vectors == vectors
        ):
            return current
        state.updated_at = write.at
        if state.vectors == vectors:
            state.vectors = None
        self._change(collection, current, state, write.at)
        return state

    def erase(self, write: Erase) -> Erased:
        """Delete all that there is of a user, history included."""
        records = collections = 0
        worded = history.places(self._connection, write.tenant, write.user_id)
        for collection in self._state.drafts():
            if collection.tenant != write.tenant:
                continue
            found = self._connection.execute(
                "SELECT rid, coalesce(expires_at > ?, TRUE) FROM memory "
                "WHERE cid = ? AND user_id = ?",
                (write.at, collection.key, write.user_id),
            ).fetchall()
            alive = sum(living for _, living in cast("list[tuple[int, int]]", found))
            rids = [rid for rid, _ in cast("list[tuple[int, int]]", found)]
            if rids:
                self._memories.delete(collection, rids, lambda gone: None)
                self.touched.add((collection.tenant, collection.name))
            # What was asked of the user is kept, too, where nothing is found.
            self._state.kept.touched.users.add((collection.key, write.user_id))
            if rids or collection.key in worded:
                self._connection.execute(
                    "INSERT OR IGNORE INTO worded VALUES (?)", (collection.key,)
                )
            records += alive
            collections += alive > 0
        keyword_index.forget_tokens()
        jobs.erase(self._connection, write.tenant, write.user_id)
        events = history.erased(self._connection, write.tenant, write.user_id, write.at)
        return Erased(records, events, collections)

    def purge(self) -> int:
        """Take the erased words out of one keyword index."""
        found = self._connection.execute("SELECT cid FROM worded LIMIT 1").fetchone()
        if found is None:
            return 0
        (cid,) = cast("tuple[int]", found)
        if any(collection.key == cid for collection in self._state.drafts()):
            self._memories.keywords.write()
            keyword_index.purge(self._connection, cid)
        self._connection.execute("DELETE FROM worded WHERE cid = ?", (cid,))
        return 1

    def put_tokens(self, write: PutTokens) -> int:
        """Give records the tokens of their texts."""
        collection = self._state.draft(write.tenant, write.collection)
        if collection is None:
            return 0
        given = 0
        for rid, version, tokens in write.tokens:
            self._connection.execute(
                "INSERT OR REPLACE INTO token (rid, data) "
                "SELECT rid, ? FROM memory WHERE rid = ? AND cid = ? AND version = ?",
                (tokens, rid, collection.key, version),
            )
            given += self._connection.changes()
        return given

    def sweep(self, write: Sweep) -> int:
        """Delete what has expired."""
        swept = 0
        for collection in self._state.drafts():
            found = self._connection.execute(
                "SELECT rid FROM memory WHERE cid = ? AND expires_at <= ? LIMIT ?",
                (collection.key, write.now, write.limit),
            ).fetchall()
            rids = [rid for (rid,) in cast("list[tuple[int]]", found)]
            if rids:
                self._expire(collection, rids, write.now)
            swept += len(found)
        return swept

    def put_collection(self, write: PutCollection) -> Collection:
        """Make a collection, or find it as asked for and change what may change."""
        found = self._state.draft(write.tenant, write.name)
        if found is None:
            found = self._make(write.tenant, write.name, write.embedding, write.created_at)
        if found.embedding != write.embedding:
            raise rules.other_settings(found, write.embedding)
        changed = replace(found, **write.changes)
        if changed != found:
            self._connection.execute(
                "UPDATE collection SET default_ttl = ? WHERE cid = ?",
                (changed.default_ttl, changed.key),
            )
            self._state.put(changed)
        return changed

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
        self._state.put(collection)
        self._made.append(collection)
        return collection

    def drop_collection(self, write: DropCollection) -> int:
        """Delete a collection with its memories."""
        collection = self._state.draft(write.tenant, write.name)
        if collection is None:
            return 0
        deleted = self.delete(Delete(write.tenant, write.name, Selection(Scope()))).count
        history.dropped(self._connection, collection)
        self._memories.keywords.forget(collection.key)
        keyword_index.drop(self._connection, collection.key)
        self._connection.execute("DELETE FROM collection WHERE cid = ?", (collection.key,))
        self._state.remove(collection)
        self._memories.after_commit.append(lambda: self._state.drop_vectors(collection))
        return deleted
