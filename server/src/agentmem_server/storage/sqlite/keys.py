"""API keys in the file: read and written by a server, and beside it by another process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
from agentmem_client.errors import Conflict, NotFound, Unavailable, shown
from filelock import Timeout
from pydantic_core import from_json, to_json

from ..keys import ApiKey
from . import schema

_COLUMNS = (
    "id, digest, tenant, name, scopes, user_id, rate_limit, created_at, expires_at, revoked_at"
)


def get(connection: apsw.Connection, id: str) -> ApiKey | None:
    """One key."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM api_key WHERE id = ?", (id,)).fetchone()
    return None if found is None else _key(found)


def listed(connection: apsw.Connection, tenant: str | None) -> list[ApiKey]:
    """The keys of one tenant or of all, by their time of creation."""
    condition, parameters = ("", ()) if tenant is None else ("WHERE tenant = ?", (tenant,))
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM api_key {condition} ORDER BY created_at, id", parameters
    )
    return [_key(row) for row in found]


def any_there(connection: apsw.Connection) -> bool:
    """Whether there are keys, whatever became of them."""
    return connection.execute("SELECT 1 FROM api_key LIMIT 1").fetchone() is not None


def put(connection: apsw.Connection, key: ApiKey) -> None:
    """Keep a new key.

    Raises:
        Conflict: there is one with this id.
    """
    connection.execute(
        f"INSERT INTO api_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        (
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
        ),
    )
    if not connection.changes():
        raise Conflict(f"there is an API key {shown(key.id)}: choose another id")


def revoke(connection: apsw.Connection, id: str, tenant: str | None, at: int) -> ApiKey | None:
    """Revoke a key, unless it was revoked before; None where there is none of this tenant."""
    found = get(connection, id)
    if found is None or tenant not in (None, found.tenant):
        return None
    connection.execute(
        "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, id)
    )
    return get(connection, id)


def _key(row: Any) -> ApiKey:
    id, digest, tenant, name, scopes, *rest = row
    return ApiKey(id, digest, tenant, name, frozenset(from_json(scopes)), *rest)


class SqliteKeys:
    """The keys in a file that a server may have open; a context manager. Every method blocks."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        """Open the file, making it if it isn't there and ``make`` is.

        Raises:
            NotFound: it isn't there, and is not to be made.
            Unavailable: it can't be opened, is not ours, or a server of another version has it.
        """
        schema.check_sqlite(apsw.sqlite_lib_version())
        path = path.resolve()
        try:
            if not make and not path.exists():
                raise NotFound(f"there is no database {path}: `agentmem keys create` makes one")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = schema.connect(path)
            try:
                if not schema.is_current(self._connection):
                    _prepare(self._connection, path)
            except BaseException:
                self._connection.close()
                raise
        except (OSError, apsw.Error) as error:
            raise Unavailable(f"the database {path} can't be opened: {error}") from error

    def put(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises:
            Conflict: there is one with this id.
        """
        with self._transaction():
            put(self._connection, key)

    def revoke(self, id: str, tenant: str | None, at: int) -> ApiKey | None:
        """Revoke a key, unless it was revoked before; None where there is none of this tenant."""
        with self._transaction():
            return revoke(self._connection, id, tenant, at)

    def listed(self, tenant: str | None) -> list[ApiKey]:
        """The keys of one tenant or of all, by their time of creation."""
        try:
            return listed(self._connection, tenant)
        except apsw.Error as error:
            raise Unavailable(f"the database could not be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise Unavailable(f"the database could not be written: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
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


def _prepare(connection: apsw.Connection, path: Path) -> None:
    lock = schema.server_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Unavailable(
            f"an AgentMem server of another version has {path} open: stop it, or use its own "
            "`agentmem keys`"
        ) from None
    try:
        schema.prepare(connection, path)
    finally:
        lock.release()
