"""What a connection may send before there is a request, and what becomes of it otherwise."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .sending import Protocol as SendingProtocol

_LONGEST_HEAD = 100_000
"""Bytes, more or less: of a head, and of what may follow a body that comes in chunks."""
_TOO_LONG = "The head of the request is too long."
_UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n"
    b"connection: close\r\n\r\nNo WebSocket can begin with a request like this."
)


class Protocol(SendingProtocol):
    """Uvicorn's by httptools, which itself would gather a head without end in memory."""

    _unused = 0
    """Bytes since a head was complete, or a part of a body was there."""

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._unused += len(data)
        super().data_received(data)
        if self._unused > _LONGEST_HEAD and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response(_TOO_LONG)
            else:
                self.transport.close()

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._unused = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._unused = 0
        super().on_body(body)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's, which itself would log each refusal as an error.

    A request that the library can't read it would leave unanswered, and fail on it at the end.
    """

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.close_sent = True  # else it is closed by a message when the server stops
            self.transport.write(_UNREADABLE)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send a message; one that refuses the WebSocket completes its beginning, too."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True
