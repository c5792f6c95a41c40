"""How many calls of the LLM there may be: at once, a minute, and waiting."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from agentmem_client.errors import Overloaded
from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter

LONGEST_WAIT = 60.0
"""Seconds that a call waits for the rate."""

_SHORTEST_LOOK = 0.01
"""Seconds between two looks at a window that another server may have filled meanwhile."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an extractor may spend.

    Attributes:
        concurrency: calls at once.
        rate: calls a minute; 0 is any number.
        max_tokens: tokens of an answer.
        max_input_tokens: tokens of a conversation with its prompt, as far as they can be estimated.
        timeout: seconds for one call.
        max_pending: conversations that were accepted and not yet answered.
    """

    concurrency: int = 10
    rate: int = 600
    max_tokens: int = 4_096
    max_input_tokens: int = 16_000
    timeout: float = 60.0
    max_pending: int = 1_000


class Budget:
    """Lets calls through, in the order in which they came.

    Args:
        bounds: how many.
        windows: what counts the calls of a minute, for this server or several.
        clock: that of the windows.
    """

    def __init__(
        self, bounds: Bounds, windows: Storage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pending = 0
        self._max_pending = bounds.max_pending
        self._slots = asyncio.Semaphore(bounds.concurrency)
        self._rate = RateLimitItemPerMinute(bounds.rate) if bounds.rate else None
        self._limiter = MovingWindowRateLimiter(windows)
        self._clock = clock
        self._rate_queue = asyncio.Lock()

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[None]:
        """Count one more conversation, until it is answered.

        Raises:
            Overloaded: there are too many.
        """
        if self.pending >= self._max_pending:
            raise Overloaded(
                f"{self.pending} conversations wait for the LLM, as many as may", retry_after=5.0
            )
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1

    def turn(self) -> AbstractAsyncContextManager[None]:
        """What is entered when there is room for one more call, and left when that is over."""
        return self._slots

    async def allow(self) -> None:
        """Count one call, and wait until the rate allows it.

        Raises:
            Overloaded: so many calls were made that it would be too long.
        """
        rate = self._rate
        if rate is None:
            return
        deadline = self._clock() + LONGEST_WAIT
        async with self._rate_queue:
            while not await self._limiter.hit(rate, "llm"):
                reset, _ = await self._limiter.get_window_stats(rate, "llm")
                now = self._clock()
                if reset > deadline:
                    raise Overloaded(
                        f"the LLM was called {rate.amount} times in a minute, as often as "
                        "AGENTMEM_LLM_RATE allows: wait for Retry-After seconds",
                        retry_after=reset - now,
                    )
                await asyncio.sleep(max(_SHORTEST_LOOK, reset - now))
