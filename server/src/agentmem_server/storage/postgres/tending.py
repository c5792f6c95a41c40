"""What a database server wants done now and then: indexes for what has grown."""

import asyncio
from contextlib import suppress

import asyncpg
import structlog
from agentmem_client.errors import Unavailable

from . import hnsw, schema
from .connections import Address, connect, failing_as_unavailable, set_up

_log = structlog.get_logger()

_INTERVAL = 60.0


class Tending:
    """Makes the indexes that are due, by a connection of its own, for which nobody waits.

    Args:
        address: of the database.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Do it from now on, every minute."""
        self._task = asyncio.create_task(self._go_on())

    async def close(self) -> None:
        """Do it no more; an index that is half made is made anew another time."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def tend(self) -> int:
        """Do what is due; answers how many indexes that was.

        Raises:
            Unavailable: the database does not answer.
        """
        connection = await connect(self._address)
        try:
            with failing_as_unavailable("indexed"):
                extension_schema = await schema.check_extension(connection, make=False)
                await set_up(connection, self._address.schema, extension_schema)
                return await hnsw.tend(connection)
        finally:
            connection.terminate()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                made = await self.tend()
            except (Unavailable, asyncpg.PostgresError) as error:
                _log.warning("vector indexes could not be made", error=str(error))
            else:
                if made:
                    _log.info("vector indexes made", count=made)
