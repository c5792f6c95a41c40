"""Does in the background what a start leaves to be done, until it is done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from agentmem_client.errors import APIError

_log = structlog.get_logger()


@asynccontextmanager
async def filling(fill: Callable[[], Awaitable[int]], interval: float) -> AsyncIterator[None]:
    """Fill until there is no more to fill, or the context ends.

    Where it fails, on a store that is down say, it is logged and tried again after so many seconds.
    """

    async def go_on() -> None:
        while True:
            try:
                filled = await fill()
            except APIError as error:
                _log.warning("tokens of memories could not be made", error=error.code)
                await asyncio.sleep(interval)
            except Exception:  # a defect of ours: told now, and raised when the context ends
                _log.exception("the making of tokens ended")
                raise
            else:
                if filled:
                    _log.info("tokens of memories made", count=filled)
                return

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
