"""Rows into several tables by one statement."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..tags import as_text, short_path, tags
from .connections import Connection

MEMORY: Final[Mapping[str, str]] = {
    "cid": "bigint",
    "rid": "bigint",
    "id": "text",
    "content": "text",
    "metadata": "text",
    "user_id": "text",
    "agent_id": "text",
    "session_id": "text",
    "type": "text",
    "importance": "double precision",
    "event_at": "bigint",
    "expires_at": "bigint",
    "payload": "text",
    "namespace": "text",
    "ttl": "bigint",
    "archived": "boolean",
    "index_texts": "text",
    "sources": "text",
    "created_at": "bigint",
    "updated_at": "bigint",
    "version": "bigint",
}
VECTOR: Final[Mapping[str, str]] = {
    "cid": "bigint",
    "rid": "bigint",
    "place": "integer",
    "data": "vector",
    "given": "bytea",
}
TOKEN: Final[Mapping[str, str]] = {"cid": "bigint", "rid": "bigint", "data": "bytea"}
TAG: Final[Mapping[str, str]] = {
    "cid": "bigint",
    "rid": "bigint",
    "path": "text",
    "kind": "smallint",
    "value": "text",
    '"full"': "text",
}
EVENT: Final[Mapping[str, str]] = {
    "eid": "bigint",
    "tenant": "text",
    "cid": "bigint",
    "collection": "text",
    "id": "text",
    "version": "bigint",
    "action": "text",
    "at": "bigint",
    "user_id": "text",
    "agent_id": "text",
    "session_id": "text",
    "namespace": "text",
    "idempotency_key": "text",
}
IMAGE: Final[Mapping[str, str]] = {
    "eid": "bigint",
    "cid": "bigint",
    "rid": "bigint",
    "content": "text",
    "metadata": "text",
    "type": "text",
    "importance": "double precision",
    "event_at": "bigint",
    "expires_at": "bigint",
    "created_at": "bigint",
    "updated_at": "bigint",
    "payload": "text",
    "ttl": "bigint",
    "archived": "boolean",
    "index_texts": "text",
    "sources": "text",
    "vectors": "bytea",
}


def tag_rows(key: tuple[int, int], metadata: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of `TAG` of a memory, by its collection's key and row id."""
    return [
        (*key, short_path(path), kind, as_text(value), full)
        for path, kind, value, full in tags(metadata)
    ]


def unnested(columns: Mapping[str, str], first: int = 1) -> str:
    """``unnest`` of one array a column, its parameters numbered from ``first`` on."""
    arrays = ", ".join(
        f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), start=first)
    )
    return f"unnest({arrays})"


def arrays_of(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The rows as one array a column, for `unnested`."""
    if not rows:
        return [[] for _ in columns]
    return [list(column) for column in zip(*rows, strict=True)]


class Inserts:
    """Gathers rows for tables that have nothing to do with each other, and inserts them at once."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._parameters: list[Any] = []

    def add(self, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows of a table; none is no statement."""
        if not rows:
            return
        names = ", ".join(columns)
        source = unnested(columns, first=len(self._parameters) + 1)
        self._statements.append(f"INSERT INTO {table} ({names}) SELECT * FROM {source}")
        self._parameters += arrays_of(columns, rows)

    async def execute(self, connection: Connection) -> None:
        """Insert all of it."""
        if not self._statements:
            return
        *others, last = self._statements
        parts = ", ".join(f"i{number} AS ({one})" for number, one in enumerate(others))
        await connection.execute(f"WITH {parts} {last}" if others else last, *self._parameters)
