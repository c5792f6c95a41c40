"""Which failures are tried again, where, when, and for how long."""

import random

from tenacity import RetryCallState, retry_if_exception, stop_before_delay

from ._servers import Servers
from .errors import AgentMemError, ConnectionFailed, RateLimited, RequestTimedOut, Unavailable

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 8.0


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(error, ConnectionFailed | RequestTimedOut | RateLimited | Unavailable)


def backoff(attempt: int, retry_after: float | None) -> float:
    """Seconds to wait after the given attempt, the first being 1.

    Exponential with full jitter, and on top of what the server asked for: clients that were
    turned away together don't come back together.
    """
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(attempt - 1, 16))
    return (retry_after or 0.0) + random.uniform(0, longest)


class Tries:
    """The tries of one call, or of one feed: where each goes, whether there is another, and when.

    Tried again are failures that may pass and after which a repetition does no harm: no
    connection, no answer in time, and the statuses 429, 502, 503 and 504. Every operation of
    AgentMem can be repeated: an add has its id before it is first sent.

    Where there are several servers, one that fails is followed by the next at once, and only when
    none is left there is a wait: they count as one try together. A 429 is for the key, whichever
    server says so.

    To be told when to come back (429 with Retry-After) is no failure: it counts against the time,
    not against the tries. So many calls at once get through a rate limit one after the other.

    Each try is begun (`begin`), and what came of it told (`failed`, `succeeded`). The rest are
    tenacity's strategies.

    Args:
        servers: the client's.
        max_retries: how many more times all of them are tried, after the first.
        max_retry_seconds: a try that would begin later after the first one is not begun.
    """

    retry = retry_if_exception(is_transient)

    def __init__(self, servers: Servers, max_retries: int, max_retry_seconds: float) -> None:
        self._servers = servers
        self._max_retries = max_retries
        self._out_of_time = stop_before_delay(max_retry_seconds)
        self._place = 0
        self._start()

    def _start(self) -> None:
        self._failures = 0
        self._waits = 0
        self._wait = 0.0
        self._retry_after = 0.0
        self._tried: set[str] = set()
        self._reasons: dict[str, str] = {}

    def begin(self) -> str:
        """The address that the next try goes to."""
        self._place = self._servers.choose(self._tried)
        return self._servers.address(self._place)

    def succeeded(self) -> None:
        """All is well: what comes after it is counted anew."""
        self._servers.answered(self._place)
        self._start()

    def failed(self, error: AgentMemError) -> None:
        """It came to nothing. The error is made to name each of several servers that failed."""
        retry_after: float | None = getattr(error, "retry_after", None)
        self._retry_after = max(self._retry_after, retry_after or 0.0)
        limited = isinstance(error, RateLimited)
        if is_transient(error) and not limited:
            # One that says when to come back is alive. All calls leave it only when another one
            # turns out to be better: the next may have been dead for hours.
            if retry_after is None:
                self._servers.silent(self._place)
            self._tried.add(self._servers.address(self._place))
            self._name_all(error)
            if len(self._tried) < len(self._servers):
                self._wait = 0.0
                return
        if not limited or retry_after is None or self._max_retries == 0:
            self._failures += 1
        self._waits += 1
        self._wait = backoff(self._waits, self._retry_after)
        self._retry_after = 0.0
        self._tried.clear()

    def _name_all(self, error: AgentMemError) -> None:
        if len(self._servers) > 1:
            self._reasons[self._servers.address(self._place)] = error.message
            error.message = "; ".join(f"{at}: {reason}" for at, reason in self._reasons.items())
            error.args = (error.message,)

    def wait(self, _state: RetryCallState) -> float:
        """Seconds to wait before it."""
        return self._wait

    def stop(self, state: RetryCallState) -> bool:
        """Whether the tries, or the time for them, are used up; the coming wait counts."""
        return self._failures > self._max_retries or self._out_of_time(state)
