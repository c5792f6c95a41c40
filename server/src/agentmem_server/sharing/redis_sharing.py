"""A Redis that the servers of one store share by."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import structlog
from agentmem_client.errors import InvalidRequest, Unavailable
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from . import Tally
from .link import PLACES, TIMEOUT, Link
from .redis_copies import RedisCopies
from .redis_counters import RedisCounters

_log = structlog.get_logger()

PROBED_EVERY = 1.0
"""Seconds between two probes, whether Redis is there or away."""

_OPTIONS = {"db", "username", "password"}
"""What a URL's query may have, besides ``ssl_…``."""


class RedisSharing:
    """What is shared by a Redis, and how that is.

    Attributes:
        copies: a cache.
        counters: moving windows.
    """

    def __init__(self, pool: ConnectionPool, identity: str) -> None:
        """Use `open`, which also watches."""
        prefix = f"agentmem:{identity}:"
        self._link = Link(pool, self._rehearse)
        self._woken = asyncio.Event()
        client = Redis(connection_pool=pool)
        self.copies = RedisCopies(self._link, client, prefix, self._woken.set)
        self.counters = RedisCounters(self._link, pool, prefix)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, identity: str) -> AsyncIterator["RedisSharing"]:
        """Share the store of an identity, until the context ends; Redis may be away by now.

        Raises:
            InvalidRequest: for what can't be a URL of a Redis.
        """
        sharing = cls(_pool(url), identity)
        await sharing._link.probe()
        watching = asyncio.create_task(sharing._watch())
        try:
            yield sharing
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await sharing._link.close()

    @property
    def is_up(self) -> bool:
        """Whether Redis is there, as of a second ago."""
        return self._link.is_up

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What was asked for, by its name."""
        return self._link.tallies

    async def check(self) -> None:
        """Return when Redis is there, as of a second ago.

        Raises:
            Unavailable: it is away.
        """
        if not self._link.is_up:
            raise Unavailable(f"Redis is away: {self._link.reason}")

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBED_EVERY):
                    await self._woken.wait()
            self._woken.clear()
            try:
                if await self._link.probe():
                    await self.copies.settle()
            except Exception:  # a defect of ours: told now, and raised when the context ends
                _log.exception("Redis is not watched any more")
                raise

    async def _rehearse(self) -> None:
        await self.copies.rehearse()
        await self.counters.rehearse()


def _pool(url: str) -> ConnectionPool:
    """Connections to the Redis of a URL, none of them open yet.

    Raises:
        InvalidRequest: it can't be one. The message doesn't quote it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        path = parts.path.removeprefix("/")
        is_whole = bool(path) if parts.scheme == "unix" else path == "" or path.isdecimal()
        # Said at once: for RESP3 a pool would look for notifications, which need hiredis.
        pool = ConnectionPool.from_url(url, protocol=2)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise InvalidRequest(
            "AGENTMEM_REDIS_URL is no URL of a Redis: use redis://[[user]:password@]host:port/0, "
            "rediss:// for TLS, or unix:///path/to/socket, with what is special in a password "
            "percent-encoded"
        )
    unknown = [name for name in options if name not in _OPTIONS and not name.startswith("ssl_")]
    if unknown:
        raise InvalidRequest(
            "AGENTMEM_REDIS_URL has options that are not for it to set: after the ? may stand db, "
            "username, password and ssl_…"
        )
    pool.max_connections = PLACES + 1  # the probe's
    pool.connection_kwargs.update(
        socket_timeout=None,  # the link's bounds the whole, and costs less
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        pool.connection_class(**pool.connection_kwargs)  # refuses options that there are not
    except (TypeError, ValueError, RedisError):
        raise InvalidRequest(
            "AGENTMEM_REDIS_URL has an option after the ? that can't be: leave it out"
        ) from None
    return pool
