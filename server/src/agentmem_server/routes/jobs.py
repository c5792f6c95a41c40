"""The routes of what is done in the background."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer
from ..engine.jobs import Jobs
from .http import caller, read_query, route, segment


class JobRoutes:
    """Tells what became of jobs, tries failed ones again, and deletes them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [
            route(e.LIST_JOBS, self.page),
            route(e.GET_JOB, self.get),
            route(e.RETRY_JOB, self.retry),
            route(e.DELETE_JOB, self.delete),
        ]

    async def page(self, request: Request) -> Response:
        return answer(await self._jobs.page(caller(request), read_query(request, m.JobsQuery)))

    async def get(self, request: Request) -> Response:
        return answer(await self._jobs.get(caller(request), segment(request, "id")))

    async def retry(self, request: Request) -> Response:
        return answer(await self._jobs.retry(caller(request), segment(request, "id")))

    async def delete(self, request: Request) -> Response:
        return answer(await self._jobs.delete(caller(request), segment(request, "id")))
