from typing import Any

import numpy as np
import pytest
from agentmem_client.models import ImportanceWeight, RecencyWeight
from agentmem_server.engine.ranking import Scored
from agentmem_server.engine.weighing import freshness, moments_of, weigh
from agentmem_server.storage import Attributes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

NOW = 1_700_000_000_000_000
DAY = 86_400 * 1_000_000
NAN = float("nan")

SHARE = st.floats(0, 1)
TIMES = st.integers(-(2**53), 2**53).map(float)


def float64(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def relevant(*scores: float) -> Scored:
    """Candidates with these scores, whose ids count from 1."""
    values = {"similarity": float64(*scores)}
    return Scored(np.arange(1, len(scores) + 1), float64(*scores), values, values)


def attributes(*rows: tuple[float, float, float, float]) -> Attributes:
    """(event_at, created_at, updated_at, importance) each."""
    return Attributes.of(np.arange(len(rows)), dict(enumerate(rows)))


def aged(*days: float) -> Attributes:
    return attributes(*((NAN, NOW - one * DAY, NOW, NAN) for one in days))


def important(*values: float) -> Attributes:
    return attributes(*((NAN, NOW, NOW, one) for one in values))


def test_of_late_counts_half_after_each_half_life() -> None:
    moments = NOW - DAY * float64(0, 1, 2, 3, 10_000)
    assert freshness(moments, NOW, DAY) == pytest.approx([1, 0.5, 0.25, 0.125, 0])


def test_what_is_yet_to_come_counts_as_now_and_no_time_as_long_ago() -> None:
    assert freshness(float64(NOW + 1, NOW + 99 * DAY, NAN), NOW, 1).tolist() == [1, 1, 0]


@given(TIMES, TIMES, st.integers(0, 2**53), st.floats(1, 1e16))
def test_the_later_is_never_worth_less(one: float, two: float, now: int, half_life: float) -> None:
    earlier, later = freshness(float64(*sorted((one, two))), now, half_life)
    assert 0 <= earlier <= later <= 1


def test_the_age_is_counted_from_what_is_asked_for() -> None:
    there = attributes((1, 2, 3, NAN), (NAN, 5, 6, NAN))
    assert moments_of(there, "event_at").tolist() == [1, 5]
    assert moments_of(there, "created_at").tolist() == [2, 5]
    assert moments_of(there, "updated_at").tolist() == [3, 6]


def test_the_rest_of_the_weights_is_relevance() -> None:
    one = attributes((NAN, NOW - DAY, NOW, 0.8))
    recency = RecencyWeight(weight=0.3, half_life=86_400)
    found = weigh(relevant(0.6), one, NOW, recency=recency, importance=ImportanceWeight(weight=0.2))
    assert found.scores == pytest.approx([0.5 * 0.6 + 0.3 * 0.5 + 0.2 * 0.8])
    parts = {name: part.item() for name, part in found.parts.items()}
    assert parts == pytest.approx({"similarity": 0.3, "recency": 0.15, "importance": 0.16})
    values = {name: value.item() for name, value in found.values.items()}
    assert values == pytest.approx(
        {"similarity": 0.6, "relevance": 0.6, "recency": 0.5, "importance": 0.8}
    )


def test_the_recent_overtakes_what_is_a_little_more_relevant() -> None:
    recency = RecencyWeight(weight=0.2)
    found = weigh(relevant(0.9, 0.85, 0.1), aged(365, 1, 0), NOW, recency=recency)
    assert found.ids.tolist() == [2, 1, 3]
    assert set(found.parts) == {"similarity", "recency"}


def test_recency_alone_is_the_order_of_time() -> None:
    found = weigh(relevant(0.9, 0.5, 0.1), aged(3, 2, 1), NOW, recency=RecencyWeight(weight=1))
    assert found.ids.tolist() == [3, 2, 1]
    assert found.parts["similarity"].tolist() == [0, 0, 0]


def test_what_has_no_importance_stands_in_the_middle_or_where_it_is_said() -> None:
    same = relevant(0.5, 0.5, 0.5)
    there = important(0.2, NAN, 0.8)
    middle = weigh(same, there, NOW, importance=ImportanceWeight(weight=0.5))
    assert middle.ids.tolist() == [3, 2, 1]
    assert middle.values["importance"].tolist() == [0.8, 0.5, 0.2]
    last = weigh(same, there, NOW, importance=ImportanceWeight(weight=0.5, default=0))
    assert last.ids.tolist() == [3, 1, 2]


def test_of_equal_ones_the_newer_is_first() -> None:
    found = weigh(relevant(0.5, 0.5), aged(1, 1), NOW, recency=RecencyWeight(weight=0.5))
    assert found.ids.tolist() == [2, 1]


def test_a_weight_of_0_changes_no_order() -> None:
    found = weigh(relevant(0.9, 0.5), aged(9, 0), NOW, recency=RecencyWeight(weight=0))
    assert (found.ids.tolist(), found.scores.tolist()) == ([1, 2], [0.9, 0.5])
    assert found.parts["recency"].tolist() == [0, 0]


def test_nothing_is_weighed() -> None:
    found = weigh(relevant(), attributes(), NOW, importance=ImportanceWeight(weight=0.5))
    assert found.ids.tolist() == found.scores.tolist() == []


@st.composite
def pools(draw: st.DrawFn) -> tuple[Scored, Attributes]:
    n = draw(st.integers(0, 8))
    scores = sorted(draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n)), reverse=True)
    maybe = TIMES | st.just(NAN)
    row = st.tuples(maybe, TIMES, TIMES, SHARE | st.just(NAN))
    return relevant(*scores), attributes(*draw(st.lists(row, min_size=n, max_size=n)))


@given(
    pools(),
    SHARE,
    SHARE,
    st.floats(1, 3e9),
    st.sampled_from(["event_at", "created_at", "updated_at"]),
    SHARE,
)
def test_the_parts_add_up_to_a_score_on_the_scale_of_a_cosine(
    pool: tuple[Scored, Attributes],
    weight: float,
    share: float,
    half_life: float,
    by: Any,
    default: float,
) -> None:
    recency = RecencyWeight(weight=weight, half_life=half_life, by=by)
    importance = ImportanceWeight(weight=share * (1 - weight), default=default)
    found = weigh(*pool, NOW, recency=recency, importance=importance)
    assert sorted(found.ids.tolist()) == sorted(pool[0].ids.tolist())
    assert np.all(np.abs(found.scores) <= 1 + 1e-9)
    assert np.all(np.diff(found.scores) <= 0)
    assert found.scores == pytest.approx(sum(found.parts.values()))
    for name, at_most in (("recency", recency.weight), ("importance", importance.weight)):
        assert np.all((found.parts[name] >= 0) & (found.parts[name] <= at_most))


def test_one_that_is_gone_by_now_has_no_attributes() -> None:
    there = Attributes.of(np.array([1, 9]), {1: (None, 5, 6, 0.5)})
    assert there.created_at == pytest.approx([5, np.nan], nan_ok=True)
    assert there.importance == pytest.approx([0.5, np.nan], nan_ok=True)
    weighed = weigh(
        relevant(0.5, 0.4),
        there,
        NOW,
        recency=RecencyWeight(weight=0.5),
        importance=ImportanceWeight(weight=0.1),
    )
    assert np.isfinite(weighed.scores).all()
