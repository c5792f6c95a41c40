"""Answer what fails in a way that nobody foresaw."""

import structlog
from agentmem_client.errors import InternalError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..answers import error_answer

_log = structlog.get_logger()


class LastResort:
    """Logs an exception that no route turned into an error, and answers 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started:
                raise
            request_id = scope["state"]["request_id"]
            _log.error("failed", request_id=request_id, exc_info=error)
            apology = InternalError("the server failed; its log has the cause under the request id")
            await error_answer(apology, request_id)(scope, receive, send)
