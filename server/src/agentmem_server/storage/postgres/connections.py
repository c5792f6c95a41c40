"""Connections to PostgreSQL: a pool of them, their settings, and what their failures mean."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import numpy as np
from agentmem_client.errors import InvalidRequest, Unavailable

from .. import Pool

if TYPE_CHECKING:  # generic for the type checker alone
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connections: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Connections = asyncpg.Pool

_CONNECT_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0
_RETRY_AFTER = 1.0
_MOST_PARTITIONS = 256

_SETTINGS = {
    "application_name": "agentmem",
    # Who has waited for the lock of all writers must see what the others wrote.
    "default_transaction_isolation": "read committed",
    # A plan for all values is wrong for most: a scope may hold one memory or all of them.
    "plan_cache_mode": "force_custom_plan",
    # Of 20,000 vectors among 85,000 the planner reads all otherwise: 17 ms, by the key 9.
    "random_page_cost": "1.1",
    # Compiling takes longer than any of our queries should.
    "jit": "off",
    # A server that hangs in a transaction must not keep all others from writing.
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
}

_DOWN = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, a statement's timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # it has become a standby
    asyncpg.PostgresSystemError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""Failures of the database or of the way to it: all calls fail of them alike."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is: what asyncpg connects to, and the schema of our tables.

    Attributes:
        partitions: of the tables that grow, where they are yet to be made; 0 is one table each.
    """

    dsn: str
    schema: str
    partitions: int = 0

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Split a URL.

        Raises:
            InvalidRequest: it is none; the message holds nothing of it, for it has a password.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise InvalidRequest(
                "no database URL: use postgresql://user:password@host:port/database"
            ) from None
        schema = options.pop("schema", "agentmem")
        if not 0 < len(schema.encode()) < 64 or "\0" in schema:
            raise InvalidRequest("the database URL's schema must have 1 to 63 characters")
        partitions = options.pop("partitions", "0")
        if not partitions.isdecimal() or int(partitions) > _MOST_PARTITIONS:
            raise InvalidRequest(
                f"the database URL's partitions must be a number up to {_MOST_PARTITIONS}"
            )
        dsn = urlunsplit(parts._replace(query=urlencode(options)))
        return cls(dsn, schema, int(partitions))


@contextmanager
def failing_as_unavailable(doing: str = "reached") -> Iterator[None]:
    """Raise `Unavailable` for what the database could not do; `is_down` tells why."""
    try:
        yield
    except (*_DOWN, asyncpg.PostgresError) as error:
        raise Unavailable(
            f"the database could not be {doing}: {_told(error)}", retry_after=_RETRY_AFTER
        ) from error


def _told(error: Exception) -> str:
    """What it says, without the values that it is about: they are in no error of ours."""
    kind = type(error).__name__
    if isinstance(error, asyncpg.DataError | ValueError):
        return f"it does not take a value ({kind})"
    # Its details quote whole rows.
    return str(error.args[0] if isinstance(error, asyncpg.PostgresError) else error) or kind


def is_down(error: Unavailable) -> bool:
    """Whether any other call would have failed as this one did."""
    cause = error.__cause__
    # What asyncpg can't encode is a ValueError, and this call's own.
    return isinstance(cause, _DOWN) and not isinstance(cause, ValueError)


async def connect(address: Address) -> Connection:
    """One connection of our own, outside of any pool; `set_up` is yet to come.

    Raises:
        Unavailable: it can't be made; the message says why.
        InvalidRequest: for a URL that asyncpg can't read.
    """
    with failing_as_unavailable():
        try:
            return await asyncpg.connect(
                address.dsn, timeout=_CONNECT_SECONDS, server_settings=_SETTINGS
            )
        except asyncpg.ClientConfigurationError as error:
            raise InvalidRequest(f"the database URL can't be used: {error}") from None
        except ValueError:  # which quotes what may be a password
            raise InvalidRequest(
                "the database URL can't be used: percent-encode what is special in user and "
                "password, and give the port as a number"
            ) from None


