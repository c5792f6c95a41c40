"""API keys in the database: read and written by servers, and beside them by a command."""

from types import TracebackType
from typing import Self

from agentmem_client.errors import Conflict, shown
from pydantic_core import from_json, to_json

from ..keys import ApiKey
from . import schema
from .blocking import BlockingConnection, check_version
from .connections import Address, Connection, set_up
from .rows import Row

_COLUMNS = (
    "id, digest, tenant, name, scopes, user_id, rate_limit, created_at, expires_at, revoked_at"
)


async def get(connection: Connection, id: str) -> ApiKey | None:
    """One key."""
    found = await connection.fetchrow(f"SELECT {_COLUMNS} FROM api_key WHERE id = $1", id)
    return None if found is None else _key(found)


async def listed(connection: Connection, tenant: str | None) -> list[ApiKey]:
    """The keys of one tenant or of all, by their time of creation."""
    found = await connection.fetch(
        f"SELECT {_COLUMNS} FROM api_key WHERE $1::text IS NULL OR tenant = $1 "
        "ORDER BY created_at, id",
        tenant,
    )
    return [_key(row) for row in found]


async def any_there(connection: Connection) -> bool:
    """Whether there are keys, whatever became of them."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM api_key)")
    return found


async def put(connection: Connection, key: ApiKey) -> None:
    """Keep a new key.

    Raises:
        Conflict: there is one with this id.
    """
    made = await connection.fetchval(
        f"INSERT INTO api_key ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
        "ON CONFLICT (id) DO NOTHING RETURNING true",
        key.id,
        key.digest,
        key.tenant,
        key.name,
        to_json(sorted(key.scopes)).decode(),
        key.user_id,
        key.rate_limit,
        key.created_at,
        key.expires_at,
        key.revoked_at,
    )
    if not made:
        raise Conflict(f"there is an API key {shown(key.id)}: choose another id")


async def revoke(connection: Connection, id: str, tenant: str | None, at: int) -> ApiKey | None:
    """Revoke a key, unless it was revoked before; None where there is none of this tenant."""
    revoked = await connection.fetchrow(
        "UPDATE api_key SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL "
        f"AND ($3::text IS NULL OR tenant = $3) RETURNING {_COLUMNS}",
        at,
        id,
        tenant,
    )
    if revoked is not None:
        return _key(revoked)
    found = await get(connection, id)
    return found if found is not None and tenant in (None, found.tenant) else None


def _key(row: Row) -> ApiKey:
    id, digest, tenant, name, scopes, *rest = row
    return ApiKey(id, digest, tenant, name, frozenset(from_json(scopes)), *rest)


class PostgresKeys:
    """The keys in a database that servers may run on; a context manager. Every method blocks."""

    def __init__(self, url: str, *, make: bool = True) -> None:
        """Connect to the database; where there is no schema, it is made if ``make`` says so.

        Raises:
            NotFound: there is no schema, and none is to be made.
            Unavailable: it can't be opened, is not ours, or of another version, or a migration into
                it is not finished.
        """
        address = Address.parse(url)
        self._connection = BlockingConnection(address)
        try:
            self._connection.run("opened", _open, address, make)
        except BaseException:
            self._connection.close()
            raise

    def put(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises:
            Conflict: there is one with this id.
        """
        self._connection.run("written", put, key)

    def revoke(self, id: str, tenant: str | None, at: int) -> ApiKey | None:
        """Revoke a key, unless it was revoked before; None where there is none of this tenant."""
        return self._connection.run("written", revoke, id, tenant, at)

    def listed(self, tenant: str | None) -> list[ApiKey]:
        """The keys of one tenant or of all, by their time of creation."""
        return self._connection.run("read", listed, tenant)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _open(connection: Connection, address: Address, make: bool) -> None:
    name = address.schema
    is_new = make and await schema.version(connection, name) is None
    if not is_new:
        await check_version(connection, name)
        await schema.check_whole(connection, name)
    extension = await schema.check_extension(connection, make=is_new)
    await set_up(connection, name, extension)
    if is_new:
        await schema.prepare(connection, name, address.partitions)
