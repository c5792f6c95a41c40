"""What the keyword channel reads, kept in line with the memories.

A row of ``keyword`` has the terms of a memory's keyword text (`keywords.keyword_text`), a row of
``term`` how many of these have it. All of a transaction's changes are made together at its end.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from pydantic_core import from_json, to_json

from ...keywords import MAX_PREVIOUS, keyword_text
from .. import Record, labels
from ..terms import counted, words
from .connections import Connection
from .keyword_search import keyed

_CHUNK = 1_000
"""How many memories are read at once, and what they were found by."""
_IN_THREAD = 100_000
"""Characters together from which on texts and counts are read beside the event loop: some 5 ms."""

# What no search finds is no turn (see `sqlite.keyword_index.neighbour`).
_IS_TURN = (
    "{0}.session_id = {1}.session_id AND {0}.user_id IS NOT DISTINCT FROM {1}.user_id "
    "AND ({0}.expires_at IS NULL OR {0}.expires_at > $7) AND {0}.index_texts IS DISTINCT FROM '[]'"
)
_READ = f"""
WITH wanted AS (
    SELECT k.cid, k.rid FROM unnest($1::bigint[], $2::bigint[]) AS k(cid, rid)
    UNION
    SELECT a.cid, next.rid
    FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[])
        AS a(cid, rid, user_id, session_id)
    CROSS JOIN LATERAL (
        SELECT n.rid FROM memory n
        WHERE n.cid = a.cid AND n.rid > a.rid AND {_IS_TURN.format("n", "a")}
        ORDER BY n.rid LIMIT 1
    ) AS next
)
SELECT w.cid, w.rid, k.counts, k.length, p.previous, m.content, m.index_texts, m.user_id,
    m.agent_id, m.session_id, m.namespace, m.event_at, m.created_at
FROM wanted w
LEFT JOIN keyword k ON k.cid = w.cid AND k.rid = w.rid
LEFT JOIN memory m ON m.cid = w.cid AND m.rid = w.rid
LEFT JOIN LATERAL (
    SELECT right(b.content, {MAX_PREVIOUS}) AS previous FROM memory b
    WHERE b.cid = m.cid AND b.rid < m.rid AND {_IS_TURN.format("b", "m")}
    ORDER BY b.rid DESC LIMIT 1
) AS p ON true
ORDER BY w.cid, w.rid
"""
_PUT = """
WITH stored AS (
    INSERT INTO keyword (cid, rid, counts, length)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::jsonb[], $4::integer[])
    ON CONFLICT (cid, rid) DO UPDATE SET counts = excluded.counts, length = excluded.length
)
INSERT INTO term (cid, term, documents)
SELECT * FROM unnest($5::bigint[], $6::text[], $7::bigint[]) AS n(cid, term, documents)
ORDER BY n.cid, n.term COLLATE "C"  -- as the index has them, which is three times as fast
ON CONFLICT (cid, term) DO UPDATE SET documents = term.documents + excluded.documents
"""
_REMOVE = """
WITH gone AS (
    DELETE FROM keyword k USING unnest($1::bigint[], $2::bigint[]) AS g(cid, rid)
    WHERE k.cid = g.cid AND k.rid = g.rid
), fewer AS (
    SELECT * FROM unnest($3::bigint[], $4::text[], $5::bigint[]) AS f(cid, term, documents)
), last AS (
    DELETE FROM term t USING fewer f
    WHERE t.cid = f.cid AND t.term = f.term AND t.documents <= f.documents
)
UPDATE term t SET documents = t.documents - f.documents FROM fewer f
WHERE t.cid = f.cid AND t.term = f.term AND t.documents > f.documents
"""
Key = tuple[int, int]
"""Of a row: the collection's key and the row id."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many memories an index has, and how many words in them."""

    documents: int = 0
    words: int = 0

    def __add__(self, more: "Size") -> "Size":
        return Size(self.documents + more.documents, self.words + more.words)


