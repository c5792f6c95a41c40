"""How a server hears of what others commit."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import structlog
from agentmem_client.errors import APIError, Unavailable

from .connections import Address, Connection, connect, disconnect, failing_as_unavailable

_RETRY = 1.0
"""Seconds between two tries to connect."""
_PROBE = 5.0
"""Seconds after which a connection that is silent is asked whether it is still there."""
_LONGEST = 63
"""Bytes of a channel's name."""

_log = structlog.get_logger()


def channel(schema: str) -> str:
    """The name of the channel on which the servers of a schema hear of each other."""
    name = f"agentmem {schema}"
    if len(name.encode()) <= _LONGEST:
        return name
    return f"agentmem {blake2b(schema.encode(), digest_size=16).hexdigest()}"


class Listener:
    """A connection that listens, made again by itself when it is lost.

    Whoever commits sends ``"<process> events"`` where there are new events, or
    ``"<process> erased"`` where a user was erased.

    Args:
        address: of the database.
        process: what this process calls itself in what it sends.
        on_events: called in the loop's thread after a commit with events by another process; and,
            as some may have been missed, each second without a connection.
        on_erased: called likewise after an erasure by another one, or when some may have been
            missed.
    """

    def __init__(
        self,
        address: Address,
        process: str,
        on_events: Callable[[], None],
        on_erased: Callable[[], None],
    ) -> None:
        self._address = address
        self._channel = channel(address.schema)
        self._process = process
        self._on_events = on_events
        self._on_erased = on_erased
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen: what is committed after this is heard of.

        Raises:
            Unavailable: it can't be connected to; the message says why.
        """
        self._connection = await self._listening()
        self._task = asyncio.create_task(self._go_on(self._connection))

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            await disconnect(self._connection)

    async def _go_on(self, connection: Connection) -> None:
        try:
            while True:
                await _until_lost(connection)
                _log.warning("the connection that hears of commits is lost")
                connection.terminate()  # a farewell may wait for ever
                self._connection = connection = await self._again()
                _log.info("the connection that hears of commits is back")
                self._on_events()
                self._on_erased()
        except Exception:  # a defect of ours: told now, and raised at the end
            _log.exception("nobody listens to commits any more")
            raise

    async def _listening(self) -> Connection:
        connection = await connect(self._address)
        try:
            with failing_as_unavailable():
                await connection.add_listener(self._channel, self._hear)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _again(self) -> Connection:
        while True:
            await asyncio.sleep(_RETRY)
            self._on_events()
            with suppress(APIError):
                return await self._listening()

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        sender, _, what = str(payload).partition(" ")
        if sender != self._process:
            (self._on_erased if what == "erased" else self._on_events)()


async def _until_lost(connection: Connection) -> None:
    """Return when it no longer is one, be it that nobody has said so."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    while not connection.is_closed():
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROBE):
                await lost.wait()
                return
        try:
            with failing_as_unavailable():
                await connection.execute("SELECT 1", timeout=_PROBE)
        except Unavailable:
            return
