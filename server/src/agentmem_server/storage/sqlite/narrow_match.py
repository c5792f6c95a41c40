"""The keyword channel of a search in a small part of a collection: FTS5 goes through its matches.

A scope narrows inside the index. What a filter says has to come from outside, as row ids.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import apsw
import numpy as np
from numpy.typing import NDArray

from .. import Selection, terms
from ..bm25 import K1, B, rarity
from . import keyword_index
from .postings import Ids, Index

_SMALL = 0.02
"""Up to this share of a large collection, scoring what is selected may be quicker by our function:
FTS5's `bm25` counts anew in how many memories each word is."""
_LARGE = 10_000
"""Memories of a collection, from which on such a count may be more than a millisecond."""
_CALL = 30
"""So many memories that have a word does `bm25` count while our function looks at a selected one.
"""


def match(
    index: Index,
    words: Sequence[str],
    selection: Selection,
    depth: int,
    now: int,
    among: Ids,
) -> tuple[Ids, NDArray[np.float64]]:
    """The selected memories that match best, as ids and BM25 scores, best first.

    Args:
        index: the collection's.
        words: any of which may match.
        selection: what to search.
        depth: how many at most.
        now: microseconds; what expired by then is left out.
        among: the selected ids.
    """
    cid, scope = index.cid, keyword_index.scope_tokens(selection.scope)
    matching = " OR ".join(f'"{word}"' for word in words)
    expression = " AND ".join([*(f"scope : {one}" for one in scope), f"text : ({matching})"])
    # The unary plus keeps SQLite from driving the search by row ids, which FTS5 is slow at.
    if selection.filter is None:
        condition = (
            "+rowid NOT IN (SELECT rid FROM memory WHERE cid = ? AND expires_at IS NOT NULL "
            "AND expires_at <= ?)"
        )
        parameters: tuple[object, ...] = (cid, now)
    else:
        condition, parameters = "+rowid IN (SELECT value FROM carray(?))", (apsw.carray(among),)
    score = f"-bm25(keyword_{cid:d}, 0, 1)"
    weights = _weights(index, words, len(among))
    if weights is not None:
        _scorer(index.connection).expect(index, [0.0] * len(scope) + weights)
        score = f"agentmem_score(keyword_{cid:d})"
    rows = index.connection.execute(
        f"SELECT rowid, {score} AS score FROM keyword_{cid:d} "
        f"WHERE keyword_{cid:d} MATCH ? AND {condition} ORDER BY score DESC, rowid DESC LIMIT ?",
        (expression, *parameters, depth),
    ).fetchall()
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    return ids, np.array([row[1] for row in rows], dtype=np.float64)


def _weights(index: Index, words: Sequence[str], selected: int) -> list[float] | None:
    """What each word counts for; None where FTS5's `bm25`, which counts it anew, is quicker."""
    if index.size < _LARGE or selected > _SMALL * index.size:
        return None
    alone = terms.alone(words)
    if len(alone) < len(words):
        return None
    documents = [index.frequency(alone[word])[0] for word in words]
    if sum(documents) <= _CALL * selected:
        return None
    return [(K1 + 1) * rarity(index.size, one) for one in documents]


class _Scorer:
    """BM25 of one memory after the other, of weights that are known. A function for FTS5."""

    def __init__(self) -> None:
        self._weights: list[tuple[int, float]] = []
        self._fixed = self._of_length = 0.0

    def expect(self, index: Index, weights: Sequence[float]) -> None:
        """What the phrases of the next expression count for; nothing where 0."""
        self._weights = [(phrase, weight) for phrase, weight in enumerate(weights) if weight]
        self._fixed, self._of_length = K1 * (1 - B), K1 * B / index.mean_length

    def __call__(self, match: apsw.FTS5ExtensionApi, *_nothing: "apsw.SQLiteValue") -> float:
        share = self._fixed + self._of_length * match.column_size(-1)
        score = 0.0
        for phrase, weight in self._weights:
            if count := len(match.phrase_column_offsets(phrase, 1)):
                score += weight * count / (count + share)
        return score


_scorers: WeakKeyDictionary[apsw.Connection, _Scorer] = WeakKeyDictionary()


def _scorer(connection: apsw.Connection) -> _Scorer:
    """The connection's own: one that is registered is never forgotten by FTS5."""
    found = _scorers.get(connection)
    if found is None:
        found = _scorers[connection] = _Scorer()
        connection.register_fts5_function("agentmem_score", found)
    return found
