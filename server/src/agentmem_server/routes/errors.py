"""What a request is answered that fails, or that no route is for."""

import structlog
from agentmem_client.errors import APIError, InternalError, error_class
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..answers import error_answer

_log = structlog.get_logger()


def handle_errors(app: Starlette) -> None:
    """Answer what the routes raise, and what no route answers."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, APIError)
        return error_answer(error, request.state.request_id)

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = error_class(None, error.status_code)
        message = {
            404: f"there is no {request.url.path}; an id in a path is one percent-encoded segment",
            405: f"{request.method} is not a method of {request.url.path}",
        }.get(error.status_code, error.detail)
        response = error_answer(refusal(message), request.state.request_id)
        response.headers.update(error.headers or {})
        return response

    async def failed(request: Request, error: Exception) -> Response:
        _log.error("failed", request_id=request.state.request_id, exc_info=error)
        apology = InternalError("the server failed; its log has the cause under the request id")
        return error_answer(apology, request.state.request_id)

    app.add_exception_handler(APIError, refused)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(Exception, failed)
