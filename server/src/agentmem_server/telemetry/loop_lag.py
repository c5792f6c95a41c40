"""How late the event loop is: what blocks it keeps everybody waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

_log = structlog.get_logger()

INTERVAL = 0.1
"""Seconds between two looks."""
LONG = 1.0
"""Seconds of delay that are worth a warning."""


@asynccontextmanager
async def watching_lag(observe: Callable[[float], None]) -> AsyncIterator[None]:
    """Tell how late the event loop comes to a task that sleeps, until the context ends."""
    loop = asyncio.get_running_loop()

    async def look() -> None:
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            lag = max(0.0, loop.time() - due)
            observe(lag)
            if lag > LONG:
                _log.warning("the event loop was blocked", ms=round(lag * 1_000))

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
