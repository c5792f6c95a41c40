"""Refuse bodies larger than the server is willing to hold in memory."""

from agentmem_client.errors import PayloadTooLarge
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..answers import error_answer


class BodyLimit:
    """Answers 413 to a body of more than ``limit`` bytes, without reading all of it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what comes of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise _TooLarge
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLarge:
            # A route answers only after it read the body, so nothing has been sent yet.
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = PayloadTooLarge(
            f"the body is larger than {self._limit} bytes: send less at once, or raise "
            "AGENTMEM_MAX_BODY"
        )
        response = error_answer(error, scope["state"]["request_id"])
        response.headers["Connection"] = "close"  # the rest of the body is still on its way
        await response(scope, receive, send)


class _TooLarge(Exception):
    """Ends the route that is reading the body; never leaves this module."""
