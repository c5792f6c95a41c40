"""What the servers of one store keep together beside it, so that each needn't find out alone.

Copies of what was computed, and who asked how often. Nothing here is the only one of its kind:
where it is away, all goes on without it, and nobody is told but by health, logs and metrics.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from agentmem_client.errors import InvalidRequest

__all__ = ["NO_COPIES", "Copies", "Counters", "Kind", "Sharing", "Tally", "open_sharing"]

Kind = Literal["embedding", "result"]


class Copies(Protocol):
    """A cache that several servers share. It never raises: what fails is not found, or not kept.

    Attributes:
        erasures: how often everything had to be forgotten; grows.
    """

    @property
    def erasures(self) -> int:
        """See above."""

    async def get(self, kind: Kind, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where it isn't kept."""

    async def put(
        self, kind: Kind, values: Mapping[bytes, bytes], ttl: float, *, since: int
    ) -> None:
        """Keep values for so many seconds.

        Args:
            kind: what they are.
            values: by their keys.
            ttl: seconds, at 0 or less none is kept.
            since: `erasures` as it was before the values were computed. None is kept where that
                has changed: they may be of what was erased.
        """

    async def forget(self) -> None:
        """Let go of all that is kept of the store, of every kind: now, or as soon as it can be."""

    def forget_soon(self) -> None:
        """The same, without waiting for it."""


class Counters(Protocol):
    """Moving windows that several servers count in. They never raise."""

    async def acquire(self, key: str, limit: int, expiry: int, amount: int) -> bool | None:
        """Take places of a window of so many seconds; None where it can't be found out now."""

    async def window(self, key: str, limit: int, expiry: int) -> tuple[float, int] | None:
        """How many seconds ago the oldest event in the window was, and how many there are."""


@dataclass(slots=True)
class Tally:
    """How often something was asked for: found, not found, and not answered or answered wrongly."""

    hits: int = 0
    misses: int = 0
    failures: int = 0


class Sharing(Protocol):
    """What is shared, and how that is."""

    @property
    def copies(self) -> Copies:
        """A cache."""

    @property
    def counters(self) -> Counters:
        """Moving windows."""

    @property
    def is_up(self) -> bool:
        """Whether it is there, as of a second ago."""

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What was asked for: each `Kind`, and what is no cache beside them."""

    async def check(self) -> None:
        """Return when it is there, as of a second ago.

        Raises:
            Unavailable: it is away; the message says why.
        """


class _NoCopies:
    erasures = 0

    async def get(self, kind: Kind, keys: Sequence[bytes]) -> list[bytes | None]:
        return [None] * len(keys)

    async def put(
        self, kind: Kind, values: Mapping[bytes, bytes], ttl: float, *, since: int
    ) -> None:
        pass

    async def forget(self) -> None:
        pass

    def forget_soon(self) -> None:
        pass


NO_COPIES: Copies = _NoCopies()
"""Of a server that shares with none."""


@asynccontextmanager
async def open_sharing(url: str, identity: str) -> AsyncIterator[Sharing]:
    """Share by the Redis that a URL names, until the context ends; it may be away by now.

    Args:
        url: ``redis://[[user]:password@]host:port/0``, ``rediss://`` for TLS, or
            ``unix:///path/to/socket``.
        identity: names the store whose servers share.

    Raises:
        InvalidRequest: for what can't be such a URL, or where an extra isn't there.
    """
    try:
        from .redis_sharing import RedisSharing
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise InvalidRequest(
            'AGENTMEM_REDIS_URL needs an extra: pip install "agentmem-server[redis]"'
        ) from None
    async with RedisSharing.open(url, identity) as sharing:
        yield sharing
