"""The wiring: settings to store, embedder, engine, routes and middleware. Nothing else does any."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from .embedding import Embedder, open_embedder
from .engine import Engine, Limits
from .keyring import DEFAULT_RATE, Keyring
from .middleware.authentication import Authentication
from .middleware.body_limit import BodyLimit
from .middleware.last_resort import LastResort
from .middleware.rate_limit import RateLimit
from .middleware.raw_path import RawPath
from .middleware.request_log import RequestLog
from .routes.catalog import CatalogRoutes
from .routes.docs import docs_routes
from .routes.errors import handle_errors
from .routes.health import HealthRoutes
from .routes.keys import KeyRoutes
from .routes.memories import MemoryRoutes
from .routes.openapi import openapi_routes
from .settings import Settings
from .storage import Store, open_store
from .sweeper import sweeping


@asynccontextmanager
async def open_app(
    settings: Settings, embedder: Embedder | None = None
) -> AsyncIterator[Starlette]:
    """The ASGI application, with its store and embedder open until the context ends.

    Args:
        settings: how it runs.
        embedder: used instead of the one that the settings name; the caller closes it.

    Raises:
        InvalidRequest: for a database URL of an unknown kind.
        Unavailable: when the store can't be opened.
        EmbedderMisconfigured: when the embedder's settings can't work.
        EmbedderUnavailable: when the embedder does not answer.
    """
    async with AsyncExitStack() as stack:
        if embedder is None:
            embedder = await _open_embedder(settings)
            stack.push_async_callback(embedder.close)
        store = await open_store(settings.database_url, readers=settings.readers)
        stack.push_async_callback(store.close)
        engine = Engine(store, embedder, _limits(settings))
        stack.push_async_callback(engine.close)
        keyring = _keyring(store, settings)
        app = Starlette(
            routes=[
                *MemoryRoutes(engine).routes(),
                *CatalogRoutes(engine.catalog).routes(),
                *KeyRoutes(keyring).routes(),
                *HealthRoutes(store.checks()).routes(),
                *openapi_routes(),
                *docs_routes(),
            ],
            middleware=[
                Middleware(RequestLog),
                Middleware(LastResort),
                Middleware(RawPath),
                Middleware(Authentication, keyring=keyring),
                Middleware(RateLimit, keyring=keyring, open_rate=settings.rate_limit or 0.0),
                Middleware(BodyLimit, limit=settings.max_body),
            ],
        )
        await stack.enter_async_context(sweeping(engine.sweep, settings.sweep_interval))
        app.router.redirect_slashes = False
        handle_errors(app)
        yield app


async def _open_embedder(settings: Settings) -> Embedder:
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


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_pending=settings.max_pending,
        embedding_cache_size=settings.embedding_cache_size,
        embedding_cache_ttl=settings.embedding_cache_ttl,
        result_cache_size=settings.result_cache_size,
        result_cache_ttl=settings.result_cache_ttl,
    )
