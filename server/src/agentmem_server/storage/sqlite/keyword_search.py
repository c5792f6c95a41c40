"""The keyword channel of a search: the memories that match best, by BM25."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apsw
import numpy as np
from numpy.typing import NDArray

from .. import Selection, terms
from ..bm25 import K1, B, rarity
from . import narrow_match, rows
from .postings import Ids, Index, Postings

Scores = NDArray[np.float64]

_NARROW = 0.15
"""Up to this share of the memories, FTS5 finds what is selected before all postings are read."""
_ENOUGH = 150_000
"""How often the terms that candidates are found by come, about: 0.1 µs each."""
_LEAST = 2
"""So many terms are read in any case: ranked by one alone, what has both often comes too late."""
_CORRECTED = 100
"""Of how many found it is asked in the end how often they have the common terms: 25 µs a term."""
_LITTLE = 0.01
"""Up to this weight nobody asks which candidates have a term."""
_FIRST = 1_000
"""How many candidates are scored first, to know what the others must reach."""
_SPARSE = 16
"""From so many ids on for one that is there, no place is kept for those that aren't."""


def match(
    connection: apsw.Connection,
    cid: int,
    words: Sequence[str],
    selection: Selection,
    depth: int,
    now: int,
    among: Ids | None,
) -> tuple[Ids, Scores]:
    """The memories that match best, as ids and BM25 scores (larger is better), best first.

    Args:
        connection: to read from; `postings.prepare`d for the collection.
        cid: the collection.
        words: any of which may match.
        selection: what to search.
        depth: how many at most.
        now: microseconds; what expired by then is left out.
        among: the selected ids; None where that is all.
    """
    index = Index(connection, cid)
    if among is not None and len(among) <= _NARROW * index.size:
        return narrow_match.match(index, words, selection, depth, now, among)
    expired = rows.expired(connection, cid, now) if among is None else None
    query = _Query(index, words)
    while True:
        found = _best(index, query.lists(), depth, among, expired)
        if len(found[0]) >= depth or not query.read_more():
            return query.corrected(*found)


@dataclass(frozen=True, slots=True)
class _List:
    """The memories that have a term, and what each occurrence counts for, before its length."""

    weight: float
    postings: Postings


@dataclass(frozen=True, slots=True)
class _Common:
    """A term whose postings were not read: it, a word of the query for it, and its weight."""

    term: str
    word: str
    weight: float


class _Query:
    """What is read of the terms of a query.

    Where they come too often together, candidates are what the rarest are in. Of the others it is
    asked which candidates have them, as if once each, and in the end how often the best do.
    """

    def __init__(self, index: Index, words: Sequence[str]) -> None:
        self._index = index
        self._lists: list[_List] = []
        self._rare: list[str] = []
        """Words for what was read."""
        self._common: list[_Common] = []
        """The rarest first."""
        asked = terms.of_query(words)
        if index.size * len(asked) <= _ENOUGH:
            for term, times in asked.items():
                self._read(term, times)
        else:
            alone = terms.alone(words)
            self._read_rarest(asked, {term: word for word, term in alone.items()})

    def lists(self) -> list[_List]:
        """Of each term that counts, as far as it is known which of the candidates have it."""
        rare = _any(self._rare)
        asked = [one for one in self._common if one.weight > _LITTLE] if rare else []
        return self._lists + [_List(one.weight, self._shared(one.word, rare)) for one in asked]

    def read_more(self) -> bool:
        """Let the next of the common terms bring candidates too; False where none is left."""
        if not self._common:
            return False
        one = self._common.pop(0)
        self._rare.append(one.word)
        self._lists.append(_List(one.weight, self._index.postings(one.term)))
        return True

    def corrected(self, ids: Ids, scores: Scores) -> tuple[Ids, Scores]:
        """What was found, the best of it by how often it really has the common terms."""
        asked = [one for one in self._common if one.weight > _LITTLE]
        best = ids[:_CORRECTED]
        if not asked or not len(best):
            return ids, scores
        best = np.sort(best)
        share = _share(self._index, best)
        more = np.zeros(len(ids))
        places = np.argsort(ids[:_CORRECTED])
        for one in asked:
            n = np.maximum(self._index.counts(one.word, best), 1)
            more[places] += one.weight * (n / (n + share) - 1 / (1 + share))
        return _sorted(ids, scores + more)

    def _read_rarest(self, asked: Mapping[str, int], alone: Mapping[str, str]) -> None:
        known = sorted((*self._index.frequency(term), term) for term in asked)
        together = 0
        for documents, instances, term in known:
            together += instances
            if together <= _ENOUGH or len(self._lists) < _LEAST or term not in alone:
                self._read(term, asked[term])
                self._rare += [alone[term]] if term in alone else []
            else:
                weight = self._weight(documents, asked[term])
                self._common.append(_Common(term, alone[term], weight))

    def _read(self, term: str, times: int) -> None:
        postings = self._index.postings(term)
        if len(postings.ids):
            self._lists.append(_List(self._weight(len(postings.ids), times), postings))

    def _weight(self, documents: int, times: int) -> float:
        return times * (K1 + 1) * rarity(self._index.size, documents)

    def _shared(self, word: str, rare: str) -> Postings:
        ids = self._index.both(f'"{word}"', rare)
        return Postings(ids, np.ones_like(ids))


