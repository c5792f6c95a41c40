"""The routes that tell how the server is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..answers import answer
from .http import route

_TIMEOUT = 2.0
"""Seconds until a check that doesn't answer has failed."""

Checks = Mapping[str, Callable[[], Awaitable[None]]]


class HealthRoutes:
    """Runs the checks of what the server needs, side by side."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._started = time.monotonic()

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [route(e.HEALTH, self.health), route(e.LIVE, self.live), route(e.READY, self.ready)]

    async def health(self, _request: Request) -> Response:
        checks = await self._run()
        well = all(check.status == "ok" for check in checks.values())
        health = m.Health(
            status="healthy" if well else "unhealthy",
            version=__version__,
            uptime_seconds=round(time.monotonic() - self._started, 3),
            checks=checks,
        )
        return answer(health, 200 if well else 503)

    async def live(self, _request: Request) -> Response:
        return answer(m.Liveness(status="alive"))

    async def ready(self, _request: Request) -> Response:
        well = all(check.status == "ok" for check in (await self._run()).values())
        return answer(m.Liveness(status="ready" if well else "not_ready"), 200 if well else 503)

    async def _run(self) -> dict[str, m.Check]:
        results = await asyncio.gather(*(_check(check) for check in self._checks.values()))
        return dict(zip(self._checks, results, strict=True))


async def _check(check: Callable[[], Awaitable[None]]) -> m.Check:
    started = time.perf_counter()
    error = None
    try:
        async with asyncio.timeout(_TIMEOUT):
            await check()
    except TimeoutError:
        error = f"no answer within {_TIMEOUT:g} s"
    except Exception as failure:  # whatever is wrong, telling it is the job
        error = str(failure) or type(failure).__name__
    return m.Check(
        status="failed" if error else "ok",
        latency_ms=round((time.perf_counter() - started) * 1_000, 3),
        error=error,
    )
