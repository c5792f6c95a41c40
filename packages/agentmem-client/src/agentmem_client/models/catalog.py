"""What memories are kept in: collections, sessions, namespaces."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ._fields import (
    DEFAULT_COLLECTION,
    MAX_LABELS,
    Answer,
    Dimension,
    Embedder,
    Filters,
    Limit,
    Metric,
    Name,
    Namespace,
    Offset,
    Request,
    TimeToLive,
)


class SessionsQuery(Request):
    """Which sessions to list: those with a memory that is meant."""

    collection: Name = DEFAULT_COLLECTION
    user_id: Name | None = None
    agent_id: Name | None = None
    namespace: Namespace | None = None
    filters: Filters = None
    limit: Limit = 100
    after: Name | None = None
    """Only those after this ``session_id``."""


class Session(Answer):
    """The memories of one session that were meant."""

    session_id: str
    memories: int
    first_at: datetime
    """When the first of them was stored."""
    last_at: datetime


class SessionsAnswer(Answer):
    """Sessions, by their ids."""

    sessions: list[Session]
    next_after: str | None = None
    """Where the next page starts; null on the last one."""


class NamespacesQuery(Request):
    """Which namespaces to list. A label ``*`` stands for any one label."""

    collection: Name = DEFAULT_COLLECTION
    prefix: Namespace | None = None
    suffix: Namespace | None = None
    max_depth: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    """Longer ones are cut to so many labels, and each is listed once."""
    limit: Limit = 100
    offset: Offset = 0


class NamespacesAnswer(Answer):
    """Namespaces that hold memories, sorted label by label."""

    namespaces: list[list[str]]


class CollectionInput(Request):
    """How a collection embeds and compares."""

    embedder: Embedder = "server"
    dimension: Dimension | None = None
    """Needed where the embedder is ``client``; otherwise that of the server's model."""
    metric: Metric = "cosine"
    default_ttl: TimeToLive | None = None
    """Seconds to live of a memory that is added with neither ``ttl`` nor ``expires_at``; null: it
    stays. Unlike the rest this may change; left out, a collection that is there keeps its own."""


class Collection(Answer):
    """A named set of memories with one way of embedding."""

    name: str
    embedder: Embedder
    model: str | None = None
    """The server's model that made the vectors."""
    dimension: int
    metric: Metric
    default_ttl: float | None = None
    memories: int
    created_at: datetime


class CollectionsAnswer(Answer):
    """All collections, by name."""

    collections: list[Collection]
