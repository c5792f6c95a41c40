"""Calls under way: what closing has to wait for."""

import asyncio

from agentmem_client.errors import Overloaded


class InFlight:
    """Counts the calls under way, so that closing can wait for them.

    A call is more than its steps: one that waits for a vector will want to write it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        """A call begins.

        Raises:
            Overloaded: it is closed.
        """
        if self._closed:
            raise Overloaded("the server is shutting down", retry_after=1.0)
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        """A call ends."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def close(self) -> None:
        """Refuse new calls, and return when those under way have ended."""
        self._closed = True
        await self._none.wait()
