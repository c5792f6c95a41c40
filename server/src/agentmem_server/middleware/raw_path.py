"""Match routes against the path as it was sent, so that an id may hold an encoded slash."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send


class RawPath:
    """Puts the still percent-encoded path where the router looks; `routes.http.segment` decodes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on with its encoded path."""
        if scope["type"] != "lifespan" and scope.get("raw_path"):
            raw = scope["raw_path"].partition(b"?")[0]
            scope["path"] = raw.decode("latin-1")
        return self._app(scope, receive, send)
