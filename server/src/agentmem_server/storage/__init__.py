"""What the engine asks of a store, and how one is opened.

A store keeps the memories of all tenants, each in one of the tenant's collections. It answers a
write after it is durable, and every read that starts after that answer sees it.

Times are integers: microseconds since the Unix epoch, UTC. Vectors are little-endian float32 bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from agentmem_client.errors import APIError, DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_client.filters import Filter
from agentmem_client.models import Embedder, Metric, Order, OrderBy
from numpy.typing import NDArray

from .. import keywords, times


@dataclass(frozen=True, slots=True)
class Embedding:
    """How a collection embeds and compares: who makes the vectors, how long they are."""

    embedder: Embedder
    model: str | None
    dimension: int
    metric: Metric

    def check_given(self, given: "Embedding") -> None:
        """Refuse vectors that this way of embedding can't be compared with.

        Raises:
            EmbedderMismatch: made by another side, or by another model.
            DimensionMismatch: of another length.
        """
        if self.embedder != given.embedder:
            raise EmbedderMismatch(
                "this collection's vectors come from the caller: give an embedding"
                if self.embedder == "client"
                else "this collection's vectors are made by the server: give no embedding, or use "
                "a collection that was created with embedder 'client'"
            )
        if self.model != given.model:
            raise EmbedderMismatch(
                f"this collection was embedded by {self.model!r}, and the server now runs "
                f"{given.model!r}: start it with the first one, or add the memories to a new "
                "collection"
            )
        if self.dimension != given.dimension:
            raise DimensionMismatch(
                f"this collection's vectors have {self.dimension} numbers, not {given.dimension}",
                details={"expected": self.dimension, "given": given.dimension},
            )


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the store knows it."""

    key: int
    tenant: str
    name: str
    embedding: Embedding
    created_at: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memories, and in which namespace or below it; None is no restriction."""

    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    namespace: tuple[str, ...] | None = None

    def items(self) -> list[tuple[str, str]]:
        """The fields that restrict to one value, as (name, value)."""
        named = (
            ("user_id", self.user_id),
            ("agent_id", self.agent_id),
            ("session_id", self.session_id),
        )
        return [(name, value) for name, value in named if value is not None]


@dataclass(slots=True)
class Record:
    """One memory as it is stored.

    ``ttl`` is in microseconds. ``vectors`` holds one vector or several, one after the other; empty
    where there is none, None where they were not read or don't change. ``seq`` is the store's to
    give.
    """

    id: str
    content: str
    metadata: dict[str, Any]
    user_id: str | None
    agent_id: str | None
    session_id: str | None
    type: str | None
    importance: float | None
    event_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int
    payload: Any = None
    namespace: tuple[str, ...] | None = None
    ttl: int | None = None
    archived: bool = False
    index_texts: list[str] | None = None
    seq: int = field(default=0, compare=False)
    vectors: bytes | None = None

    @property
    def texts(self) -> list[str]:
        """What it is found by: texts of the author's choice, or its content."""
        return [self.content] if self.index_texts is None else self.index_texts

    @property
    def context_date(self) -> str | None:
        """The day that is indexed with the texts: when it happened; of a turn, was said."""
        moment = self.event_at
        if moment is None and self.session_id is not None:
            moment = self.created_at
        return None if moment is None else keywords.context_date(times.to_datetime(moment))

    @property
    def dense_texts(self) -> list[str]:
        """The texts that the record's vectors are of, in order, where the server embeds."""
        date = self.context_date
        return [keywords.dense_text(date, text) for text in self.texts]


@dataclass(frozen=True, slots=True)
class Put:
    """Store records in one step, all or none; a record with a known id replaces that one.

    Answers ``list[Stored]``. The collection is made with ``embedding`` if it isn't there; one that
    is there must embed alike, unless none of the records has a vector. What ``replacing`` selects
    is deleted first, in the same step.
    """

    tenant: str
    collection: str
    embedding: Embedding
    records: Sequence[Record]
    replacing: "Selection | None" = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A record after it was stored, and whether it was new."""

    record: Record
    created: bool


@dataclass(frozen=True, slots=True)
class Update:
    """Change fields of one record. Answers the `Record`, or None where there is none.

    Where the server embeds, ``texts`` is what the record's `Record.dense_texts` will be; its
    vectors, the new ones or else those that are there, are of these texts. Where another write came
    between and they no longer are, or where new vectors find a record that has no texts, nothing
    changes and the answer is `STALE`. So it is where ``found_by`` is given, for vectors of the
    caller's that stay, and `Record.texts` were or would be others.
    """

    tenant: str
    collection: str
    id: str
    changes: Mapping[str, Any]
    updated_at: int
    embedding: Embedding | None = None
    vectors: bytes | None = None
    texts: Sequence[str] | None = None
    found_by: Sequence[str] | None = None


STALE: Final = "stale"
"""An update was prepared for a record that has changed since: read it again, prepare again."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The records that meet every criterion that is given."""

    scope: Scope = field(default_factory=Scope)
    filter: Filter | None = None
    ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the selected records. Answers `Deleted`, with the records where ``returning``."""

    tenant: str
    collection: str
    selection: Selection
    returning: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many records were deleted, and which, by seq, where that was asked for."""

    count: int
    records: list[Record] | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """Set the selected records aside, or take them back.

    Answers those that changed (``list[Record]``), by seq.
    """

    tenant: str
    collection: str
    selection: Selection
    archived: bool


