import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from agentmem_server.cache import Cache


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Computes texts in capitals; refuses "bad"; holds its work while `gate` is closed."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, cache: Cache[str], key: str) -> str:
        async def compute() -> str:
            self.computed.append(key)
            await self.gate.wait()
            if key == "bad":
                raise ValueError(key)
            return key.upper()

        return await cache.get_or_compute(key, compute)

    async def get_many(self, cache: Cache[str], keys: Sequence[str]) -> list[str | Exception]:
        async def compute(positions: list[int]) -> Sequence[str | Exception]:
            wanted = [keys[position] for position in positions]
            self.computed.extend(wanted)
            await self.gate.wait()
            return [ValueError(key) if key == "bad" else key.upper() for key in wanted]

        return await cache.get_or_compute_many(keys, compute)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache[str]:
    return Cache(max_entries=3, ttl=60.0, clock=clock)


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> AsyncIterator[None]:
    """No task outlives a test, and no exception is left for the event loop to complain of."""
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await settle()
    gc.collect()
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
    assert complaints == []


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_value_is_computed_once(cache: Cache[str], source: Source) -> None:
    assert [await source.get(cache, key) for key in "aab"] == ["A", "A", "B"]
    assert source.computed == ["a", "b"]
    assert (cache.hits, cache.misses, len(cache)) == (1, 2, 2)


async def test_a_value_is_forgotten_after_its_time(
    cache: Cache[str], source: Source, clock: Clock
) -> None:
    await source.get(cache, "a")
    clock.now += 59.9
    await source.get(cache, "a")
    assert source.computed == ["a"]
    clock.now += 0.1
    assert len(cache) == 0
    await source.get(cache, "a")
    assert source.computed == ["a", "a"]


async def test_a_value_may_hold_for_less(source: Source, clock: Clock) -> None:
    lifetimes = {"A": 5.0, "B": 600.0, "C": 0.0}
    cache: Cache[str] = Cache(
        max_entries=3, ttl=60.0, lifetime=lambda value: lifetimes[value], clock=clock
    )
    for elapsed, computed in ((0.0, "abc"), (4.9, "c"), (0.1, "ac"), (54.9, "ac"), (0.1, "bc")):
        clock.now += elapsed
        source.computed.clear()
        await source.get_many(cache, "abc")
        assert source.computed == list(computed)


async def test_the_least_recently_used_makes_room(cache: Cache[str], source: Source) -> None:
    for key in "abcad":
        await source.get(cache, key)
    assert len(cache) == 3
    source.computed.clear()
    for key in "acdb":
        await source.get(cache, key)
    assert source.computed == ["b"]


async def test_cleared_it_keeps_nothing(cache: Cache[str], source: Source) -> None:
    await source.get_many(cache, "ab")
    cache.clear()
    assert len(cache) == 0
    assert await source.get_many(cache, "ab") == ["A", "B"]
    assert source.computed == ["a", "b", "a", "b"]
    assert len(cache) == 2


async def test_what_was_under_way_when_it_was_cleared_is_answered_and_not_kept(
    cache: Cache[str], source: Source
) -> None:
    source.gate.clear()
    before = asyncio.create_task(source.get(cache, "a"))
    await settle()
    cache.clear()
    after = asyncio.create_task(source.get(cache, "b"))
    await settle()
    source.gate.set()
    assert (await before, await after) == ("A", "B")
    source.computed.clear()
    assert await source.get_many(cache, "ab") == ["A", "B"]
    assert source.computed == ["a"]


async def test_a_cache_of_no_entries_still_computes_once_at_a_time(source: Source) -> None:
    cache: Cache[str] = Cache(max_entries=0, ttl=60.0)
    assert await asyncio.gather(*(source.get(cache, "a") for _ in range(3))) == ["A"] * 3
    assert source.computed == ["a"]
    await source.get(cache, "a")
    assert source.computed == ["a", "a"]


async def test_equal_requests_share_one_computation(cache: Cache[str], source: Source) -> None:
    assert await asyncio.gather(*(source.get(cache, "a") for _ in range(5))) == ["A"] * 5
    assert source.computed == ["a"]
    assert (cache.hits, cache.misses) == (4, 1)


