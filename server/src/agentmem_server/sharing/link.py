"""The way to a Redis that may be away: asked while it answers, and else left alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog
from redis.asyncio import ConnectionPool
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from . import Tally

_log = structlog.get_logger()

TIMEOUT = 0.25
"""Seconds that an operation may take, connecting included."""
PLACES = 16
"""How many operations are under way at once; others wait for their turn."""

OPERATIONS = ("embedding", "result", "limit", "erasure", "probe")
"""What operations are for."""

_FAILURES = (RedisError, OSError, TimeoutError)

T = TypeVar("T")


class Link:
    """Runs operations on a Redis; one that fails has no outcome, and raises nothing.

    After one that was not answered in time, none is run until a probe went well, so that it is
    waited for once and not by every request. An error that Redis answers with is no such reason:
    it costs no time, and may be about one key alone. Whether it is about all, the probe finds out.

    Args:
        pool: connections that don't wait by themselves, nor try again.
        rehearsal: does what the operations do, in small; the probe.

    Attributes:
        is_up: whether Redis is asked.
        reason: why it is not.
        tallies: by what operations are for.
    """

    def __init__(self, pool: ConnectionPool, rehearsal: Callable[[], Awaitable[None]]) -> None:
        self.is_up = False
        self.reason = "it was not asked yet"
        self.tallies: Mapping[str, Tally] = {name: Tally() for name in OPERATIONS}
        self._pool = pool
        self._rehearsal = rehearsal
        self._is_known = False
        self._places = asyncio.Semaphore(PLACES)

    async def ask(self, name: str, operation: Callable[[], Awaitable[T]]) -> T | None:
        """What an operation returns; None where Redis is away or it failed."""
        if not self.is_up:
            return None
        async with self._places:
            if not self.is_up:  # lost while this one waited
                return None
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await operation()
            except _FAILURES as error:
                self.tallies[name].failures += 1
                if not isinstance(error, ResponseError):
                    self._lose(error)
                return None

    async def probe(self) -> bool:
        """Find out whether Redis can be used."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if not self.is_up:
                    # What was connected when Redis went away: some don't know yet that they aren't.
                    await self._pool.disconnect(inuse_connections=False)
                await self._rehearsal()
        except _FAILURES as error:
            self.tallies["probe"].failures += 1
            self._lose(error)
            return False
        if self._is_known and not self.is_up:
            _log.info("Redis is back")
        self.is_up = self._is_known = True
        return True

    async def close(self) -> None:
        """Close the connections."""
        self.is_up, self.reason = False, "it is closed"
        await self._pool.aclose()

    def _lose(self, error: Exception) -> None:
        self.reason = _reason(error)
        if self.is_up or not self._is_known:
            _log.warning("Redis is away", reason=self.reason)
        self.is_up = False
        self._is_known = True


def _reason(error: Exception) -> str:
    """What is wrong, without the words of others: they may hold what is nobody else's business."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return f"it does not answer within {TIMEOUT:g} s"
    if isinstance(error, AuthenticationError):
        return "it refuses the user or the password of AGENTMEM_REDIS_URL"
    if isinstance(error, ResponseError):
        return f"it answers with an error ({type(error).__name__})"
    return f"it can't be reached ({type(error).__name__})"
