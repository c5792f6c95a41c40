"""The routes that tell how the server is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal

from agentmem_client import endpoints as e
from agentmem_client import models as m
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..answers import answer
from ..cache import Cache
from .http import route

_TIMEOUT = 2.0
"""Seconds until a check that doesn't answer has failed."""

_KEPT_SECONDS = 10.0
"""How long the outcome of asking another service is kept: a flood of probes is no flood of it."""

Checks = Mapping[str, Callable[[], Awaitable[None]]]


class HealthRoutes:
    """Runs the checks of what the server needs, side by side.

    Args:
        checks: of what nothing works without.
        optional: of services that others than memories need: where one fails, the server is
            degraded, and as ready as before. Each is asked every ten seconds at most.
        known: likewise, of what is known without asking anybody.
    """

    def __init__(
        self, checks: Checks, optional: Checks | None = None, known: Checks | None = None
    ) -> None:
        self._checks = checks
        self._optional = optional or {}
        self._known = known or {}
        self._kept: Cache[m.Check] = Cache(
            max_entries=max(1, len(self._optional)), ttl=_KEPT_SECONDS
        )
        self._started = time.monotonic()

    def routes(self) -> list[Route]:
        """One route an endpoint."""
        return [route(e.HEALTH, self.health), route(e.LIVE, self.live), route(e.READY, self.ready)]

    async def health(self, _request: Request) -> Response:
        needed, known, asked = await asyncio.gather(
            _run(self._checks), _run(self._known), self._run_optional()
        )
        optional = {**known, **asked}
        works = _all_well(needed)
        status: Literal["healthy", "degraded", "unhealthy"] = "unhealthy"
        if works:
            status = "healthy" if _all_well(optional) else "degraded"
        health = m.Health(
            status=status,
            version=__version__,
            uptime_seconds=round(time.monotonic() - self._started, 3),
            checks={**needed, **optional},
        )
        return answer(health, 200 if works else 503)

    async def live(self, _request: Request) -> Response:
        return answer(m.Liveness(status="alive"))

    async def ready(self, _request: Request) -> Response:
        well = _all_well(await _run(self._checks))
        return answer(m.Liveness(status="ready" if well else "not_ready"), 200 if well else 503)

    async def _run_optional(self) -> dict[str, m.Check]:
        results = await asyncio.gather(
            *(
                self._kept.get_or_compute(name, partial(_check, check))
                for name, check in self._optional.items()
            )
        )
        return dict(zip(self._optional, results, strict=True))


async def _run(checks: Checks) -> dict[str, m.Check]:
    results = await asyncio.gather(*(_check(check) for check in checks.values()))
    return dict(zip(checks, results, strict=True))


def _all_well(checks: Mapping[str, m.Check]) -> bool:
    return all(check.status == "ok" for check in checks.values())


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
