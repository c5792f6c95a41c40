"""The candidates of a search, of both channels, read by one query."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import Collection, SearchRequest, Selection
from ..memory_rows import condition
from ..sql import Dialect
from ..terms import of_query
from . import dense, hnsw, keyword_search
from .connections import Connection
from .dialect import numbered
from .statement import Statement

_PREPARE = """
SELECT c.is_indexed, c.documents, c.words, array_agg(t.term), array_agg(t.documents)
FROM collection c LEFT JOIN term t ON t.cid = c.cid AND t.term = ANY($2::text[])
WHERE c.cid = $1 GROUP BY c.cid
"""


class Again(Exception):
    """What was read first and what was read later are of two states, or it was too little."""


@dataclass
class Found:
    """What the channels found, as `Candidates` has it, and of which version it was."""

    ids: NDArray[np.int64]
    similarities: NDArray[np.float64]
    keyword_ids: NDArray[np.int64]
    keyword_scores: NDArray[np.float64]
    versions: dict[int, int]

    def check(self, read: Iterable[tuple[int, int]]) -> None:
        """Compare with the versions of what was read later.

        Raises:
            Again: one has changed.
        """
        if any(self.versions.get(rid, version) != version for rid, version in read):
            raise Again


@dataclass
class _Row:
    """A candidate.

    ``similarity`` is None where the dense channel did not find it, ``score`` where the keyword
    channel didn't; ``other`` is the similarity of what only this one found, None without a vector.
    """

    rid: int
    version: int
    similarity: float | None
    score: float | None
    other: float | None


class Finder:
    """Finds the candidates of one search.

    Args:
        connection: to read from.
        dialect: of the database.
        collection: what is searched.
        request: how.
        now: microseconds; what expired by then is left out.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        collection: Collection,
        request: SearchRequest,
        now: int,
    ) -> None:
        self.connection = connection
        self.collection = collection
        self.request = request
        self.now = now
        self._selected = condition(collection, request.selection, now, dialect)
        self._is_narrowed = request.selection != Selection()
        self._asked = None
        if request.vector is not None:
            self._asked = dense.Asked(collection, request.vector)

    async def find(self, *, thorough: bool = False) -> Found:
        """What the channels find.

        Args:
            thorough: compare all, by no index, and numbers of any size. In a snapshot, as where
                it `reads_twice`.

        Raises:
            Again: when it must be thorough.
        """
        query, rescored = await self._prepare()
        if self._asked is None and query is None:
            return _joined([], self.request.depth)
        statement = Statement()
        if self._is_narrowed or (thorough and self._asked is not None):
            selected = statement.condition(self._selected)
            statement.part("selected", f"SELECT m.rid FROM memory m WHERE {selected}")
        similarity, least = self._add_dense(statement, rescored, thorough)
        self._add_words(statement, query)
        found, scanned = await self._fetch(statement, similarity, query is not None)
        near = sum(one.similarity is not None for one in found)
        if scanned >= least and near < self.request.depth:
            raise Again
        if self._asked is not None:
            is_right = self._asked.is_right(_known(found))
            if not is_right and not thorough:
                raise Again
            if not is_right or self._asked.is_rough:
                found = await self._compared(self._asked, found, everything=not is_right)
        return _joined(found, self.request.depth)

    @property
    def reads_twice(self) -> bool:
        """Whether `find` needs a snapshot, for it reads vectors once more."""
        return self._asked is not None and self._asked.is_rough

    async def _prepare(self) -> tuple[keyword_search.Query | None, int]:
        """The terms' weights; and how many vectors to take from an index, 0 where there is none."""
        counts = of_query(self.request.terms)
        if not counts and (self._asked is None or self._is_narrowed):
            return None, 0
        cid = self.collection.key
        row = await self.connection.fetchrow(_PREPARE, cid, list(counts))
        if row is None:  # deleted since the caller looked it up
            return None, 0
        is_indexed, size, words, terms, documents = row
        known = {term: count for term, count in zip(terms, documents, strict=True) if term}
        query = keyword_search.Query.of(cid, counts, known, size, words)
        rescored = hnsw.rescored(size) if is_indexed else 0
        return query if query.keys else None, rescored if 2 * self.request.depth <= rescored else 0

    def _add_dense(
        self, statement: Statement, rescored: int, thorough: bool
    ) -> tuple[str | None, float]:
        """The part ``dense``: what it compares by, and from how many rows on there may be more."""
        if self._asked is None:
            return None, math.inf
        vector, depth = f"{statement.mark(self._asked.compared)}::vector", self.request.depth
        similarity = self._asked.similarity(vector)
        limit = 2 * depth + 100
        if self._is_narrowed or thorough:
            most = limit if self._asked.is_rough else depth
            dense.add_selected(statement, self.collection, similarity, most)
            return similarity, math.inf
        if rescored:
            dense.add_indexed(statement, self.collection, vector, similarity, rescored, self.now)
            return similarity, 0  # the index may give up before it has so many
        dense.add_scanned(statement, self.collection, similarity, limit)
        return similarity, limit

    def _add_words(self, statement: Statement, query: keyword_search.Query | None) -> None:
        if query is not None:
            keyword_search.add(
                statement,
                self.collection.key,
                query,
                narrowed=self._is_narrowed,
                depth=self.request.depth,
                now=self.now,
            )

    async def _fetch(
        self, statement: Statement, similarity: str | None, has_words: bool
    ) -> tuple[list[_Row], int]:
        """The candidates, and how many rows the part ``dense`` has."""
        channels, other, scanned = [], "NULL::float8", "0"
        cid, now = statement.mark(self.collection.key), statement.mark(self.now)
        if similarity is not None:
            channels.append("SELECT rid, similarity, NULL::float8 AS score FROM dense")
            scanned = "(SELECT count(*) FROM dense)"
        if has_words:
            channels.append("SELECT rid, NULL::float8 AS similarity, score FROM words")
        if similarity is not None and has_words:
            other = (
                f"CASE WHEN f.similarity IS NULL THEN (SELECT max({similarity}) "
                f"FROM embedding v WHERE v.cid = {cid} AND v.rid = f.rid) END"
            )
        statement.part(
            "found",
            "SELECT rid, max(similarity) AS similarity, max(score) AS score "
            f"FROM ({' UNION ALL '.join(channels)}) AS c GROUP BY rid",
        )
        columns = ("m.rid", "m.version", "f.similarity", "f.score", other)
        row = await self.connection.fetchrow(
            statement.text(
                f"SELECT {scanned}, {', '.join(f'array_agg({one})' for one in columns)} "
                f"FROM found f JOIN memory m ON m.cid = {cid} AND m.rid = f.rid "
                f"WHERE m.expires_at IS NULL OR m.expires_at > {now}"
            ),
            *statement.parameters,
        )
        assert row is not None
        count, *arrays = row
        return [_Row(*one) for one in zip(*(array or [] for array in arrays), strict=True)], count

    async def _compared(
        self, asked: dense.Asked, found: Sequence[_Row], *, everything: bool
    ) -> list[_Row]:
        """The candidates, or all that is selected, with similarities that are counted here."""
        rows = {one.rid: one for one in found}
        if everything:
            selected = await self.connection.fetch(
                f"SELECT m.rid, m.version FROM memory m WHERE {numbered(self._selected)}",
                *self._selected.parameters,
            )
            for rid, version in selected:
                rows.setdefault(rid, _Row(rid, version, None, None, None))
        scores = await dense.compare(self.connection, self.collection, asked, list(rows))
        for rid, row in rows.items():
            is_near = everything or row.similarity is not None
            row.similarity, row.other = scores.get(rid) if is_near else None, scores.get(rid)
        return list(rows.values())


def _known(found: Sequence[_Row]) -> NDArray[np.float64]:
    """All similarities."""
    both = [(one.similarity, one.other) for one in found]
    return np.array([value for pair in both for value in pair if value is not None], np.float64)


def _joined(rows: Sequence[_Row], depth: int) -> Found:
    """The best of the dense channel, then by their ids those that only the keyword channel has."""
    near = [one for one in rows if one.similarity is not None]
    near.sort(key=lambda one: (one.similarity, one.rid), reverse=True)
    chosen = {one.rid for one in near[:depth]}
    said = [one for one in rows if one.score is not None]
    said.sort(key=lambda one: (one.score, one.rid), reverse=True)
    only_said = sorted((one for one in said if one.rid not in chosen), key=lambda one: one.rid)
    everything = [*near[:depth], *only_said]
    similarities = [one.other if one.similarity is None else one.similarity for one in everything]
    return Found(
        ids=np.array([one.rid for one in everything], np.int64),
        similarities=np.array(similarities, np.float64),  # None is NaN
        keyword_ids=np.array([one.rid for one in said], np.int64),
        keyword_scores=np.array([one.score for one in said], np.float64),
        versions={one.rid: one.version for one in everything},
    )
