"""Moving windows in Redis, as the library ``limits`` keeps them."""

import time
from functools import partial

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool

from .link import Link

_LARGEST = 100_000
"""Events of a window, past which they are too many to be listed in Redis for each request."""


class RedisCounters:
    """The `Counters` in a Redis. Times are those of each server's clock.

    Args:
        link: the way to it.
        pool: connections to it.
        prefix: of all keys of the store.
    """

    def __init__(self, link: Link, pool: ConnectionPool, prefix: str) -> None:
        self._link = link
        self._storage = RedisStorage(
            "async+redis://",  # the pool knows where
            implementation="redispy",
            key_prefix=f"{prefix}limit",
            connection_pool=pool,  # type: ignore[arg-type]  # as its documentation has it
        )

    async def acquire(self, key: str, limit: int, expiry: int, amount: int) -> bool | None:
        """Take places of a window of so many seconds; None where it can't be found out now."""
        if limit > _LARGEST:
            return None
        take = partial(self._storage.acquire_entry, key, limit, expiry, amount)
        return await self._link.ask("limit", take)

    async def window(self, key: str, limit: int, expiry: int) -> tuple[float, int] | None:
        """How many seconds ago the oldest event in the window was, and how many there are."""
        if limit > _LARGEST:
            return None
        look = partial(self._storage.get_moving_window, key, limit, expiry)
        found = await self._link.ask("limit", look)
        return None if found is None else (max(0.0, time.time() - found[0]), found[1])

    async def rehearse(self) -> None:
        """Do in small what the others do.

        Raises:
            RedisError: Redis can't be used.
        """
        await self._storage.acquire_entry("probe", 1, 1)
        await self._storage.get_moving_window("probe", 1, 1)
