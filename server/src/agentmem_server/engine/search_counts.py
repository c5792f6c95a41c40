"""Counts of searches and of the time they took, by tenant, user and agent."""

import math
from array import array
from bisect import bisect_left
from itertools import accumulate

from cachetools import LRUCache

MAX_SCOPES = 10_000
"""Users and agents counted, of all tenants; those least recently searched for make room."""

_TOGETHER = 64
"""Searches that are counted together: one after the other each takes a third of what it would
between all that is done for a request."""
_FIRST = 1e-5
"""Seconds where the first bucket begins."""
_GROWTH = 1.2
"""Each bucket's end over its beginning: its middle is within a tenth of all that is in it."""
_BUCKETS = 90
"""Up to two minutes; what takes longer is in the last one."""


class Tally:
    """How many searches there were, and how long they took."""

    __slots__ = ("_buckets", "cached", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.cached = 0
        self.seconds = 0.0
        self._buckets = array("Q", bytes(8 * _BUCKETS))

    def add(self, seconds: float, *, is_cached: bool) -> None:
        """One more search."""
        self.count += 1
        self.cached += is_cached
        self.seconds += seconds
        self._buckets[_bucket(seconds)] += 1

    def quantile(self, part: float) -> float | None:
        """The seconds in which this part of the searches was answered, within a tenth of it.

        None where there was none.
        """
        wanted = math.ceil(part * self.count)
        if not wanted:
            return None
        # Where the running count first reaches what is wanted.
        bucket = bisect_left(list(accumulate(self._buckets)), wanted)
        return float(_FIRST * _GROWTH ** (bucket + 0.5))


class SearchCounts:
    """Tallies of searches, by whose they were and whom they were about, in bounded memory."""

    def __init__(self, max_scopes: int = MAX_SCOPES) -> None:
        self._tenants: LRUCache[str, Tally] = LRUCache(max_scopes)
        self._scopes: LRUCache[tuple[str, str | None, str | None], Tally] = LRUCache(max_scopes)
        self._new: list[tuple[str, str | None, str | None, float, bool]] = []

    def add(
        self,
        tenant: str,
        user_id: str | None,
        agent_id: str | None,
        seconds: float,
        *,
        is_cached: bool,
    ) -> None:
        """A search was answered, of this scope."""
        self._new.append((tenant, user_id, agent_id, seconds, is_cached))
        if len(self._new) == _TOGETHER:
            self._count()

    def _count(self) -> None:
        for tenant, user_id, agent_id, seconds, is_cached in self._new:
            whole = self._tenants.get(tenant)
            if whole is None:
                whole = self._tenants[tenant] = Tally()
            whole.add(seconds, is_cached=is_cached)
            if user_id is not None:
                self._scope(tenant, user_id, None).add(seconds, is_cached=is_cached)
            if agent_id is not None:
                self._scope(tenant, None, agent_id).add(seconds, is_cached=is_cached)
            if user_id is not None and agent_id is not None:
                self._scope(tenant, user_id, agent_id).add(seconds, is_cached=is_cached)
        self._new.clear()

    def of(self, tenant: str, user_id: str | None = None, agent_id: str | None = None) -> Tally:
        """The searches of a tenant, or of those the ones for a user, for an agent, for both."""
        self._count()
        if user_id is None and agent_id is None:
            return self._tenants.get(tenant) or Tally()
        return self._scopes.get((tenant, user_id, agent_id)) or Tally()

    def forget(self, tenant: str, user_id: str) -> None:
        """Drop what was counted for a user; the tenant's searches stay as many as they were."""
        self._count()
        for key in [key for key in self._scopes if key[:2] == (tenant, user_id)]:
            del self._scopes[key]

    def _scope(self, tenant: str, user_id: str | None, agent_id: str | None) -> Tally:
        key = (tenant, user_id, agent_id)
        tally = self._scopes.get(key)
        if tally is None:
            tally = self._scopes[key] = Tally()
        return tally


def _bucket(seconds: float) -> int:
    if seconds <= _FIRST:
        return 0
    return min(int(math.log(seconds / _FIRST, _GROWTH)), _BUCKETS - 1)
