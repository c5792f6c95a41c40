"""The routes of collections, sessions and namespaces."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer
from ..engine.catalog import Catalog
from .http import caller, read_body, read_query, route, segment


class CatalogRoutes:
    """Makes, lists, describes and deletes collections, and lists what is in one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [
            route(e.LIST_COLLECTIONS, self.every),
            route(e.GET_COLLECTION, self.get),
            route(e.PUT_COLLECTION, self.put),
            route(e.DELETE_COLLECTION, self.delete),
            route(e.LIST_SESSIONS, self.sessions),
            route(e.LIST_NAMESPACES, self.namespaces),
        ]

    async def every(self, request: Request) -> Response:
        return answer(
            m.CollectionsAnswer(collections=await self._catalog.collections(caller(request)))
        )

    async def get(self, request: Request) -> Response:
        return answer(await self._catalog.collection(caller(request), segment(request, "name")))

    async def put(self, request: Request) -> Response:
        name = segment(request, "name")
        wish = await read_body(request, m.CollectionInput)
        return answer(await self._catalog.put_collection(caller(request), name, wish))

    async def delete(self, request: Request) -> Response:
        deleted = await self._catalog.drop_collection(caller(request), segment(request, "name"))
        return answer(m.DeletedAnswer(deleted=deleted))

    async def sessions(self, request: Request) -> Response:
        query = read_query(request, m.SessionsQuery)
        return answer(await self._catalog.sessions(caller(request), query))

    async def namespaces(self, request: Request) -> Response:
        query = read_query(request, m.NamespacesQuery)
        return answer(await self._catalog.namespaces(caller(request), query))
