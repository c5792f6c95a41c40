"""What the engine asks of a store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from agentmem_client.errors import APIError
from agentmem_client.models import JobStatus

from .jobs import Job, JobsRequest
from .keys import ApiKey
from .reads import (
    EventPage,
    EventsRequest,
    Figures,
    KeptHits,
    ListRequest,
    NamespaceRequest,
    Page,
    SearchRequest,
    Session,
)
from .records import EVERYBODY, Collection, Record, Scope, Selection
from .writes import Outcome, Write


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
