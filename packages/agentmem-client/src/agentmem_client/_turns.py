"""How many requests one client has under way: the others wait here, in the order they came.

httpx keeps a queue of its own, which it goes through whenever a connection gets free: with
thousands of requests in it that takes longer than the requests. Its wait has a limit of time,
too, after which a request fails that was never sent; here a turn comes.
"""

import asyncio
import threading
from typing import Literal

import httpx

AT_ONCE = 64
"""Requests under way together, and connections kept open for them."""

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
"""Of the httpx clients that are made here.

The turns bound the connections of requests. A feed of events takes one more each, for as long as it
is followed, and no turn: many feeds would leave none for the requests.
"""


class AsyncTurns(asyncio.Semaphore):
    """The turns of an async client."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the first request: the client's connections belong to it."""

    async def acquire(self) -> Literal[True]:
        """Wait for a turn."""
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        return await super().acquire()


class Turns(threading.BoundedSemaphore):
    """The turns of a sync client, whatever threads use it."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
