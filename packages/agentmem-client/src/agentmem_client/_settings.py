"""What a client needs to know about its server, checked once, and read from the environment."""

import math
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import httpx
from pydantic import SecretStr

from .errors import AgentMemError

DEFAULT_API_URL = "http://localhost:8080"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 3
DEFAULT_MAX_RETRY_SECONDS = 60.0

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the server is, and how long and how often to try.

    Raises:
        AgentMemError: when a value can't be right. A wrong key is never quoted.
    """

    api_url: str = DEFAULT_API_URL
    api_key: SecretStr | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS

    def __post_init__(self) -> None:
        _check_url(self.api_url)
        if self.api_key is not None:
            _check_key(self.api_key.get_secret_value())
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise AgentMemError(f"timeout must be a number of seconds above 0, not {self.timeout}")
        if self.max_retries < 0:
            raise AgentMemError(f"max_retries must be 0 or more, not {self.max_retries}")
        if not self.max_retry_seconds >= 0:
            raise AgentMemError(
                f"max_retry_seconds must be 0 or more, not {self.max_retry_seconds}"
            )

    @property
    def root(self) -> str:
        """The address that an endpoint's path is appended to."""
        return self.api_url.rstrip("/")


def as_secret(api_key: str | SecretStr | None) -> SecretStr | None:
    """A key in either form; an empty one, as an unset variable leaves it, is none."""
    if isinstance(api_key, str):
        api_key = SecretStr(api_key)
    return api_key if api_key is not None and api_key.get_secret_value() else None


def settings_from_env(
    api_url: str | None = None,
    api_key: str | SecretStr | None = None,
    timeout: float | None = None,
    max_retries: int | None = None,
    max_retry_seconds: float | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from what is given, else from the environment, else the defaults.

    The variables are ``AGENTMEM_API_URL``, ``AGENTMEM_API_KEY``, ``AGENTMEM_TIMEOUT``,
    ``AGENTMEM_MAX_RETRIES`` and ``AGENTMEM_MAX_RETRY_SECONDS``; an empty one counts as not set.

    Raises:
        AgentMemError: when a value can't be right.
    """

    def number(name: str, given: NumberT | None, read: Callable[[str], NumberT]) -> NumberT | None:
        text = environ.get(name, "").strip()
        if given is not None or not text:
            return given
        try:
            return read(text)
        except ValueError:
            raise AgentMemError(f"{name} must be a number, not {text!r}") from None

    values = {
        "api_url": api_url or environ.get("AGENTMEM_API_URL", "").strip() or None,
        "api_key": as_secret(api_key) or as_secret(environ.get("AGENTMEM_API_KEY", "").strip()),
        "timeout": number("AGENTMEM_TIMEOUT", timeout, float),
        "max_retries": number("AGENTMEM_MAX_RETRIES", max_retries, int),
        "max_retry_seconds": number("AGENTMEM_MAX_RETRY_SECONDS", max_retry_seconds, float),
    }
    return Settings(**{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]  # each value has its field's type


@cache
def ssl_context() -> ssl.SSLContext:
    """The certificates to trust, read once: that takes longer than all else in making a client."""
    return httpx.create_ssl_context()


def _check_url(api_url: str) -> None:
    try:
        url = httpx.URL(api_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise AgentMemError(f"api_url is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise AgentMemError(f"api_url must be like {DEFAULT_API_URL!r}, not {_shown(url)!r}")
    if url.userinfo or url.query or url.fragment:
        # A password in the address would travel on into logs, error texts and reprs.
        raise AgentMemError(
            "api_url must hold no user, password, query or fragment: for basic authentication "
            "give an http_client with auth=…"
        )


def _shown(url: httpx.URL) -> str:
    return str(url.copy_with(userinfo=b"")) if url.userinfo else str(url)


def _check_key(key: str) -> None:
    # An HTTP library would refuse such a header too, but with the key in its error text.
    if not all("!" <= character <= "~" for character in key):
        raise AgentMemError(
            "the API key holds a character that a key can't: is there a space or a line break "
            "at its end?"
        )
