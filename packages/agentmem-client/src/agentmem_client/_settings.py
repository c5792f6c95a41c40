"""What a client needs to know about its server, checked once, and read from the environment."""

import math
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import httpx
from pydantic import SecretStr

from .errors import AgentMemError, shown

DEFAULT_API_URL = "http://localhost:8080"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 3
DEFAULT_MAX_RETRY_SECONDS = 60.0

NumberT = TypeVar("NumberT", int, float)

_COMMA = re.compile(r"\s*,\s*(?=https?://)", re.IGNORECASE)
"""Between two URLs: one may have commas of its own."""
_HOST = re.compile(rb"[\w.-]+|[\w.]*:[\w.:]+(%\w+)?")
"""Names and addresses, and no list that is written in another way."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the servers are, and how long and how often to try.

    Raises:
        AgentMemError: when a value can't be right. A wrong key is never quoted.
    """

    api_urls: tuple[str, ...] = (DEFAULT_API_URL,)
    api_key: SecretStr | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS

    def __post_init__(self) -> None:
        _check_urls(self.api_urls)
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
    def api_url(self) -> str | list[str]:
        """One address, or several, as a caller gives them."""
        return self.api_urls[0] if len(self.api_urls) == 1 else list(self.api_urls)


def as_urls(api_url: str | Sequence[str]) -> tuple[str, ...]:
    """One address or several: a sequence of them, or one text with commas between.

    Raises:
        AgentMemError: when it is neither.
    """
    if isinstance(api_url, str):
        return tuple(_COMMA.split(api_url))
    if not isinstance(api_url, Sequence) or isinstance(api_url, bytes):
        raise AgentMemError(
            f"api_url must be a URL or a list of URLs, not of the type {type(api_url).__name__}"
        )
    return tuple(api_url)


def as_secret(api_key: str | SecretStr | None) -> SecretStr | None:
    """A key in either form; an empty one, as an unset variable leaves it, is none."""
    if isinstance(api_key, str):
        api_key = SecretStr(api_key)
    return api_key if api_key is not None and api_key.get_secret_value() else None


def settings_from_env(
    api_url: str | Sequence[str] | None = None,
    api_key: str | SecretStr | None = None,
    timeout: float | None = None,
    max_retries: int | None = None,
    max_retry_seconds: float | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from what is given, else from the environment, else the defaults.

    The variables are ``AGENTMEM_API_URL``, ``AGENTMEM_API_KEY``, ``AGENTMEM_TIMEOUT``,
    ``AGENTMEM_MAX_RETRIES`` and ``AGENTMEM_MAX_RETRY_SECONDS``; an empty one counts as not set.
    Several addresses have commas between them.

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

    # Not `or`: an empty list is a mistake, while an empty text is what an unset variable leaves.
    if api_url is None or api_url == "":
        api_url = environ.get("AGENTMEM_API_URL", "").strip() or None
    values = {
        "api_urls": None if api_url is None else as_urls(api_url),
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


def _check_urls(api_urls: tuple[str, ...]) -> None:
    if not api_urls:
        raise AgentMemError("api_url must have at least one URL")
    seen: set[httpx.URL] = set()
    for api_url in api_urls:
        url = _checked_url(api_url)
        if url in seen:
            raise AgentMemError(f"api_url has the same server twice: {shown(api_url)}")
        seen.add(url)


def _checked_url(api_url: str) -> httpx.URL:
    """The URL of a server, in the one form of all that mean the same."""
    if not isinstance(api_url, str):
        raise AgentMemError(f"api_url must be text, not of the type {type(api_url).__name__}")
    # What may hold a password is not quoted.
    text = "" if "@" in api_url else f", not {shown(api_url)}"
    try:
        url = httpx.URL(api_url.rstrip("/") + "/")
    except httpx.InvalidURL as error:
        reason = f" ({shown(str(error))})" if text else ""
        raise AgentMemError(f"api_url must be a URL{text}{reason}") from None
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host):
        raise AgentMemError(
            f"api_url must be like {DEFAULT_API_URL!r}, or several with commas between{text}"
        )
    if url.userinfo or url.query or url.fragment:
        # A password in the address would travel on into logs, error texts and reprs.
        raise AgentMemError(
            "api_url must hold no user, password, query or fragment: for basic authentication "
            "give an http_client with auth=…"
        )
    return url


def _check_key(key: str) -> None:
    # An HTTP library would refuse such a header too, but with the key in its error text.
    if not all("!" <= character <= "~" for character in key):
        raise AgentMemError(
            "the API key holds a character that a key can't: is there a space or a line break "
            "at its end?"
        )
