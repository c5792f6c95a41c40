"""The tries of one call, without the call."""

import pytest
from agentmem_client._retries import Tries, backoff, is_transient
from agentmem_client._servers import Servers
from agentmem_client.errors import (
    AgentMemError,
    ConnectionFailed,
    InternalError,
    RateLimited,
    RequestTimedOut,
    Unavailable,
)
from tenacity import RetryCallState

A, B, C = "http://a.test", "http://b.test", "http://c.test"


def refused() -> AgentMemError:
    return ConnectionFailed("refused")


def timed_out() -> AgentMemError:
    return RequestTimedOut("slow")


def bad_gateway() -> AgentMemError:
    return Unavailable("a proxy's page")


def overloaded() -> AgentMemError:
    return Unavailable("full", retry_after=7)


def limited() -> AgentMemError:
    return RateLimited("slow down", retry_after=3)


class Call:
    """A call whose every try fails."""

    def __init__(self, servers: Servers, max_retries: int = 2) -> None:
        self.tries = Tries(servers, max_retries, 60)
        self.state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # the strategies look at neither
        self.asked: list[str] = []
        self.waits: list[float] = []

    def fail(self, error: AgentMemError) -> bool:
        """Whether it goes on after this."""
        self.asked.append(self.tries.begin())
        self.tries.failed(error)
        self.state.set_exception((type(error), error, None))
        self.state.upcoming_sleep = self.tries.wait(self.state)
        self.waits.append(self.state.upcoming_sleep)
        return self.tries.retry(self.state) and not self.tries.stop(self.state)


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


def test_only_errors_that_may_pass_are_transient() -> None:
    assert is_transient(RateLimited("x"))
    for error in (InternalError("x"), AgentMemError("x"), ValueError(), KeyboardInterrupt()):
        assert not is_transient(error)


def test_the_first_try_is_counted_in() -> None:
    call = Call(Servers([A]))
    assert [call.fail(overloaded()) for _ in range(3)] == [True, True, False]
    assert 7 <= call.waits[0] <= 7.5


@pytest.mark.parametrize(
    ("error", "max_retries", "goes_on"),
    [
        (RateLimited("slow down", retry_after=3), 2, [True] * 9),
        (RateLimited("slow down"), 2, [True, True, *[False] * 7]),
        (RateLimited("slow down", retry_after=3), 0, [False] * 9),
        (RateLimited("come back tomorrow", retry_after=86_400), 2, [False] * 9),
    ],
)
def test_to_be_told_when_to_come_back_is_no_failure(
    error: RateLimited, max_retries: int, goes_on: list[bool]
) -> None:
    call = Call(Servers([A, B]), max_retries)
    assert [call.fail(error) for _ in range(9)] == goes_on
    assert set(call.asked) == {A}


@pytest.mark.usefixtures("longest_waits")
@pytest.mark.parametrize("error", [refused, timed_out, bad_gateway])
def test_a_round_goes_to_every_server_and_only_then_there_is_a_wait(error: type) -> None:
    call = Call(Servers([A, B, C]))
    assert [call.fail(error()) for _ in range(9)] == [True] * 8 + [False]
    assert call.waits == [0, 0, 0.5, 0, 0, 1, 0, 0, 2]
    assert [set(call.asked[at : at + 3]) for at in (0, 3, 6)] == [{A, B, C}] * 3


@pytest.mark.usefixtures("longest_waits")
def test_the_longest_retry_after_of_a_round_is_waited_for() -> None:
    call = Call(Servers([A, B, C]))
    for error in (overloaded(), refused(), Unavailable("full", retry_after=2)):
        call.fail(error)
    assert call.waits == [0, 0, 7.5]
    for error in (refused(), refused(), refused()):
        call.fail(error)
    assert call.waits[3:] == [0, 0, 1]  # what was waited for is over


@pytest.mark.usefixtures("longest_waits")
def test_a_limit_ends_a_round() -> None:
    call = Call(Servers([A, B]))
    for error in (refused(), limited(), refused(), refused()):
        call.fail(error)
    assert call.asked == [A, B, B, A]
    assert call.waits == [0, 3.5, 0, 1]


def test_no_round_begins_for_what_will_not_pass() -> None:
    call = Call(Servers([A, B]))
    error = InternalError("a bug")
    assert not call.fail(error)
    assert str(error) == "a bug"


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_round_is_one_try(max_retries: int) -> None:
    call = Call(Servers([A, B]), max_retries)
    going = [call.fail(refused()) for _ in range(2 * (max_retries + 1))]
    assert going == [True] * (len(going) - 1) + [False]


def test_without_time_there_is_one_request() -> None:
    call = Call(Servers([A, B]))
    call.tries = Tries(Servers([A, B]), 2, 0)
    assert not call.fail(refused())


@pytest.mark.parametrize("error", [refused, timed_out, bad_gateway])
def test_a_silent_server_is_left_by_all(error: type) -> None:
    servers = Servers([A, B])
    Call(servers).fail(error())
    other = Call(servers)
    other.fail(refused())
    assert other.asked == [B]


def test_a_server_that_says_when_to_come_back_is_left_for_a_better_one() -> None:
    servers = Servers([A, B])
    call, other = Call(servers), Call(servers)
    call.fail(overloaded())
    assert other.tries.begin() == A
    assert call.tries.begin() == B
    call.tries.succeeded()
    assert other.tries.begin() == B


def test_a_server_that_says_when_to_come_back_is_not_left_for_a_dead_one() -> None:
    servers = Servers([A, B])
    call = Call(servers)
    call.fail(overloaded())
    call.fail(timed_out())
    assert call.asked == [A, B]
    assert Call(servers).tries.begin() == A


def test_what_comes_after_a_success_is_counted_anew() -> None:
    call = Call(Servers([A, B]), max_retries=0)
    for _ in range(5):
        assert call.fail(refused())
        call.tries.succeeded()
    assert call.fail(refused())
    assert not call.fail(refused())


def test_an_error_names_all_that_failed() -> None:
    call = Call(Servers([A, B]))
    first = refused()
    call.fail(first)
    assert str(first) == f"{A}: refused"
    last = Unavailable("no disk", request_id="r1")
    call.fail(last)
    text = f"{A}: refused; {B}: no disk"
    assert (str(last), last.message, last.args) == (f"{text} (request r1)", text, (text,))
    again = timed_out()
    call.fail(again)
    assert str(again) == f"{A}: slow; {B}: no disk"  # each server's last word


def test_of_one_server_an_error_says_what_it_says() -> None:
    call = Call(Servers([A]))
    error = refused()
    call.fail(error)
    assert str(error) == "refused"
