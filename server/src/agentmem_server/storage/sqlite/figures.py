"""Figures of a tenant's living memories: how many, since when, whose."""

from typing import cast

import apsw

from ... import times
from .. import Figures
from ..sql import Sql, all_of
from . import rows

_MOST = 20


def figures(connection: apsw.Connection, tenant: str, user_id: str | None, since: int) -> Figures:
    """What there is of a tenant or of one of its users; days from that of ``since`` on."""
    conditions = [
        Sql("cid IN (SELECT cid FROM collection WHERE tenant = ?)", (tenant,)),
        Sql("(expires_at IS NULL OR expires_at > ?)", (times.now(),)),
    ]
    if user_id is not None:
        conditions.append(Sql("user_id = ?", (user_id,)))
    condition = all_of(conditions)
    first = since // times.DAY
    with rows.snapshot(connection):
        days = connection.execute(
            f"SELECT max(created_at / ?, ?) AS day, count(*) FROM memory WHERE {condition.text} "
            "GROUP BY day ORDER BY day",
            (times.DAY, first - 1, *condition.parameters),
        ).fetchall()
        users = _most(connection, "user_id", condition)
        agents = _most(connection, "agent_id", condition)
    by_day = cast("list[tuple[int, int]]", days)
    return Figures(
        earlier=sum(count for day, count in by_day if day < first),
        days=[(day * times.DAY, count) for day, count in by_day if day >= first],
        users=users,
        agents=agents,
    )


def _most(connection: apsw.Connection, column: str, condition: Sql) -> list[tuple[str, int, int]]:
    """Who has the most memories: (id, how many, when the last one was stored or changed)."""
    found = connection.execute(
        f"SELECT {column}, count(*) AS number, max(updated_at) FROM memory "
        f"WHERE {condition.text} AND {column} IS NOT NULL "
        f"GROUP BY {column} ORDER BY number DESC, {column} LIMIT ?",
        (*condition.parameters, _MOST),
    ).fetchall()
    return cast("list[tuple[str, int, int]]", found)
