"""`events` without its I/O: where it is in the feed, what a message says, when to connect again."""

from typing import Any

import httpx
from httpx_sse import ServerSentEvent
from pydantic import ValidationError
from tenacity import RetryCallState, Retrying

from ._base import RetryPolicy
from .endpoints import EVENTS
from .errors import AgentMemError, ConnectionFailed, EventsForgotten, InvalidResponse
from .models import Event

SILENCE = 60.0
"""After so many seconds without a byte a connection is lost: the server sends one every 15."""

POSITION = "X-Last-Event-ID"
"""The header of a response that says after which event it starts."""


class Feed:
    """The course of one `events`, over as many connections as it takes.

    Its user connects with `headers`, tells of the response (`opened`), gives it each message
    (`read`), and asks how long to wait when the connection is lost (`lost`).
    """

    def __init__(self, policy: RetryPolicy, after: int | None) -> None:
        self._policy = policy
        self._after = after
        self._position: int | None = None
        self._response: httpx.Response | None = None
        self._failures: RetryCallState | None = None

    def headers(self) -> dict[str, str]:
        """What the next request says of itself: where the last one got to."""
        resume = {} if self._position is None else {"Last-Event-ID": str(self._position)}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store"} | resume

    def opened(self, response: httpx.Response) -> None:
        """The server answers.

        Raises:
            InvalidResponse: not with a feed, or without saying where it starts: if it broke before
                the first event, nobody would know which were missed.
        """
        self._response = response
        kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
        if kind != "text/event-stream":
            raise InvalidResponse(
                f"{_host(response)} answers no feed but {kind}; is api_url right?"
            )
        self._move(response.headers.get(POSITION, ""))
        if self._position is None and self._after is None:
            raise InvalidResponse(
                f"the feed of {_host(response)} does not say where it starts ({POSITION}): "
                "a proxy in between, or another server?"
            )

    def read(self, message: ServerSentEvent) -> Event | None:
        """The event in a message; None where it tells of none.

        Raises:
            EventsForgotten: the message says that some events are gone.
            InvalidResponse: it can't be read.
        """
        if message.event == "reset":
            raise _forgotten(message)
        # What a newer server may say besides, and what only moves the position.
        event = _event(message) if message.event == "message" and message.data else None
        self._move(message.id)
        return event

    def lost(self, error: AgentMemError | None) -> float:
        """Seconds to wait before connecting again, after an error or the end of the feed.

        Raises:
            AgentMemError: the error, where another try is no use, or there were enough since the
                server was last heard of.
        """
        response, self._response = self._response, None
        if error is None:
            error = ConnectionFailed("the server ended the feed")
        if self._failures is None or (response is not None and response.num_bytes_downloaded > 0):
            retrying = Retrying(stop=self._policy.stop, retry=self._policy.retry)
            self._failures = RetryCallState(retrying, None, (), {})
        else:
            self._failures.prepare_for_next_attempt()
        state = self._failures
        state.set_exception((type(error), error, error.__traceback__))
        state.upcoming_sleep = self._policy.wait(state)
        if not self._policy.retry(state) or state.retry_object.stop(state):
            raise error
        return state.upcoming_sleep

    def _move(self, position: str) -> None:
        if position.isascii() and position.isdigit():
            self._position = int(position)


def _event(message: ServerSentEvent) -> Event:
    try:
        return EVENTS.read(message.data.encode())
    except ValidationError:
        # Not chained: pydantic's text quotes the values.
        raise InvalidResponse(f"the feed's message {message.id} is not an event") from None


def _forgotten(message: ServerSentEvent) -> EventsForgotten:
    try:
        told: Any = message.json()
    except ValueError:
        told = None
    oldest = told.get("oldest") if isinstance(told, dict) else None
    from_where = f" (the oldest kept is {oldest})" if isinstance(oldest, int) else ""
    return EventsForgotten(
        f"some of the events to follow are no longer kept{from_where}: read anew what you need of "
        "the memories, and follow from there on",
        oldest=oldest if isinstance(oldest, int) else None,
    )


def _host(response: httpx.Response) -> str:
    return response.request.url.netloc.decode()
