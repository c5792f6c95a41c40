"""What the clients share, as far as it does not show through them."""

from datetime import UTC, datetime

import pytest
from agentmem_client import _base
from agentmem_client._base import backoff, id_parts, invalid_request, make, parse_retry_after
from agentmem_client.errors import (
    AgentMemError,
    InternalError,
    InvalidRequest,
    RateLimited,
    Unavailable,
)
from agentmem_client.models import MemoryInput
from tenacity import RetryCallState

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 12:00:30 -0000", 30),
        ("Sat, 31 Jan 2026 13:00:30 +0100", 30),
        ("Saturday, 31-Jan-26 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 99 Jan 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.usefixtures("longest_waits")
def test_the_longest_backoff() -> None:
    assert [backoff(attempt, None) for attempt in (1, 2, 3, 4, 5, 6, 10_000)] == [
        0.5, 1, 2, 4, 8, 8, 8,
    ]  # fmt: skip
    assert backoff(1, 7) == 7.5


def test_backoff_draws_from_the_whole_range() -> None:
    drawn = [backoff(3, 10) for _ in range(300)]
    assert 10 <= min(drawn) < 10.2
    assert 11.8 < max(drawn) <= 12


def test_a_retry_policy_counts_the_first_try_in() -> None:
    policy = _base.RetryPolicy(max_retries=2, max_retry_seconds=60)
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # the policy looks at neither
    state.set_exception((Unavailable, Unavailable("a moment", retry_after=3), None))
    assert policy.retry(state)
    assert 3 <= policy.wait(state) <= 3.5
    stop = policy.stop
    assert [stop(state) for _ in range(3)] == [False, False, True]
    assert not policy.stop(state)  # a count of its own for the next call


@pytest.mark.parametrize(
    ("error", "max_retries", "stops"),
    [
        (RateLimited("slow down", retry_after=3), 2, [False] * 9),
        (RateLimited("slow down"), 2, [False, False, *[True] * 7]),
        (RateLimited("slow down", retry_after=3), 0, [True] * 9),
        (RateLimited("come back tomorrow", retry_after=86_400), 2, [True] * 9),
    ],
)
def test_to_be_told_when_to_come_back_is_no_failure(
    error: RateLimited, max_retries: int, stops: list[bool]
) -> None:
    policy = _base.RetryPolicy(max_retries, max_retry_seconds=60)
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # the policy looks at neither
    state.set_exception((RateLimited, error, None))
    state.upcoming_sleep = policy.wait(state)
    stop = policy.stop
    assert [stop(state) for _ in range(9)] == stops


def test_only_errors_that_may_pass_are_transient() -> None:
    assert _base.is_transient(RateLimited("x"))
    for error in (InternalError("x"), AgentMemError("x"), ValueError(), KeyboardInterrupt()):
        assert not _base.is_transient(error)


def test_ids_are_parted_only_as_they_are_consumed() -> None:
    consumed = []

    def ids() -> object:
        for number in range(25_000):
            consumed.append(number)
            yield str(number)

    parts = id_parts(ids())  # type: ignore[arg-type]  # a generator, on purpose
    assert len(next(parts)) == 10_000
    assert len(consumed) == 10_000
    assert [len(part) for part in parts] == [10_000, 5_000]
    assert list(id_parts([])) == []


def test_an_invalid_request_names_each_field_and_quotes_no_value() -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(
            MemoryInput,
            {"content": 1, "user_id": 2, "agent_id": 3, "session_id": 4, "unknown": "hunter2"},
        )
    error = caught.value
    fields = [problem["field"] for problem in error.details["errors"]]
    assert fields == ["user_id", "agent_id", "session_id", "content", "unknown"]
    assert error.message.startswith("user_id: Input should be a valid string; agent_id: ")
    assert error.message.endswith("; and 2 more")
    assert "hunter2" not in f"{error!r} {error.details}"
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_problem_of_the_whole_has_a_field_too() -> None:
    with pytest.raises(InvalidRequest, match=r"^\(all\): "):
        make(MemoryInput, [("content", "x")])  # type: ignore[arg-type]  # no mapping
    assert callable(invalid_request)
