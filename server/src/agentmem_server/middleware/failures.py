"""Answer what fails: what a route refuses, what there is no route for, and what nobody foresaw."""

from collections.abc import Sequence

import structlog
from agentmem_client.errors import APIError, InternalError, error_class, shown
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..answers import error_answer

_log = structlog.get_logger()


class Failures:
    """Answers what is raised before there is an answer; what is raised later ends the connection.

    Args:
        app: what requests are passed on to.
        routes: all that there are, to tell which methods a path has.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if scope["type"] == "lifespan" or "status" in scope["state"]:
                raise
            await self._answer(error, scope, receive, send)

    async def _answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(error, ClientDisconnect):
            return  # nobody would read an answer
        if isinstance(error, APIError):
            refusal = error
        elif isinstance(error, HTTPException):
            refusal = self._unrouted(error, scope)
        else:
            _log.error("failed", request_id=scope["state"]["request_id"], exc_info=error)
            refusal = InternalError("the server failed; its log has the cause under the request id")
        if scope["type"] == "websocket" and "websocket.http.response" not in scope["extensions"]:
            await WebSocketClose(1008, refusal.code)(scope, receive, send)
        else:
            await error_answer(refusal, scope["state"]["request_id"])(scope, receive, send)
        error.__traceback__ = None  # it may be raised again, and would get longer each time

    def _unrouted(self, error: HTTPException, scope: Scope) -> APIError:
        """What the router says where it has no route for a request."""
        refusal = error_class(None, error.status_code)
        path = shown(scope["path"])
        method = scope.get("method")
        if method is None:
            return refusal(f"there is no WebSocket at {path}")
        if error.status_code == 404:
            return refusal(
                f"there is no {path}: /docs has what there is; an id in a path is one "
                "percent-encoded segment"
            )
        if error.status_code == 405:
            allowed = ", ".join(sorted(self._methods(scope["path"])))
            scope["state"]["headers"].append((b"allow", allowed.encode()))
            return refusal(f"{shown(method)} is not a method of {path}")
        return refusal(error.detail)

    def _methods(self, path: str) -> set[str]:
        """All methods that a path has; each route of ours knows only its own."""
        return {
            method
            for route in self._routes
            if route.path_regex.match(path)
            for method in route.methods or ()
        }
