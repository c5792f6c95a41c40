"""Refuse bodies larger than the server is willing to hold in memory."""

from collections.abc import Awaitable

from agentmem_client.errors import PayloadTooLarge
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Raises for a body of more than ``limit`` bytes, without reading all of it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, counting what comes of its body where that isn't declared."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        declared = _declared(scope)
        if declared is None:
            return self._app(scope, self._counting(scope, receive), send)
        if declared > self._limit:
            raise self._refusal(scope)
        return self._app(scope, receive, send)  # no HTTP server passes on more than is declared

    def _counting(self, scope: Scope, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise self._refusal(scope)
            return message

        return counted

    def _refusal(self, scope: Scope) -> PayloadTooLarge:
        # The rest of the body is still on its way.
        scope["state"]["headers"].append((b"connection", b"close"))
        return PayloadTooLarge(
            f"the body is larger than {self._limit} bytes: send less at once, or raise "
            "AGENTMEM_MAX_BODY"
        )


def _declared(scope: Scope) -> int | None:
    """How many bytes the body has; None where nothing says so, or what says so may not count."""
    declared = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                return None
            declared = int(value)
        elif name == b"transfer-encoding":
            return None
    return declared
