"""Counts of searches: exact in number, near in time, bounded in memory."""

import random
import tracemalloc

import pytest
from agentmem_server.engine.search_counts import SearchCounts, Tally


def tally(*seconds: float) -> Tally:
    made = Tally()
    for one in seconds:
        made.add(one, is_cached=False)
    return made


def test_without_searches_there_is_no_time() -> None:
    assert tally().quantile(0.95) is None


@pytest.mark.parametrize("seconds", [0.00002, 0.0004, 0.003, 0.0501, 0.7, 9.0, 100.0])
def test_one_search(seconds: float) -> None:
    for part in (0.5, 0.95, 1.0):
        assert tally(seconds).quantile(part) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 100, 5_000])
def test_a_quantile_is_within_a_tenth_of_the_exact_one(count: int) -> None:
    chance = random.Random(count)
    seconds = sorted(chance.lognormvariate(-5, 1.5) for _ in range(count))
    for part in (0.5, 0.95, 0.99):
        exact = seconds[-int(-part * count // 1) - 1]
        assert tally(*seconds).quantile(part) == pytest.approx(exact, rel=0.1)


def test_times_beyond_all_measure_are_counted() -> None:
    odd = tally(0.0, -1.0, 1e-9, 1e9)
    assert odd.count == 4
    assert odd.quantile(0.5) == pytest.approx(1e-5, rel=0.1)
    assert 100 < (odd.quantile(1.0) or 0) < 1_000


def test_whose_a_search_is() -> None:
    counts = SearchCounts()
    counts.add("t", None, None, 0.1, is_cached=False)
    counts.add("t", "ann", None, 0.1, is_cached=True)
    counts.add("t", None, "bot", 0.1, is_cached=True)
    counts.add("t", "ann", "bot", 0.1, is_cached=False)
    counts.add("other", "ann", "bot", 0.1, is_cached=False)
    whole = counts.of("t")
    assert (whole.count, whole.cached) == (4, 2)
    assert whole.seconds == pytest.approx(0.4)
    assert counts.of("t", "ann").count == 2
    assert counts.of("t", agent_id="bot").count == 2
    assert counts.of("t", "ann", "bot").count == 1
    assert counts.of("t", "bot").count == counts.of("t", agent_id="ann").count == 0
    assert counts.of("other").count == 1
    assert counts.of("third").count == 0


def test_a_user_who_is_forgotten() -> None:
    counts = SearchCounts()
    for tenant in ("t", "other"):
        for user in ("ann", "bob"):
            counts.add(tenant, user, "bot", 0.1, is_cached=False)
    counts.forget("t", "ann")
    counts.forget("t", "nobody")
    assert counts.of("t", "ann").count == counts.of("t", "ann", "bot").count == 0
    assert counts.of("t", "bob").count == counts.of("other", "ann").count == 1
    assert counts.of("t").count == counts.of("t", agent_id="bot").count == 2


def test_memory_is_bounded_and_who_is_asked_for_stays() -> None:
    counts = SearchCounts(max_scopes=100)
    tracemalloc.start()
    for number in range(5_000):
        counts.add("t", f"user {number}", f"agent {number}", 0.1, is_cached=False)
        counts.add("t", "ann", None, 0.1, is_cached=False)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 100 * 2_000
    assert counts.of("t", "ann").count == 5_000
    assert counts.of("t").count == 10_000
    assert counts.of("t", "user 0").count == 0
