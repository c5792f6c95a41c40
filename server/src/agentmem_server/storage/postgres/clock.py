"""The row that whoever writes holds, and the numbers that are counted in it."""

from dataclasses import dataclass

from .connections import Connection


@dataclass(slots=True)
class Clock:
    """The last number of each kind that was given away."""

    cid: int
    rid: int
    eid: int
    commits: int
    forgotten: int

    @classmethod
    async def lock(cls, connection: Connection) -> "Clock":
        """Wait until no other transaction writes, and read the numbers."""
        row = await connection.fetchrow(
            "SELECT cid, rid, eid, commits, forgotten FROM clock FOR UPDATE"
        )
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
