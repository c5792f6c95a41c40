"""The route of the figures for people."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer
from ..engine.stats import Stats
from .http import caller, read_query, route


class StatsRoutes:
    """Answers the figures of the caller's tenant, or of its user."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [route(e.STATS, self.stats)]

    async def stats(self, request: Request) -> Response:
        query = read_query(request, m.StatsQuery)
        return answer(await self._stats.of(caller(request), query.days))
