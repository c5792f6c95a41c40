"""Trace each request."""

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:  # it needs an extra
    from ..telemetry.tracing import Tracing


class RequestSpans:
    """Opens a span a request, in the trace that the caller's ``traceparent`` names."""

    def __init__(self, app: ASGIApp, tracing: "Tracing") -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on in its span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracing.request(scope["headers"]) as span:
            try:
                await self._app(scope, receive, send)
            finally:
                span.answered(
                    method=scope["method"],
                    route=getattr(scope.get("route"), "path", None),
                    status=scope["state"].get("status"),
                    request_id=scope["state"]["request_id"],
                )
