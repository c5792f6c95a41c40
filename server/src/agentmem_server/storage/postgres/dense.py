"""The dense channel of a search: exact, or by the collection's index with exact rescoring."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np

from .. import Collection
from ..vectors import Scores, VectorIndex
from . import hnsw
from .connections import Connection
from .statement import Statement
from .vectors import unit

_ROWS = 2_000
"""How many vectors are read at once where the database can't compare them."""


class Asked:
    """What the vectors of a collection are compared with, and how.

    Args:
        collection: whose vectors.
        vector: as it was given, float32 bytes.
    """

    def __init__(self, collection: Collection, vector: bytes) -> None:
        self.metric = collection.embedding.metric
        self.given = vector
        self.compared = unit(vector) if self.metric == "cosine" else vector

    def similarity(self, vector: str) -> str:
        """The expression for how near ``v.data`` is to it; ``vector`` stands for ``compared``."""
        if self.metric == "euclidean":
            return f"1 / (1 + (v.data <-> {vector}))"
        return f"-(v.data <#> {vector})"  # both of length 1 where the metric is cosine

    @property
    def is_rough(self) -> bool:
        """Whether the best are compared once more, in float64.

        Of distances float32 has 7 digits, and ranking stretches what little lies between them.
        """
        return self.metric == "euclidean"

    def is_right(self, similarities: Scores) -> bool:
        """Whether none is beyond the database's arithmetic, which is that of float32."""
        wrong = ~np.isfinite(similarities)
        if self.metric == "euclidean":
            wrong |= similarities == 0
        return not wrong.any()


def add_selected(statement: Statement, collection: Collection, similarity: str, depth: int) -> None:
    """Add ``dense`` (rid, similarity): the nearest of the part ``selected``, all compared."""
    statement.part(
        "dense",
        "SELECT c.rid, max(c.similarity) AS similarity FROM ("
        f"SELECT s.rid, {similarity} AS similarity FROM selected s "
        f"JOIN embedding v ON v.cid = {statement.mark(collection.key)} AND v.rid = s.rid OFFSET 0"
        ") AS c "  # compared first: the vectors are not to be sorted
        f"GROUP BY c.rid ORDER BY similarity DESC, c.rid DESC LIMIT {statement.mark(depth)}",
    )


def add_scanned(statement: Statement, collection: Collection, similarity: str, limit: int) -> None:
    """Add ``dense`` (rid, similarity): the nearest vectors of a collection, all compared.

    Some may be of memories that are gone, and several of one memory.
    """
    statement.part(
        "dense",
        f"SELECT v.rid, {similarity} AS similarity FROM embedding v "
        f"WHERE v.cid = {statement.mark(collection.key)} "
        f"ORDER BY similarity DESC, v.rid DESC LIMIT {statement.mark(limit)}",
    )


def add_indexed(
    statement: Statement,
    collection: Collection,
    vector: str,
    similarity: str,
    limit: int,
    now: int,
) -> None:
    """Add ``dense`` (rid, similarity): the nearest vectors by a collection's index, compared.

    Of memories that are there; several may be of one.
    """
    statement.part("depth", hnsw.setting(limit))
    statement.part(
        "dense",
        f"SELECT near.* FROM depth CROSS JOIN LATERAL (SELECT v.rid, {similarity} AS similarity "
        "FROM embedding v JOIN memory m ON m.cid = v.cid AND m.rid = v.rid "
        f"WHERE v.cid = {collection.key:d} AND depth.is_set "
        f"AND (m.expires_at IS NULL OR m.expires_at > {statement.mark(now)}) "
        f"ORDER BY {hnsw.distance(collection.embedding.dimension, vector)} LIMIT {limit:d}"
        ") AS near",
    )


async def compare(
    connection: Connection, collection: Collection, asked: Asked, rids: Sequence[int]
) -> dict[int, float]:
    """The similarities of rows, counted here in float64; of those that have vectors."""
    scores: dict[int, float] = {}
    for start in range(0, len(rids), _ROWS):
        part = rids[start : start + _ROWS]
        index = await _read(connection, collection, part)
        found = index.scores(asked.given, np.array(part, np.int64)).tolist()
        scores.update(zip(part, found, strict=True))
    return {rid: score for rid, score in scores.items() if not math.isnan(score)}


async def _read(connection: Connection, collection: Collection, rids: Sequence[int]) -> VectorIndex:
    """The vectors of rows, in memory."""
    rows = await connection.fetch(
        "SELECT rid, data FROM embedding WHERE cid = $1 AND rid = ANY($2::bigint[]) "
        "ORDER BY rid, place",
        collection.key,
        rids,
    )
    vectors: dict[int, bytes] = {}
    for rid, data in rows:
        vectors[rid] = vectors.get(rid, b"") + data
    embedding = collection.embedding
    return await asyncio.to_thread(
        VectorIndex.build,
        embedding.dimension,
        embedding.metric,
        [(rid, data, None) for rid, data in vectors.items()],
        len(rows),
    )
