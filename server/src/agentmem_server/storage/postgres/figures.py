"""Figures of a tenant's living memories: how many, since when, whose."""

from ... import times
from .. import Figures
from ..sql import Sql, all_of
from . import rows
from .connections import Connection
from .dialect import numbered

_MOST = 20


async def figures(connection: Connection, tenant: str, user_id: str | None, since: int) -> Figures:
    """What there is of a tenant or of one of its users; days from that of ``since`` on."""
    conditions = [
        Sql("cid IN (SELECT cid FROM collection WHERE tenant = ?)", (tenant,)),
        Sql("(expires_at IS NULL OR expires_at > ?)", (times.now(),)),
    ]
    if user_id is not None:
        conditions.append(Sql("user_id = ?", (user_id,)))
    condition = all_of(conditions)
    first = since // times.DAY
    async with rows.snapshot(connection):
        by_day = await connection.fetch(
            "SELECT greatest(created_at / $1, $2) AS day, count(*) FROM memory "
            f"WHERE {numbered(condition, 3)} GROUP BY day ORDER BY day",
            times.DAY,
            first - 1,
            *condition.parameters,
        )
        users = await _most(connection, "user_id", condition)
        agents = await _most(connection, "agent_id", condition)
    return Figures(
        earlier=sum(count for day, count in by_day if day < first),
        days=[(day * times.DAY, count) for day, count in by_day if day >= first],
        users=users,
        agents=agents,
    )


async def _most(connection: Connection, column: str, condition: Sql) -> list[tuple[str, int, int]]:
    """Who has the most memories: (id, how many, when the last one was stored or changed)."""
    found = await connection.fetch(
        f"SELECT {column}, count(*) AS number, max(updated_at) FROM memory "
        f"WHERE {numbered(condition, 2)} AND {column} IS NOT NULL "
        f"GROUP BY {column} ORDER BY number DESC, {column} LIMIT $1",
        _MOST,
        *condition.parameters,
    )
    return [(id, number, last) for id, number, last in found]
