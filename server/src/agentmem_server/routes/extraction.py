"""The routes of learning from conversations."""

from agentmem_client import endpoints as e
from agentmem_client import models as m
from agentmem_client.errors import APIError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import answer
from ..engine.learning import Learning
from ..pauses import with_pauses
from .http import caller, read_body, read_item, readable_id, route


class ExtractionRoutes:
    """Learns facts, at once or in the background."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [route(e.EXTRACT, self.extract), route(e.EXTRACT_MANY, self.extract_many)]

    async def extract(self, request: Request) -> Response:
        wanted = await read_body(request, m.ExtractRequest)
        if not wanted.background:
            return answer(await self._learning.extract(caller(request), wanted))
        return answer(await self._learning.hand_in(caller(request), wanted), status=202)

    async def extract_many(self, request: Request) -> Response:
        wanted = await read_body(request, m.ExtractManyRequest)
        conversations = [_read(item) async for item in with_pauses(wanted.conversations)]
        results = await self._learning.extract_many(caller(request), conversations)
        for item, result in zip(wanted.conversations, results, strict=True):
            if result.id is None:
                result.id = readable_id(item)
        return answer(m.ExtractManyAnswer(results=results))


def _read(item: object) -> m.ExtractRequest | APIError:
    try:
        return read_item(item, m.ExtractRequest, "a conversation")
    except APIError as refused:
        return refused