def _best(
    index: Index, lists: Sequence[_List], depth: int, among: Ids | None, expired: Ids | None
) -> tuple[Ids, Scores]:
    """The best of all that is in one of the lists, but for what is not among, or expired."""
    if not lists:
        return np.empty(0, dtype=np.int64), np.empty(0)
    ids, places = _placed(np.concatenate([one.postings.ids for one in lists]))
    counts = np.concatenate([one.postings.counts for one in lists]).astype(np.float64)
    weights = np.repeat([one.weight for one in lists], [len(one.postings.ids) for one in lists])
    # What each would score if it were as short as can be.
    most = np.bincount(places, weights * counts / (counts + K1 * (1 - B)), minlength=len(ids))
    if among is not None:
        most[~np.isin(ids, among)] = 0
    if expired is not None and len(expired):
        most[np.isin(ids, expired)] = 0

    def score(chosen: Ids) -> Scores:
        share = _share(index, ids[chosen])
        place_of = np.full(len(ids), -1)
        place_of[chosen] = np.arange(len(chosen))
        at = place_of[places]
        here = at >= 0
        at, n = at[here], counts[here]
        parts = weights[here] * n / (n + share[at])
        return np.bincount(at, parts, minlength=len(chosen)).astype(np.float64)

    candidates = np.flatnonzero(most > 0)
    first = max(_FIRST, 4 * depth)
    if len(candidates) > 4 * first:
        at_most = most[candidates]
        promising = np.argpartition(at_most, len(at_most) - first)[len(at_most) - first :]
        reached = score(np.sort(candidates[promising]))
        candidates = candidates[at_most >= np.partition(reached, first - depth)[first - depth]]
    if not len(candidates):
        return np.empty(0, dtype=np.int64), np.empty(0)
    found, scores = _sorted(ids[candidates], score(candidates))
    return found[:depth], scores[:depth]


def _share(index: Index, ids: Ids) -> Scores:
    """What BM25 adds to a term's count below the line, by the length of each of these."""
    shares = K1 * (1 - B + B * index.lengths(ids) / index.mean_length)
    return np.asarray(shares, dtype=np.float64)


def _sorted(ids: Ids, scores: Scores) -> tuple[Ids, Scores]:
    """The best first; of equals the newest."""
    order = np.lexsort((-ids, -scores))
    return ids[order], scores[order]


def _placed(ids: Ids) -> tuple[Ids, Ids]:
    """The different ids, ascending, and of each of these ids its place there."""
    low, high = int(ids.min()), int(ids.max())
    if high - low < _SPARSE * len(ids):
        return np.arange(low, high + 1), ids - low  # ids that are not there do no harm
    return np.unique(ids, return_inverse=True)


def _any(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
