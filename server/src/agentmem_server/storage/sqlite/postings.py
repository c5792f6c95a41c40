"""What a full-text index knows of a term: which memories have it, and how often.

FTS5's own `bm25` looks for the length of each match and counts each term's memories anew, 0.5 µs a
match. Here a term's postings come as one text from a table of the kind ``fts5vocab``, 0.06 µs each,
and lengths are read for those alone that may be among the best.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

import apsw
import numpy as np
from cachetools import TTLCache
from numpy.typing import NDArray

from . import keyword_index, rows

Ids = NDArray[np.int64]

_COLUMNS = 2
_MOST_OPENED = 256
"""Collections of which a connection keeps the tables that postings are read from."""
_FREQUENT = 1_000
"""From so many memories on it is kept how many have a term: counting takes 0.015 µs each."""
_KEPT = 60.0
"""Seconds for which it is, if the index has not grown or shrunk by a hundredth."""


@dataclass(slots=True)
class _Opened:
    """What is kept of a connection."""

    collections: set[int] = field(default_factory=set)
    frequencies: TTLCache[tuple[int, str], tuple[int, int, int]] = field(
        default_factory=lambda: TTLCache(10_000, _KEPT, time.monotonic)
    )
    """By collection and term: the index's size then, and the term's frequency."""


_opened: WeakKeyDictionary[apsw.Connection, _Opened] = WeakKeyDictionary()


def prepare(connection: apsw.Connection, cid: int) -> None:
    """Make what a collection's postings are read from, if this connection hasn't got it yet.

    Outside a transaction, whose end would take it back.
    """
    known = _opened.get(connection)
    if known is None:
        known = _opened[connection] = _Opened()
        connection.register_fts5_function("agentmem_count", _count)
    opened = known.collections
    if cid in opened:
        return
    if len(opened) >= _MOST_OPENED:
        for other in opened:
            connection.execute(f"DROP TABLE temp.posting_{other:d}; DROP TABLE temp.term_{other:d}")
        opened.clear()
    for name, kind in (("posting", "instance"), ("term", "row")):
        connection.execute(
            f"CREATE VIRTUAL TABLE temp.{name}_{cid:d} "
            f"USING fts5vocab(main, keyword_{cid:d}, {kind})"
        )
    opened.add(cid)


@dataclass(frozen=True, slots=True)
class Postings:
    """The memories that have a term: ascending ids, and how often each has it."""

    ids: Ids
    counts: Ids


class Index:
    """One collection's full-text index, as the connection's transaction sees it.

    Attributes:
        connection: that it is read by.
        cid: the collection.
        size: how many memories it has.
        mean_length: of these, in tokens of both columns, as FTS5's `bm25` has it.
    """

    def __init__(self, connection: apsw.Connection, cid: int) -> None:
        """Of a collection that is there, and `prepare`d."""
        self.connection = connection
        self.cid = cid
        self._frequencies = _opened[connection].frequencies
        averages = connection.execute(f"SELECT block FROM keyword_{cid:d}_data WHERE id = 1").get
        numbers: list[int] = _varints(averages).tolist()  # none before the first memory
        self.size, words = (numbers[0], sum(numbers[1:])) if numbers else (0, 0)
        self.mean_length = words / self.size if self.size else 0.0

    def frequency(self, term: str) -> tuple[int, int]:
        """How many memories have a term, and how often it comes in them together.

        Of a frequent one as it was up to a minute ago.
        """
        size, *known = self._frequencies.get((self.cid, term), (0, 0, 0))
        if size and abs(self.size - size) <= self.size / 100:
            return known[0], known[1]
        found = self.connection.execute(
            f"SELECT doc, cnt FROM temp.term_{self.cid:d} WHERE term = ?", (term,)
        ).fetchone()
        documents, instances = (0, 0) if found is None else found
        if documents >= _FREQUENT:
            self._frequencies[self.cid, term] = (self.size, documents, instances)
        return documents, instances

    def postings(self, term: str) -> Postings:
        """Read a term's postings."""
        # The tokens of scopes stand in the same index. A text may say one, and must not be it.
        condition = " AND col = 'text'" if keyword_index.is_like_scope(term) else ""
        table = f"temp.posting_{self.cid:d}"
        ids = rows.numbers(
            self.connection.execute(
                f"SELECT group_concat(doc) FROM {table} WHERE term = ?{condition}", (term,)
            ).get
        )
        first = np.flatnonzero(np.diff(ids, prepend=-1))
        return Postings(ids[first], np.diff(first, append=len(ids)))

    def both(self, words: str, others: str) -> Ids:
        """The memories that match both of two expressions, ascending; a long list is leapt over."""
        return rows.numbers(
            self.connection.execute(
                f"SELECT group_concat(rowid) FROM keyword_{self.cid:d} "
                f"WHERE keyword_{self.cid:d} MATCH ?",
                (f"text : ({words}) AND text : ({others})",),
            ).get
        )

    def counts(self, word: str, ids: Ids) -> Ids:
        """How often each of these few memories has a word, 25 µs each."""
        table = f"keyword_{self.cid:d}"
        rows = self.connection.execute(
            f"SELECT k.rowid, agentmem_count({table}) FROM carray(?) AS wanted "
            f"CROSS JOIN {table} AS k WHERE k.rowid = wanted.value AND {table} MATCH ?",
            (apsw.carray(np.ascontiguousarray(ids)), f'text : "{word}"'),
        )
        found = dict(cast("Iterable[tuple[int, int]]", rows))
        return np.array([found.get(rid, 0) for rid in ids.tolist()], dtype=np.int64)

    def lengths(self, ids: Ids) -> Ids:
        """The tokens of each of these memories, in both columns; one at least, and all there."""
        sizes = self.connection.execute(
            "SELECT group_concat(hex(d.sz), '') FROM carray(?) AS wanted "
            f"CROSS JOIN keyword_{self.cid:d}_docsize AS d WHERE d.id = wanted.value",
            (apsw.carray(np.ascontiguousarray(ids)),),
        ).get
        of_columns = _varints(bytes.fromhex(sizes)).reshape(-1, _COLUMNS)
        return np.asarray(of_columns.sum(axis=1), dtype=np.int64)


def _count(match: apsw.FTS5ExtensionApi, *_nothing: "apsw.SQLiteValue") -> int:
    return len(match.phrase_column_offsets(0, 1))


def _varints(data: bytes) -> Ids:
    """SQLite's numbers of variable length: seven bits a byte, the first ones first."""
    every = np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    last = np.flatnonzero(every < 0x80)
    if not len(last):
        return last
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = np.repeat(last, last - first + 1) - np.arange(len(every))
    return np.add.reduceat((every & 0x7F) << 7 * shifts, first)
