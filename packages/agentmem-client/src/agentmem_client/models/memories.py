"""Memories: stored, got, listed, changed, deleted."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..ids import new_id
from ._fields import (
    DEFAULT_COLLECTION,
    MAX_BATCH,
    MAX_IDS,
    MAX_SOURCE_IDS,
    MAX_SOURCES,
    Answer,
    Filters,
    Importance,
    IndexTexts,
    Limit,
    Metadata,
    Name,
    Offset,
    Order,
    OrderBy,
    PackedVector,
    PackedVectors,
    Payload,
    Request,
    SchemaOf,
    Scope,
    Text,
    Time,
    TimeToLive,
)
from .errors import ErrorBody


class SourceInput(Request):
    """Where a memory's content comes from."""

    message_ids: Annotated[list[Name], Field(max_length=MAX_SOURCE_IDS)]
    """The messages that say it."""
    content: Text | None = None
    """How they say it, where that is not the memory's content."""
    at: Time | None = None
    """When it was learnt of them."""


class Source(Answer):
    """Where a memory's content comes from."""

    message_ids: list[str]
    """The messages that say it."""
    content: str | None = None
    """How they say it, where that is not the memory's content."""
    at: datetime | None = None
    """When it was learnt of them."""


class MemoryInput(Scope):
    """A memory as its author gives it."""

    id: Name = Field(default_factory=new_id)
    """Any string; a memory with this id in the collection is replaced."""
    collection: Name = DEFAULT_COLLECTION
    content: Text
    """Stored as given; may be empty where the caller gives the vector."""
    metadata: Metadata = Field(default_factory=dict)
    payload: Payload = None
    """Any JSON; comes back as given, and neither searches nor filters look into it."""
    type: Name | None = None
    """A word of the caller's for the kind of memory, such as ``semantic`` or ``episodic``."""
    importance: Importance | None = None
    event_at: Time | None = None
    """When what the memory tells of happened; a search for a date finds it."""
    expires_at: Time | None = None
    """From then on nothing returns the memory. Where neither it nor ``ttl`` is given, the
    collection's ``default_ttl`` counts; null: the memory stays."""
    ttl: TimeToLive | None = None
    """Seconds to live, in place of ``expires_at``; a read with ``refresh_ttl`` starts them anew."""
    archived: bool = False
    """Set aside: kept and found, and told apart by the filter ``@archived``."""
    index_texts: IndexTexts | None = None
    """What it is found by, in place of the content: the server embeds each text, and the best one
    counts. An empty list: no search finds it, only ids and listings do."""
    sources: Annotated[list[SourceInput], Field(max_length=MAX_SOURCES)] | None = None
    """Where it comes from; `/memories/extract` says so of what it stores."""
    embedding: PackedVector | None = None
    """The vector, in a collection whose embedder is ``client``."""
    embeddings: PackedVectors | None = None
    """Several vectors in place of one, all of the same length: the best one counts."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        _check_alternatives(self)
        return self


class MemoryUpdate(Request):
    """The fields to change; null clears one, and what is left out stays."""

    content: Text | None = None
    metadata: Metadata | None = None
    """Replaces the whole metadata; null makes it empty."""
    type: Name | None = None
    importance: Importance | None = None
    event_at: Time | None = None
    expires_at: Time | None = None
    ttl: TimeToLive | None = None
    """Lives so many seconds from now on; null: no longer, and ``expires_at`` is cleared too."""
    payload: Payload = None
    archived: bool | None = None
    index_texts: IndexTexts | None = None
    embedding: PackedVector | None = None
    embeddings: PackedVectors | None = None

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        _check_alternatives(self)
        return self


def _check_alternatives(given: MemoryInput | MemoryUpdate) -> None:
    if given.embedding is not None and given.embeddings is not None:
        raise ValueError("give embedding or embeddings, not both")
    if given.index_texts == [] and (given.embedding is not None or given.embeddings is not None):
        raise ValueError("index_texts=[]: no search finds it; give no embedding with it")
    if given.ttl is not None and given.expires_at is not None:
        raise ValueError("give ttl or expires_at, not both: ttl says when it expires")


class Memory(Answer):
    """One record, as it is stored."""

    id: str
    seq: int = 0
    """Grows in the order in which memories are first stored; gaps mean nothing."""
    version: int = 1
    """Grows by one with each change, deletions and their repair included."""
    collection: str
    content: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    payload: Any = None
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    namespace: list[str] | None = None
    type: str | None = None
    importance: float | None = None
    event_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: float | None = None
    archived: bool = False
    created_at: datetime
    updated_at: datetime
    index_texts: list[str] | None = None
    sources: list[Source] | None = None
    embedding: list[float] | None = None
    """Only where ``include_embeddings`` asked for it; of several, the first."""
    embeddings: list[list[float]] | None = None
    """All of them, where there are several."""


class Criteria(Scope):
    """Which memories are meant: those that meet every criterion given, and at least one is."""

    collection: Name = DEFAULT_COLLECTION
    ids: Annotated[list[Name], Field(max_length=MAX_IDS)] | None = None
    filters: Filters = None
    everything: bool = False
    """True, and no other criterion: the whole collection."""


class BatchRequest(Request):
    """Memories to store, each judged singly unless ``atomic``."""

    memories: Annotated[list[Annotated[Any, SchemaOf(MemoryInput)]], Field(max_length=MAX_BATCH)]
    atomic: bool = False
    """True: all of them in one transaction, or none."""
    replacing: Criteria | None = None
    """With ``atomic``: these are deleted first, in the same transaction."""


class AddResult(Answer):
    """What became of one memory of a batch."""

    id: str | None
    """Null only where the item had no readable id."""
    status: Literal["stored", "updated", "failed"]
    error: ErrorBody | None = None


class BatchAnswer(Answer):
    """One outcome an item, in the order of the request."""

    results: list[AddResult]


class CollectionQuery(Request):
    """Which collection the memory of the path is in."""

    collection: Name = DEFAULT_COLLECTION


class GetQuery(CollectionQuery):
    """How to answer a memory."""

    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts its ``ttl`` anew."""


