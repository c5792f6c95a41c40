"""The wiring: settings to store, embedder, engine, routes and middleware. Nothing else does any."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from agentmem_client.errors import InvalidRequest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from . import __version__
from .access.keyring import DEFAULT_RATE, Keyring
from .access.shared_windows import SharedWindows
from .access.windows import Windows
from .embedding import Embedder, open_embedder
from .engine.engine import Engine, Limits
from .engine.feed import Feed
from .engine.job_runner import Pace
from .engine.stats import Stats
from .extraction import Bounds, Extractor, open_extractor
from .filler import filling
from .llm import LLMCheck
from .middleware.authentication import Authentication
from .middleware.body_limit import BodyLimit
from .middleware.failures import Failures
from .middleware.rate_limit import RateLimit
from .middleware.raw_path import RawPath
from .middleware.request_report import RequestReport
from .middleware.request_spans import RequestSpans
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
from .storage import Pool, Store, open_store
from .sweeper import sweeping
from .telemetry.loop_lag import watching_lag
from .telemetry.metrics import Metrics
from .telemetry.watch import Watch

if TYPE_CHECKING:  # they need extras
    from .extraction.extractor import LLMExtractor
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
        tracing = _open_tracing(settings)
        watch = Watch(metrics.batch, metrics.store, metrics.llm)
        if tracing is not None:
            stack.push_async_callback(tracing.close)
            watch = replace(watch, span=tracing.span)
        llm = _llm_check(settings)
        if llm is not None:
            stack.push_async_callback(llm.close)
        redis_url = _redis_url(settings)
        if embedder is None:
            embedder = await open_configured_embedder(settings)
            stack.push_async_callback(embedder.close)
        store = await open_store(
            settings.database_url, readers=settings.readers, pool=_pool(settings), watch=watch
        )
        stack.push_async_callback(store.close)
        sharing: Sharing | None = None
        if redis_url is not None:
            sharing = await stack.enter_async_context(open_sharing(redis_url, store.identity))
        copies = NO_COPIES if sharing is None else sharing.copies
        if extractor is None and settings.llm_model is not None:
            extractor = llm_extractor = _open_extractor(
                settings, settings.llm_model, _windows(sharing), watch
            )
            stack.push_async_callback(llm_extractor.close)
            metrics.llm_pending = lambda: llm_extractor.pending
        engine = Engine(store, embedder, _limits(settings), watch, copies, extractor)
        stack.push_async_callback(engine.close)
        metrics.gather(lambda: engine.pending, engine.caches, sharing)
        metrics.watch_jobs(engine.jobs.counts)
        stats = Stats(store, engine.searching.counts)
        stack.push_async_callback(stats.close)
        keyring = _keyring(store, settings)
        feed = Feed(store, max_followers=settings.max_streams, still_opens=keyring.still_opens)
        stack.callback(feed.close)
        metrics.level("agentmem_feed_followers", "Who follows the feed now.", lambda: len(feed))
        routes = Routes(
            [
                *MemoryRoutes(engine).routes(),
                *ExtractionRoutes(engine.learning).routes(),
                *JobRoutes(engine.jobs).routes(),
                *CatalogRoutes(engine.catalog).routes(),
                *HistoryRoutes(engine.history).routes(),
                *EventRoutes(feed).routes(),
                *StatsRoutes(stats).routes(),
                *KeyRoutes(keyring).routes(),
                *HealthRoutes(
                    store.checks(),
                    {} if llm is None else {"llm": llm.check},
                    {} if sharing is None else {"redis": sharing.check},
                ).routes(),
                *MetricsRoutes(metrics).routes(),
                *openapi_routes(),
                *docs_routes(),
            ]
        )
        app = _Application(
            routes, _middleware(settings, keyring, metrics, tracing, sharing, routes.routes)
        )
        app.state.close_streams = feed.close
        forget = partial(engine.history.forget, settings.history_ttl)
        forget_jobs = partial(engine.jobs.forget, settings.history_ttl)
        for background in (
            sweeping(engine.sweep, settings.sweep_interval),
            sweeping(forget, settings.sweep_interval, "old events"),
            sweeping(engine.history.purge, settings.sweep_interval, "words of erased memories"),
            sweeping(forget_jobs, settings.sweep_interval, "old jobs"),
            filling(engine.filling.run, settings.sweep_interval),
            watching_lag(metrics.lag),
        ):
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
    windows = _windows(sharing)
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


async def open_configured_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name; the caller closes it.

    Raises:
        EmbedderMisconfigured: when its settings can't work.
        EmbedderUnavailable: when it does not answer.
    """
    key = settings.embedder_key
    return await open_embedder(
        settings.embedder,
        base_url=settings.embedder_url,
        api_key=None if key is None else key.get_secret_value(),
        model=settings.embedder_model,
        dimension=settings.embedder_dimension,
    )


def _keyring(store: Store, settings: Settings) -> Keyring:
    key = settings.admin_key
    return Keyring(
        store,
        admin_key=None if key is None else key.get_secret_value(),
        rate_limit=DEFAULT_RATE if settings.rate_limit is None else settings.rate_limit,
    )


def _windows(sharing: Sharing | None) -> Windows:
    return Windows() if sharing is None else SharedWindows(sharing.counters)


def _open_extractor(
    settings: Settings, model: str, windows: Windows, watch: Watch
) -> "LLMExtractor":
    key = settings.llm_key
    return open_extractor(
        url=settings.llm_url,
        key=None if key is None else key.get_secret_value(),
        model=model,
        bounds=Bounds(
            concurrency=settings.llm_concurrency,
            rate=settings.llm_rate,
            max_tokens=settings.llm_max_tokens,
            max_input_tokens=settings.llm_max_input_tokens,
            timeout=settings.llm_timeout,
        ),
        windows=windows,
        clock=windows.clock,
        watch=watch,
    )


def _llm_check(settings: Settings) -> LLMCheck | None:
    if settings.llm_url is None:
        return None
    key = settings.llm_key
    return LLMCheck(settings.llm_url, None if key is None else key.get_secret_value())


def _redis_url(settings: Settings) -> str | None:
    if settings.redis_url is None:
        return None
    if settings.database_url.partition(":")[0] == "sqlite":
        raise InvalidRequest(
            "AGENTMEM_REDIS_URL is for the servers of one PostgreSQL, and one server owns a SQLite "
            "file: leave it out, or name a postgresql:// database"
        )
    return settings.redis_url.get_secret_value()


def _open_tracing(settings: Settings) -> "Tracing | None":
    if not settings.tracing:
        return None
    try:
        from .telemetry.tracing import open_tracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise InvalidRequest(
            'AGENTMEM_TRACING needs an extra: pip install "agentmem-server[otel]", or turn it off'
        ) from None
    return open_tracing()


def _pool(settings: Settings) -> Pool:
    if settings.pool_min > settings.pool_max:
        raise InvalidRequest("AGENTMEM_POOL_MIN must not be larger than AGENTMEM_POOL_MAX")
    return Pool(
        settings.pool_min, settings.pool_max, settings.pool_timeout, settings.database_timeout
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_pending=settings.max_pending,
        embedding_cache_size=settings.embedding_cache_size,
        embedding_cache_ttl=settings.embedding_cache_ttl,
        result_cache_size=settings.result_cache_size,
        result_cache_ttl=settings.result_cache_ttl,
        job_attempts=settings.job_attempts,
    )
