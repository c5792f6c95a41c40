"""Reads that wait for a disk are tried less and less often."""

from collections.abc import Iterator

import pytest
from agentmem_server.storage.sqlite.disk_waits import SLOW, DiskWaits, disk_reads

QUICK, LONG = SLOW / 10, SLOW * 10


class Disk:
    """A clock, and how often a disk was waited for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reads: int | None = 7

    def waits(self) -> DiskWaits:
        return DiskWaits(lambda: self.now, lambda: self.reads)

    def slow(self, waits: DiskWaits) -> float:
        """The pause after a read that waited."""
        if self.reads is not None:
            self.reads += 1
        waits.took(LONG)
        before = self.now
        while not waits.are_over():
            self.now += 0.01
        return self.now - before


@pytest.mark.parametrize("known", [True, False])
def test_pauses_grow_while_reads_wait(known: bool) -> None:
    disk = Disk()
    disk.reads = 7 if known else None
    waits = disk.waits()
    assert waits.are_over()
    pauses = [disk.slow(waits) for _ in range(14)]
    assert pauses[0] == pytest.approx(0.1, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(60, abs=0.1)


def test_quick_reads_calm_down() -> None:
    disk = Disk()
    waits = disk.waits()
    for _ in range(8):
        disk.slow(waits)
    for _ in range(10):
        waits.took(QUICK)
    assert disk.slow(waits) > 20
    for _ in range(10_000):
        waits.took(QUICK)
    assert disk.slow(waits) == pytest.approx(0.1, abs=0.02)


def test_who_was_only_kept_from_running_may_go_on() -> None:
    disk = Disk()
    waits = disk.waits()
    waits.took(LONG)
    assert waits.are_over()
    disk.slow(waits)
    waits.took(LONG)
    assert waits.are_over()


def test_a_sample_is_read_up_to_what_waits() -> None:
    disk = Disk()
    waits = disk.waits()
    read: list[int] = []

    def sample(slow: int) -> Iterator[int]:
        for number in range(16):
            if number == slow and disk.reads is not None:
                disk.now += 0.01
                disk.reads += 1
            read.append(number)
            yield number

    assert not waits.meet(sample(slow=99))
    assert waits.are_over()
    assert waits.meet(sample(slow=3))
    assert not waits.are_over()
    assert read == [*range(16), *range(4)]


def test_the_system_says_how_often_a_thread_waited() -> None:
    before = disk_reads()
    after = disk_reads()
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert 0 <= before <= after
