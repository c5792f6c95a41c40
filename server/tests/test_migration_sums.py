"""Sums of a migration: whatever differs makes them differ, and nothing else does."""

from collections.abc import Sequence
from typing import Any

import pytest
from agentmem_server.transfer.migration.sums import (
    COUNTERS,
    Group,
    Summing,
    Sums,
    checksum,
    differing,
    total,
)

NOTES, OTHERS = Group("memories", 1), Group("memories", 2)


def sums_of(rows: dict[Group, list[Sequence[Any]]], tags: int = 3) -> Sums:
    sums = Summing()
    sums.add(COUNTERS, (1, 2, 3))
    for group, found in rows.items():
        for row in found:
            sums.add(group, row)
    sums.add_count(Group("values of metadata", 1), tags)
    return sums.result()


FIRST: list[Sequence[Any]] = [(1, "a", b"xy", b"z", None, 0.0), (2, "", b"", b"", None, 1.5)]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        FIRST[:1],
        FIRST[::-1],
        [(1, "a", b"x", b"yz", None, 0.0), FIRST[1]],
        [(1, "a", b"xz", b"y", None, 0.0), FIRST[1]],
        [(1, "a", b"xy", b"z", None, -0.0), FIRST[1]],
        [(1, "a", b"xy", b"z", "None", 0.0), FIRST[1]],
        [(1, "a", b"xy", None, None, 0.0), FIRST[1]],
        [FIRST[0], (2, "", None, b"", None, 1.5)],
        [FIRST[0], (2, "", b"", b"", None, 1.5000000000000002)],
    ],
)
def test_what_differs(rows: list[Sequence[Any]]) -> None:
    one, other = sums_of({NOTES: FIRST, OTHERS: FIRST}), sums_of({NOTES: rows, OTHERS: FIRST})
    assert differing(one, other) == differing(other, one) == [NOTES]
    assert checksum(one) != checksum(other)


def test_the_order_between_collections_is_nothing() -> None:
    one, other = Summing(), Summing()
    places = [(NOTES, FIRST[0]), (OTHERS, FIRST[0]), (NOTES, FIRST[1]), (OTHERS, FIRST[1])]
    for sums, order in ((one, (0, 1, 2, 3)), (other, (1, 3, 0, 2))):
        for place in order:
            sums.add(*places[place])
    assert differing(one.result(), other.result()) == []
    assert checksum(one.result()) == checksum(other.result())


def test_counts() -> None:
    one = sums_of({NOTES: FIRST, OTHERS: FIRST})
    assert total(one) == {"memories": 4, "values of metadata": 3}
    assert differing(one, sums_of({NOTES: FIRST, OTHERS: FIRST}, tags=4)) == [
        Group("values of metadata", 1)
    ]
