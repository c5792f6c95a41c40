"""Rows of the file's tables: read singly, and in one state of the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw
import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import Collection, Record, Selection, memory_rows
from ..memory_rows import COLUMNS, to_record
from ..sql import Dialect, Sql, like


def _ids(ids: Sequence[str]) -> Sql:
    # As one value: a filter beside them may need as many marks as SQLite has.
    return Sql("m.id IN (SELECT value FROM json_each(?))", (to_json(list(ids)).decode(),))


def _glob(pattern: str) -> str:
    return like(pattern, wild={"%": "*", "_": "?"}, special={one: f"[{one}]" for one in "*?["})


SQLITE = Dialect(
    # It takes any of the indexes for as good: a user's memories were looked for among an agent's.
    aside=lambda column: f"+{column}",
    seq="m.rid",
    contains=lambda expression: f"instr({expression}, ?) > 0",
    matches=lambda expression: f"{expression} GLOB ?",
    pattern=_glob,
    lower=lambda expression: f"agentmem_lower({expression})",
    ids=_ids,
    begins=lambda _column, _text: None,
    filtered=lambda condition: condition,
    path=lambda path: path,
    value=lambda value: value,
)


def condition(collection: Collection, selection: Selection, now: int) -> Sql:
    """The SQL condition for the living rows of a collection that a selection means."""
    return memory_rows.condition(collection, selection, now, SQLITE)


def ids(
    connection: apsw.Connection, collection: Collection, selection: Selection, now: int | None
) -> NDArray[np.int64]:
    """The row ids that a selection means.

    Of rows that live at a time; without one, of those that have expired too.
    """
    meant = memory_rows.condition(collection, selection, None, SQLITE)
    living, parameters = "", meant.parameters
    if now is not None:
        # What has expired is told by its own index: one of a scope alone then holds all that is
        # asked, and no row is read.
        living = "AND m.rid NOT IN (SELECT rid FROM memory WHERE cid = ? AND expires_at <= ?)"
        parameters = (*parameters, collection.key, now)
    # As one text, since a row costs more to hand over than to find.
    found = connection.execute(
        f"SELECT group_concat(m.rid) FROM memory m WHERE {meant.text} {living}", parameters
    ).get
    return numbers(found)


def expired(connection: apsw.Connection, cid: int, now: int) -> NDArray[np.int64]:
    """The row ids of what expired by a time, as far as it is not swept yet."""
    found = connection.execute(
        "SELECT group_concat(rid) FROM memory WHERE cid = ? AND expires_at <= ?",
        (cid, now),
    ).get
    return numbers(found)


def numbers(text: str | None) -> NDArray[np.int64]:
    """What ``group_concat`` made of integers, None being none."""
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def find(connection: apsw.Connection, rid: int) -> Record | None:
    """The record of a row, if it is there."""
    row = connection.execute(f"SELECT {COLUMNS} FROM memory m WHERE rid = ?", (rid,)).fetchone()
    return None if row is None else to_record(row)


def read(connection: apsw.Connection, rid: int) -> Record:
    """The record of a row that is there."""
    found = find(connection, rid)
    assert found is not None
    return found


def vectors(connection: apsw.Connection, rid: int) -> bytes:
    """The vectors of a row, one after the other; empty where it has none."""
    found = connection.execute("SELECT data FROM vector WHERE rid = ?", (rid,)).fetchone()
    return b"" if found is None else bytes(found[0])


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Reads that all see one state of the file."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")  # nothing was written
