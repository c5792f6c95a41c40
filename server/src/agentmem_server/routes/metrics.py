"""The route that Prometheus reads."""

from agentmem_client import models as m
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..telemetry.metrics import Metrics
from .http import access, read_query


class MetricsRoutes:
    """Answers the metrics. They tell of all tenants, so a key needs a scope of its own for them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """One route, which is no endpoint of the API: what it answers is Prometheus'."""
        return [Route("/metrics", self.metrics, methods=["GET"], name="metrics")]

    async def metrics(self, request: Request) -> Response:
        access(request).require("metrics")
        read_query(request, m.Request)
        body = await self._metrics.exposition()
        return Response(body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
