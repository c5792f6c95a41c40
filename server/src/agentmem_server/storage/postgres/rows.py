"""Rows of the tables: read in one state of the database, and as records."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from .. import Record
from ..memory_rows import COLUMNS, to_record
from . import vectors
from .connections import Connection

if TYPE_CHECKING:
    from asyncpg.transaction import Transaction

Row: TypeAlias = asyncpg.Record | Sequence[Any]
"""As asyncpg gives it, or a part of one."""


def snapshot(connection: Connection) -> "Transaction":
    """A context for reads that all see one state of the database."""
    return connection.transaction(isolation="repeatable_read", readonly=True)


def columns(with_vectors: bool) -> str:
    """What `record` reads of a memory ``m``, in its order."""
    return f"{COLUMNS}, {vectors.COLUMNS}" if with_vectors else COLUMNS


def record(row: Row, with_vectors: bool) -> Record:
    """The record of a row of `columns`; one that has no vector has None."""
    if not with_vectors:
        return to_record(tuple(row))
    *own, data, given = row
    return to_record((*own, vectors.as_given(data, given) or None))
