"""Memories that a transaction stores anew: all together, by one statement a table."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import apsw
from agentmem_client.errors import APIError
from pydantic_core import to_json

from .. import Collection, Put, Record, Write
from ..memory_rows import values
from ..tags import tags
from . import history
from .memory_state import MemoryState
from .pending_keywords import PendingKeywords

INSERT = (
    "INSERT INTO memory (rid, cid, id, content, metadata, user_id, agent_id, session_id, "
    "type, importance, event_at, expires_at, payload, namespace, ttl, archived, "
    "index_texts, sources, created_at, updated_at, version) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""A row as `row` has it."""

INSERT_TAG = "INSERT INTO tag (cid, path, kind, value, full, rid) VALUES (?, ?, ?, ?, ?, ?)"

_INSERT_VECTORS = "INSERT INTO vector (rid, data) VALUES (?, ?)"
_INSERT_TOKENS = "INSERT INTO token (rid, data) VALUES (?, ?)"
_KNOWN = (
    "SELECT value FROM json_each(?1) "
    "WHERE EXISTS (SELECT 1 FROM memory WHERE cid = ?2 AND id = value) "
    "OR EXISTS (SELECT 1 FROM event WHERE cid = ?2 AND id = value)"
)


class NewMemories:
    """Memories that are stored, and no rows yet.

    They become rows, after one another, before anything else of the transaction reads or changes
    some, so that nothing comes in another order than the writes.

    Args:
        connection: to the file.
        state: what is kept in memory of it.
        keywords: is told of them.
        after_commit: gets what is to be done when the transaction is on disk.

    Attributes:
        count: how many there were.
        flushed: how many rows making rows of them has changed.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        state: MemoryState,
        keywords: PendingKeywords,
        after_commit: list[Callable[[], None]],
    ) -> None:
        self._connection = connection
        self._state = state
        self._keywords = keywords
        self._after_commit = after_commit
        self._unknown: dict[int, set[str]] = {}
        self._last_rid: int | None = None
        self._pending: list[history.Added] = []
        self.count = 0
        self.flushed = 0

    def look_up(self, writes: Sequence[Write]) -> None:
        """Ask at once which of the ids that writes store something under were never used."""
        wanted: dict[int, set[str]] = {}
        for write in writes:
            if not isinstance(write, Put):
                continue
            collection = self._state.draft(write.tenant, write.collection)
            if collection is not None:
                ids = wanted.setdefault(collection.key, set())
                try:
                    ids.update([record.id for record in write.records])
                except APIError:
                    continue  # told when its turn comes
        for cid, ids in wanted.items():
            known = self._connection.execute(_KNOWN, (to_json(list(ids)).decode(), cid)).fetchall()
            self._unknown[cid] = ids.difference(id for (id,) in cast("list[tuple[str]]", known))

    def is_unknown(self, collection: Collection, id: str) -> bool:
        """Whether nothing was ever stored under an id; false where that was not asked."""
        return id in self._unknown.get(collection.key, ())

    def add(self, collection: Collection, record: Record, at: int) -> None:
        """Store a record of a version that is given, at a time; it gets its seq."""
        if self._last_rid is None:
            found = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'memory'"
            )
            self._last_rid = cast("int", found.get or 0)
        self._last_rid += 1
        record.seq = self._last_rid
        self._unknown.get(collection.key, set()).discard(record.id)
        self._pending.append((collection, record, at))
        self.count += 1

    def flush(self) -> None:
        """Make rows of them."""
        if not self._pending:
            return
        added, self._pending = self._pending, []
        before = self._connection.total_changes()
        insert = self._connection.executemany
        history.added(self._connection, added)
        stored = [(collection, record) for collection, record, _ in added]
        insert(INSERT, [row(collection, record) for collection, record in stored])
        insert(
            INSERT_TAG,
            [
                (collection.key, *tag, record.seq)
                for collection, record in stored
                for tag in tags(record.metadata)
            ],
        )
        insert(_INSERT_VECTORS, [(one.seq, one.vectors) for _, one in stored if one.vectors])
        insert(_INSERT_TOKENS, [(one.seq, one.tokens) for _, one in stored if one.tokens])
        self.flushed += self._connection.total_changes() - before
        for collection, record in stored:
            self._keywords.added(collection.key, record)
            self._state.kept.touched.users.add((collection.key, record.user_id))
        self._after_commit.append(partial(self._state.add_vectors, stored))

    def forget(self) -> None:
        """They are not stored after all."""
        self._pending.clear()
        self._last_rid = None


def row(collection: Collection, record: Record) -> tuple[object, ...]:
    """A record as `INSERT` takes it."""
    return (
        record.seq,
        collection.key,
        record.id,
        *values(record),
        record.created_at,
        record.updated_at,
        record.version,
    )
