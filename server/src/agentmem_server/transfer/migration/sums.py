"""Counts and checksums of two databases that are to hold the same."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias


class Group(NamedTuple):
    """Rows that are summed up together: some of a collection, by its key; or of no collection."""

    what: str
    cid: int | None = None


COUNTERS = Group("counters")
"""The last numbers that were given away, which are always there."""


class Sum(NamedTuple):
    """How many rows, and a digest of them in their order."""

    rows: int
    digest: str


Sums: TypeAlias = Mapping[Group, Sum]


class Summing:
    """Sums up rows as they pass; each group's must come in the same order on both sides.

    A column is of one type, on both sides the same.
    """

    def __init__(self) -> None:
        self._rows: dict[Group, int] = {}
        self._digests: dict[Group, Any] = {}

    def add(self, group: Group, row: Sequence[Any]) -> None:
        """One row."""
        digest = self._digests.get(group)
        if digest is None:
            digest = self._digests[group] = blake2b(digest_size=16)
        self._rows[group] = self._rows.get(group, 0) + 1
        plain = [len(value) if isinstance(value, bytes) else value for value in row]
        digest.update(repr(plain).encode())
        for value in row:
            if isinstance(value, bytes):
                digest.update(value)

    def add_count(self, group: Group, rows: int) -> None:
        """So many rows of which nothing but their number is compared."""
        self._rows[group] = rows

    def result(self) -> Sums:
        """What has passed."""
        digests = {group: digest.hexdigest() for group, digest in self._digests.items()}
        return {group: Sum(rows, digests.get(group, "")) for group, rows in self._rows.items()}


def total(sums: Sums) -> dict[str, int]:
    """How many rows of each kind there are, counters aside."""
    rows: dict[str, int] = {}
    for group, one in sums.items():
        rows[group.what] = rows.get(group.what, 0) + one.rows
    del rows[COUNTERS.what]
    return rows


def checksum(sums: Sums) -> str:
    """One for all."""
    digest = blake2b(digest_size=16)
    for group in sorted(sums, key=repr):
        digest.update(repr((*group, *sums[group])).encode())
    return digest.hexdigest()


def differing(one: Sums, other: Sums) -> list[Group]:
    """The groups that are not the same."""
    return sorted(
        (group for group in {**one, **other} if one.get(group) != other.get(group)), key=repr
    )