class PendingKeywords:
    """The memories that a transaction changed; what they are found by is changed at its end.

    Args:
        connection: in the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed: set[Key] = set()
        self._around: set[tuple[int, int, str | None, str]] = set()

    def changed(self, cid: int, rid: int) -> None:
        """A memory was stored, or stored anew."""
        self._changed.add((cid, rid))

    def removed(self, cid: int, rid: int) -> None:
        """A memory was deleted."""
        self._changed.add((cid, rid))

    def around(self, cid: int, rid: int, user_id: str | None, session_id: str) -> None:
        """The turn that follows a place in a user's session has another one before it."""
        self._around.add((cid, rid, user_id, session_id))

    async def forget(self, cid: int) -> None:
        """Empty the index of a collection, whose memories are all gone."""
        self._changed = {key for key in self._changed if key[0] != cid}
        self._around = {place for place in self._around if place[0] != cid}
        await self._connection.execute("DELETE FROM keyword WHERE cid = $1", cid)
        await self._connection.execute("DELETE FROM term WHERE cid = $1", cid)
        await self._connection.execute(
            "UPDATE collection SET documents = 0, words = 0 WHERE cid = $1", cid
        )

    async def write(self, now: int) -> dict[int, Size]:
        """Bring the index in line with the rows, which are all written.

        Args:
            now: microseconds; a turn that expired by then is none.

        Returns:
            By how much each collection's index has grown, for the collection's own row.
        """
        grown: dict[int, Size] = {}
        for keys, places in self._chunks():
            read = await self._connection.fetch(
                _READ, *_columns(keys, 2), *_columns(places, 4), now
            )
            if (
                sum(len(row["content"] or "") + len(row["counts"] or "") for row in read)
                < _IN_THREAD
            ):
                changes = _changes(read)
            else:
                changes = await asyncio.to_thread(_changes, read)
            await changes.write(self._connection)
            for cid, size in changes.grown.items():
                grown[cid] = grown.get(cid, Size()) + size
        self._changed.clear()
        self._around.clear()
        return grown

    def _chunks(self) -> Iterator[tuple[Sequence[Key], Sequence[tuple[int, int, str | None, str]]]]:
        keys, places = sorted(self._changed), list(self._around)
        for start in range(0, max(len(keys), len(places)), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield keys[part], places[part]


@dataclass
class _Changes:
    """What becomes of the tables, each change the sum of all.

    Attributes:
        rows: of ``keyword``, without what stays as it was.
        gone: which are to be removed.
        documents: how many more memories have a term, by collection.
        grown: by how much a collection's index has.
        more: the terms that more memories have: collections, terms, how many more.
        fewer: likewise, how many fewer.
    """

    rows: list[tuple[int, int, str, int]] = field(default_factory=list)
    gone: list[Key] = field(default_factory=list)
    documents: dict[int, Counter[str]] = field(default_factory=dict)
    grown: dict[int, Size] = field(default_factory=dict)
    more: list[list[Any]] = field(default_factory=list)
    fewer: list[list[Any]] = field(default_factory=list)

    def add(
        self,
        cid: int,
        old: dict[str, int] | None,
        new: dict[str, int] | None,
        words: int,
    ) -> None:
        """Count a memory whose terms were old and are new; so many more words it has."""
        documents = self.documents.setdefault(cid, Counter())
        before, after = (old or {}).keys(), (new or {}).keys()
        documents.update(after - before)
        documents.subtract(before - after)
        more = Size((new is not None) - (old is not None), words)
        self.grown[cid] = self.grown.get(cid, Size()) + more

    def finish(self) -> None:
        """All are counted."""
        self.more, self.fewer = self._terms(1), self._terms(-1)

    def _terms(self, sign: int) -> list[list[Any]]:
        cids: list[int] = []
        terms: list[str] = []
        counts: list[int] = []
        for cid, documents in self.documents.items():
            some = {term: sign * count for term, count in documents.items() if sign * count > 0}
            cids += [cid] * len(some)
            terms += some
            counts += some.values()
        return [cids, terms, counts]

    async def write(self, connection: Connection) -> None:
        """Change the tables."""
        if self.rows:
            await connection.execute(_PUT, *_columns(self.rows, 4), *self.more)
        if self.gone or self.fewer[0]:
            await connection.execute(_REMOVE, *_columns(self.gone, 2), *self.fewer)


def _changes(read: Sequence[asyncpg.Record]) -> _Changes:
    changes = _Changes()
    for cid, rid, counts, length, previous, *columns in read:
        prefix = len(keyed(cid, ""))
        old = None if counts is None else {key[prefix:]: n for key, n in from_json(counts).items()}
        record = None if columns[0] is None else _record(*columns)
        if record is None or not record.texts:
            if old is not None:
                changes.gone.append((cid, rid))
                changes.add(cid, old, None, -length)
            continue
        stems = words(keyword_text(record.context_date, previous, "\n".join(record.texts)))
        new = dict(counted(stems))
        now_long = len(stems) + _scopes(record)
        if (new, now_long) == (old, length):
            continue
        kept = to_json({keyed(cid, term): count for term, count in new.items()}).decode()
        changes.rows.append((cid, rid, kept, now_long))
        changes.add(cid, old, new, now_long - (length or 0))
    changes.finish()
    return changes


def _record(
    content: str,
    index_texts: str | None,
    user_id: str | None,
    agent_id: str | None,
    session_id: str | None,
    namespace: str | None,
    event_at: int | None,
    created_at: int,
) -> Record:
    """What a memory is found by, as a record without the rest."""
    scope = (user_id, agent_id, session_id)
    record = Record("", content, {}, *scope, None, None, event_at, None, created_at, created_at)
    record.index_texts = None if index_texts is None else from_json(index_texts)
    record.namespace = None if namespace is None else labels.decode(namespace)
    return record


def _scopes(record: Record) -> int:
    """How many scopes a memory is in.

    The SQLite store's index has a token for each, which counts in the length that BM25 divides by.
    """
    return len(record.scope.items()) + len(record.namespace or ())


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width
