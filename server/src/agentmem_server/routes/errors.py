"""What a request is answered that fails, or that no route is for."""

from agentmem_client.errors import APIError, error_class, shown
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..answers import error_answer


def handle_errors(app: Starlette) -> None:
    """Answer what the routes raise, and what no route answers."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, APIError)
        return error_answer(error, request.state.request_id)

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = error_class(None, error.status_code)
        path = shown(request.scope["path"])
        method = request.scope.get("method")
        if method is None:
            message = f"there is no WebSocket at {path}"
        elif error.status_code == 404:
            message = (
                f"there is no {path}: /docs has what there is; an id in a path is one "
                "percent-encoded segment"
            )
        elif error.status_code == 405:
            message = f"{shown(method)} is not a method of {path}"
        else:
            message = error.detail
        response = error_answer(refusal(message), request.state.request_id)
        if error.status_code == 405:
            response.headers["Allow"] = ", ".join(sorted(_methods(app, request.scope["path"])))
        return response

    async def no_route(_scope: Scope, _receive: Receive, _send: Send) -> None:
        # Starlette's own says so of requests alone; a WebSocket it closes without a word.
        raise HTTPException(404)

    async def left(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # the caller broke off its request: nobody reads this

    app.add_exception_handler(APIError, refused)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(ClientDisconnect, left)
    app.router.default = no_route


def _methods(app: Starlette, path: str) -> set[str]:
    """All methods that a path has; each route of ours knows only its own."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    return {
        method for route in routes if route.path_regex.match(path) for method in route.methods or ()
    }
