"""The routes of memories."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from agentmem_client.errors import APIError, InvalidRequest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer, json_answer, memories_answer, versioned
from ..engine.engine import Engine
from ..pauses import with_pauses
from .http import (
    access,
    caller,
    idempotency_key,
    if_version,
    json_body,
    read_body,
    read_item,
    read_json,
    read_query,
    readable_id,
    route,
    segment,
)


class MemoryRoutes:
    """Adds, finds, changes and deletes memories."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """One route an endpoint; they are tried in this order, 1 µs each."""
        return [
            route(e.SEARCH_MEMORIES, self.search),
            route(e.ADD_MEMORY, self.add),
            route(e.GET_MEMORY, self.get),
            route(e.ADD_MEMORIES, self.add_many),
            route(e.LIST_MEMORIES, self.page),
            route(e.GET_MEMORIES, self.get_many),
            route(e.DELETE_MEMORIES, self.delete_many),
            route(e.ARCHIVE_MEMORIES, self.archive),
            route(e.UPDATE_MEMORY, self.update),
            route(e.DELETE_MEMORY, self.delete),
        ]

    async def add(self, request: Request) -> Response:
        memory = await read_body(request, m.MemoryInput)
        stored = await self._engine.add(caller(request), memory)
        return versioned(stored, e.ADD_MEMORY.status)

    async def add_many(self, request: Request) -> Response:
        batch = await read_body(request, m.BatchRequest)
        memories = [_read_memory(item) async for item in with_pauses(batch.memories)]
        if batch.replacing is not None and not batch.atomic:
            raise InvalidRequest("replacing: only an atomic batch replaces; say atomic=true too")
        if batch.atomic:
            good = _all_good(memories)
            results = await self._engine.add_all(caller(request), good, batch.replacing)
        else:
            results = await self._engine.add_many(caller(request), memories)
        for item, result in zip(batch.memories, results, strict=True):
            if result.id is None:
                result.id = readable_id(item)
        return answer(m.BatchAnswer(results=results))

    async def page(self, request: Request) -> Response:
        query = read_query(request, m.ListQuery)
        _check_refresh(request, query.refresh_ttl)
        page = await self._engine.page(caller(request), query)
        return await memories_answer(page.memories, total=page.total, next_cursor=page.next_cursor)

    async def search(self, request: Request) -> Response:
        body = await json_body(request)
        searches = self._engine.searching.known
        wanted = searches.get(body) or searches.add(body, read_json(body, m.SearchRequest))
        _check_refresh(request, wanted.request.refresh_ttl)
        return json_answer(await self._engine.search(caller(request), *wanted))

    async def get_many(self, request: Request) -> Response:
        wanted = await read_body(request, m.GetManyRequest)
        _check_refresh(request, wanted.refresh_ttl)
        return await memories_answer(await self._engine.get_many(caller(request), wanted))

    async def delete_many(self, request: Request) -> Response:
        unwanted = await read_body(request, m.DeleteRequest)
        if unwanted.include_memories:
            access(request).require("read")
        return answer(await self._engine.delete_many(caller(request), unwanted))

    async def archive(self, request: Request) -> Response:
        wanted = await read_body(request, m.ArchiveRequest)
        return await memories_answer(await self._engine.archive(caller(request), wanted))

    async def get(self, request: Request) -> Response:
        query = read_query(request, m.GetQuery)
        _check_refresh(request, query.refresh_ttl)
        return versioned(await self._engine.get(caller(request), segment(request, "id"), query))

    async def update(self, request: Request) -> Response:
        query = read_query(request, m.CollectionQuery)
        update = await read_body(request, m.MemoryUpdate)
        return versioned(
            await self._engine.update(
                caller(request),
                query.collection,
                segment(request, "id"),
                update,
                if_version(request),
                idempotency_key(request),
            )
        )

    async def delete(self, request: Request) -> Response:
        query = read_query(request, m.CollectionQuery)
        deleted = await self._engine.delete(
            caller(request), query.collection, segment(request, "id"), if_version(request)
        )
        return answer(m.DeletedAnswer(deleted=deleted))


def _check_refresh(request: Request, refresh_ttl: bool) -> None:
    if refresh_ttl:  # a read that makes memories live longer
        access(request).require("write")


def _read_memory(item: object) -> m.MemoryInput | APIError:
    try:
        return read_item(item, m.MemoryInput, "a memory")
    except APIError as refused:
        return refused


def _all_good(memories: list[m.MemoryInput | APIError]) -> list[m.MemoryInput]:
    good = [memory for memory in memories if not isinstance(memory, APIError)]
    if len(good) == len(memories):
        return good
    bad = [
        {"field": f"memories.{index}", "message": memory.message}
        for index, memory in enumerate(memories)
        if isinstance(memory, APIError)
    ]
    raise InvalidRequest(
        f"nothing of the atomic batch was stored: {bad[0]['field']}: {bad[0]['message']}",
        details={"errors": bad},
    )
