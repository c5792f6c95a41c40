"""Searches: candidates, their ranking, and the records of the best."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import numpy as np
from numpy.typing import NDArray

from ... import times
from .. import (
    LONGEST_TURN,
    LOOKED_AT,
    NEIGHBOURS,
    OPENING,
    Attributes,
    Candidates,
    Collection,
    Ranked,
    Record,
    SearchRequest,
    Turns,
)
from ..sql import Dialect
from ..vectors import normalised
from . import rows
from .candidates import Again, Finder, Found
from .connections import Connection

_IN_THREAD = 1_000
"""How many candidates are ranked beside the event loop. A hundred take as long as to get there."""
_VECTORS = """
SELECT m.rid, m.version, v.data FROM memory m
LEFT JOIN embedding v ON v.cid = m.cid AND v.rid = m.rid AND v.place = 0
WHERE m.cid = $1 AND m.rid = ANY($2::bigint[])
"""
_ATTRIBUTES = """
SELECT m.rid, m.version, m.event_at, m.created_at, m.updated_at, m.importance FROM memory m
WHERE m.cid = $1 AND m.rid = ANY($2::bigint[])
"""
_TURNS = f"""
SELECT m.rid, m.version,
    CASE WHEN m.session_id IS NOT NULL AND octet_length(m.content) <= {LONGEST_TURN}
        THEN left(m.content, {OPENING}) END,
    CASE WHEN $4 THEN (SELECT data FROM token t WHERE t.cid = m.cid AND t.rid = m.rid) END,
    f.rids
FROM memory m
LEFT JOIN LATERAL (
    SELECT array_agg(n.rid ORDER BY n.rid) AS rids FROM (
        SELECT rid, user_id, expires_at, index_texts FROM memory
        WHERE cid = m.cid AND session_id = m.session_id AND rid > m.rid
        ORDER BY rid LIMIT {LOOKED_AT}
    ) AS n WHERE n.user_id IS NOT DISTINCT FROM m.user_id
    AND (n.expires_at IS NULL OR n.expires_at > $3) AND n.index_texts IS DISTINCT FROM '[]'
) AS f ON m.session_id IS NOT NULL
WHERE m.cid = $1 AND m.rid = ANY($2::bigint[])
"""


class _NotRead(Exception):
    """Something of these records is asked for that is yet to be read.

    Args:
        read: what reads it.
        rids: of which records.
    """

    def __init__(self, read: Callable[[Sequence[int]], Awaitable[None]], rids: list[int]) -> None:
        self.read = read
        self.rids = rids


async def search(
    connection: Connection, dialect: Dialect, collection: Collection, request: SearchRequest
) -> list[tuple[Record, float]]:
    """The ranked records with their scores, best first.

    Candidates and records are read one after the other. Where a write came between that matters,
    or the quick way can't tell, it is done again in one snapshot.
    """
    finder = Finder(connection, dialect, collection, request, times.now())
    if not finder.reads_twice:
        try:
            return await _Search(finder, await finder.find()).run()
        except Again:
            pass
    async with rows.snapshot(connection):
        try:
            found = await finder.find()
        except Again:
            found = await finder.find(thorough=True)
        return await _Search(finder, found).run()


class _Search:
    """What is done with the candidates that were found.

    Args:
        finder: who found them.
        found: which.
    """

    def __init__(self, finder: Finder, found: Found) -> None:
        self._connection = finder.connection
        self._collection = finder.collection
        self._request = finder.request
        self._now = finder.now
        self._found = found
        self._vectors: dict[int, NDArray[np.float32]] = {}
        self._attributes: dict[int, Sequence[float | None]] = {}
        self._turns: dict[int, tuple[str | None, bytes | None, Sequence[int]]] = {}
        self._with_tokens = False

    async def run(self) -> list[tuple[Record, float]]:
        """Rank and read.

        Raises:
            Again: a write came between.
        """
        ids, scores = await self._rank()
        if not len(ids):
            return []
        records = await self._records(ids.tolist())
        return [
            (records[rid], score) for rid, score in zip(ids.tolist(), scores.tolist(), strict=True)
        ]

    async def _rank(self) -> Ranked:
        """Rank; where more of the candidates is asked for, once more when that is read."""
        found = self._found
        candidates = Candidates(
            found.ids,
            found.similarities,
            found.keyword_ids,
            found.keyword_scores,
            vectors=self._known_vectors,
            attributes=self._known_attributes,
            turns=self._known_turns,
        )
        while True:
            try:
                compares = self._vectors or (self._turns and self._with_tokens)
                if len(found.ids) < _IN_THREAD and not compares:
                    return self._request.rank(candidates)
                return await asyncio.to_thread(self._request.rank, candidates)
            except _NotRead as missing:
                await missing.read(missing.rids)

    def _known_vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        wanted = ids.tolist()
        if not wanted:
            return np.zeros((0, self._collection.embedding.dimension), np.float32)
        if any(rid not in self._vectors for rid in wanted):
            raise _NotRead(self._read_vectors, wanted)
        return np.stack([self._vectors[rid] for rid in wanted])

    def _known_attributes(self, ids: NDArray[np.int64]) -> Attributes:
        wanted = ids.tolist()
        if any(rid not in self._attributes for rid in wanted):
            raise _NotRead(self._read_attributes, wanted)
        return Attributes.of(ids, self._attributes)

    async def _read_attributes(self, rids: Sequence[int]) -> None:
        found = await self._read(_ATTRIBUTES, rids)
        self._attributes.update((rid, values) for rid, _, *values in found)

    def _known_turns(self, ids: NDArray[np.int64], with_tokens: bool) -> Turns:
        wanted, self._with_tokens = ids.tolist(), with_tokens
        if any(rid not in self._turns for rid in wanted):
            raise _NotRead(self._read_turns, wanted)
        return Turns.of(ids, self._turns)

    async def _read_turns(self, rids: Sequence[int]) -> None:
        for rid, _, opening, tokens, later in await self._read(
            _TURNS, rids, self._now, self._with_tokens
        ):
            self._turns[rid] = (opening, tokens, (later or ())[:NEIGHBOURS])

    async def _read(self, query: str, rids: Sequence[int], *more: object) -> list[asyncpg.Record]:
        """Rows of records, which begin with their ids and versions.

        Raises:
            Again: one is gone, or has changed since it was found.
        """
        found = await self._connection.fetch(query, self._collection.key, rids, *more)
        self._found.check((row["rid"], row["version"]) for row in found)
        if len(found) < len(set(rids)):
            raise Again
        return found

    async def _read_vectors(self, rids: Sequence[int]) -> None:
        found = await self._read(_VECTORS, rids)
        nothing = np.zeros(self._collection.embedding.dimension, np.float32)
        for rid, _, data in found:
            given = nothing if data is None else np.frombuffer(data, "<f4")
            self._vectors[rid] = normalised(given)

    async def _records(self, rids: Sequence[int]) -> dict[int, Record]:
        with_vectors = self._request.with_vectors
        found = await self._connection.fetch(
            f"SELECT {rows.columns(with_vectors)} FROM memory m "
            "WHERE m.cid = $1 AND m.rid = ANY($2::bigint[])",
            self._collection.key,
            rids,
        )
        records = {one.seq: one for one in (rows.record(row, with_vectors) for row in found)}
        self._found.check((one.seq, one.version) for one in records.values())
        if len(records) < len(set(rids)) or any(
            one.is_expired(self._now) for one in records.values()
        ):
            raise Again
        return records
