"""Name each request, and tell the log and the metrics how it went: no content, ids or keys."""

import re
import time
from collections.abc import Awaitable

from agentmem_client.ids import new_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..access.access import Access
from ..telemetry.log import request_log
from ..telemetry.metrics import Metrics
from ..telemetry.watch import METHODS

_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health", "/metrics")
"""What is asked all day by machines, logged at debug level."""
_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
"""The messages that an answer begins with, and its headers."""
_LEFT = 499
"""What is told where the caller left before there was an answer."""


class RequestReport:
    """Gives each request an id, the caller's ``X-Request-ID`` or a new one; tells of its answer.

    In ``state`` are the ``request_id``, ``headers`` that its answer gets, whoever answers, and as
    soon as that has begun its ``status``.

    A line of the log tells which API key it came with, where it came with one that is valid: by the
    key's id, or as ``operator``. The metrics count requests, and no WebSockets.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = request_log()
        self._ids = _Ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell of its answer; of a stream's when it has ended."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = _given_id(scope) or self._ids.new()
        headers = state["headers"] = [(b"x-request-id", request_id.encode())]

        def marked(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind in _STARTS:
                state["status"] = message.get("status", 101)
                message["headers"] = [*message.get("headers", []), *headers]
            elif kind == "websocket.close":
                state.setdefault("status", 403)  # what becomes of one that is not open yet
            return send(message)

        is_counted = scope["type"] == "http"
        self._metrics.in_progress += is_counted
        try:
            await self._app(scope, receive, marked)
        finally:
            self._metrics.in_progress -= is_counted
            seconds = time.perf_counter() - started
            # The route's pattern, not the path: ids may tell whose memory it is.
            route = getattr(scope.get("route"), "path", None)
            status = state.get("status", _LEFT)
            method = scope.get("method", "GET")  # a WebSocket begins as one
            if is_counted:
                self._metrics.request(method, route, status, seconds)
            access = state.get("access")
            self._log(
                "debug" if route and route.startswith(_QUIET) else "info",
                request_id=request_id,
                method=method if method in METHODS else "other",
                route=route,
                key=access.logged if isinstance(access, Access) else None,
                status=status,
                ms=round(seconds * 1_000, 2),
            )


def _given_id(scope: Scope) -> str | None:
    given = b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value
    return given.decode() if given and _GOOD_ID.fullmatch(given) else None


class _Ids:
    """UUIDv7s; those of one millisecond count on from the first one (RFC 9562, section 6.2)."""

    def __init__(self) -> None:
        self._millisecond = 0
        self._head = ""
        self._tail = 0

    def new(self) -> str:
        """Larger than those before, as far as the clock is. `new_id` alone takes thrice as long."""
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            drawn = new_id()
            self._millisecond = int(drawn[:8] + drawn[9:13], 16)  # perhaps the next one by now
            self._head, self._tail = drawn[:24], int(drawn[25:], 16)
        self._tail += 1
        return f"{self._head}{self._tail:012x}"
