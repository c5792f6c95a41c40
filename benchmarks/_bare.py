"""The ceiling of a server over HTTP: a bare Starlette endpoint under the same uvicorn."""

import multiprocessing
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from _asking import Target
from agentmem_server.telemetry.loop_lag import watching_lag
from agentmem_server.telemetry.metrics import Metrics
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@contextmanager
def bare_server() -> Iterator[Target]:
    """It runs in a process of its own until the context ends; its metrics are read as ours are."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(listening,), daemon=True
        )
        serving.start()
        try:
            yield Target("bare", f"http://127.0.0.1:{listening.getsockname()[1]}", size=0)
        finally:
            serving.terminate()
            serving.join()


def _serve(listening: socket.socket) -> None:
    """Read every request, and answer as many bytes as its path says."""
    metrics = Metrics("bare")

    async def answers(request: Request) -> Response:
        await request.body()
        return Response(b" " * request.path_params["size"], media_type="application/json")

    async def exposes(request: Request) -> Response:
        return Response(await metrics.exposition(), media_type="text/plain")

    @asynccontextmanager
    async def watched(app: Starlette) -> AsyncIterator[None]:
        async with watching_lag(metrics.lag):
            yield

    methods = ["GET", "POST", "PATCH", "DELETE"]
    routes = [Route("/{size:int}", answers, methods=methods), Route("/metrics", exposes)]
    app = Starlette(routes=routes, lifespan=watched)
    # As `agentmem serve` has it; the loop and the parser are those that uvicorn finds for both.
    config = uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, proxy_headers=False
    )
    uvicorn.Server(config).run([listening])