class GetManyRequest(Request):
    """Memories by their ids; missing ones are skipped."""

    ids: Annotated[list[Name], Field(max_length=MAX_IDS)]
    collection: Name = DEFAULT_COLLECTION
    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class MemoriesAnswer(Answer):
    """Memories, in the order of the ids that were asked for."""

    memories: list[Memory]


class ListQuery(Scope):
    """Which memories to list, in which order, from where on."""

    collection: Name = DEFAULT_COLLECTION
    filters: Filters = None
    order_by: OrderBy = "seq"
    """``seq`` is the order in which the memories were first stored."""
    order: Order = "asc"
    limit: Limit = 100
    offset: Offset = 0
    cursor: str | None = None
    """Where the last page ended; unlike an offset it stays right while others write."""
    include_embeddings: bool = False
    include_total: bool = True
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class PageAnswer(Answer):
    """One page of a listing."""

    memories: list[Memory]
    total: int | None = None
    """How many memories the filter admits, on all pages."""
    next_cursor: str | None = None
    """Null on the last page."""


class DeleteRequest(Criteria):
    """Which memories to delete."""

    include_memories: bool = False
    """Answer what was deleted."""


class DeletedAnswer(Answer):
    """How many memories were deleted."""

    deleted: int


class DeletedMemories(DeletedAnswer):
    """How many memories were deleted, and which."""

    memories: list[Memory] | None = None
    """In the order in which they were first stored, where ``include_memories`` asked for it."""


class ArchiveRequest(Criteria):
    """Which memories to set aside, or to take back."""

    archived: bool = True


class ArchivedAnswer(Answer):
    """The memories that were set aside or taken back, in the order of their first storing."""

    memories: list[Memory]
