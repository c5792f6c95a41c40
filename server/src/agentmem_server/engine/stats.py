"""Figures for people: how much is remembered and asked, and by whom."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from agentmem_client import models as m
from agentmem_client.errors import APIError

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..cache import Cache
from ..storage import Figures, Store
from .search_counts import SearchCounts

_SHOWN = 20
"""Of so many users and agents the figures tell."""
_DAYS = 366
"""So many days are read, however many are asked for, so that all who ask share what is read."""
_WAITING = 10_000
"""So many requests may wait for figures."""
_KEPT_SECONDS = 5.0
"""How long figures are kept that no write has changed; for so long they may count the expired."""


class Stats:
    """The figures of a tenant, or of one of its users where the caller sees no others.

    To read them takes some 0.3 s of a reader at 100,000 memories. So one reader at most is at it:
    while it reads, others wait, and all who ask for the same share what is read next. It has every
    write that was answered before they asked.
    """

    def __init__(self, store: Store, searches: SearchCounts) -> None:
        self._store = store
        self._searches = searches
        self._since = times.to_datetime(times.now())
        self._kept: Cache[Figures] = Cache(max_entries=100, ttl=_KEPT_SECONDS)
        self._reads: Batcher[Caller, Figures] = Batcher(
            self._read, max_batch=_WAITING, max_pending=_WAITING, name="stats"
        )

    async def of(self, caller: Caller, days: int) -> m.Stats:
        """Everything that the caller may know, with the growth of so many days."""
        figures = await self._reads.submit(caller)
        today = _today()
        first = today - timedelta(days=days - 1)
        added = {times.to_datetime(at).date(): count for at, count in figures.days}
        earlier = figures.earlier + sum(count for day, count in added.items() if day < first)
        return m.Stats(
            memories=figures.earlier + sum(added.values()),
            added_today=added.get(today, 0),
            growth=_growth(first, days, earlier, added),
            searches=self._search_stats(caller),
            users=self._activity(caller, figures.users, by_user=True),
            agents=self._activity(caller, figures.agents, by_user=False),
            since=self._since,
        )

    async def close(self) -> None:
        """Refuse new requests, and finish those under way."""
        await self._reads.close()

    async def _read(self, callers: Sequence[Caller]) -> list[Figures | Exception]:
        # Every change of a memory is an event, so that what is kept is never older than the last.
        last = await self._store.last_event()
        first = _today() - timedelta(days=_DAYS - 1)
        since = times.to_microseconds(datetime.combine(first, time(), UTC))
        found: dict[Caller, Figures | Exception] = {}
        for caller in dict.fromkeys(callers):
            read = partial(self._store.figures, caller.tenant, caller.user_id, since)
            try:
                found[caller] = await self._kept.get_or_compute((caller, since, last), read)
            except APIError as error:  # those who asked for these figures raise it
                found[caller] = error
        return [found[caller] for caller in callers]

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


def _today() -> date:
    return times.to_datetime(times.now()).date()


def _growth(first: date, days: int, earlier: int, added: dict[date, int]) -> list[m.GrowthDay]:
    growth = []
    total = earlier
    for day in (first + timedelta(days=number) for number in range(days)):
        total += added.get(day, 0)
        growth.append(m.GrowthDay(day=day, added=added.get(day, 0), total=total))
    return growth
