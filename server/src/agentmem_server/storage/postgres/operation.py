"""One write inside its transaction: refused before it has changed anything, or done."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from agentmem_client.filters import And, Condition, RecordField

from ... import times
from .. import (
    STALE,
    Archive,
    Collection,
    Delete,
    Deleted,
    DropCollection,
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
    Selection,
    Stored,
    Sweep,
    Update,
    learning,
    rules,
)
from ..sql import Dialect
from . import jobs, restoring
from .bulk import Bulk
from .clock import Clock
from .collections import Collections, Name
from .connections import Connection
from .draft import Draft, Entry
from .history import History
from .keyword_index import PendingKeywords


class Operation:
    """What each write does.

    Attributes:
        collections: as the transaction has them.
        keywords: what is to be brought in line with its memories at the end.
        draft: the memories as the transaction has them.
        history: what it adds to their history.
    """

    def __init__(self, connection: Connection, dialect: Dialect, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._last_event = clock.eid
        self.collections = Collections(connection, clock)
        self.keywords = PendingKeywords(connection)
        self.draft = Draft(connection, self.keywords)
        self.history = History(connection, clock, self.draft)
        self._bulk = Bulk(connection, dialect, self.draft, self.history, self.keywords)

    async def prepare(self, names: set[Name], ids: Sequence[tuple[Name, str]]) -> None:
        """Read together what writes will ask for: collections, and records by their ids."""
        found = await self.collections.load(names)
        await self.draft.load([(found[name].key, id) for name, id in ids if name in found])

    async def put(self, write: Put) -> list[Stored]:
        """Store records, all or none."""
        records = list(write.records)
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is not None and any(record.vectors for record in records):
            collection.embedding.check_given(write.embedding)
        gone: list[Record] = []
        if collection is not None:
            await self.draft.load([(collection.key, record.id) for record in records])
            if write.replacing is not None:
                gone = await self._bulk.selected(collection, write.replacing)
            await self._check_users(collection, write, {record.id for record in gone})
        else:
            now = records[0].created_at
            collection = await self.collections.make(
                write.tenant, write.collection, write.embedding, now
            )
        now = times.now()
        if write.replacing == Selection():
            await self._bulk.expire_all(collection, now)
        await self.draft.load([(collection.key, record.id) for record in gone])
        for record in gone:
            self._delete_entry(collection, await self.draft.entry(collection, record.id), now)
        return [await self._put_record(collection, record, write) for record in records]

    async def _check_users(self, collection: Collection, write: Put, gone: set[str]) -> None:
        if write.user_id is None:
            return
        for record in write.records:
            before = (await self.draft.entry(collection, record.id)).record
            now = record.updated_at if write.at is None else write.at
            if before is None or before.is_expired(now) or record.id in gone:
                continue
            if before.user_id != write.user_id:
                raise rules.id_in_use()

    async def _put_record(self, collection: Collection, record: Record, write: Put) -> Stored:
        now = record.updated_at if write.at is None else write.at
        entry = await self.draft.entry(collection, record.id)
        before = entry.record
        if before is not None and before.is_expired(now):
            self._expire_entry(collection, entry, now)
            before = None
        if before is None:
            record.version, record.seq = entry.last_version + 1, self._clock.next_rid()
            self.history.added(collection, record, now)
            self.draft.insert(collection, entry, record)
            return Stored(record, created=True)
        stored = replace(record, seq=before.seq, created_at=before.created_at)
        self._change(collection, entry, stored, now)
        return Stored(stored, created=False)

    async def learn(self, write: Learn) -> Learned | Literal["stale"]:
        """Store a record unless what it says is known."""
        record = write.record
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            collection = await self.collections.make(
                write.tenant, write.collection, write.embedding, record.created_at
            )
        else:
            collection.embedding.check_given(write.embedding)
        now = record.updated_at
        for id in learning.ids(record):
            record.id = id
            there = await self.draft.entry(collection, id)
            if there.record is None or there.record.is_expired(now):
                break
            if learning.is_known(there.record, record):
                return self._link(collection, there, record)
        if write.similar is not None:
            similar = await self.draft.entry(collection, write.similar[0])
            if learning.is_still(similar.record, record, write.similar[1]):
                return self._link(collection, similar, record)
        if write.since is not None and await self.history.has_events(
            collection, record.scope, write.since, self._last_event
        ):
            return STALE
        put = Put(write.tenant, write.collection, write.embedding, [record])
        return Learned((await self._put_record(collection, record, put)).record, created=True)

    def _link(self, collection: Collection, entry: Entry, record: Record) -> Learned:
        known = entry.record
        assert known is not None
        after = learning.linked(known, record)
        if after is None:
            return Learned(known, created=False)
        self._change(collection, entry, after, record.updated_at)
        return Learned(after, created=False)

    def _change(
        self,
        collection: Collection,
        entry: Entry,
        after: Record,
        at: int,
        idempotency_key: str | None = None,
    ) -> None:
        self.history.changed(collection, entry, after, at, idempotency_key)
        self.draft.replace(collection, entry, after)

    def _expire_entry(self, collection: Collection, entry: Entry, at: int) -> None:
        assert entry.record is not None
        self.history.expired(collection, entry.record, at)
        self.draft.delete(collection, entry, entry.record.version + 1, keep_vectors=False)

    def _delete_entry(self, collection: Collection, entry: Entry, at: int) -> None:
        assert entry.record is not None
        self.history.deleted(collection, entry.record, at)
        self.draft.delete(collection, entry, entry.record.version + 1, keep_vectors=True)

    async def update(self, write: Update) -> Record | Literal["stale"] | None:
        """Change fields of one record, if it is what the change was prepared for."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            return None
        if write.embedding is not None:
            collection.embedding.check_given(write.embedding)
        entry = await self.draft.entry(collection, write.id)
        before = entry.record
        if before is None or before.is_expired(write.updated_at):
            return None
        if write.user_id is not None and before.user_id != write.user_id:
            return None
        if write.if_version is not None and write.if_version != before.version:
            if await self.history.was_made(collection, write):
                return before
            raise rules.version_conflict(write.if_version, before.version)
        after = rules.updated(before, write)
        if after is None:
            return STALE
        key = None if write.if_version is None else write.idempotency_key
        self._change(collection, entry, after, write.updated_at, key)
        return after

    async def delete(self, write: Delete) -> Deleted:
        """Delete the selected records."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            return Deleted(0, [] if write.returning else None)
        now = times.now()
        if write.selection.ids is not None and write.selection.filter is None:
            return await self._delete_by_ids(collection, write, write.selection.ids, now)
        if write.if_version is not None:
            other = await self._bulk.other_version(
                collection, write.selection, write.if_version, now
            )
            if other is not None:
                raise rules.version_conflict(write.if_version, other)
        if write.selection == Selection():
            await self._bulk.expire_all(collection, now)
        gone = None
        if write.returning:
            gone = await self._bulk.selected(collection, write.selection)
            rids = [record.seq for record in gone]
        else:
            rids = await self._bulk.rids(collection, write.selection, now)
        await self._bulk.delete(collection, rids, now)
        if write.selection == Selection():
            await self.keywords.forget(collection.key)  # at once, and not word by word
        return Deleted(len(rids), gone)

    async def _delete_by_ids(
        self, collection: Collection, write: Delete, ids: Sequence[str], now: int
    ) -> Deleted:
        await self.draft.load([(collection.key, id) for id in ids])
        meant: dict[str, Entry] = {}
        for id in ids:
            entry = await self.draft.entry(collection, id)
            if entry.record is not None and _is_meant(entry.record, write.selection, now):
                meant[id] = entry
        records = [entry.record for entry in meant.values() if entry.record is not None]
        for record in records:
            if write.if_version is not None and record.version != write.if_version:
                raise rules.version_conflict(write.if_version, record.version)
        records.sort(key=lambda record: record.seq)
        for record in records:
            self._delete_entry(collection, meant[record.id], now)
        return Deleted(len(records), records if write.returning else None)

    async def archive(self, write: Archive) -> list[Record]:
        """Set the selected records aside, or take them back."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            return []
        other = Condition(RecordField("archived", "boolean"), "$eq", not write.archived)
        asked = write.selection.filter
        narrowed = other if asked is None else And((other, asked))
        found = await self._bulk.selected(collection, write.selection._replace(filter=narrowed))
        now = times.now()
        await self.draft.load([(collection.key, record.id) for record in found])
        changed = []
        for record in found:
            after = replace(record, archived=write.archived, updated_at=now)
            self._change(collection, await self.draft.entry(collection, record.id), after, now)
            changed.append(after)
        return changed

    async def refresh(self, write: Refresh) -> int:
        """Start times to live anew."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            return 0
        return await self._bulk.refresh(collection, write.ids, write.at)

    async def restore(self, write: Restore) -> Record:
        """Take a record back to a version of its history."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None:
            raise rules.no_version(write)
        await self.draft.flush()
        entry = await self.draft.entry(collection, write.id)
        current = entry.record
        state = await restoring.state(self._connection, collection, current, write)
        if current is not None and current.is_expired(write.at):
            self._expire_entry(collection, entry, write.at)
            await self.draft.flush()
            current = None
        if current is None:
            state.version, state.updated_at = entry.last_version + 1, write.at
            stayed = await restoring.vectors(self._connection, collection.key, state.seq)
            await self.history.restored(collection, state, stayed)
            self.history.added(collection, state, write.at)
            self.draft.insert(collection, entry, state, is_back=True)
            return state
        if write.user_id is not None and current.user_id != write.user_id:
            raise rules.id_in_use()
        state = replace(state, seq=current.seq, created_at=current.created_at)
        if replace(state, updated_at=current.updated_at).is_like(current) and (
            state.vectors == entry.vectors
        ):
            return current
        state.updated_at = write.at
        if state.vectors == entry.vectors:
            state.vectors = None
        self._change(collection, entry, state, write.at)
        return state

    async def erase(self, write: Erase) -> Erased:
        """Delete all that there is of a user, history included."""
        await self.draft.flush()
        records = kept = 0
        for collection in await self.collections.listed(write.tenant):
            found = await self._bulk.of_user(collection, write.user_id, write.at)
            if found:
                rids = [rid for rid, _ in found]
                await self._bulk.remove(collection, rids, keep_vectors=False)
                self.collections.touched.add(collection.key)
            alive = sum(is_alive for _, is_alive in found)
            records += alive
            kept += alive > 0
        await jobs.erase(self._connection, write.tenant, write.user_id)
        events = await self.history.erased(write.tenant, write.user_id, write.at)
        return Erased(records, events, kept)

    async def put_tokens(self, write: PutTokens) -> int:
        """Give records the tokens of their texts."""
        collection = await self.collections.find(write.tenant, write.collection)
        if collection is None or not write.tokens:
            return 0
        return await self._bulk.put_tokens(collection, write.tokens)

    async def sweep(self, write: Sweep) -> int:
        """Delete what has expired."""
        swept = 0
        for collection, rids in await self._bulk.expired(write.now, write.limit):
            await self._bulk.expire(collection, rids, write.now)
            swept += len(rids)
        return swept

    async def put_collection(self, write: PutCollection) -> Collection:
        """Make a collection, or find it as asked for and change what may change."""
        found = await self.collections.find(write.tenant, write.name)
        if found is None:
            found = await self.collections.make(
                write.tenant, write.name, write.embedding, write.created_at
            )
        if found.embedding != write.embedding:
            raise rules.other_settings(found, write.embedding)
        changed = replace(found, **write.changes)
        if changed != found:
            await self.collections.change(changed)
        return changed

    async def drop_collection(self, write: DropCollection) -> int:
        """Delete a collection with its memories."""
        collection = await self.collections.find(write.tenant, write.name)
        if collection is None:
            return 0
        deleted = await self.delete(Delete(write.tenant, write.name, Selection()))
        await self.history.dropped(collection)
        await self.collections.drop(collection)
        return deleted.count


def _is_meant(record: Record, selection: Selection, now: int) -> bool:
    """Whether a record is living and in the scope of a selection."""
    scope = selection.scope
    if record.is_expired(now) or any(
        getattr(record, name) != value for name, value in scope.items()
    ):
        return False
    if scope.namespace is None:
        return True
    return record.namespace is not None and (
        record.namespace[: len(scope.namespace)] == scope.namespace
    )
