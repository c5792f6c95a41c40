"""The row that whoever writes holds, and the numbers that are counted in it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .connections import Connection
from .keyword_index import Size

_LOCK = """
SELECT cid, rid, eid, commits, forgotten
FROM clock, set_config('plan_cache_mode', $1, true) FOR UPDATE OF clock
"""
_SAVE = """
WITH counted AS (
    UPDATE collection c SET version = CASE WHEN n.is_written THEN $1 ELSE c.version END,
        documents = c.documents + n.documents, words = c.words + n.words
    FROM unnest($2::bigint[], $3::boolean[], $4::bigint[], $5::bigint[])
        AS n(cid, is_written, documents, words)
    WHERE c.cid = n.cid
), ticked AS (
    UPDATE clock SET commits = $1, cid = $6, rid = $7, eid = $8, forgotten = $9
)
SELECT pg_notify($10, payload) FROM unnest($11::text[]) AS payload
"""


@dataclass(slots=True)
class Clock:
    """The last number of each kind that was given away."""

    cid: int
    rid: int
    eid: int
    commits: int
    forgotten: int

    @classmethod
    async def lock(cls, connection: Connection, *, few: bool = False) -> "Clock":
        """Wait until no other transaction writes, and read the numbers.

        Args:
            connection: in the transaction.
            few: whether it is about so few rows that planning takes longer than finding them; then
                there is one plan of each statement for all values.
        """
        mode = "force_generic_plan" if few else "force_custom_plan"
        row = await connection.fetchrow(_LOCK, mode)
        assert row is not None
        clock = cls(*row)
        clock.commits += 1
        return clock

    def next_cid(self) -> int:
        """A key for a new collection."""
        self.cid += 1
        return self.cid

    def next_rid(self) -> int:
        """An id for a new row."""
        self.rid += 1
        return self.rid

    def next_eid(self) -> int:
        """An id for a new event."""
        self.eid += 1
        return self.eid

    async def save(
        self,
        connection: Connection,
        written: AbstractSet[int] = frozenset(),
        grown: Mapping[int, Size] | None = None,
        channel: str = "",
        news: Sequence[str] = (),
    ) -> None:
        """Write the numbers back, with what is to be noted of collections; tell other servers.

        Args:
            connection: in the transaction.
            written: the keys of collections whose version this commit is from now on.
            grown: by how much their keyword indexes have grown.
            channel: where other servers listen.
            news: what they are told.
        """
        sizes = grown or {}
        cids = sorted(written | sizes.keys())
        await connection.execute(
            _SAVE,
            self.commits,
            cids,
            [cid in written for cid in cids],
            [sizes.get(cid, Size()).documents for cid in cids],
            [sizes.get(cid, Size()).words for cid in cids],
            self.cid,
            self.rid,
            self.eid,
            self.forgotten,
            channel,
            list(news),
        )
