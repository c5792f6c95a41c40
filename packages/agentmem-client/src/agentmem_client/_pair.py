"""One way to a server for code that is called both with and without an event loop."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from pydantic import SecretStr

from ._async.client import AsyncAgentMemClient
from ._servers import Servers
from ._settings import Settings, settings_from_env
from ._sync.client import AgentMemClient
from .errors import AgentMemError


class ClientPair:
    """A sync client, and an async one for each event loop, all with the same settings.

    For adapters, whose sync and async methods may both be called, from several threads and
    event loops. Clients are made when they are first needed. An async HTTP connection belongs to
    the event loop that it was made in, so that each loop gets a client of its own, which is
    closed when the loop is shut down (`asyncio.run` does that).

    Args:
        api_url: where the server is, or several of one database are; from ``AGENTMEM_API_URL``
            where left out, else the default.
        api_key: from ``AGENTMEM_API_KEY`` where left out.
        client: a ready one for sync calls; for async ones its settings are taken.
        async_client: a ready one for async calls in the event loop that it is first used in; for
            other loops, and for sync calls, its settings are taken. One with an ``http_client`` of
            its own is used in whatever loop.
        timeout: as for the clients, or ``AGENTMEM_TIMEOUT``.
        max_retries: as for the clients, or ``AGENTMEM_MAX_RETRIES``.

    Raises:
        AgentMemError: when a setting can't be right, or is given beside a ready client.
    """

    def __init__(
        self,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        *,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
    ) -> None:
        ready = client if client is not None else async_client
        settings = (api_url, api_key, timeout, max_retries)
        if ready is not None and any(value is not None for value in settings):
            raise AgentMemError(
                "give either a ready client, or api_url, api_key, timeout and max_retries"
            )
        self._settings: Settings = (
            settings_from_env(*settings) if ready is None else ready._settings
        )
        self._servers = Servers(self._settings.api_urls) if ready is None else ready._servers
        self._given = client
        self._given_async = async_client
        self._sync: AgentMemClient | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, _LoopClient] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.api_url!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Connections can't be copied; frameworks that copy their parts go on sharing them."""
        return self

    @property
    def sync(self) -> AgentMemClient:
        """The client for sync calls.

        Raises:
            AgentMemError: there is only an async client, with an ``http_client`` of its own.
        """
        if self._given is not None:
            return self._given
        with self._lock:
            if self._sync is None:
                self._require_derivable(self._given_async, "client")
                self._sync = AgentMemClient._from_settings(self._settings, servers=self._servers)
                weakref.finalize(self, self._sync.close)
            return self._sync

    def for_running_loop(self) -> AsyncAgentMemClient:
        """The client for async calls in the event loop that is running.

        Raises:
            AgentMemError: no loop is running, or there is only a sync client, with an
                ``http_client`` of its own.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise AgentMemError("no asyncio event loop is running: use the sync methods") from None
        given = self._given_async
        if given is not None and _is_for(given, loop):
            return given
        with self._lock:
            entry = self._by_loop.get(loop)
            if entry is None or entry.client._http.is_closed:
                if given is None:
                    self._require_derivable(self._given, "async_client")
                like = self if given is None else given
                self._forget_closed_loops()
                entry = _LoopClient(
                    AsyncAgentMemClient._from_settings(like._settings, servers=like._servers)
                )
                self._by_loop[loop] = entry
            return entry.client

    def close(self) -> None:
        """Close the sync client, unless it was given."""
        with self._lock:
            client, self._sync = self._sync, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the sync client and the running loop's, unless they were given.

        Those of other loops can't be closed from here; they are when their loops are.
        """
        self.close()
        with self._lock:
            entry = self._by_loop.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            await entry.aclose()

    def _forget_closed_loops(self) -> None:
        # Weak keys would not do: open connections hold on to their loop.
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]

    def _require_derivable(
        self, ready: AgentMemClient | AsyncAgentMemClient | None, missing: str
    ) -> None:
        if ready is not None and not ready._owns_http:
            raise AgentMemError(
                f"the given {type(ready).__name__} has an http_client of its own, of which no "
                f"counterpart can be made: give {missing}= too"
            )


def _is_for(client: AsyncAgentMemClient, loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a ready client can be used in a loop; a closed one says itself that it is."""
    if client._http.is_closed or not client._owns_http:
        return True
    return client._turns.loop in (None, loop)


class _LoopClient:
    """A client that is closed with its event loop.

    A loop that shuts down finishes the async generators that were begun in it. So one is begun
    here, whose end is to close the client: else its connections would be left to the garbage
    collector, which warns of each.
    """

    def __init__(self, client: AsyncAgentMemClient) -> None:
        self.client = client
        self._closer = self._close_at_the_end()
        with contextlib.suppress(StopIteration):
            self._closer.__anext__().send(None)  # runs to its yield, where nothing is awaited

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.client.aclose()

    async def aclose(self) -> None:
        await self._closer.aclose()
