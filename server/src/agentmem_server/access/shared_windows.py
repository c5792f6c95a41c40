"""Moving windows that several servers count in together, and each alone while they can't."""

import time
from collections.abc import Callable

from ..sharing import Counters
from .windows import Windows


class SharedWindows(Windows):
    """Counts in shared windows; in this server's own where those can't be asked.

    What the shared ones let through is noted in the own ones too, so that a limit goes on from
    there when they are lost. Times are those of ``clock``, wherever they come from.
    """

    STORAGE_SCHEME = None

    def __init__(
        self,
        counters: Counters,
        max_windows: int = 50_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_windows, clock)
        self._counters = counters

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take so many of the window's free places; False, and nothing taken, where too few are."""
        is_allowed = await self._counters.acquire(key, limit, expiry, amount)
        if is_allowed is False:
            return False
        is_allowed_here = await super().acquire_entry(key, limit, expiry, amount)
        return is_allowed_here if is_allowed is None else True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest event in the window was, and how many there are."""
        found = await self._counters.window(key, limit, expiry)
        if found is None:
            return await super().get_moving_window(key, limit, expiry)
        age, taken = found
        return self.clock() - age, taken
