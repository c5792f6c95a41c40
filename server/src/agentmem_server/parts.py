"""What settings name: each of the server's parts, made as they say."""

from typing import TYPE_CHECKING

from agentmem_client.errors import InvalidRequest

from .access.keyring import DEFAULT_RATE, Keyring
from .access.shared_windows import SharedWindows
from .access.windows import Windows
from .embedding import Embedder, open_embedder
from .engine.engine import Limits
from .extraction import Bounds, open_extractor
from .llm import LLMCheck
from .settings import Settings
from .sharing import Sharing
from .storage import Pool, Store
from .telemetry.watch import Watch

if TYPE_CHECKING:  # they need extras
    from .extraction.extractor import LLMExtractor
    from .telemetry.tracing import Tracing


async def embedder_of(settings: Settings) -> Embedder:
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


def keyring_of(store: Store, settings: Settings) -> Keyring:
    """What knows the API keys that the store has, and the operator's."""
    key = settings.admin_key
    return Keyring(
        store,
        admin_key=None if key is None else key.get_secret_value(),
        rate_limit=DEFAULT_RATE if settings.rate_limit is None else settings.rate_limit,
    )


def windows_of(sharing: Sharing | None) -> Windows:
    """What counts requests: in this process, or with all servers of the store."""
    return Windows() if sharing is None else SharedWindows(sharing.counters)


def extractor_of(settings: Settings, model: str, windows: Windows, watch: Watch) -> "LLMExtractor":
    """What finds facts by the LLM of this name; the caller closes it.

    Raises:
        InvalidRequest: its URL or key can't be one.
    """
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


def llm_check_of(settings: Settings) -> LLMCheck | None:
    """What asks whether the LLM is there, where one is named; the caller closes it."""
    if settings.llm_url is None:
        return None
    key = settings.llm_key
    return LLMCheck(settings.llm_url, None if key is None else key.get_secret_value())


def redis_url_of(settings: Settings) -> str | None:
    """Where Redis is, for servers that share one.

    Raises:
        InvalidRequest: the database is a file, which one server owns.
    """
    if settings.redis_url is None:
        return None
    if settings.database_url.partition(":")[0] == "sqlite":
        raise InvalidRequest(
            "AGENTMEM_REDIS_URL is for the servers of one PostgreSQL, and one server owns a SQLite "
            "file: leave it out, or name a postgresql:// database"
        )
    return settings.redis_url.get_secret_value()


def tracing_of(settings: Settings) -> "Tracing | None":
    """What traces requests, where that is asked for; the caller closes it.

    Raises:
        InvalidRequest: it needs an extra that isn't there.
    """
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


def pool_of(settings: Settings) -> Pool:
    """How many connections to a database server there may be.

    Raises:
        InvalidRequest: fewer than there must be.
    """
    if settings.pool_min > settings.pool_max:
        raise InvalidRequest("AGENTMEM_POOL_MIN must not be larger than AGENTMEM_POOL_MAX")
    return Pool(
        settings.pool_min, settings.pool_max, settings.pool_timeout, settings.database_timeout
    )


def limits_of(settings: Settings) -> Limits:
    """What the engine may hold in memory."""
    return Limits(
        max_pending=settings.max_pending,
        embedding_cache_size=settings.embedding_cache_size,
        embedding_cache_ttl=settings.embedding_cache_ttl,
        result_cache_size=settings.result_cache_size,
        result_cache_ttl=settings.result_cache_ttl,
        job_attempts=settings.job_attempts,
    )
