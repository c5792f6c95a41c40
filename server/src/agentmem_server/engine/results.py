"""Answers of searches that are kept: in this process, and by all servers of the store together."""

import json
import struct
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .. import __version__
from ..access.callers import Caller
from ..cache import Cache
from ..sharing import NO_COPIES, Copies
from .search import Found

Key: TypeAlias = tuple[Caller, str, int, bytes]
"""Who asks, the collection, the write version that is seen, and the digest of what is asked."""

_EXPIRES = struct.Struct("<?q")
"""Before the body of a shared answer: whether a memory in it expires, and when (microseconds)."""


class Results:
    """Keeps answers under the write version that they saw, so that a write makes them unreachable.

    Args:
        copies: answers that other servers keep too.
        max_entries: how many are kept in this process; 0: none, here and there.
        ttl: for how many seconds, in each of them.

    Attributes:
        cache: those in this process.
    """

    def __init__(self, copies: Copies, *, max_entries: int, ttl: float) -> None:
        self.cache: Cache[Found] = Cache(max_entries=max_entries, ttl=ttl, lifetime=Found.lifetime)
        self._copies = copies if max_entries else NO_COPIES
        self._ttl = ttl

    def kept(self, key: Key) -> Found | None:
        """The answer, where it is kept in this process."""
        return self.cache.kept(key)

    def keep(self, key: Key, found: Found) -> None:
        """Keep an answer in this process alone."""
        self.cache.put(key, found)

    def passed_over(self) -> None:
        """An answer was made that nobody looked for here, and is not kept."""
        self.cache.misses += 1

    async def get_or_compute(self, key: Key, compute: Callable[[], Awaitable[Found]]) -> Found:
        """The answer: kept, here or by another server, or computed now.

        Raises:
            Exception: what ``compute`` raised.
        """

        async def share() -> Found:
            name = _shared_key(key)
            since = self._copies.erasures
            (shared,) = await self._copies.get("result", [name])
            found = None if shared is None else _decoded(shared)
            if found is None:
                found = await compute()
                lifetime = min(self._ttl, found.lifetime())
                if lifetime > 0:
                    await self._copies.put("result", {name: _encoded(found)}, lifetime, since=since)
            return found

        return await self.cache.get_or_compute(key, share)


def _shared_key(key: Key) -> bytes:
    """Of this version of the server alone: while servers are renewed, each answers its own way."""
    caller, collection, version, digest = key
    parts = (__version__, caller.tenant, caller.user_id, collection, version, digest.hex())
    return json.dumps(parts).encode()


def _encoded(found: Found) -> bytes:
    return _EXPIRES.pack(found.expires_at is not None, found.expires_at or 0) + found.body


def _decoded(value: bytes) -> Found | None:
    """None for what holds no longer, or is none."""
    if len(value) < _EXPIRES.size:
        return None
    expires, at = _EXPIRES.unpack_from(value)
    found = Found(value[_EXPIRES.size :], at if expires else None, refreshed=False)
    return found if found.lifetime() > 0 else None
