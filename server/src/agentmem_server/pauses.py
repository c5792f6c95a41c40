"""Long work in the event loop, with pauses in which others have their turn."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

LONGEST = 0.005
"""Seconds of work between two pauses."""


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, one by one, with a pause whenever work on them has taken long."""
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > LONGEST:
            await asyncio.sleep(0)
            begun = time.perf_counter()
