"""Moving windows for the library ``limits``: who asked when, in this process's memory."""

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from limits.aio.storage import Storage

_FORGOTTEN_AT_ONCE = 2


@dataclass(slots=True)
class _Window:
    length: float
    times: list[float] = field(default_factory=list)


class Windows(Storage):  # `MovingWindowSupport` wraps each method, at more than its own cost
    """What the library's moving window needs.

    Its own storage for that gives each window to a thread, again and again, to find what is over:
    ten times the cost of this. Here a window is forgotten when others come after its last event is
    over, and before that where there would be more than ``max_windows``: then the one that was used
    the longest time ago.

    Times are those of ``clock``, which never go back, and so are the library's reset times.
    """

    STORAGE_SCHEME = None

    def __init__(
        self, max_windows: int = 50_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.clock = clock
        self._max_windows = max_windows
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take so many of the window's free places; False, and nothing taken, where too few are."""
        now = self.clock()
        window = self._windows.get(key)
        if window is None:
            self._make_room(now)
            window = self._windows[key] = _Window(expiry)
        else:
            self._windows.move_to_end(key)
        times = window.times
        over = bisect_right(times, now - expiry)
        if len(times) - over + amount > limit:
            return False
        if 2 * over >= len(times):  # not each time, which would move all the rest each time
            del times[:over]
        times.extend([now] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest event in the window was, and how many there are."""
        now = self.clock()
        window = self._windows.get(key)
        if window is None:
            return now, 0
        first = bisect_right(window.times, now - expiry)
        taken = len(window.times) - first
        return (window.times[first], taken) if taken else (now, 0)

    def _make_room(self, now: float) -> None:
        """Before one more window: forget old ones that are over, faster than new ones come."""
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not self._windows:
                return
            oldest = next(iter(self._windows.values()))
            if oldest.times and oldest.times[-1] > now - oldest.length:
                break
            self._windows.popitem(last=False)
        if len(self._windows) >= self._max_windows:
            self._windows.popitem(last=False)

    async def clear(self, key: str) -> None:
        """Forget a window."""
        self._windows.pop(key, None)

    async def reset(self) -> int | None:
        """Forget all windows; answers how many."""
        count = len(self._windows)
        self._windows.clear()
        return count

    async def check(self) -> bool:
        """Whether it works."""
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        """What it can raise."""
        return ValueError

    # Of other strategies, which count in other ways.

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Not here."""
        raise NotImplementedError

    async def get(self, key: str) -> int:
        """Not here."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """Not here."""
        raise NotImplementedError
