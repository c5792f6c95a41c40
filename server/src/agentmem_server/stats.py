"""Figures for people: how much is remembered and asked, and by whom."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from agentmem_client import models as m

from . import times
from .cache import Cache
from .callers import Caller
from .search_counts import SearchCounts
from .storage import Figures, Store

_SHOWN = 20
"""Of so many users and agents the figures tell."""
_KEPT_SECONDS = 5.0
"""How long figures are kept that no write has changed; for so long they may count the expired."""


class Stats:
    """The figures of a tenant, or of one of its users where the caller sees no others."""

    def __init__(self, store: Store, searches: SearchCounts) -> None:
        self._store = store
        self._searches = searches
        self._since = times.to_datetime(times.now())
        self._figures: Cache[Figures] = Cache(max_entries=100, ttl=_KEPT_SECONDS)

    async def of(self, caller: Caller, days: int) -> m.Stats:
        """Everything that the caller may know, with the growth of so many days."""
        today = times.to_datetime(times.now()).date()
        first = today - timedelta(days=days - 1)
        figures = await self._read(caller, first)
        added = {times.to_datetime(at).date(): count for at, count in figures.days}
        return m.Stats(
            memories=figures.earlier + sum(added.values()),
            added_today=added.get(today, 0),
            growth=_growth(first, days, figures.earlier, added),
            searches=self._search_stats(caller),
            users=self._activity(caller, figures.users, by_user=True),
            agents=self._activity(caller, figures.agents, by_user=False),
            since=self._since,
        )

    async def _read(self, caller: Caller, first: date) -> Figures:
        since = times.to_microseconds(datetime.combine(first, time(), UTC))
        # Every change of a memory is an event, so that what is kept is never older than the last.
        last = await self._store.last_event()

        async def read() -> Figures:
            return await self._store.figures(caller.tenant, caller.user_id, since)

        return await self._figures.get_or_compute((caller, since, last), read)

    def _search_stats(self, caller: Caller) -> m.SearchStats:
        tally = self._searches.of(caller.tenant, caller.user_id)
        if not tally.count:
            return m.SearchStats(count=0)
        p95 = tally.quantile(0.95)
        return m.SearchStats(
            count=tally.count,
            average_ms=round(tally.seconds / tally.count * 1_000, 3),
            p95_ms=None if p95 is None else round(p95 * 1_000, 3),
            cache_hit_rate=round(tally.cached / tally.count, 4),
        )

    def _activity(
        self, caller: Caller, found: Sequence[tuple[str, int, int]], *, by_user: bool
    ) -> list[m.Activity]:
        activities = []
        for identity, memories, last_at in found[:_SHOWN]:
            user, agent = (identity, None) if by_user else (caller.user_id, identity)
            activities.append(
                m.Activity(
                    id=identity,
                    memories=memories,
                    searches=self._searches.of(caller.tenant, user, agent).count,
                    last_at=times.to_datetime(last_at),
                )
            )
        return activities


def _growth(first: date, days: int, earlier: int, added: dict[date, int]) -> list[m.GrowthDay]:
    growth = []
    total = earlier
    for day in (first + timedelta(days=number) for number in range(days)):
        total += added.get(day, 0)
        growth.append(m.GrowthDay(day=day, added=added.get(day, 0), total=total))
    return growth
