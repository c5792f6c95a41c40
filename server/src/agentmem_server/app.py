"""The wiring: settings to store, embedder, engine, routes and middleware. Nothing else does any."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from . import __version__
from .access.keyring import Keyring
from .embedding import Embedder
from .engine.engine import Engine
from .engine.feed import Feed
from .engine.job_runner import Pace
from .engine.stats import Stats
from .extraction import Extractor
from .filler import filling
from .llm import LLMCheck
from .middleware.authentication import Authentication
from .middleware.body_limit import BodyLimit
from .middleware.failures import Failures
from .middleware.rate_limit import RateLimit
from .middleware.raw_path import RawPath
from .middleware.request_report import RequestReport
from .middleware.request_spans import RequestSpans
from .parts import (
    embedder_of,
    extractor_of,
    keyring_of,
    limits_of,
    llm_check_of,
    pool_of,
    redis_url_of,
    tracing_of,
    windows_of,
)
from .routes.catalog import CatalogRoutes
from .routes.docs import docs_routes
from .routes.events import EventRoutes
from .routes.extraction import ExtractionRoutes
from .routes.health import HealthRoutes
from .routes.history import HistoryRoutes
from .routes.jobs import JobRoutes
from .routes.keys import KeyRoutes
from .routes.memories import MemoryRoutes
from .routes.metrics import MetricsRoutes
from .routes.openapi import openapi_routes
from .routes.routing import Routes
from .routes.stats import StatsRoutes
from .settings import Settings
from .sharing import NO_COPIES, Sharing, open_sharing
from .storage import Store, open_store
from .sweeper import sweeping
from .telemetry.loop_lag import watching_lag
from .telemetry.metrics import Metrics
from .telemetry.watch import Watch

if TYPE_CHECKING:  # it needs an extra
    from .telemetry.tracing import Tracing


@asynccontextmanager
async def open_app(
    settings: Settings, embedder: Embedder | None = None, extractor: Extractor | None = None
) -> AsyncIterator[Starlette]:
    """The ASGI application, with its store and embedder open until the context ends.

    Args:
        settings: how it runs.
        embedder: used instead of the one that the settings name; the caller closes it.
        extractor: likewise.

    Raises:
        InvalidRequest: for a database URL of an unknown kind, an LLM's URL or key or a Redis' URL
            that can't be one, or where something needs an extra that isn't there.
        Unavailable: when the store can't be opened.
        EmbedderMisconfigured: when the embedder's settings can't work.
        EmbedderUnavailable: when the embedder does not answer.
    """
    async with AsyncExitStack() as stack:
        # Its threads wait for one another, spinning: 24 ms for what one does in 1, whenever
        # something else has a core.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        metrics = Metrics(__version__)
        tracing = tracing_of(settings)
        watch = Watch(metrics.batch, metrics.store, metrics.llm)
        if tracing is not None:
            stack.push_async_callback(tracing.close)
            watch = replace(watch, span=tracing.span)
        llm = llm_check_of(settings)
        if llm is not None:
            stack.push_async_callback(llm.close)
        redis_url = redis_url_of(settings)
        if embedder is None:
            embedder = await embedder_of(settings)
            stack.push_async_callback(embedder.close)
        store = await open_store(
            settings.database_url, readers=settings.readers, pool=pool_of(settings), watch=watch
        )
        stack.push_async_callback(store.close)
        sharing: Sharing | None = None
        if redis_url is not None:
            sharing = await stack.enter_async_context(open_sharing(redis_url, store.identity))
        copies = NO_COPIES if sharing is None else sharing.copies
        if extractor is None and settings.llm_model is not None:
            extractor = llm_extractor = extractor_of(
                settings, settings.llm_model, windows_of(sharing), watch
            )
            stack.push_async_callback(llm_extractor.close)
            metrics.llm_pending = lambda: llm_extractor.pending
        engine = Engine(store, embedder, limits_of(settings), watch, copies, extractor)
        stack.push_async_callback(engine.close)
        metrics.gather(lambda: engine.pending, engine.caches, sharing)
        metrics.watch_jobs(engine.jobs.counts)
        stats = Stats(store, engine.searching.counts)
        stack.push_async_callback(stats.close)
        keyring = keyring_of(store, settings)
        feed = Feed(store, max_followers=settings.max_streams, still_opens=keyring.still_opens)
        stack.callback(feed.close)
        metrics.level("agentmem_feed_followers", "Who follows the feed now.", lambda: len(feed))
        routes = Routes(
            _routes(engine, feed, stats, keyring, metrics, _checks(store, llm, sharing))
        )
        app = _Application(
            routes, _middleware(settings, keyring, metrics, tracing, sharing, routes.routes)
        )
        app.state.close_streams = feed.close
        for background in _background(engine, settings, metrics):
            await stack.enter_async_context(background)
        if extractor is not None:  # without one, jobs wait for a server that has it
            await stack.enter_async_context(
                engine.jobs.running(
                    engine.learning.extract_fully,
                    pace=Pace(at_once=settings.llm_concurrency, lease=settings.job_lease),
                    tell=metrics.job_attempt,
                )
            )
        yield app


def _routes(
    engine: Engine,
    feed: Feed,
    stats: Stats,
    keyring: Keyring,
    metrics: Metrics,
    health: HealthRoutes,
) -> list[BaseRoute]:
    """What is answered."""
    return [
        *MemoryRoutes(engine).routes(),
        *ExtractionRoutes(engine.learning).routes(),
        *JobRoutes(engine.jobs).routes(),
        *CatalogRoutes(engine.catalog).routes(),
        *HistoryRoutes(engine.history).routes(),
        *EventRoutes(feed).routes(),
        *StatsRoutes(stats).routes(),
        *KeyRoutes(keyring).routes(),
        *health.routes(),
        *MetricsRoutes(metrics).routes(),
        *openapi_routes(),
        *docs_routes(),
    ]


def _checks(store: Store, llm: LLMCheck | None, sharing: Sharing | None) -> HealthRoutes:
    return HealthRoutes(
        store.checks(),
        {} if llm is None else {"llm": llm.check},
        {} if sharing is None else {"redis": sharing.check},
    )


def _background(
    engine: Engine, settings: Settings, metrics: Metrics
) -> list[AbstractAsyncContextManager[None]]:
    """What goes on beside requests."""
    interval = settings.sweep_interval
    forget = partial(engine.history.forget, settings.history_ttl)
    forget_jobs = partial(engine.jobs.forget, settings.history_ttl)
    return [
        sweeping(engine.sweep, interval),
        sweeping(forget, interval, "old events"),
        sweeping(engine.history.purge, interval, "words of erased memories"),
        sweeping(forget_jobs, interval, "old jobs"),
        filling(engine.filling.run, interval),
        watching_lag(metrics.lag),
    ]


class _Application(Starlette):
    """Without the middleware that Starlette adds around and inside ours: `Failures` does it all."""

    def __init__(self, routes: Routes, middleware: Sequence[Middleware]) -> None:
        super().__init__(middleware=middleware)
        self.router = routes

    def build_middleware_stack(self) -> ASGIApp:
        """What a request passes, down to the routes."""
        app: ASGIApp = self.router
        for middleware in reversed(self.user_middleware):
            app = middleware.cls(app, *middleware.args, **middleware.kwargs)
        return app


def _middleware(
    settings: Settings,
    keyring: Keyring,
    metrics: Metrics,
    tracing: "Tracing | None",
    sharing: Sharing | None,
    routes: Sequence[BaseRoute],
) -> list[Middleware]:
    """What a request passes, the outermost first."""
    windows = windows_of(sharing)
    open_rate = settings.rate_limit or 0.0
    return [
        Middleware(RequestReport, metrics=metrics),
        *([] if tracing is None else [Middleware(RequestSpans, tracing=tracing)]),
        Middleware(Failures, routes=routes),
        Middleware(RawPath),
        Middleware(Authentication, keyring=keyring),
        Middleware(RateLimit, keyring=keyring, open_rate=open_rate, windows=windows),
        Middleware(BodyLimit, limit=settings.max_body),
    ]
