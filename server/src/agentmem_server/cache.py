"""A cache in this process's memory: bounded (LRU), fresh (TTL), and computing nothing twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from cachetools import TLRUCache

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Keeps computed values; requests for a value that is being computed wait for that one.

    A computation belongs to no caller: it runs to its end even if all that wait are cancelled.
    One that fails fails those that wait for it, and the next request computes anew.

    Args:
        max_entries: the most values kept; the least recently used make room. 0 keeps none.
        ttl: the most seconds that a value is kept.
        lifetime: the seconds for which this value holds, where that may be less than `ttl`;
            at 0 or less it is not kept.
        clock: seconds that never go back.

    Attributes:
        hits: requests that were answered by a kept value or joined a computation under way.
        misses: requests that started a computation.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        ttl: float,
        lifetime: Callable[[Value], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._ttl = ttl
        self._lifetime = lifetime
        self._max_entries = max_entries
        self._entries: TLRUCache[Hashable, Value, float] = TLRUCache(
            max_entries, self._expiry, clock
        )
        self._cleared = 0
        # Of each key that is being computed: by which task, and where in its outcomes.
        self._flights: dict[Hashable, tuple[asyncio.Task[Sequence[Value | Exception]], int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Let go of all that is kept; computations under way are answered and not kept."""
        self._entries.clear()
        self._cleared += 1

    async def get_or_compute(self, key: Hashable, compute: Callable[[], Awaitable[Value]]) -> Value:
        """The value of `key`: the kept one, or what `compute` returns.

        Raises:
            Exception: what `compute` raised.
        """
        if key not in self._flights:
            value = self.kept(key)
            if value is not None:
                return value

            async def compute_one(_: list[int]) -> Sequence[Value | Exception]:
                return [await compute()]

            self._start([key], [0], compute_one)
        else:
            self.hits += 1
        task, index = self._flights[key]
        # Unlike awaiting a task, this doesn't cancel it with this request.
        outcome = (await asyncio.shield(task))[index]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def get_or_compute_many(
        self,
        keys: Sequence[Hashable],
        compute: Callable[[list[int]], Awaitable[Sequence[Value | Exception]]],
    ) -> list[Value | Exception]:
        """The outcome for each of `keys`, in order: its value, or the Exception it failed with.

        Args:
            keys: what is asked for; equal ones are computed once.
            compute: called at most once, with the positions in `keys` that are neither kept nor
                being computed; returns their outcomes in order. What it raises is the outcome of
                each.
        """
        outcomes: dict[Hashable, Value | Exception] = {}
        new: dict[Hashable, int] = {}
        for position, key in enumerate(keys):
            if key in self._flights:
                continue
            try:
                outcomes[key] = self._entries[key]
            except KeyError:
                new[key] = position
        self.hits += len(keys) - len(new)
        if new:
            self._start(list(new), list(new.values()), compute)
        flights = {key: self._flights[key] for key in keys if key not in outcomes}
        if flights:
            await asyncio.wait({task for task, _ in flights.values()})  # as `shield`
        for key, (task, index) in flights.items():
            outcomes[key] = task.result()[index]
        return [outcomes[key] for key in keys]

    def _start(
        self,
        keys: list[Hashable],
        positions: list[int],
        compute: Callable[[list[int]], Awaitable[Sequence[Value | Exception]]],
    ) -> None:
        self.misses += len(keys)
        task = asyncio.create_task(self._compute(keys, positions, compute))
        for index, key in enumerate(keys):
            self._flights[key] = task, index

    async def _compute(
        self,
        keys: list[Hashable],
        positions: list[int],
        compute: Callable[[list[int]], Awaitable[Sequence[Value | Exception]]],
    ) -> Sequence[Value | Exception]:
        cleared = self._cleared
        try:
            outcomes = await compute(positions)
            if len(outcomes) != len(keys):
                raise RuntimeError(f"{len(keys)} keys were computed to {len(outcomes)} outcomes")
        except Exception as error:  # each request that waits has it as its outcome
            return [error] * len(keys)
        finally:
            for key in keys:
                del self._flights[key]
        if self._max_entries > 0 and cleared == self._cleared:
            for key, outcome in zip(keys, outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    self._entries[key] = outcome
        return outcomes

    def kept(self, key: Hashable) -> Value | None:
        """The value of `key` where it is kept: quicker than `get_or_compute`, which computes it."""
        try:
            value = self._entries[key]
        except KeyError:
            return None
        self.hits += 1
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value that `kept` did not find, and that was computed without waiting."""
        self.misses += 1
        if self._max_entries > 0:
            self._entries[key] = value

    def _expiry(self, _key: Hashable, value: Value, now: float) -> float:
        if self._lifetime is None:
            return now + self._ttl
        return now + min(self._ttl, self._lifetime(value))
