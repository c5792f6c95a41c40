"""Reads of memories: each sees one state of the database, and finds its rows by an index."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from ... import times
from .. import (
    Collection,
    ListRequest,
    NamespaceRequest,
    Page,
    Record,
    Scope,
    Selection,
    Session,
    labels,
)
from ..memory_rows import COLUMNS, condition, to_record
from ..sql import Dialect, Sql
from . import collections, rows
from .connections import Connection
from .dialect import numbered

_ORDER_COLUMN = {"seq": "m.rid", "created_at": "m.created_at", "updated_at": "m.updated_at"}


async def count(
    connection: Connection, dialect: Dialect, collection: Collection, scope: Scope
) -> int:
    """How many living memories of a scope the collection holds."""
    return await _count(connection, condition(collection, Selection(scope), times.now(), dialect))


async def get(
    connection: Connection,
    dialect: Dialect,
    collection: Collection,
    selection: Selection,
    with_vectors: bool,
) -> list[Record]:
    """The living records of a selection by ids, in their order."""
    meant = condition(collection, selection, times.now(), dialect)
    found = {
        row[0]: rows.record(row, with_vectors)
        for row in await connection.fetch(
            f"SELECT {rows.columns(with_vectors)} FROM memory m WHERE {numbered(meant)}",
            *meant.parameters,
        )
    }
    return [found[identity] for identity in selection.ids or () if identity in found]


async def page(
    connection: Connection, dialect: Dialect, collection: Collection, request: ListRequest
) -> Page:
    """One page of a listing, found by key, so that writes beside it don't shift it."""
    meant = condition(collection, request.selection, times.now(), dialect)
    total = None
    if request.with_total:
        async with rows.snapshot(connection):
            total = await _count(connection, meant)
            found = await _page(connection, meant, request)
    else:
        found = await _page(connection, meant, request)
    more = len(found) > request.limit
    found = found[: request.limit]
    return Page(
        records=[rows.record(row[2:], request.with_vectors) for row in found],
        total=total,
        next=(found[-1][0], found[-1][1]) if more else None,
    )


async def lacking_tokens(
    connection: Connection, model: str, after: tuple[int, int], limit: int
) -> list[tuple[Collection, Record]]:
    """Records that a model of the server's has embedded and that lack their tokens."""
    count = len(collections.COLUMNS.split(","))
    of_collection = "c." + collections.COLUMNS.replace(", ", ", c.")
    found = await connection.fetch(
        f"SELECT {of_collection}, {COLUMNS} FROM collection c JOIN memory m USING (cid) "
        "WHERE c.embedder = 'server' AND c.model = $1 AND (m.cid, m.rid) > ($2, $3) "
        "AND NOT EXISTS (SELECT FROM token t WHERE t.cid = m.cid AND t.rid = m.rid) "
        "AND EXISTS (SELECT FROM embedding v WHERE v.cid = m.cid AND v.rid = m.rid) "
        "ORDER BY m.cid, m.rid LIMIT $4",
        model,
        *after,
        limit,
    )
    return [
        (collections.to_collection(tuple(row)[:count]), to_record(tuple(row)[count:]))
        for row in found
    ]


async def sessions(
    connection: Connection,
    dialect: Dialect,
    collection: Collection,
    selection: Selection,
    after: str | None,
    limit: int,
) -> list[Session]:
    """The sessions of the selected records, by their ids; None is before all of them."""
    meant = condition(collection, selection, times.now(), dialect)
    first = len(meant.parameters) + 1
    found = await connection.fetch(
        "SELECT m.session_id, count(*), min(m.created_at), max(m.created_at) FROM memory m "
        f"WHERE {numbered(meant)} AND m.session_id IS NOT NULL AND m.session_id > ${first} "
        f"GROUP BY m.session_id ORDER BY m.session_id LIMIT ${first + 1}",
        *meant.parameters,
        after or "",
        limit,
    )
    return [Session(*row) for row in found]


async def namespaces(
    connection: Connection, dialect: Dialect, collection: Collection, request: NamespaceRequest
) -> list[tuple[str, ...]]:
    """The namespaces of living records that fit; each is read once, however many it holds."""
    scope = Scope(request.user_id, namespace=tuple(labels.fixed(request.prefix)) or None)
    meant = condition(collection, Selection(scope), times.now(), dialect)
    found = await connection.fetch(
        f"SELECT DISTINCT m.namespace FROM memory m WHERE {numbered(meant)} "
        "AND m.namespace IS NOT NULL",
        *meant.parameters,
    )
    fitting = labels.matching(
        (labels.decode(text) for (text,) in found),
        request.prefix,
        request.suffix,
        request.max_depth,
    )
    return fitting[request.offset : request.offset + request.limit]


async def _count(connection: Connection, meant: Sql) -> int:
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM memory m WHERE {numbered(meant)}", *meant.parameters
    )
    return found


async def _page(
    connection: Connection, meant: Sql, request: ListRequest
) -> Sequence[asyncpg.Record]:
    order, direction = _ORDER_COLUMN[request.order_by], request.order
    keys = [order] if request.order_by == "seq" else [order, "m.rid"]
    parameters: list[Any] = list(meant.parameters)

    def mark(value: Any) -> str:
        parameters.append(value)
        return f"${len(parameters)}"

    after = ""
    if request.after is not None:
        sign = ">" if direction == "asc" else "<"
        marks = [mark(value) for value in request.after[: len(keys)]]
        after = f" AND ({', '.join(keys)}) {sign} ({', '.join(marks)})"
    return await connection.fetch(
        f"SELECT {order}, m.rid, {rows.columns(request.with_vectors)} FROM memory m "
        f"WHERE {numbered(meant)}{after} "
        f"ORDER BY {', '.join(f'{key} {direction}' for key in keys)} "
        f"LIMIT {mark(request.limit + 1)} OFFSET {mark(request.offset)}",
        *parameters,
    )
