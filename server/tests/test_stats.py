"""Figures for people, of what a store tells and of the searches that were counted."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest
from agentmem_client import models as m
from agentmem_client.errors import Unavailable
from agentmem_server import times
from agentmem_server.access.callers import Caller
from agentmem_server.engine.search_counts import SearchCounts
from agentmem_server.engine.stats import Stats
from agentmem_server.storage import Figures, Store

DAY = 86_400 * 1_000_000
TODAY = date(2026, 3, 2)


def at(day: date) -> int:
    return times.to_microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))


class FakeStore:
    """Tells the figures that it is given, and counts how often it is asked."""

    def __init__(self) -> None:
        self.given = Figures(earlier=0, days=(), users=(), agents=())
        self.asked: list[tuple[str, str | None, int]] = []
        self.last = 0
        self.failing: str | None = None
        self.reading = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def figures(self, tenant: str, user_id: str | None, since: int) -> Figures:
        self.asked.append((tenant, user_id, since))
        given = self.given
        self.reading.set()
        await self.gate.wait()
        if tenant == self.failing:
            raise Unavailable("the database could not be read")
        return given

    async def last_event(self) -> int:
        return self.last


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def searches() -> SearchCounts:
    return SearchCounts()


@pytest.fixture
def stats(store: FakeStore, searches: SearchCounts, today: None) -> Stats:
    return Stats(cast(Store, store), searches)


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just before midnight, UTC."""
    monkeypatch.setattr(times, "now", lambda: at(TODAY) + DAY - 1)


async def test_an_empty_store(stats: Stats, store: FakeStore) -> None:
    told = await stats.of(Caller("t"), 3)
    assert (told.memories, told.added_today) == (0, 0)
    assert [(one.day, one.added, one.total) for one in told.growth] == [
        (date(2026, 2, 28), 0, 0),
        (date(2026, 3, 1), 0, 0),
        (date(2026, 3, 2), 0, 0),
    ]
    assert told.searches.model_dump() == {
        "count": 0,
        "average_ms": None,
        "p95_ms": None,
        "cache_hit_rate": None,
    }
    assert (told.users, told.agents) == ([], [])
    assert told.since == datetime(2026, 3, 2, 23, 59, 59, 999_999, tzinfo=UTC)
    assert store.asked == [("t", None, at(TODAY - timedelta(days=365)))]


async def test_growth_has_days_on_which_nothing_was_added(stats: Stats, store: FakeStore) -> None:
    store.given = Figures(5, [(at(date(2026, 2, 27)), 2), (at(TODAY), 4)], (), ())
    told = await stats.of(Caller("t"), 5)
    assert [(one.added, one.total) for one in told.growth] == [
        (0, 5),
        (2, 7),
        (0, 7),
        (0, 7),
        (4, 11),
    ]
    assert (told.memories, told.added_today) == (11, 4)


async def test_what_was_stored_in_a_day_to_come_counts_as_there(
    stats: Stats, store: FakeStore
) -> None:
    """The clock went back."""
    store.given = Figures(1, [(at(TODAY + timedelta(days=2)), 3)], (), ())
    told = await stats.of(Caller("t"), 1)
    assert (told.memories, told.added_today, told.growth[-1].total) == (4, 0, 1)


@pytest.mark.parametrize("days", [1, 366])
async def test_as_many_days_as_were_asked_for(stats: Stats, days: int) -> None:
    growth = (await stats.of(Caller("t"), days)).growth
    assert len(growth) == days
    assert growth[-1].day == TODAY
    assert growth == sorted(growth, key=lambda one: one.day)


async def test_searches(stats: Stats, searches: SearchCounts) -> None:
    for number in range(100):
        seconds = 0.5 if number >= 90 else 0.01
        searches.add("t", None, None, seconds, is_cached=number < 25)
    searches.add("other", None, None, 9.0, is_cached=True)
    told = (await stats.of(Caller("t"), 1)).searches
    assert (told.count, told.cache_hit_rate) == (100, 0.25)
    assert told.average_ms == pytest.approx(59)
    assert told.p95_ms == pytest.approx(500, rel=0.1)


