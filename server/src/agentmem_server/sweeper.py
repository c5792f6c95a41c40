"""Deletes what has expired, now and then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from agentmem_client.errors import APIError

_log = structlog.get_logger()


@asynccontextmanager
async def sweeping(
    sweep: Callable[[], Awaitable[int]], interval: float, what: str = "expired memories"
) -> AsyncIterator[None]:
    """Sweep every so many seconds, until the context ends; the log calls it what it sweeps.

    What has expired is hidden without it; this gives its space back. A sweep that fails, on a full
    disk say, is logged and done again.
    """

    async def go_on() -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                swept = await sweep()
            except APIError as error:
                _log.warning(f"{what} could not be deleted", error=error.code)
            except Exception:  # a defect of ours: told now, and raised when the context ends
                _log.exception("the sweeper ended", of=what)
                raise
            else:
                if swept:
                    _log.info(f"{what} deleted", count=swept)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
