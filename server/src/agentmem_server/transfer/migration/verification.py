"""Whether both databases hold the same: each is read through, row by row, in the same order."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import astuple

from ...storage.postgres.connections import Connection
from ...storage.postgres.inserts import EVENT, IMAGE, MEMORY
from ...storage.postgres.rows import snapshot
from ...storage.postgres.vectors import as_given
from .chunks import vector_rows
from .source import API_KEY, COLLECTION, JOB, Numbers, Row, Source
from .sums import COUNTERS, Group, Summing

_FETCHED = 50
"""Rows that are in memory at once; each may be as large as a request."""

_PLACES = tuple(list(columns).index("cid") for columns in (MEMORY, EVENT, IMAGE))
_OF_MEMORY, _OF_EVENT, _OF_IMAGE = _PLACES
"""Where a row has the key of its collection."""


def _plain(columns: Iterable[str]) -> str:
    """Columns as the source has them: a boolean is a number there."""
    return ", ".join(f"{name}::integer" if name == "archived" else name for name in columns)


_VECTORS = """
SELECT v.cid, v.rid, m.rid IS NULL, v.data, v.given
FROM embedding v LEFT JOIN memory m USING (cid, rid) ORDER BY v.cid, v.rid, v.place
"""

_NUMBERS = """
SELECT cid, rid, eid, forgotten, CASE WHEN is_called THEN last_value ELSE 0 END
FROM clock, job_seq_seq
"""


def sum_source(source: Source, sums: Summing) -> Iterator[None]:
    """Sum up a file; it stops after each row."""
    _add_small(sums, source.numbers, source.collections.values(), source.keys)
    for row in source.jobs():
        sums.add(Group("jobs"), row)
    for row, given, _ in source.memories():
        cid, rid = row[_OF_MEMORY], row[_OF_MEMORY + 1]
        sums.add(Group("memories", cid), row)
        if given is not None:
            _add_vectors(sums, source, cid, rid, given, is_left=False)
        yield
    for cid, rid, given in source.left_vectors():
        _add_vectors(sums, source, cid, rid, given, is_left=True)
        yield
    for event, image in source.events():
        sums.add(Group("events", event[_OF_EVENT]), event)
        if image is not None:
            sums.add(Group("earlier states", image[_OF_IMAGE]), image)
        yield
    for cid, tags in source.count_tags():
        sums.add_count(Group("values of metadata", cid), tags)


async def sum_target(connection: Connection, sums: Summing, on_row: Callable[[], object]) -> None:
    """Sum up a schema, in one state of it."""
    async with snapshot(connection):
        numbers = await connection.fetchrow(_NUMBERS)
        assert numbers is not None
        collections = f"SELECT {', '.join(COLLECTION)} FROM collection ORDER BY cid"
        keys = f"SELECT {', '.join(API_KEY)} FROM api_key ORDER BY id"
        _add_small(
            sums,
            Numbers(*numbers),
            [tuple(one) for one in await connection.fetch(collections)],
            [tuple(one) for one in await connection.fetch(keys)],
        )
        async for row in _read(connection, f"SELECT {', '.join(JOB)} FROM job ORDER BY seq"):
            sums.add(Group("jobs"), row)
        memories = f"SELECT {_plain(MEMORY)} FROM memory ORDER BY cid, rid"
        async for row in _read(connection, memories):
            sums.add(Group("memories", row[_OF_MEMORY]), row)
            on_row()
        async for cid, is_left, vectors in _vectors(connection):
            sums.add(_vector_group(cid, is_left=is_left), vectors)
            if is_left:
                on_row()
        async for row in _read(connection, f"SELECT {_plain(EVENT)} FROM event ORDER BY eid"):
            sums.add(Group("events", row[_OF_EVENT]), row)
            on_row()
        async for row in _read(connection, f"SELECT {_plain(IMAGE)} FROM image ORDER BY eid"):
            sums.add(Group("earlier states", row[_OF_IMAGE]), row)
        for cid, tags in await connection.fetch("SELECT cid, count(*) FROM tag GROUP BY cid"):
            sums.add_count(Group("values of metadata", cid), tags)


def _add_small(
    sums: Summing, numbers: Numbers, collections: Iterable[Row], keys: Iterable[Row]
) -> None:
    sums.add(COUNTERS, astuple(numbers))
    for row in collections:
        sums.add(Group("collections", row[0]), row)
    for row in keys:
        sums.add(Group("API keys"), row)


def _add_vectors(
    sums: Summing, source: Source, cid: int, rid: int, given: bytes, *, is_left: bool
) -> None:
    compared = [data for *_, data, _ in vector_rows(source, cid, rid, given)]
    sums.add(_vector_group(cid, is_left=is_left), (rid, given, *compared))


def _vector_group(cid: int, *, is_left: bool) -> Group:
    return Group("vectors of deleted memories" if is_left else "vectors", cid)


async def _vectors(connection: Connection) -> AsyncGenerator[tuple[int, bool, Row]]:
    """Of each row that has vectors: its collection, whether its memory is deleted, and a row.

    That is the row id, the vectors as they were given, and as they are compared.
    """
    at: tuple[int, int, bool] | None = None
    data: list[bytes] = []
    given: list[bytes | None] = []
    async for cid, rid, is_left, one, whole in _read(connection, _VECTORS):
        if at is not None and at[:2] != (cid, rid):
            yield at[0], at[2], (at[1], as_given(data, given), *data)
            data, given = [], []
        at = (cid, rid, is_left)
        data.append(one)
        given.append(whole)
    if at is not None:
        yield at[0], at[2], (at[1], as_given(data, given), *data)


async def _read(connection: Connection, sql: str) -> AsyncGenerator[Row]:
    async for row in connection.cursor(sql, prefetch=_FETCHED):
        yield tuple(row)
