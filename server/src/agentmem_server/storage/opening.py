"""How a store is opened, by its URL: the store, its keys alone, or one state of it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from agentmem_client.errors import InvalidRequest, shown

from ..telemetry.watch import NOBODY, Watch
from .keys import KeyFile
from .store import Snapshot, Store


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections to a database server: how many, and for how many seconds.

    A call waits ``timeout`` for one, and may keep it for ``call_timeout``.
    """

    min_size: int = 5
    max_size: int = 20
    timeout: float = 5.0
    call_timeout: float = 25.0


async def open_store(
    url: str, *, readers: int = 2, pool: Pool | None = None, watch: Watch = NOBODY
) -> Store:
    """Open the store that a URL names, making what isn't there.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or
            ``postgresql://user:password@host:port/database``, with ``?schema=`` for another schema
            than ``agentmem``.
        readers: how many reads of a file run at once.
        pool: the connections to a database server.
        watch: is told how long each operation takes.

    Raises:
        InvalidRequest: for a URL of another kind, or one that needs an extra that isn't there.
        Unavailable: where the store can't be opened; the message says why.
    """
    if is_postgres(url):
        with needing_extra():
            from .postgres import PostgresStore
        return await PostgresStore.open(url, pool=pool or Pool(), watch=watch)
    from .sqlite import SqliteStore

    return await SqliteStore.open(sqlite_path(url), readers=readers, watch=watch)


def open_keys(url: str, *, make: bool = True) -> KeyFile:
    """Open the API keys of the store that a URL names, whether a server runs on it or not.

    Args:
        url: as `open_store` takes it.
        make: make a store that isn't there.

    Raises:
        InvalidRequest: for a URL of another kind than `open_store` takes.
        NotFound: where there is no store, and none is to be made.
        Unavailable: where the store can't be opened; the message says why.
    """
    if is_postgres(url):
        with needing_extra():
            from .postgres.keys import PostgresKeys
        return PostgresKeys(url, make=make)
    from .sqlite.keys import SqliteKeys

    return SqliteKeys(Path(sqlite_path(url)), make=make)


def open_snapshot(url: str) -> AbstractContextManager[Snapshot]:
    """Open one state of the store that a URL names; its server may run and write meanwhile.

    Nothing is made and nothing changes.

    Raises:
        InvalidRequest: for a URL of another kind.
        NotFound: there is no such store. Here or when it is entered.
        Unavailable: where the store can't be read; the message says why. Likewise, or later.
    """
    if is_postgres(url):
        with needing_extra():
            from .postgres import snapshot as of_postgres
        return of_postgres.open_snapshot(url)
    path = sqlite_path(url)
    from .sqlite import snapshot

    return snapshot.open_snapshot(Path(path))


def shown_url(url: str) -> str:
    """A store's URL as logs and messages may have it: without user, password and options."""
    if not is_postgres(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql:"
    _, at, host = parts.netloc.rpartition("@")
    if "@" in url and not at:  # whose is what is before it, nobody can tell
        return "postgresql:"
    schema = dict(parse_qsl(parts.query)).get("schema")
    query = "" if schema is None else f"?{urlencode({'schema': schema})}"
    return f"postgresql://{host}{parts.path}{query}"


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL database."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme in ("postgresql", "postgres")


@contextmanager
def needing_extra() -> Iterator[None]:
    """Say which extra is missing where an import fails of what it would bring.

    Raises:
        InvalidRequest: asyncpg isn't there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise InvalidRequest(
            'PostgreSQL needs an extra: pip install "agentmem-server[postgres]"'
        ) from None


def sqlite_path(url: str) -> str:
    """The path of the file that a URL names.

    Raises:
        InvalidRequest: it names none.
    """
    scheme, separator, path = url.partition(":///")
    if scheme == "sqlite" and separator and path not in ("", ":memory:"):
        return path
    kind = url.partition(":")[0]
    raise InvalidRequest(
        f"no database URL, of the kind {shown(kind)}: use sqlite:///path/to/file.db or "
        "postgresql://user:password@host/database"
    )
