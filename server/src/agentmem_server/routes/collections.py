"""The routes of collections."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer
from ..engine import Engine
from .http import read_body, route, segment, tenant


class CollectionRoutes:
    """Makes, describes and deletes collections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [
            route(e.LIST_COLLECTIONS, self.every),
            route(e.GET_COLLECTION, self.get),
            route(e.PUT_COLLECTION, self.put),
            route(e.DELETE_COLLECTION, self.delete),
        ]

    async def every(self, request: Request) -> Response:
        return answer(
            m.CollectionsAnswer(collections=await self._engine.collections(tenant(request)))
        )

    async def get(self, request: Request) -> Response:
        return answer(await self._engine.collection(tenant(request), segment(request, "name")))

    async def put(self, request: Request) -> Response:
        name = segment(request, "name")
        wish = await read_body(request, m.CollectionInput)
        return answer(await self._engine.put_collection(tenant(request), name, wish))

    async def delete(self, request: Request) -> Response:
        deleted = await self._engine.drop_collection(tenant(request), segment(request, "name"))
        return answer(m.DeletedAnswer(deleted=deleted))
