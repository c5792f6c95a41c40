"""Long work in the event loop, with pauses in which others have their turn."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

LONGEST = 0.002
"""Seconds of work between two pauses. A turn of the loop may hold several such pieces, and waits
for the threads that write and read: with 5 ms one look in 30 at a busy loop found it late by more
than 10 ms, with 2 one in 500, and it gets as much done."""


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, one by one, with a pause whenever work on them has taken long."""
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > LONGEST:
            await asyncio.sleep(0)
            begun = time.perf_counter()


class Share:
    """A share of each turn of the event loop, for work that many may ask for in the same turn.

    Each is short, but the loop would go through all of them before it looks at anything else.
    Such work is done inside of it, as in ``with share:``, and does not wait there.

    Who asks first has it first: else one whose turn of the loop's comes before the share is renewed
    would find it used up by those who ask again and again, each time.
    """

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._used = 0.0
        self._begun = 0.0

    async def left(self) -> None:
        """Come back in a turn in which some of the share is left: at once, or in a later one."""
        if self._used < LONGEST and not self._waiting:
            return
        me = object()
        self._waiting.append(me)
        try:
            # Of one turn of the loop, no event tells.
            while self._used >= LONGEST or self._waiting[0] is not me:  # noqa: ASYNC110
                await asyncio.sleep(0)
        finally:
            self._waiting.remove(me)

    def __enter__(self) -> None:
        """Begin to use something of this turn's share."""
        if not self._used:
            asyncio.get_running_loop().call_soon(self._renew)
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """Note how much it was."""
        self._used += time.perf_counter() - self._begun

    def _renew(self) -> None:
        self._used = 0.0
