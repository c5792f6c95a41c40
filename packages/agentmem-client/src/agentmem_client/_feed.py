"""`events` without its I/O: where it is in the feed, what a message says, when to connect again."""

from typing import Any, get_args

import httpx
from httpx_sse import ServerSentEvent
from pydantic import ValidationError
from pydantic_core import from_json
from tenacity import RetryCallState, Retrying

from ._retries import Tries
from .endpoints import EVENTS
from .errors import (
    AgentMemError,
    ConnectionFailed,
    EventsForgotten,
    InvalidResponse,
    Unavailable,
    error_class,
)
from .models import Action, ErrorAnswer, Event

SILENCE = 60.0
"""After so many seconds without a byte a connection is lost: the server sends some every 15."""

POSITION = "X-Last-Event-ID"
"""The header of a response that says after which event it begins."""

_ACTIONS = get_args(Action)


class Feed:
    """The course of one `events`, over as many connections as it takes.

    Its user connects with `headers`, tells of the response (`opened`), gives it each message
    (`read`), and asks how long to wait when the connection is lost (`lost`).

    The server says at once from which position on it tells, in a header and in a first message
    without an event: so that a connection that breaks before the first event is taken up where it
    began.
    """

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._position: str | None = None
        self._messages = 0
        self._failures: RetryCallState | None = None

    def headers(self) -> dict[str, str]:
        """What the next request says of itself: where the last one got to."""
        resume = {} if self._position is None else {"Last-Event-ID": self._position}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store"} | resume

    def opened(self, response: httpx.Response) -> None:
        """The server answers.

        Raises:
            InvalidResponse: not with a feed.
        """
        self._messages = 0
        kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
        if kind != "text/event-stream":
            host = response.request.url.netloc.decode()
            raise InvalidResponse(f"{host} answers with {kind}, not a feed; is api_url right?")
        self._move(response.headers.get(POSITION, ""))

    def read(self, message: ServerSentEvent) -> Event | None:
        """The event in a message; None where it tells of none.

        Raises:
            EventsForgotten: the message says that some events are gone.
            APIError: it says why the server ends the feed.
            InvalidResponse: it can't be read, or doesn't tell where the feed is.
        """
        match message.event:
            case "reset":
                raise _forgotten(message)
            case "end":
                raise _ending(message)
        event = _event(message) if message.event in _ACTIONS else None
        self._messages += 1
        alive = event is not None or self._messages > 1  # the first one comes whatever is wrong
        if alive and self._failures is not None:
            self._failures = None
            self._tries.succeeded()
        if not self._move(message.id):
            raise InvalidResponse(
                "the feed does not tell where it is: a proxy in between, or another server?"
            )
        return event

    def lost(self, error: AgentMemError | None) -> float:
        """Seconds to wait before connecting again, after an error or the end of the feed.

        Raises:
            AgentMemError: the error, where another try is no use, or there were enough since the
                last event or sign of life.
        """
        error = ConnectionFailed("the server ended the feed") if error is None else error
        if self._failures is None:
            self._failures = RetryCallState(Retrying(), None, (), {})
        state = self._failures
        state.set_exception((type(error), error, error.__traceback__))
        self._tries.failed(error)
        state.upcoming_sleep = self._tries.wait(state)
        if not self._tries.retry(state) or self._tries.stop(state):
            raise error
        return state.upcoming_sleep

    def _move(self, position: str) -> bool:
        """Whether it is a position: the feed is there now."""
        if not (position.isascii() and position.isdigit()):
            return False
        self._position = position
        return True


def _event(message: ServerSentEvent) -> Event:
    try:
        return EVENTS.read(message.data.encode())
    except ValidationError:
        raise _unreadable() from None  # not chained: pydantic's text quotes the values


def _unreadable() -> InvalidResponse:
    return InvalidResponse("a message of the feed can't be read: is it an AgentMem server's?")


def _forgotten(message: ServerSentEvent) -> EventsForgotten | InvalidResponse:
    try:
        oldest: Any = from_json(message.data)["oldest"]
    except (ValueError, TypeError, LookupError):
        oldest = None
    if not isinstance(oldest, int):
        return _unreadable()
    return EventsForgotten(
        "some of the events to follow are no longer kept: read anew what you need of the memories, "
        f"and follow with after={oldest - 1}",
        oldest=oldest,
    )


def _ending(message: ServerSentEvent) -> AgentMemError:
    try:
        error = ErrorAnswer.model_validate_json(message.data).error
    except ValidationError:
        return ConnectionFailed("the server ended the feed")
    return error_class(error.code, Unavailable.status)(error.message, details=error.details)
