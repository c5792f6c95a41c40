"""The routes of API keys."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..access.keyring import Keyring
from ..answers import answer
from .http import access, read_body, read_query, route, segment


class KeyRoutes:
    """Makes, lists and revokes API keys."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [
            route(e.CREATE_KEY, self.create),
            route(e.LIST_KEYS, self.every),
            route(e.REVOKE_KEY, self.revoke),
        ]

    async def create(self, request: Request) -> Response:
        wish = await read_body(request, m.KeyInput)
        created = answer(await self._keyring.create(access(request), wish), e.CREATE_KEY.status)
        created.headers["Cache-Control"] = "no-store"
        return created

    async def every(self, request: Request) -> Response:
        query = read_query(request, m.KeysQuery)
        keys = await self._keyring.keys(access(request), query.tenant)
        return answer(m.KeysAnswer(keys=keys))

    async def revoke(self, request: Request) -> Response:
        return answer(await self._keyring.revoke(access(request), segment(request, "id")))
