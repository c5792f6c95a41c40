"""The way of everything from a file to a schema, at whatever point it begins."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from agentmem_client.errors import InvalidRequest, shown

from ...storage.postgres.connections import Address
from ...storage.postgres.vectors import check_dimension
from .chunks import Kind, chunks
from .source import COLLECTION, Source
from .sums import Group, Summing, Sums, differing
from .target import State, Target, open_target
from .verification import sum_source, sum_target

T = TypeVar("T")

_SLICE = 500
"""Rows that are summed up at once, between which it can be interrupted."""
_MOST_DIFFERENCES = 10
"""How many are told one by one."""
_DIMENSION, _NAME, _TENANT = (COLLECTION.index(one) for one in ("dimension", "name", "tenant"))


class Progress(Protocol):
    """Is told how far it is."""

    def begin(self, doing: str, total: int, done: int) -> None:
        """Something of so many rows or steps begins, so many of them are done."""

    def advance(self, rows: int = 1) -> None:
        """So many more are done."""


@dataclass(frozen=True)
class Migrated:
    """What a migration came to.

    Attributes:
        state: how far it is: finished.
        was_finished: it was before.
        sums: what was compared, on both sides the same; None where it was not.
    """

    state: State
    was_finished: bool
    sums: Sums | None


class Different(Exception):
    """Both sides don't hold the same.

    Attributes:
        differences: where, a line each.
    """

    def __init__(self, differences: list[str]) -> None:
        super().__init__(*differences)
        self.differences = differences


async def migrate(source: Source, address: Address, progress: Progress) -> Migrated:
    """Move everything, or what is still to be moved, and compare both sides.

    What is finished is compared alone, as long as no server has written to it.

    Raises:
        InvalidRequest: the source holds what PostgreSQL can't; nothing has changed.
        Conflict: the schema holds something else, or somebody else writes to it.
        Unavailable: it can't be opened, read or written; what was moved stays.
        Different: both sides don't hold the same; the migration is not finished.
    """
    _check_dimensions(source)
    async with open_target(address) as target:
        state = await target.begin(source)
        if state.finished_at is not None:
            if not await target.is_untouched(state):
                return Migrated(state, True, None)
            sums = await _compare(source, target, progress)
            return Migrated(state, True, sums)
        await _move(source, target, state, progress)
        await _index(target, progress)
        sums = await _compare(source, target, progress)
        state = await target.finish(state)
        return Migrated(state, False, sums)


def _check_dimensions(source: Source) -> None:
    for row in source.collections.values():
        try:
            check_dimension(row[_DIMENSION])
        except InvalidRequest as error:
            raise InvalidRequest(
                f"the collection {shown(row[_NAME])} of the tenant {shown(row[_TENANT])} can't be "
                f"moved: {error}"
            ) from None


async def _move(source: Source, target: Target, state: State, progress: Progress) -> None:
    rows = _rows(source)
    progress.begin("moving", rows, rows - _rows(source, state.positions))
    async with aclosing(_read_ahead(chunks(source, state.positions))) as made:
        async for chunk in made:
            await target.add(chunk, state)
            progress.advance(chunk.count)


async def _index(target: Target, progress: Progress) -> None:
    steps = (target.index, target.analyze)
    progress.begin("indexing", len(steps), 0)
    for step in steps:
        await step()
        progress.advance()


async def _read_ahead(made: Iterator[T]) -> AsyncGenerator[T]:
    """What an iterator makes, each next one in a thread while one is used."""
    reading = asyncio.create_task(asyncio.to_thread(next, made, None))
    try:
        # Shielded: a thread can't be stopped, and must not read what has been closed meanwhile.
        while (one := await asyncio.shield(reading)) is not None:
            reading = asyncio.create_task(asyncio.to_thread(next, made, None))
            yield one
    finally:
        await asyncio.wait([reading])


def _rows(source: Source, after: dict[Kind, int] | None = None) -> int:
    """How many rows there are to move after positions; as many as are read to compare."""
    positions = after or {}
    return (
        source.count_memories(positions.get("memory", 0))
        + source.count_left_vectors(positions.get("vector", 0))
        + source.count_events(positions.get("event", 0))
    )


async def _compare(source: Source, target: Target, progress: Progress) -> Sums:
    progress.begin("comparing", 2 * _rows(source), 0)
    ours, theirs = Summing(), Summing()
    async with aclosing(_read_ahead(_slices(sum_source(source, ours)))) as slices:
        async for rows in slices:
            progress.advance(rows)
    await sum_target(target.connection, theirs, progress.advance)
    here, there = ours.result(), theirs.result()
    groups = differing(here, there)
    if groups:
        lines = [_difference(source, one, here, there) for one in groups[:_MOST_DIFFERENCES]]
        if len(groups) > _MOST_DIFFERENCES:
            lines.append(f"and {len(groups) - _MOST_DIFFERENCES} more that differ")
        raise Different(lines)
    return here


def _slices(rows: Iterator[None]) -> Iterator[int]:
    while taken := sum(1 for _ in islice(rows, _SLICE)):
        yield taken


def _difference(source: Source, group: Group, here: Sums, there: Sums) -> str:
    ours, theirs = (sums[group].rows if group in sums else 0 for sums in (here, there))
    found = f"{ours} in the file, {theirs} in the database"
    if ours == theirs:
        found = f"{ours} on both sides, but not the same"
    return f"{_place(source, group)}: {group.what}: {found}"


def _place(source: Source, group: Group) -> str:
    if group.cid is None:
        return "in no collection"
    row = source.collections.get(group.cid)
    if row is None:
        return f"in a collection that is deleted (the {group.cid}.)"
    return f"in the collection {shown(row[_NAME])} of the tenant {shown(row[_TENANT])}"