async def test_activity(stats: Stats, store: FakeStore, searches: SearchCounts) -> None:
    store.given = Figures(
        9, (), [("ann", 5, at(TODAY)), ("bob", 4, at(TODAY) + 1)], [("bot", 9, 7)]
    )
    searches.add("t", "ann", "bot", 0.1, is_cached=False)
    searches.add("t", "bob", "bot", 0.1, is_cached=False)
    searches.add("t", "bob", None, 0.1, is_cached=False)
    told = await stats.of(Caller("t"), 1)
    assert [(one.id, one.memories, one.searches) for one in told.users] == [
        ("ann", 5, 1),
        ("bob", 4, 2),
    ]
    assert told.users[0].last_at == datetime(2026, 3, 2, tzinfo=UTC)
    assert [(one.id, one.memories, one.searches) for one in told.agents] == [("bot", 9, 2)]


async def test_who_is_bound_to_a_user_sees_that_one_alone(
    stats: Stats, store: FakeStore, searches: SearchCounts
) -> None:
    store.given = Figures(2, (), [("ann", 2, 1)], [("bot", 2, 1)])
    searches.add("t", "ann", "bot", 0.1, is_cached=True)
    searches.add("t", "bob", "bot", 9.0, is_cached=False)
    searches.add("t", None, "bot", 9.0, is_cached=False)
    told = await stats.of(Caller("t", "ann"), 1)
    assert (told.searches.count, told.searches.average_ms) == (1, 100)
    assert told.searches.p95_ms == pytest.approx(100, rel=0.1)
    assert told.searches.cache_hit_rate == 1
    assert [one.searches for one in (*told.users, *told.agents)] == [1, 1]
    assert store.asked[0][:2] == ("t", "ann")


async def test_the_twenty_with_the_most_memories(stats: Stats, store: FakeStore) -> None:
    many: list[Any] = [(f"{number}", 100 - number, 1) for number in range(50)]
    store.given = Figures(0, (), many, many)
    told = await stats.of(Caller("t"), 1)
    assert [one.id for one in told.users] == [f"{number}" for number in range(20)]
    assert told.agents == told.users


async def test_figures_are_read_again_after_each_change_and_for_each_caller(
    stats: Stats, store: FakeStore
) -> None:
    callers = (Caller("t"), Caller("t", "ann"), Caller("other"), Caller("other", "ann"))
    for _ in range(3):
        for caller in callers:
            await stats.of(caller, 7)
    assert len(store.asked) == 4
    await stats.of(Caller("t"), 366)
    assert len(store.asked) == 4
    store.last += 1
    store.given = Figures(1, (), (), ())
    assert [(await stats.of(caller, 7)).memories for caller in callers] == [1, 1, 1, 1]
    assert len(store.asked) == 8


async def test_who_comes_while_figures_are_read_has_newer_ones_and_shares_them(
    stats: Stats, store: FakeStore
) -> None:
    store.gate.clear()
    first = asyncio.create_task(stats.of(Caller("t"), 7))
    await store.reading.wait()
    store.last += 1
    store.given = Figures(1, (), (), ())
    later = [asyncio.create_task(stats.of(Caller("t"), days)) for days in range(1, 51)]
    await asyncio.sleep(0.01)
    assert len(store.asked) == 1
    store.gate.set()
    assert (await first).memories == 0
    assert {(await one).memories for one in later} == {1}
    assert len(store.asked) == 2


async def test_what_fails_for_one_caller_is_that_one_s(stats: Stats, store: FakeStore) -> None:
    store.failing = "bad"
    told = await asyncio.gather(
        *(stats.of(Caller(tenant), 1) for tenant in ("bad", "good", "bad")), return_exceptions=True
    )
    assert [type(one) for one in told] == [Unavailable, m.Stats, Unavailable]
    store.failing = None
    assert (await stats.of(Caller("bad"), 1)).memories == 0
