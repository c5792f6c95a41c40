"""What the engine asks of a store, and how one is opened.

A store keeps the memories of all tenants, each in one of the tenant's collections. It answers a
write after it is durable, and every read that starts after that answer sees it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from agentmem_client.errors import APIError, InvalidRequest, shown
from agentmem_client.models import JobStatus

from ..telemetry.watch import NOBODY, Watch
from .jobs import (
    ClaimJobs,
    DeleteJob,
    FinishJob,
    ForgetJobs,
    Job,
    JobsRequest,
    PutJob,
    RenewJobs,
    RetryJob,
)
from .keys import ApiKey, KeyFile
from .reads import (
    LONGEST_TURN,
    LOOKED_AT,
    NEIGHBOURS,
    OPENING,
    Attributes,
    Candidates,
    Event,
    EventPage,
    EventsRequest,
    Figures,
    KeptHits,
    KeptRow,
    ListRequest,
    NamespaceRequest,
    Page,
    Ranked,
    SearchRequest,
    Session,
    Turns,
)
from .records import EVERYBODY, Collection, Embedding, Record, Scope, Selection, Source
from .writes import (
    STALE,
    Archive,
    Delete,
    Deleted,
    DropCollection,
    Erase,
    Erased,
    Forget,
    Learn,
    Learned,
    Outcome,
    Purge,
    Put,
    PutCollection,
    PutKey,
    PutTokens,
    Refresh,
    Restore,
    RevokeKey,
    Stored,
    Sweep,
    Update,
    Write,
    weight,
)

__all__ = [
    "EVERYBODY",
    "LONGEST_TURN",
    "LOOKED_AT",
    "NEIGHBOURS",
    "OPENING",
    "STALE",
    "ApiKey",
    "Archive",
    "AtOnce",
    "Attributes",
    "Candidates",
    "ClaimJobs",
    "Collection",
    "Delete",
    "DeleteJob",
    "Deleted",
    "DropCollection",
    "Embedding",
    "Erase",
    "Erased",
    "Event",
    "EventPage",
    "EventsRequest",
    "Figures",
    "FinishJob",
    "Forget",
    "ForgetJobs",
    "Job",
    "JobsRequest",
    "KeptHits",
    "KeptRow",
    "KeyFile",
    "Learn",
    "Learned",
    "ListRequest",
    "NamespaceRequest",
    "Outcome",
    "Page",
    "Pool",
    "Purge",
    "Put",
    "PutCollection",
    "PutJob",
    "PutKey",
    "PutTokens",
    "Ranked",
    "Record",
    "Refresh",
    "RenewJobs",
    "Restore",
    "RetryJob",
    "RevokeKey",
    "Scope",
    "SearchRequest",
    "Selection",
    "Session",
    "Snapshot",
    "Source",
    "Store",
    "Stored",
    "Sweep",
    "Turns",
    "Update",
    "Write",
    "is_postgres",
    "needing_extra",
    "open_keys",
    "open_snapshot",
    "open_store",
    "shown_url",
    "sqlite_path",
    "weight",
]


class AtOnce(Protocol):
    """Searches that take microseconds, on the event loop's own thread, waiting for nothing."""

    def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""

    def search(self, collection: Collection, request: SearchRequest) -> KeptHits | None:
        """What `Store.search` answers, of what is in memory; None where that is not enough."""


class Store(Protocol):
    """Where memories live. One contract suite in ``tests/`` holds every implementation to it.

    Attributes:
        identity: names the database: the same for all servers of one, and no other's.
        at_once: searches without waiting; None where what is asked is never in memory.
    """

    @property
    def identity(self) -> str:
        """See above."""

    @property
    def at_once(self) -> AtOnce | None:
        """See above."""

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, durably; a refused one is its own outcome and leaves no trace."""

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""

    async def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""

    async def count(self, collection: Collection, scope: Scope = EVERYBODY) -> int:
        """How many memories of a scope it holds."""

    async def get(
        self,
        collection: Collection,
        ids: Sequence[str],
        *,
        scope: Scope = EVERYBODY,
        with_vectors: bool = False,
    ) -> list[Record]:
        """The records of a scope with these ids, in this order; missing ones are skipped."""

    async def page(self, collection: Collection, request: ListRequest) -> Page:
        """One page of the selected records."""

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        """The ranked records with their scores, best first."""

    async def lacking_tokens(
        self, model: str, *, after: tuple[int, int], limit: int
    ) -> list[tuple[Collection, Record]]:
        """Records with vectors that this model of the server's made, and without their tokens.

        Of all tenants, by their collections' keys and their seqs, those after such a pair.
        """

    async def sessions(
        self, collection: Collection, selection: Selection, *, after: str | None, limit: int
    ) -> list[Session]:
        """The sessions that selected records are in, by their ids, those after one."""

    async def namespaces(
        self, collection: Collection, request: NamespaceRequest
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold living records, sorted label by label."""

    async def history(
        self, collection: Collection, id: str, *, user_id: str | None, after: int, limit: int
    ) -> EventPage:
        """Events of one record, and where a user is given of that one's, after an event's id.

        What a record that has expired was is not told. Some megabytes of them come at once.
        """

    async def events(self, tenant: str, request: EventsRequest) -> EventPage:
        """Events of a tenant, by their ids; as for what is told of them, as `history`."""

    async def last_event(self) -> int:
        """The id of the last event of all tenants; 0 before the first."""

    async def forgotten(self) -> int:
        """The id of the last event that is no longer kept; 0 where all are."""

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call this, in the event loop's thread, after each commit that has new events."""

    def on_erase(self, listener: Callable[[str, str], None]) -> None:
        """Call this, likewise, with tenant and user that another server of this store erased."""

    async def figures(self, tenant: str, user_id: str | None, since: int) -> Figures:
        """What there is of a tenant or of one of its users; days from that of ``since`` on."""

    async def key(self, id: str) -> ApiKey | None:
        """One API key, if it is there."""

    async def keys(self, tenant: str | None) -> list[ApiKey]:
        """The API keys of one tenant or of all, by their time of creation."""

    async def has_keys(self) -> bool:
        """Whether there are API keys, be they revoked or expired."""

    async def job(self, tenant: str, id: str) -> Job | None:
        """One job, if it is there."""

    async def jobs(self, tenant: str, request: JobsRequest) -> list[Job]:
        """Jobs of a tenant, the newest first; without ``request`` and ``result``."""

    async def next_job(self) -> int | None:
        """When the next job of all tenants is due: to be tried, or to be taken over."""

    async def job_counts(self) -> Mapping[JobStatus, int]:
        """How many jobs of all tenants there are, by their status."""

    async def version(self, tenant: str, collection: str) -> int:
        """A number that changes with every write to the collection, before the write answers.

        Whichever server wrote; none comes again.
        """

    def checks(self) -> Mapping[str, Callable[[], Any]]:
        """Async functions, by the name of the part, that raise when the part doesn't work."""

    async def close(self) -> None:
        """Finish what was accepted and let go of the files and connections."""


class Snapshot(Protocol):
    """One state of a store, read without being its server. Its methods block."""

    def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""

    def count(self, collection: Collection) -> int:
        """How many living records the collection holds."""

    def records(self, collection: Collection, *, with_vectors: bool) -> Iterator[Record]:
        """The living records, by seq, read as they are asked for."""

    def get(self, collection: Collection, ids: Sequence[str]) -> list[Record]:
        """The records with these ids and their vectors, in this order; missing ones are skipped."""

    def undone_jobs(self, tenant: str) -> int:
        """How many jobs of a tenant wait, run, or have failed."""


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
