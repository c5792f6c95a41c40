"""A request goes to the route that Starlette would find, by a look-up or by trying."""

from typing import Any

import pytest
from agentmem_server.routes.routing import Routes
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket


async def endpoint(_request: Request) -> Response:
    return Response()


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


def routes() -> list[BaseRoute]:
    return [
        Route("/a/first", endpoint, methods=["POST"]),
        Route("/a/{id}", endpoint, methods=["GET"]),
        Route("/a/second", endpoint, methods=["GET"]),  # hidden by the one before
        Route("/a/first", endpoint, methods=["GET"]),  # likewise
        Route("/b", endpoint, methods=["GET"]),
        Route("/b", endpoint, methods=["GET", "DELETE"]),
        WebSocketRoute("/b", socket),
    ]


async def asked(router: Router, kind: str, method: str, path: str, root: str = "") -> Any:
    """The pattern of the route that answered, and its parameters; or the status of a refusal."""
    scope: dict[str, Any] = {"type": kind, "path": path, "app": None, "headers": []}
    scope |= {"root_path": root, "query_string": b""}
    if kind == "http":
        scope["method"] = method

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        pass

    try:
        await router(scope, receive, send)
    except HTTPException as error:
        return error.status_code
    found = scope["route"]
    return router.routes.index(found), scope["path_params"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "path", ["/a/first", "/a/second", "/a/third", "/a", "/b", "/b/", "/c", "", "/a/first\n"]
)
async def test_it_is_the_route_that_starlette_finds(kind: str, method: str, path: str) -> None:
    async def nothing(*_: object) -> None:
        raise HTTPException(404)

    reference = Router(routes(), redirect_slashes=False, default=nothing)
    for root in ("", "/root"):
        at = root + path
        assert await asked(Routes(routes()), kind, method, at, root) == await asked(
            reference, kind, method, at, root
        )
