"""LangGraph's stores on SQLite: one as its documentation makes it, one as quick as it gets."""

import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import aiosqlite
from _memories import DIMENSION, Made
from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore as Blocking
from langgraph.store.sqlite.aio import AsyncSqliteStore as Awaited

from . import LIMIT, Done, Kind, Known, Query, in_tasks, metadata
from .in_process import InProcess

_COUNT = "SELECT count(*) FROM store_vectors"


class SqliteStore(InProcess):
    """LangGraph's `SqliteStore`, as its documentation makes it; a namespace a user."""

    name = "SqliteStore"

    def __init__(self, folder: Path, known: Known) -> None:
        super().__init__(known)
        _check_sqlite()
        self._file = folder / "langgraph.db"

    async def open(self) -> None:
        self._stack = ExitStack()
        self._store = self._stack.enter_context(
            Blocking.from_conn_string(str(self._file), index=_index(self._known))
        )
        self._store.setup()

    async def close(self) -> None:
        self._stack.close()

    async def count(self) -> int:
        return int(self._store.conn.execute(_COUNT).fetchone()[0])

    def _add(self, made: Made, place: int) -> None:
        put = _put(made, place)
        self._store.put(put.namespace, put.key, put.value, index=["text"])

    def _add_many(self, made: Made, places: Sequence[int]) -> None:
        self._store.batch([_put(made, place) for place in places])

    def _search(self, kind: Kind, query: Query) -> list[int]:
        namespace, how = _asked(kind, query)
        return [item.value["number"] for item in self._store.search(namespace, **how)]


class AsyncSqliteStore:
    """LangGraph's `AsyncSqliteStore`, which does together what coroutines ask at the same time.

    Its file keeps a write-ahead log, as that of its makers' checkpointer does.
    """

    name = "AsyncSqliteStore"

    def __init__(self, folder: Path, known: Known) -> None:
        _check_sqlite()
        self._file = folder / "langgraph-async.db"
        self._known = known

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        self._connection = await self._stack.enter_async_context(
            aiosqlite.connect(self._file, isolation_level=None)
        )
        await self._connection.execute("PRAGMA journal_mode=WAL")
        self._store = Awaited(self._connection, index=_index(self._known))
        await self._store.setup()

    async def close(self) -> None:
        await self._stack.aclose()

    async def fill(self, made: Made, size: int) -> None:
        await self.batches(made, size, float("inf"))

    async def add(self, made: Made, callers: int, limit: float) -> Done:
        self._known.learn(made)

        async def add(place: int) -> None:
            put = _put(made, place)
            await self._store.aput(put.namespace, put.key, put.value, index=["text"])

        return await in_tasks(add, len(made), callers, limit)

    async def batches(self, made: Made, size: int, limit: float) -> Done | None:
        self._known.learn(made)
        starts = range(0, len(made), size)

        async def add(part: int) -> None:
            places = range(starts[part], starts[part] + size)
            await self._store.abatch([_put(made, place) for place in places])

        done = await in_tasks(add, len(starts), 1, limit)
        done.answered *= size
        return done

    async def search(
        self, kind: Kind, queries: Sequence[Query], callers: int, limit: float
    ) -> Done:
        self._known.learn_queries(queries)

        async def search(place: int) -> None:
            namespace, how = _asked(kind, queries[place])
            await self._store.asearch(namespace, **how)

        return await in_tasks(search, len(queries), callers, limit)

    async def found(self, kind: Kind, query: Query) -> list[int]:
        self._known.learn_queries([query])
        namespace, how = _asked(kind, query)
        return [item.value["number"] for item in await self._store.asearch(namespace, **how)]

    async def count(self) -> int:
        async with self._connection.execute(_COUNT) as cursor:
            return sum([int(row[0]) async for row in cursor])


def _check_sqlite() -> None:
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        raise ImportError("this Python's sqlite3 loads no extensions, and the store needs one")


def _index(known: Known) -> Any:
    return {"dims": DIMENSION, "embed": known.embed}


def _put(made: Made, place: int) -> PutOp:
    value = {"text": made.texts[place], **metadata(made, place)}
    return PutOp((made.user(place),), made.id(place), value, index=["text"])


def _asked(kind: Kind, query: Query) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The namespace, and the rest of a search's arguments."""
    namespace = (query.user,) if kind == "scoped" else ()
    filtered = {"topic": query.topic} if kind == "filtered" else None
    return namespace, {"query": query.text, "filter": filtered, "limit": LIMIT}
