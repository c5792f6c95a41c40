"""Name each request, and log how it went: one line of JSON, without content, ids or keys."""

import re
import time

import structlog
from agentmem_client.ids import new_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..access.access import Access
from ..answers import ANSWER_STARTS
from ..telemetry.watch import METHODS

_log = structlog.get_logger()
_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health", "/metrics")
"""What is asked all day by machines, logged at debug level."""


class RequestLog:
    """Gives each request an id (the caller's ``X-Request-ID``, or a new one); logs its answer.

    A line tells which API key it came with, where it came with one that is valid: by the key's id,
    or as ``operator``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log its answer; a stream's when it has ended."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _GOOD_ID.fullmatch(given) else new_id()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 499  # the caller left before there was an answer

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] in ANSWER_STARTS:
                status = message.get("status", 101)
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                ]
            elif message["type"] == "websocket.close" and status == 499:
                status = 403  # what becomes of a WebSocket that is closed before it is open
            await send(message)

        try:
            await self._app(scope, receive, marked)
        finally:
            # The route's pattern, not the path: ids may tell whose memory it is.
            route = scope.get("route")
            path = getattr(route, "path", None)
            access = state.get("access")
            method = scope.get("method", "GET")  # a WebSocket begins as one
            log = _log.debug if path and path.startswith(_QUIET) else _log.info
            log(
                "request",
                request_id=request_id,
                method=method if method in METHODS else "other",
                route=path,
                key=access.logged if isinstance(access, Access) else None,
                status=status,
                ms=round((time.perf_counter() - started) * 1_000, 2),
            )
