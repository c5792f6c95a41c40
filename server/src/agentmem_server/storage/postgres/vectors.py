"""A record's vectors: the rows that it has in the table ``embedding``."""

from collections.abc import Sequence

COLUMNS = (
    "(SELECT array_agg(v.data ORDER BY v.place) FROM embedding v WHERE v.cid = m.cid "
    "AND v.rid = m.rid), "
    "(SELECT array_agg(v.given ORDER BY v.place) FROM embedding v WHERE v.cid = m.cid "
    "AND v.rid = m.rid)"
)
"""What `as_given` reads of a memory ``m``: two columns."""


def as_given(data: Sequence[bytes] | None, given: Sequence[bytes | None] | None) -> bytes:
    """The vectors as they were given, one after the other; empty where there are none."""
    pairs = zip(data or (), given or (), strict=True)
    return b"".join(kept if whole is None else whole for kept, whole in pairs)