@dataclass(frozen=True, slots=True)
class Refresh:
    """Start the time to live of records anew, at a time; those without one stay as they are.

    Answers how many were refreshed (int).
    """

    tenant: str
    collection: str
    ids: Sequence[str]
    at: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Delete records of all tenants that expired by a time: ``limit`` at most of a collection.

    They are hidden already, so that no read changes by it. Answers how many (int).
    """

    now: int
    limit: int


@dataclass(frozen=True, slots=True)
class PutCollection:
    """Make a collection, or find it there as asked for. Answers the `Collection`."""

    tenant: str
    name: str
    embedding: Embedding
    created_at: int


@dataclass(frozen=True, slots=True)
class DropCollection:
    """Delete a collection and its memories. Answers how many these were (int)."""

    tenant: str
    name: str


Write: TypeAlias = (
    Put | Update | Delete | Archive | Refresh | Sweep | PutCollection | DropCollection
)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of a listing.

    ``after`` is where the last page ended: the order's value and the record's seq.
    """

    selection: Selection
    order_by: OrderBy
    order: Order
    limit: int
    offset: int = 0
    after: tuple[int, int] | None = None
    with_total: bool = True
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order; ``next`` is what the following page comes ``after``."""

    records: list[Record]
    total: int | None
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session: how many of its records are selected, and when the first and last was stored."""

    id: str
    count: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class NamespaceRequest:
    """Which namespaces to list; a pattern's None is any one label."""

    prefix: Sequence[str | None] = ()
    suffix: Sequence[str | None] = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the channels of a search found, for ranking.

    ``ids`` (n,) int64 is everything that either channel found and ``similarities`` (n,) what the
    collection's metric says of each, NaN where there is no vector to compare; ``keyword_ids`` (m,)
    and ``keyword_scores`` (m,), BM25, larger is better, is the keyword channel. ``vectors`` gives
    the vectors (k, dimension), of length 1, of any k of the ids; of several, the first.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float64]
    keyword_ids: NDArray[np.int64]
    keyword_scores: NDArray[np.float64]
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]]


Ranked: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Ids of the winners and their scores, best first."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Candidates by vector, by keywords or by both, all under one selection.

    ``depth`` is how many each channel brings; ``rank`` chooses among them. It runs inside the
    store's read, so that candidates and answer come from the same snapshot, and does no I/O.
    """

    selection: Selection
    vector: bytes | None
    terms: Sequence[str]
    depth: int
    rank: Callable[[Candidates], Ranked]
    with_vectors: bool = False


Outcome: TypeAlias = Any
"""What a write answers (see each), or the `APIError` that refused it."""


class Store(Protocol):
    """Where memories live. One contract suite in ``tests/`` holds every implementation to it."""

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, durably; a refused one is its own outcome and leaves no trace."""

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""

    async def collections(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""

    async def count(self, collection: Collection) -> int:
        """How many memories it holds."""

    async def get(
        self, collection: Collection, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Record]:
        """The records with these ids, in this order; missing ones are skipped."""

    async def page(self, collection: Collection, request: ListRequest) -> Page:
        """One page of the selected records."""

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        """The ranked records with their scores, best first."""

    async def sessions(
        self, collection: Collection, selection: Selection, *, after: str | None, limit: int
    ) -> list[Session]:
        """The sessions that selected records are in, by their ids, those after one."""

    async def namespaces(
        self, collection: Collection, request: NamespaceRequest
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold living records, sorted label by label."""

    async def version(self, tenant: str, collection: str) -> int:
        """A number that changes with every write to the collection, before the write answers."""

    def checks(self) -> Mapping[str, Callable[[], Any]]:
        """Async functions, by the name of the part, that raise when the part doesn't work."""

    async def close(self) -> None:
        """Finish what was accepted and let go of the files and connections."""


async def open_store(url: str, *, readers: int) -> Store:
    """Open the store that a URL names, making what isn't there.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.
        readers: how many reads run at once.

    Raises:
        InvalidRequest: for a URL of another kind.
        Unavailable: where the store can't be opened; the message says why.
    """
    scheme, separator, path = url.partition(":///")
    if scheme == "sqlite" and separator and path not in ("", ":memory:"):
        from .sqlite import SqliteStore

        return await SqliteStore.open(path, readers=readers)
    raise InvalidRequest(f"no database URL: {url!r}; use sqlite:///path/to/file.db")
