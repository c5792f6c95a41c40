"""The server's settings: environment variables that start with ``AGENTMEM_``."""

from pathlib import Path
from typing import Annotated, Literal

from agentmem_client.models import MAX_BATCH
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from .addresses import parse_networks

Size = Annotated[int, Field(ge=1)]
CacheSize = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_SHORTEST_KEY = 32


def _check_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(text) < _SHORTEST_KEY or not all("!" <= character <= "~" for character in text):
        raise ValueError(
            f"must have at least {_SHORTEST_KEY} characters, and neither spaces nor others than "
            "ASCII's: `openssl rand -hex 32` makes one"
        )
    return key


def _check_networks(text: str) -> str:
    parse_networks(text)
    return text


class Settings(BaseSettings):
    """How the server runs. Read once, at the start; times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTMEM_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    database_url: str = f"sqlite:///{Path('agentmem.db')}"
    """``sqlite:///relative.db``, ``sqlite:////absolute.db``, or
    ``postgresql://user:password@host:port/database``."""
    readers: Size = 2
    """How many reads of a SQLite file run at once. More take the interpreter from one another."""
    pool_min: Size = 5
    """How many connections to PostgreSQL are open at least."""
    pool_max: Size = 20
    """How many are open at most."""
    pool_timeout: Seconds = 5.0
    """How long a request waits for one of them; past it callers get 503."""
    database_timeout: Seconds = 25.0
    """How long PostgreSQL may take for one read or write; past it callers get 503."""
    redis_url: SecretStr | None = None
    """What the servers of one PostgreSQL share caches and rate limits by:
    ``redis://[[user]:password@]host:port/0``, ``rediss://`` or ``unix:///path/to/socket``."""

    admin_key: Annotated[SecretStr, AfterValidator(_check_key)] | None = None
    """The operator's key, which makes keys for all tenants; at least 32 characters."""
    rate_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Requests a second that each key may make, 100 where left out; and each address without a key.
    0: any number. Left out while there are no keys, nothing is limited."""
    trusted_proxies: Annotated[str, AfterValidator(_check_networks)] = ""
    """Addresses or networks, with commas, whose ``X-Forwarded-For`` is believed."""
    max_streams: Size = 100
    """How many followers of the feed of changes may be connected at once; with keys, half of them
    of one tenant."""
    history_ttl: Seconds = 30 * 86_400.0
    """How long events of the history are kept, and jobs that have ended."""
    job_attempts: Size = 5
    """How often a job is tried before it has failed."""
    job_lease: Seconds = 60.0
    """After which a job of a server that died is taken over by another one."""

    llm_url: str | None = None
    """The root of an OpenAI-compatible API; ``/health`` asks whether it answers."""
    llm_key: SecretStr | None = None
    llm_model: str | None = None
    """The model of that API that finds facts in conversations; without one none are found."""
    llm_concurrency: Size = 10
    """How many calls of it there are at once."""
    llm_rate: Annotated[int, Field(ge=0)] = 600
    """How many there are in a minute; 0: any number."""
    llm_max_tokens: Size = 4_096
    """How many tokens its answer may have."""
    llm_max_input_tokens: Size = 16_000
    """How many a conversation may have, with its prompt; three bytes of UTF-8 count as one."""
    llm_timeout: Seconds = 60.0
    """How long one call may take."""

    embedder: Literal["builtin", "openai"] = "builtin"
    embedder_url: str | None = None
    """The root of an OpenAI-compatible API, such as ``http://localhost:11434/v1``."""
    embedder_key: SecretStr | None = None
    embedder_model: str | None = None
    embedder_dimension: Size | None = None

    max_body: Size = 32 * 1024 * 1024
    """The largest body of a request."""
    max_pending: Annotated[int, Field(ge=MAX_BATCH)] = 10_000
    """How many memories may wait to be embedded or written; past it callers get 503."""
    embedding_cache_size: CacheSize = 1_000
    embedding_cache_ttl: Seconds = 300.0
    result_cache_size: CacheSize = 500
    result_cache_ttl: Seconds = 60.0
    sweep_interval: Seconds = 60.0
    """How often memories that have expired are deleted; they are hidden at once."""
    shutdown_timeout: Seconds = 30.0
    """How long requests under way may take to finish when the server is told to stop."""
    tracing: bool = False
    """Sends OpenTelemetry traces; where to, say its own variables (``OTEL_…``)."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
