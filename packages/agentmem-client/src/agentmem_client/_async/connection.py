"""How a client reaches a server."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr
from tenacity import AsyncRetrying

from .._base import build_request, read_answer, read_error, to_json, transport_error
from .._retries import Tries
from .._servers import Servers
from .._settings import (
    DEFAULT_API_URL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MAX_RETRY_SECONDS,
    DEFAULT_TIMEOUT,
    Settings,
    as_secret,
    as_urls,
    settings_from_env,
    ssl_context,
)
from .._turns import LIMITS, AsyncTurns
from ..endpoints import AnswerT, Endpoint
from ..errors import AgentMemError
from ..models import Request


class AsyncConnection:
    """Servers' addresses, and requests to them that are tried again; see `AsyncAgentMemClient`."""

    def __init__(
        self,
        api_url: str | Sequence[str] = DEFAULT_API_URL,
        api_key: str | SecretStr | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._settings = Settings(
            api_urls=as_urls(api_url),
            api_key=as_secret(api_key),
            timeout=timeout,
            max_retries=max_retries,
            max_retry_seconds=max_retry_seconds,
        )
        self._owns_http = http_client is None
        self._http = http_client or httpx.AsyncClient(verify=ssl_context(), limits=LIMITS)
        self._turns = AsyncTurns()
        self._servers = Servers(self._settings.api_urls)

    @classmethod
    def from_env(
        cls,
        *,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        max_retry_seconds: float | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> Self:
        """A client made from the environment; what is given here goes before it.

        It reads ``AGENTMEM_API_URL`` (several with commas between), ``AGENTMEM_API_KEY``,
        ``AGENTMEM_TIMEOUT``, ``AGENTMEM_MAX_RETRIES`` and ``AGENTMEM_MAX_RETRY_SECONDS``.

        Raises:
            AgentMemError: when a value can't be right.
        """
        settings = settings_from_env(api_url, api_key, timeout, max_retries, max_retry_seconds)
        return cls._from_settings(settings, http_client)

    @classmethod
    def _from_settings(
        cls,
        settings: Settings,
        http_client: httpx.AsyncClient | None = None,
        *,
        servers: Servers | None = None,
    ) -> Self:
        """A client with these settings; with ``servers`` it finds out with others which are up."""
        client = cls(
            settings.api_urls,
            settings.api_key,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            max_retry_seconds=settings.max_retry_seconds,
            http_client=http_client,
        )
        if servers is not None:
            client._servers = servers
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.api_url!r})"

    async def aclose(self) -> None:
        """Close the connections; a given ``http_client`` is left open."""
        if self._owns_http:
            await self._http.aclose()

    async def _call(
        self,
        endpoint: Endpoint[AnswerT],
        segments: dict[str, str] | None = None,
        *,
        query: Request | None = None,
        body: Request | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> AnswerT:
        """Send the request until it is answered, or not worth another try.

        Its answer may take ``patience`` seconds longer than others.
        """
        answer, _ = await self._call_counted(
            endpoint, segments, query=query, body=body, headers=headers, patience=patience
        )
        return answer

    async def _call_counted(
        self,
        endpoint: Endpoint[AnswerT],
        segments: dict[str, str] | None = None,
        *,
        query: Request | None = None,
        body: Request | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> tuple[AnswerT, int]:
        """As `_call`, with how many requests it took."""
        self._require_open()
        build = partial(
            build_request,
            self._http,
            self._settings,
            endpoint,
            segments or {},
            query,
            to_json(body) if isinstance(body, Request) else body,
            headers or {},
            self._settings.timeout + patience,
        )
        tries = self._tries()
        retrying = AsyncRetrying(retry=tries.retry, stop=tries.stop, wait=tries.wait, reraise=True)
        answer: AnswerT = await retrying(self._try, endpoint, build, tries)
        return answer, retrying.statistics["attempt_number"]

    def _tries(self) -> Tries:
        settings = self._settings
        return Tries(self._servers, settings.max_retries, settings.max_retry_seconds)

    async def _try(
        self, endpoint: Endpoint[AnswerT], build: Callable[[str], httpx.Request], tries: Tries
    ) -> AnswerT:
        try:
            async with self._turns:
                # Only now: those before it may have found out that a server is down.
                request = build(tries.begin())
                response = await self._send(request)
            answer = read_answer(endpoint, response)
        except AgentMemError as error:
            tries.failed(error)
            raise
        tries.succeeded()
        return answer

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            # Never to another address, whatever the http_client would do: the key goes along.
            return await self._http.send(request, stream=stream, follow_redirects=False)
        except httpx.HTTPError as error:
            raise transport_error(error, request) from error

    @asynccontextmanager
    async def _opened(
        self,
        endpoint: Endpoint[Any],
        tries: Tries,
        *,
        query: Request,
        headers: Mapping[str, str],
        silence: float,
    ) -> AsyncIterator[httpx.Response]:
        """A response whose body comes piece by piece, each within ``silence`` seconds.

        It takes a turn until its head is there, and then a connection alone: what goes on for ever
        would never give the turn back.
        """
        self._require_open()
        async with self._turns:
            request = build_request(
                self._http,
                self._settings,
                endpoint,
                {},
                query,
                None,
                headers,
                silence,
                tries.begin(),
            )
            response = await self._send(request, stream=True)
        try:
            try:
                if not response.is_success:
                    await response.aread()
                    raise read_error(response)
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise transport_error(error, request) from error

    def _require_open(self) -> None:
        if self._http.is_closed:
            raise AgentMemError("this client is closed")
