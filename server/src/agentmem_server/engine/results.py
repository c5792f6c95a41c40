"""Answers of searches that are kept: in this process, and by all servers of the store together."""

import json
import struct
from collections.abc import Awaitable, Callable

from agentmem_client.models import SearchRequest

from .. import __version__
from ..access.callers import Caller
from ..cache import Cache
from ..sharing import NO_COPIES, Copies
from .known_searches import digest_of
from .search import Found

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

    async def get_or_compute(
        self,
        caller: Caller,
        request: SearchRequest,
        version: int,
        compute: Callable[[], Awaitable[Found]],
        digest: bytes | None = None,
        at_once: Callable[[], Found | None] = lambda: None,
    ) -> Found:
        """The answer to a request of a caller, as of a write version: kept, or computed now.

        The request's ``digest`` is made here where it isn't known. Where ``at_once`` has the answer
        without waiting, neither other servers nor ``compute`` are asked.

        Raises:
            Exception: what ``compute`` raised.
        """
        digest = digest or digest_of(request)
        here = (caller, request.collection, version, digest)
        found = self.cache.kept(here)
        if found is not None:
            return found
        if (found := at_once()) is not None:
            self.cache.put(here, found)
            return found

        async def share() -> Found:
            key = _shared_key(caller, request.collection, version, digest)
            since = self._copies.erasures
            (shared,) = await self._copies.get("result", [key])
            found = None if shared is None else _decoded(shared)
            if found is None:
                found = await compute()
                lifetime = min(self._ttl, found.lifetime())
                if lifetime > 0:
                    await self._copies.put("result", {key: _encoded(found)}, lifetime, since=since)
            return found

        return await self.cache.get_or_compute(here, share)


def _shared_key(caller: Caller, collection: str, version: int, digest: bytes) -> bytes:
    """Of this version of the server alone: while servers are renewed, each answers its own way."""
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