async def disconnect(connection: Connection) -> None:
    """Let go of a connection of our own, be it lost already."""
    with suppress(*_DOWN):  # by then it has been cut
        await connection.close(timeout=_GOODBYE_SECONDS)


async def set_up(connection: Connection, schema: str, extension_schema: str) -> None:
    """Make a connection see our tables, and speak our types.

    A vector travels as little-endian float32 bytes.
    """
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in (schema, extension_schema))
    await connection.execute(f"SET search_path = {names}")
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    await connection.set_type_codec(
        "vector",
        schema=extension_schema,
        encoder=_encode_vector,
        decoder=_decode_vector,
        format="binary",
    )


async def open_pool(address: Address, extension_schema: str, pool: Pool) -> Connections:
    """A pool of connections that are set up.

    Raises:
        Unavailable: they can't be made; the message says why.
    """
    milliseconds = max(1, int(pool.call_timeout * 1_000))
    bounds = {
        # Ends there what is no longer waited for here.
        "statement_timeout": f"{milliseconds}ms",
        # Who waits for a lock hears of that, before there is no time left for anything else.
        "lock_timeout": f"{max(1, milliseconds * 2 // 5)}ms",
    }

    async def init(connection: Connection) -> None:
        try:
            await set_up(connection, address.schema, extension_schema)
        except BaseException:
            connection.terminate()  # or asyncpg would say goodbye, and wait for an answer
            raise

    with failing_as_unavailable():
        return await asyncpg.create_pool(
            address.dsn,
            min_size=pool.min_size,
            max_size=pool.max_size,
            timeout=_CONNECT_SECONDS,
            server_settings=_SETTINGS | bounds,
            init=init,
            reset=_keep_settings,
        )


@asynccontextmanager
async def acquired(pool: Connections, bounds: Pool) -> AsyncIterator[Connection]:
    """One of a pool's connections, given back afterwards; cut when it is kept for too long.

    The database may hang, or what is on the way to it: then nothing but a clock tells.

    Raises:
        Unavailable: none was free in time, or what it was for took too long.
    """
    try:
        connection = await pool.acquire(timeout=bounds.timeout)
    except TimeoutError as error:
        raise Unavailable(
            f"no connection to the database was free for {bounds.timeout:g} s: try again, or raise "
            "AGENTMEM_POOL_MAX",
            retry_after=_RETRY_AFTER,
        ) from error
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        is_late = True
        connection.terminate()  # whoever waits for an answer has an error now

    clock = asyncio.get_running_loop().call_later(bounds.call_timeout, give_up)
    try:
        yield connection  # type: ignore[misc]  # the pool's proxy of one
    except asyncio.CancelledError:
        connection.terminate()  # at once: an answer is still to come on it, or never
        raise
    except _DOWN as error:
        if not is_late:
            raise
        raise Unavailable(
            f"the database did not answer within {bounds.call_timeout:g} s: try again, ask for "
            "less at once, or raise AGENTMEM_DATABASE_TIMEOUT",
            retry_after=_RETRY_AFTER,
        ) from error
    finally:
        clock.cancel()
        await pool.release(connection)


async def close(pool: Connections) -> None:
    """Let go of a pool's connections, be the database gone or not."""
    with suppress(TimeoutError):  # then they have been cut
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await pool.close()


async def _keep_settings(_connection: Any) -> None:
    """In place of RESET ALL at each release: nobody changes a setting for longer than it needs."""


def _encode_vector(little: bytes) -> bytes:
    """As pgvector receives it: dimension and 0 in 16 bits each, then big-endian float32."""
    return (
        (len(little) // 4).to_bytes(2)
        + b"\0\0"
        + np.frombuffer(little, "<f4").astype(">f4").tobytes()
    )


def _decode_vector(sent: bytes) -> bytes:
    return np.frombuffer(sent, ">f4", offset=4).astype("<f4").tobytes()
