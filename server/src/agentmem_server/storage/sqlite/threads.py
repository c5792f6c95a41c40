"""Threads that do the event loop's work on files."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

R = TypeVar("R")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """So many threads with one queue.

    What an executor of the standard library does beside, for callers in other threads, takes as
    long as reading a memory.

    Args:
        count: how many threads.
        name: what their names begin with.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[], R]) -> R:
        """Call the function in one of the threads; a call that has begun can't be cancelled.

        Raises:
            Exception: what it raises.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[R] = loop.create_future()
        self._jobs.put((loop, outcome, function))
        return await outcome

    def close(self) -> None:
        """Finish what was accepted; blocks until then."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, outcome, function = job
            if outcome.cancelled():
                continue
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # the caller raises it
                error = raised
            with suppress(RuntimeError):  # the event loop has ended, and nobody waits
                loop.call_soon_threadsafe(_settle, outcome, result, error)
            del job, outcome, function, result, error  # not kept until the next one comes


def _settle(outcome: "asyncio.Future[R]", result: R, error: BaseException | None) -> None:
    if outcome.cancelled():
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)
