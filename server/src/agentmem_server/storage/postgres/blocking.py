"""One connection for callers that block: a command, a thread."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any, Concatenate, ParamSpec, TypeVar

from agentmem_client.errors import NotFound, Unavailable

from . import schema
from .connections import Address, Connection, connect, disconnect, failing_as_unavailable

P = ParamSpec("P")
R = TypeVar("R")


class BlockingConnection:
    """A connection whose loop runs in a thread, so that the caller's may run a loop too."""

    def __init__(self, address: Address) -> None:
        """Connect; `close` it afterwards.

        Raises:
            Unavailable: it can't be made; the message says why.
            InvalidRequest: for a URL that asyncpg can't read.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="agentmem-postgres", daemon=True)
        self._thread.start()
        try:
            self._connection = self._wait(connect(address))
        except BaseException:
            self._stop()
            raise

    def run(
        self,
        doing: str,
        function: Callable[Concatenate[Connection, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What a function of a connection answers.

        Raises:
            Unavailable: the database could not be what is being done to it, "read" for example.
        """
        with failing_as_unavailable(doing):
            return self._wait(function(self._connection, *args, **kwargs))

    def close(self) -> None:
        """Let go of the connection; what is in a transaction is rolled back."""
        try:
            self._wait(disconnect(self._connection))
        finally:
            self._stop()

    def _wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # where the caller was interrupted
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def check_version(connection: Connection, name: str) -> None:
    """Refuse a schema that has no tables of ours, or some of another version.

    Raises:
        NotFound: there is no such schema, or nothing in it.
        Unavailable: it is another program's, or of another AgentMem.
    """
    version = await schema.version(connection, name)
    if version is None:
        raise NotFound(
            f"there is no schema {name!r} in the database: `agentmem serve` and `agentmem keys "
            "create` make one"
        )
    if version > schema.VERSION:
        raise Unavailable(
            f"the schema {name!r} was written by a newer AgentMem (version {version}, this one "
            f"knows {schema.VERSION}): upgrade agentmem-server"
        )
    if version < schema.VERSION:
        raise Unavailable(
            f"the schema {name!r} is of an older AgentMem (version {version}, this one reads "
            f"{schema.VERSION}): start this version's server on it once, which brings it up to date"
        )
