"""Telling of users whom other servers erased, so that no copies of theirs stay here."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agentmem_client.errors import Unavailable

_RETRY = 1.0
"""Seconds between two tries to read."""


class Erasures:
    """Tells of each erasure once, whatever happens meanwhile; of this server's own ones too.

    Args:
        read: the erasures after an event: its id, tenant and user, by the ids.
        after: the last event that nobody need be told of.
    """

    def __init__(
        self, read: Callable[[int], Awaitable[list[tuple[int, str, str]]]], after: int
    ) -> None:
        self._read = read
        self._after = after
        self._listeners: list[Callable[[str, str], None]] = []
        self._heard = False
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Call this, in the event loop's thread, with the tenant and the user of each."""
        self._listeners.append(listener)

    def hear(self) -> None:
        """There are some, perhaps."""
        self._heard = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Tell no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _tell(self) -> None:
        while self._heard:
            self._heard = False  # before the read: what comes during it needs another one
            try:
                erased = await self._read(self._after)
            except Unavailable:
                self._heard = True
                await asyncio.sleep(_RETRY)
                continue
            for eid, tenant, user_id in erased:
                self._after = eid
                for listener in self._listeners:
                    listener(tenant, user_id)
