"""Indexes of vectors: one for each large collection, which searches without a scope go by.

Such an index knows of each number of a vector only its sign, 48 bytes of 384 numbers, and answers
the nearest by these bits; a search compares the vectors of many more than it wants. Vectors of any
other collection cost it nothing.
"""

from dataclasses import dataclass

from .connections import Connection

THRESHOLD = 20_000
"""How many vectors a collection has that gets an index. It loses it when half of them are left.

To compare 20,000 vectors takes 9 ms of the processor, and 50,000 take 25; the index takes 6 to 10.
With it, 1,400 vectors a second can be stored, without it tens of thousands.
"""
_SHORTEST = 64
"""How many numbers a vector has, at least, of a collection that gets one.

The signs of a few tell too little: of 20,000 vectors of 8 numbers the index has half of the ten
nearest, of 3 numbers a sixth. To compare short ones takes little.
"""
_LEAST, _MOST = 400, 1_000
"""How many vectors are compared exactly; pgvector can't do more."""
_NAME = "embedding_hnsw_"


def rescored(size: int) -> int:
    """How many of the nearest by the index are compared exactly, of so many memories.

    Of 50,000 real vectors 400 hold .996 of the ten nearest, 1,000 hold .998.
    """
    return min(_LEAST + size // 500, _MOST)


def setting(rescored: int) -> str:
    """A query that lets the index answer so many for the rest of its transaction."""
    return (
        f"SELECT set_config('hnsw.ef_search', '{rescored:d}', true) IS NOT NULL "
        "AND set_config('hnsw.iterative_scan', 'relaxed_order', true) IS NOT NULL AS is_set"
    )


def distance(dimension: int, vector: str) -> str:
    """What the index orders vectors ``v`` by."""
    bits = f"bit({dimension:d})"
    return f"binary_quantize(v.data)::{bits} <~> binary_quantize({vector})::{bits}"


@dataclass(frozen=True)
class _State:
    """A collection, or what is left of one, and its index.

    Attributes:
        count: of its vectors, as far as it matters; None where the collection is gone.
        is_valid: whether the index is whole; None where there is none.
    """

    cid: int
    dimension: int | None
    count: int | None
    is_indexed: bool | None
    is_valid: bool | None

    def is_wanted(self, threshold: int) -> bool:
        """Whether it should have one."""
        least = threshold // 2 if self.is_valid else threshold
        return self.count is not None and self.count > least


async def tend(connection: Connection, threshold: int = THRESHOLD) -> int:
    """Make the indexes that are due, and remove what is left of others.

    One server at a time does it; where another one is at it, nothing is done here.

    Args:
        connection: of its own; its settings are changed.
        threshold: how many vectors a collection has, at most, that gets none.

    Returns:
        How many were made or removed.
    """
    lock = "hashtextextended('hnsw ' || current_schema(), 0)"
    if not await connection.fetchval(f"SELECT pg_try_advisory_lock({lock})"):
        return 0
    try:
        await connection.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET maintenance_work_mem = '512MB'; "
            # Workers share that memory, of which a container may have 64 MB.
            "SET max_parallel_maintenance_workers = 0"
        )
        done = 0
        for state in await _states(connection, threshold):
            if state.is_valid is not None and not (state.is_valid and state.is_wanted(threshold)):
                await _remove(connection, state)
                done += 1
            if state.is_wanted(threshold):
                done += await _make(connection, state)
        return done
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({lock})")


async def _states(connection: Connection, threshold: int) -> list[_State]:
    rows = await connection.fetch(
        f"""
        WITH index AS (
            SELECT substr(c.relname, {len(_NAME) + 1})::bigint AS cid, i.indisvalid AS is_valid
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE c.relname ~ '^{_NAME}[0-9]+$' AND (
                i.indrelid = 'embedding'::regclass OR i.indrelid IN (
                    SELECT inhrelid FROM pg_inherits WHERE inhparent = 'embedding'::regclass
                )
            )
        )
        SELECT cid, c.dimension, n.count, c.is_indexed, i.is_valid
        FROM (
            SELECT * FROM collection WHERE metric = 'cosine' AND dimension >= {_SHORTEST}
        ) AS c
        FULL JOIN index i USING (cid)
        LEFT JOIN LATERAL (
            SELECT count(*) FROM (
                SELECT FROM embedding v WHERE v.cid = c.cid LIMIT $1
            ) AS e
        ) AS n ON c.dimension IS NOT NULL
        ORDER BY cid
        """,
        threshold + 1,
    )
    return [_State(*row) for row in rows]


async def _remove(connection: Connection, state: _State) -> None:
    # Searches first: none should look for an index that is not there.
    await _note(connection, state.cid, is_indexed=False)
    await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}{state.cid:d}")


async def _make(connection: Connection, state: _State) -> int:
    if state.is_valid and state.is_indexed:
        return 0
    if not state.is_valid:
        table = await connection.fetchval(  # the partition that the collection is in, or all
            "SELECT tableoid::regclass::text FROM embedding WHERE cid = $1 LIMIT 1", state.cid
        )
        await connection.execute(
            f"CREATE INDEX CONCURRENTLY {_NAME}{state.cid:d} ON {table} USING hnsw "
            f"((binary_quantize(data)::bit({state.dimension:d})) bit_hamming_ops) "
            f"WHERE cid = {state.cid:d}"
        )
    # Or the planner believes that the collection is small, and takes another way.
    await connection.execute("ANALYZE embedding (cid); ANALYZE memory (cid, rid, expires_at)")
    await _note(connection, state.cid, is_indexed=True)
    return 1


async def _note(connection: Connection, cid: int, *, is_indexed: bool) -> None:
    await connection.execute(
        "UPDATE collection SET is_indexed = $2 WHERE cid = $1", cid, is_indexed
    )
