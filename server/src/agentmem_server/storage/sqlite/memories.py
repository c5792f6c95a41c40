"""Rows of memories, changed in all tables that know of them, and then in memory.

What changes in memory is noted down and applied when the transaction is on disk.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

import apsw
from pydantic_core import to_json

from .. import Collection, Record
from ..memory_rows import COLUMNS, to_record, values
from ..tags import tags
from . import keyword_index, rows
from .memory_state import MemoryState
from .new_memories import INSERT, INSERT_TAG, NewMemories, row
from .pending_keywords import PendingKeywords

Mark: TypeAlias = tuple[PendingKeywords, int]


class Memories:
    """The memories of all collections, as the transaction under way has them.

    Attributes:
        new: those that are no rows yet; what is here neither sees nor changes them.
        keywords: what is to be brought in line in the full-text indexes.
        after_commit: what is to be done when the transaction is on disk.
    """

    def __init__(self, connection: apsw.Connection, state: MemoryState) -> None:
        self._connection = connection
        self._state = state
        self.after_commit: list[Callable[[], None]] = []
        self.keywords = PendingKeywords(connection)
        self.new = NewMemories(connection, state, self.keywords, self.after_commit)

    @property
    def changes(self) -> int:
        """Another number when the transaction has done more."""
        return self._connection.total_changes() - self.new.flushed + self.new.count

    def mark(self) -> Mark:
        """What the transaction has yet to do; for `go_back`."""
        return self.keywords.copy(), len(self.after_commit)

    def go_back(self, mark: Mark) -> None:
        """All that was done since was rolled back."""
        keywords, actions = mark
        self.new.forget()
        self.keywords.become(keywords)
        del self.after_commit[actions:]

    def finish(self) -> None:
        """All writes of the transaction are done."""
        self.new.flush()
        self.keywords.write()

    def find(self, collection: Collection, id: str) -> Record | None:
        """The record with an id, expired or not."""
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM memory m WHERE cid = ? AND id = ?", (collection.key, id)
        ).fetchone()
        return None if found is None else to_record(found)

    def bring_back(self, collection: Collection, record: Record) -> None:
        """Store a record under the seq that it had."""
        self._connection.execute(INSERT, row(collection, record))
        self._add_tags(collection, record)
        self._index(collection, record, moved=True)
        self.touch(collection, record.seq, record.user_id)

    def replace(self, collection: Collection, before: Record, after: Record) -> None:
        """Change a record that is there, of the same seq."""
        self._connection.execute(
            "UPDATE memory SET content = ?, metadata = ?, user_id = ?, agent_id = ?, "
            "session_id = ?, type = ?, importance = ?, event_at = ?, expires_at = ?, "
            "payload = ?, namespace = ?, ttl = ?, archived = ?, index_texts = ?, sources = ?, "
            "updated_at = ?, version = ? WHERE rid = ?",
            (*values(after), after.updated_at, after.version, after.seq),
        )
        if before.metadata != after.metadata or to_json(before.metadata) != to_json(after.metadata):
            self._remove_tags(collection, before)
            self._add_tags(collection, after)
        moved = (before.user_id, before.session_id) != (after.user_id, after.session_id)
        left = self._following(collection, before) if moved else None
        other = before.content != after.content or bool(before.texts) != bool(after.texts)
        self._index(collection, after, moved=moved or other)
        if left is not None:
            self.keywords.around_changed(collection.key, left)
        self.touch(collection, after.seq, before.user_id, after.user_id)

    def touch(self, collection: Collection, rid: int, *users: str | None) -> None:
        """A row, that is or was of these users, is another when the transaction is on disk.

        The other methods here say so themselves.
        """
        self._state.kept.touched.row(collection.key, rid, *users)

    def delete(
        self,
        collection: Collection,
        rids: Sequence[int],
        ended: Callable[[Record], None],
        *,
        keep_vectors: bool = False,
    ) -> None:
        """Delete rows that are there; ``ended`` is told of each, before it goes.

        ``keep_vectors`` leaves the vectors to their last images.
        """
        followers: set[int | None] = set()
        for rid in rids:
            record = rows.read(self._connection, rid)
            ended(record)
            self.touch(collection, rid, record.user_id)
            followers.add(self._following(collection, record))
            self._remove_tags(collection, record)
            self.keywords.removed(collection.key, rid)
            if not keep_vectors:
                self._connection.execute("DELETE FROM vector WHERE rid = ?", (rid,))
            self._connection.execute("DELETE FROM token WHERE rid = ?", (rid,))
            self._connection.execute("DELETE FROM memory WHERE rid = ?", (rid,))
        # Their keyword texts held words of what is gone.
        for follower in followers - {None, *rids}:
            assert follower is not None
            self.keywords.around_changed(collection.key, follower)
        self.after_commit.append(lambda: self._state.remove_vectors(collection, rids))

    def clear(self, collection: Collection, at: int) -> None:
        """Empty a collection without looking at each of its rows.

        The vectors are left to their last images, but for what has expired at a time.
        """
        key = (collection.key,)
        self._connection.execute(
            "DELETE FROM vector WHERE rid IN "
            "(SELECT rid FROM memory WHERE cid = ? AND expires_at <= ?)",
            (collection.key, at),
        )
        self._connection.execute(
            "DELETE FROM token WHERE rid IN (SELECT rid FROM memory WHERE cid = ?)", key
        )
        self._connection.execute("DELETE FROM tag WHERE cid = ?", key)
        self._connection.execute("DELETE FROM memory WHERE cid = ?", key)
        self.keywords.forget(collection.key)
        keyword_index.drop(self._connection, collection.key)
        keyword_index.create(self._connection, collection.key)
        self._state.kept.touched.collections.add(collection.key)
        self.after_commit.append(lambda: self._state.clear_vectors(collection))

    def expire(
        self, collection: Collection, expiries: Iterable[tuple[int, int, str | None]]
    ) -> None:
        """Rows, by id, were given a new expiry; the third says whose they are."""
        for rid, expires_at, user_id in expiries:
            self.touch(collection, rid, user_id)
            self.after_commit.append(
                partial(self._state.put_vectors, collection, rid, None, expires_at)
            )

    def _index(self, collection: Collection, record: Record, *, moved: bool) -> None:
        """Bring vectors and keywords in line with the row; where it moved, its successor's too."""
        rid, vectors, expires_at = record.seq, record.vectors, record.expires_at
        if vectors:
            self._connection.execute(
                "INSERT OR REPLACE INTO vector (rid, data) VALUES (?, ?)", (rid, vectors)
            )
        elif vectors is not None:
            self._connection.execute("DELETE FROM vector WHERE rid = ?", (rid,))
        if record.tokens:
            self._connection.execute(
                "INSERT OR REPLACE INTO token (rid, data) VALUES (?, ?)", (rid, record.tokens)
            )
        elif vectors is not None:
            self._connection.execute("DELETE FROM token WHERE rid = ?", (rid,))
        self.keywords.changed(collection.key, record)
        following = self._following(collection, record) if moved else None
        if following is not None:
            self.keywords.around_changed(collection.key, following)
        self.after_commit.append(
            lambda: self._state.put_vectors(collection, rid, vectors, expires_at)
        )

    def _following(self, collection: Collection, record: Record) -> int | None:
        """The record whose keyword text has this one as its previous turn."""
        return keyword_index.following(self._connection, collection.key, record)

    def _add_tags(self, collection: Collection, record: Record) -> None:
        self._connection.executemany(
            INSERT_TAG,
            [(collection.key, *tag, record.seq) for tag in tags(record.metadata)],
        )

    def _remove_tags(self, collection: Collection, record: Record) -> None:
        self._connection.executemany(
            "DELETE FROM tag WHERE cid = ? AND path = ? AND kind = ? AND value = ? AND full = ? "
            "AND rid = ?",
            [(collection.key, *tag, record.seq) for tag in tags(record.metadata)],
        )
