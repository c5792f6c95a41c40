"""Rows of memories, changed in all tables that know of them, and then in memory.

What changes in memory is noted down and applied when the transaction is on disk.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import apsw
from pydantic_core import to_json

from .. import Collection, Record
from ..memory_rows import COLUMNS, to_record, values
from ..tags import tags
from . import keyword_index, rows
from .memory_state import MemoryState
from .pending_keywords import PendingKeywords


class Memories:
    """The memories of all collections, as the transaction under way has them.

    Attributes:
        after_commit: what is to be done when it is on disk.
    """

    def __init__(
        self, connection: apsw.Connection, state: MemoryState, keywords: PendingKeywords
    ) -> None:
        self._connection = connection
        self._state = state
        self._keywords = keywords
        self.after_commit: list[Callable[[], None]] = []

    def find(self, collection: Collection, id: str) -> Record | None:
        """The record with an id, expired or not."""
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM memory m WHERE cid = ? AND id = ?", (collection.key, id)
        ).fetchone()
        return None if found is None else to_record(found)

    def insert(self, collection: Collection, record: Record, rid: int | None = None) -> None:
        """Store a new record, under a row id that it had, or a new one; it gets it as its seq."""
        self._connection.execute(
            "INSERT INTO memory (rid, cid, id, content, metadata, user_id, agent_id, session_id, "
            "type, importance, event_at, expires_at, payload, namespace, ttl, archived, "
            "index_texts, sources, created_at, updated_at, version) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                rid,
                collection.key,
                record.id,
                *values(record),
                record.created_at,
                record.updated_at,
                record.version,
            ),
        )
        record.seq = self._connection.last_insert_rowid()
        self._add_tags(collection, record)
        # A new row id is the largest of all: no turn comes after it.
        self._index(collection, record, {record.user_id}, moved=rid is not None)

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
        users = {before.user_id, after.user_id}
        self._index(collection, after, users, moved=moved or other)
        if left is not None:
            self._keywords.around_changed(collection.key, left)

    def changed(self, collection: Collection, record: Record) -> None:
        """A record is to be read anew when the transaction is on disk.

        Only to be called where no other method here is: these see to it.
        """
        self.after_commit.append(
            partial(self._state.kept.changed, collection.key, record.seq, record.user_id)
        )

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
            self.changed(collection, record)
            followers.add(self._following(collection, record))
            self._remove_tags(collection, record)
            self._keywords.removed(collection.key, rid)
            if not keep_vectors:
                self._connection.execute("DELETE FROM vector WHERE rid = ?", (rid,))
            self._connection.execute("DELETE FROM token WHERE rid = ?", (rid,))
            self._connection.execute("DELETE FROM memory WHERE rid = ?", (rid,))
        # Their keyword texts held words of what is gone.
        for follower in followers - {None, *rids}:
            assert follower is not None
            self._keywords.around_changed(collection.key, follower)
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
        self._keywords.forget(collection.key)
        keyword_index.drop(self._connection, collection.key)
        keyword_index.create(self._connection, collection.key)
        self.after_commit.append(lambda: self._state.clear_vectors(collection))

    def expire(
        self, collection: Collection, expiries: Iterable[tuple[int, int, str | None]]
    ) -> None:
        """Rows, by id, were given a new expiry; the third says whose they are."""
        for rid, expires_at, user_id in expiries:
            self.after_commit.append(
                partial(self._state.put_vectors, collection, rid, None, expires_at, (user_id,))
            )

    def _index(
        self, collection: Collection, record: Record, users: set[str | None], *, moved: bool
    ) -> None:
        """Bring vectors and keywords in line with the row; where it moved, its successor's too.

        ``users`` are those whose it is or was.
        """
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
        self._keywords.changed(collection.key, record)
        following = self._following(collection, record) if moved else None
        if following is not None:
            self._keywords.around_changed(collection.key, following)
        self.after_commit.append(
            lambda: self._state.put_vectors(collection, rid, vectors, expires_at, users)
        )

    def _following(self, collection: Collection, record: Record) -> int | None:
        """The record whose keyword text has this one as its previous turn."""
        if record.session_id is None:
            return None
        return keyword_index.neighbour(
            self._connection,
            collection.key,
            record.seq,
            record.user_id,
            record.session_id,
            before=False,
        )

    def _add_tags(self, collection: Collection, record: Record) -> None:
        self._connection.executemany(
            "INSERT INTO tag (cid, path, kind, value, full, rid) VALUES (?, ?, ?, ?, ?, ?)",
            [(collection.key, *tag, record.seq) for tag in tags(record.metadata)],
        )

    def _remove_tags(self, collection: Collection, record: Record) -> None:
        self._connection.executemany(
            "DELETE FROM tag WHERE cid = ? AND path = ? AND kind = ? AND value = ? AND full = ? "
            "AND rid = ?",
            [(collection.key, *tag, record.seq) for tag in tags(record.metadata)],
        )