async def test_a_failure_fails_those_who_wait_and_is_not_kept(
    cache: Cache[str], source: Source
) -> None:
    for attempt in (1, 2):
        outcomes = await asyncio.gather(
            *(source.get(cache, "bad") for _ in range(3)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
        assert source.computed == ["bad"] * attempt
    assert len(cache) == 0


async def test_a_cancelled_request_does_not_cancel_the_others(
    cache: Cache[str], source: Source
) -> None:
    source.gate.clear()
    first, second = (asyncio.create_task(source.get(cache, "a")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    source.gate.set()
    assert await second == "A"
    assert source.computed == ["a"]


@pytest.mark.parametrize("key", ["a", "bad"])
async def test_a_computation_that_nobody_waits_for_ends(
    cache: Cache[str], source: Source, key: str
) -> None:
    source.gate.clear()
    request = asyncio.create_task(source.get(cache, key))
    await settle()
    request.cancel()
    await settle()
    source.gate.set()
    await settle()
    assert len(cache) == (key == "a")


async def test_of_many_only_the_unknown_are_computed(cache: Cache[str], source: Source) -> None:
    await source.get(cache, "b")
    source.computed.clear()
    assert await source.get_many(cache, ["c", "b", "a", "c"]) == ["C", "B", "A", "C"]
    assert source.computed == ["c", "a"]
    assert (cache.hits, cache.misses) == (2, 3)
    source.computed.clear()
    assert await source.get_many(cache, ["a", "b", "c"]) == ["A", "B", "C"]
    assert source.computed == []


async def test_many_join_what_is_under_way(cache: Cache[str], source: Source) -> None:
    source.gate.clear()
    one = asyncio.create_task(source.get(cache, "a"))
    await settle()
    first = asyncio.create_task(source.get_many(cache, ["a", "b"]))
    await settle()
    second = asyncio.create_task(source.get_many(cache, ["c", "b", "a"]))
    await settle()
    assert source.computed == ["a", "b", "c"]
    source.gate.set()
    assert await one == "A"
    assert await first == ["A", "B"]
    assert await second == ["C", "B", "A"]


async def test_of_many_each_has_its_own_outcome(cache: Cache[str], source: Source) -> None:
    good, bad = await source.get_many(cache, ["a", "bad"])
    assert good == "A"
    assert isinstance(bad, ValueError)
    await source.get_many(cache, ["a", "bad"])
    assert source.computed == ["a", "bad", "bad"]


async def test_more_than_fits_is_answered_in_full(cache: Cache[str], source: Source) -> None:
    await source.get(cache, "a")
    assert await source.get_many(cache, "abcdefg") == list("ABCDEFG")
    assert len(cache) == 3


async def test_what_the_computation_raises_is_the_outcome_of_each(cache: Cache[str]) -> None:
    async def compute(_: list[int]) -> Sequence[str | Exception]:
        raise LookupError

    outcomes = await cache.get_or_compute_many(["a", "b"], compute)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 2


async def test_a_missing_outcome_is_an_error_of_each(cache: Cache[str]) -> None:
    async def compute(_: list[int]) -> Sequence[str | Exception]:
        return ["A"]

    outcomes = await cache.get_or_compute_many(["a", "b"], compute)
    assert [str(outcome) for outcome in outcomes] == ["2 keys were computed to 1 outcomes"] * 2
    assert len(cache) == 0


async def test_nothing_is_asked_of_no_keys(cache: Cache[str], source: Source) -> None:
    assert await source.get_many(cache, []) == []
    assert source.computed == []


async def test_what_is_kept_can_be_had_without_computing(
    cache: Cache[str], source: Source, clock: Clock
) -> None:
    assert cache.kept("a") is None
    await source.get(cache, "a")
    assert cache.kept("a") == "A"
    clock.now += 60.0
    assert cache.kept("a") is None
    assert (cache.hits, cache.misses) == (1, 1)
    assert source.computed == ["a"]


async def test_what_was_computed_without_waiting_is_kept() -> None:
    cache: Cache[str] = Cache(max_entries=2, ttl=9)
    assert cache.kept("a") is None
    cache.put("a", "one")
    assert cache.kept("a") == "one"
    assert (cache.hits, cache.misses) == (1, 1)
    none: Cache[str] = Cache(max_entries=0, ttl=9)
    none.put("a", "one")
    assert none.kept("a") is None
