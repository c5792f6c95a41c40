"""Count each request and the time that its answer took."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..telemetry.metrics import Metrics


class RequestMetrics:
    """Tells the metrics of each request, by the pattern of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # the caller left before there was an answer

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_progress += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.in_progress -= 1
            # The pattern, not the path: an id in it would make a series of its own, and be told.
            route = getattr(scope.get("route"), "path", None)
            seconds = time.perf_counter() - started
            self._metrics.request(scope["method"], route, status, seconds)
