"""A window lets as many through as its limit in each of its lengths, and takes bounded memory."""

import time

import pytest
from agentmem_server.access.windows import Windows
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@given(
    limit=st.integers(1, 5),
    length=st.integers(1, 3),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
async def test_no_window_ever_holds_more_than_its_limit(
    limit: int, length: int, steps: list[float]
) -> None:
    clock = Clock()
    windows = Windows(clock=clock)
    limiter = MovingWindowRateLimiter(windows)
    item = RateLimitItemPerSecond(limit, length)
    through: list[float] = []
    for step in steps:
        clock.now += step
        taken = sum(moment > clock.now - length for moment in through)
        assert await limiter.hit(item, "a") == (taken < limit)
        if taken < limit:
            through.append(clock.now)
        reset_at, left = await limiter.get_window_stats(item, "a")
        inside = [moment for moment in through if moment > clock.now - length]
        assert left == limit - len(inside)
        assert reset_at == inside[0] + length


async def test_what_is_refused_takes_no_place(clock: Clock) -> None:
    windows = Windows(clock=clock)
    assert [await windows.acquire_entry("a", 2, 1) for _ in range(5)] == [True] * 2 + [False] * 3
    clock.now += 1
    assert [await windows.acquire_entry("a", 2, 1) for _ in range(3)] == [True] * 2 + [False]


async def test_several_places_are_taken_together_or_not_at_all(clock: Clock) -> None:
    windows = Windows(clock=clock)
    assert not await windows.acquire_entry("a", 3, 1, amount=4)
    assert await windows.acquire_entry("a", 3, 1, amount=2)
    assert not await windows.acquire_entry("a", 3, 1, amount=2)
    assert await windows.acquire_entry("a", 3, 1, amount=1)
    assert await windows.get_moving_window("a", 3, 1) == (clock.now, 3)


async def test_each_key_has_its_own_window(clock: Clock) -> None:
    windows = Windows(clock=clock)
    assert await windows.acquire_entry("a", 1, 1)
    assert await windows.acquire_entry("b", 1, 1)
    assert not await windows.acquire_entry("a", 1, 1)
    await windows.clear("a")
    assert await windows.acquire_entry("a", 1, 1)
    assert await windows.reset() == 2
    assert await windows.acquire_entry("b", 1, 1)


async def test_an_unused_window_is_empty(clock: Clock) -> None:
    windows = Windows(clock=clock)
    assert await windows.get_moving_window("a", 1, 1) == (clock.now, 0)
    assert await windows.acquire_entry("a", 1, 1)
    clock.now += 5
    assert await windows.get_moving_window("a", 1, 1) == (clock.now, 0)
    assert await windows.check()


async def test_windows_that_are_over_are_forgotten(clock: Clock) -> None:
    windows = Windows(clock=clock)
    for number in range(5_000):
        await windows.acquire_entry(f"{number}", 1, 1)
        clock.now += 0.01
        assert len(windows) <= 102


async def test_there_are_never_more_windows_than_that(clock: Clock) -> None:
    windows = Windows(max_windows=10, clock=clock)
    for number in range(100):
        await windows.acquire_entry(f"{number}", 1, 60)
        assert not await windows.acquire_entry("busy", 1, 60) or number == 0
        assert len(windows) <= 10
    assert not await windows.acquire_entry("99", 1, 60)
    assert await windows.acquire_entry("1", 1, 60)  # made room


async def test_a_window_holds_at_most_twice_of_what_is_in_it(clock: Clock) -> None:
    windows = Windows(clock=clock)
    for _ in range(1_000):
        assert await windows.acquire_entry("a", 100, 1)
        clock.now += 0.05
        assert len(windows._windows["a"].times) <= 42


async def test_its_clock_never_goes_back() -> None:
    assert Windows().clock is time.monotonic
