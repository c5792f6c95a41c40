"""The head and the body of an answer leave together."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Uvicorn's, which writes the head of an answer and then its body.

    Each write is a call of the system, a tenth of what a cached search takes.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # so is uvicorn's
        """Write by way of what gathers."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport)))


class Gathering:
    """A transport that holds a write back for the next one.

    Where there is none before the event loop goes on, as in a stream, the first goes out alone.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send data after what was written before; nothing where the connection is lost."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            both, self._held = (self._held, data), None
            # Of requests sent ahead uvicorn tells only the last one that the caller has left.
            if not self._transport.is_closing():
                self._transport.writelines(both)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
