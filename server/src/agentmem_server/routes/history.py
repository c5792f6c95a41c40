"""The routes of what became of memories, and of the end of a user's."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer, versioned
from ..engine.history import History
from .http import caller, read_body, read_query, route, segment


class HistoryRoutes:
    """Tells what became of a memory, restores it, and erases a user."""

    def __init__(self, history: History) -> None:
        self._history = history

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [
            route(e.MEMORY_HISTORY, self.events),
            route(e.RESTORE_MEMORY, self.restore),
            route(e.ERASE_USER, self.erase),
        ]

    async def events(self, request: Request) -> Response:
        query = read_query(request, m.HistoryQuery)
        return answer(await self._history.events(caller(request), segment(request, "id"), query))

    async def restore(self, request: Request) -> Response:
        query = read_query(request, m.CollectionQuery)
        wanted = await read_body(request, m.RestoreRequest)
        return versioned(
            await self._history.restore(
                caller(request), query.collection, segment(request, "id"), wanted.version
            )
        )

    async def erase(self, request: Request) -> Response:
        return answer(await self._history.erase(caller(request), segment(request, "id")))
