"""Whether reads wait for a disk, told to those who must not wait."""

import sys
import time
from collections.abc import Callable, Iterable

if sys.platform == "linux":
    import resource

SLOW = 0.005
"""Seconds, up to which a read is quick wherever it came from."""
_ONE = 0.0002
"""Seconds, up to which reading a single number is quick."""
_PAUSE = 0.1
_LONGEST_PAUSE = 60.0
_CALMING = 0.999
"""What a quick read leaves of the next pause: half of it after 700."""


def disk_reads() -> int | None:
    """How often this thread has waited for a disk; None where the system doesn't say."""
    if sys.platform != "linux":
        return None
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_majflt + used.ru_inblock


class DiskWaits:
    """Says when to try to read what may be in memory or not.

    A read that was slow, and for the disk as far as one knows, is followed by a pause, each time by
    one of twice the length: of many such reads few are tried. One that was only kept from running
    is not.

    Args:
        clock: seconds that never go back.
        reads: how often this thread has waited for a disk, or None.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        reads: Callable[[], int | None] = disk_reads,
    ) -> None:
        self._clock = clock
        self._reads = reads
        self._known = reads()
        self._next_try = 0.0
        self._pause = _PAUSE

    def are_over(self) -> bool:
        """Whether to try."""
        return self._clock() >= self._next_try

    def meet(self, sample: Iterable[object]) -> bool:
        """Whether reading some of what a try needs waits, one after the other up to the first."""
        before, started = self._reads(), self._clock()
        for _ in sample:
            read = self._clock()
            if read - started > _ONE:
                break
            started = read
        self._known = self._reads()
        if self._known == before:
            return False
        self._rest()
        return True

    def took(self, seconds: float) -> None:
        """A try took so long."""
        if seconds <= SLOW:
            self._pause = max(_PAUSE, _CALMING * self._pause)
            return
        before, self._known = self._known, self._reads()
        if self._known is None or self._known != before:
            self._rest()

    def _rest(self) -> None:
        self._next_try = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
