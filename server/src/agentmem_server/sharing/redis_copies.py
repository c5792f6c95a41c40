"""Copies in Redis: each under a digest of its key, and together with a digest of itself."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import cast

from redis.asyncio import Redis

from . import Kind
from .link import Link

_AT_ONCE = 100
"""Copies that one operation asks for or writes."""
_SCANNED_AT_ONCE = 1_000
_SEAL = 16
"""Bytes of the digest before each value."""


class RedisCopies:
    """The `Copies` in a Redis.

    A value counts only under the key that it was put under and as it was put: what others wrote
    there, or what was answered to another question, is not found.

    Args:
        link: the way to it.
        client: what speaks to it.
        prefix: of all keys of the store.
        wake: called when there is something to do that nobody waits for, which is `settle`.
    """

    def __init__(self, link: Link, client: Redis, prefix: str, wake: Callable[[], None]) -> None:
        self.erasures = 0
        self._link = link
        self._client = client
        self._prefix = f"{prefix}copy:"
        self._wake = wake
        self._owes_sweep = False
        self._sweeping = asyncio.Lock()

    async def get(self, kind: Kind, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where it isn't kept."""
        names = [self._name(kind, key) for key in keys]
        found: list[bytes | None] = []
        for start in range(0, len(names), _AT_ONCE):
            asked = names[start : start + _AT_ONCE]
            answer = await self._link.ask(kind, partial(self._read, asked))
            found += answer or [None] * len(asked)
        values = [
            None if sealed is None else self._unsealed(kind, name, sealed)
            for name, sealed in zip(names, found, strict=True)
        ]
        tally = self._link.tallies[kind]
        hits = sum(value is not None for value in values)
        tally.hits += hits
        tally.misses += len(values) - hits
        return values

    async def put(
        self, kind: Kind, values: Mapping[bytes, bytes], ttl: float, *, since: int
    ) -> None:
        """Keep values for so many seconds, unless something was erased meanwhile."""
        milliseconds = int(ttl * 1_000)
        if milliseconds <= 0:
            return
        items = [(self._name(kind, key), value) for key, value in values.items()]
        for start in range(0, len(items), _AT_ONCE):
            if self.erasures != since:
                break
            some = items[start : start + _AT_ONCE]
            if not await self._link.ask(kind, partial(self._write, some, milliseconds)):
                break
        if self.erasures != since:  # while it was written
            self._owes_sweep = True
            self._wake()

    async def forget(self) -> None:
        """Let go of all that is kept of the store: now, or when Redis is back."""
        self.erasures += 1
        self._owes_sweep = True
        await self.settle()

    def forget_soon(self) -> None:
        """The same, without waiting for it."""
        self.erasures += 1
        self._owes_sweep = True
        self._wake()

    async def settle(self) -> None:
        """Remove what is to be forgotten, where that is owed still and can be done."""
        async with self._sweeping:
            if not self._owes_sweep:
                return  # who went before began after it was owed
            self._owes_sweep = False
            is_done = False
            try:
                is_done = await self._sweep()
            finally:
                self._owes_sweep = self._owes_sweep or not is_done

    async def rehearse(self) -> None:
        """Do in small what the others do.

        Raises:
            RedisError: Redis can't be used.
        """
        await self._write([(f"{self._prefix}probe", b"")], 10_000)
        await self._read([f"{self._prefix}probe"])

    async def _read(self, names: list[str]) -> list[bytes | None]:
        return cast("list[bytes | None]", await self._client.mget(names))

    async def _write(self, items: Sequence[tuple[str, bytes]], milliseconds: int) -> bool:
        pipeline = self._client.pipeline(transaction=False)
        for name, value in items:
            pipeline.set(name, _seal(name, value) + value, px=milliseconds)
        await pipeline.execute()
        return True

    async def _sweep(self) -> bool:
        pattern = re.sub(r"([*?\[\]^\\-])", r"\\\1", self._prefix) + "*"
        cursor: int | None = None
        while cursor != 0:
            step = partial(self._sweep_some, cursor or 0, pattern)
            cursor = await self._link.ask("erasure", step)
            if cursor is None:
                return False
        return True

    async def _sweep_some(self, cursor: int, pattern: str) -> int:
        answer = await self._client.scan(cursor, match=pattern, count=_SCANNED_AT_ONCE)
        following, names = answer
        if names:
            await self._client.unlink(*names)
        return int(following)

    def _name(self, kind: Kind, key: bytes) -> str:
        return f"{self._prefix}{kind}:{blake2b(key, digest_size=32).hexdigest()}"

    def _unsealed(self, kind: Kind, name: str, sealed: bytes) -> bytes | None:
        value = sealed[_SEAL:]
        if sealed[:_SEAL] == _seal(name, value):
            return value
        self._link.tallies[kind].failures += 1
        return None


def _seal(name: str, value: bytes) -> bytes:
    key = blake2b(name.encode(), digest_size=32).digest()
    return blake2b(value, digest_size=_SEAL, key=key).digest()
