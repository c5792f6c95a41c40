"""A record's vectors: the rows that it has in the table ``embedding``."""

from collections.abc import Sequence

import numpy as np
from agentmem_client.errors import InvalidRequest
from agentmem_client.models import Metric

from ..vectors import normalised

COLUMNS = (
    "(SELECT array_agg(v.data ORDER BY v.place) FROM embedding v WHERE v.cid = m.cid "
    "AND v.rid = m.rid), "
    "(SELECT array_agg(v.given ORDER BY v.place) FROM embedding v WHERE v.cid = m.cid "
    "AND v.rid = m.rid)"
)
"""What `as_given` reads of a memory ``m``: two columns."""

_MAX_DIMENSION = 16_000
"""Of pgvector's type."""
_UNIT = 1e-6
"""How far from 1 a length may be that is taken for it: models' vectors are not kept twice."""


def check_dimension(dimension: int) -> None:
    """Refuse a collection of vectors that the database can't hold.

    Raises:
        InvalidRequest: for more than 16,000 numbers.
    """
    if dimension > _MAX_DIMENSION:
        raise InvalidRequest(
            f"vectors have at most {_MAX_DIMENSION} numbers in PostgreSQL, not {dimension}: use "
            "shorter ones"
        )


def rows_of(
    metric: Metric, dimension: int, vectors: bytes
) -> list[tuple[int, bytes, bytes | None]]:
    """The rows of a record's vectors, which come one after the other: (place, data, given)."""
    if metric != "cosine":
        size = 4 * dimension
        return [
            (place, vectors[start : start + size], None)
            for place, start in enumerate(range(0, len(vectors), size))
        ]
    given = np.frombuffer(vectors, "<f4").reshape(-1, dimension)
    lengths = np.sqrt(np.einsum("ij,ij->i", given, given, dtype=np.float64))
    rows: list[tuple[int, bytes, bytes | None]] = []
    for place, (vector, length) in enumerate(zip(given, lengths.tolist(), strict=True)):
        whole = vector.tobytes()
        data = whole if abs(length - 1) <= _UNIT else unit(whole)
        rows.append((place, data, None if data == whole else whole))
    return rows


def unit(vector: bytes) -> bytes:
    """A vector scaled to length 1; zeros stay."""
    return normalised(np.frombuffer(vector, "<f4")).astype("<f4").tobytes()


def as_given(data: Sequence[bytes] | None, given: Sequence[bytes | None] | None) -> bytes:
    """The vectors as they were given, one after the other; empty where there are none."""
    pairs = zip(data or (), given or (), strict=True)
    return b"".join(kept if whole is None else whole for kept, whole in pairs)
