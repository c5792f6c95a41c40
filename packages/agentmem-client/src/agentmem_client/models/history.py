"""What became of memories: their history, the feed of all changes, and its end."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from ._fields import MAX_VERSION, Answer, EventId, Limit, Name, Request, Scope
from .memories import CollectionQuery, Memory

Action = Literal["added", "updated", "deleted", "expired", "erased"]
"""What became of a memory."""


class Event(Answer):
    """One change of one memory.

    A memory that changes its scope is deleted there and added here: two events.
    """

    id: int
    """Grows with each change; gaps mean nothing."""
    action: Action
    """``expired`` and ``erased`` say that something is gone, and nothing of what it was."""
    at: datetime
    collection: str | None = None
    memory_id: str | None = None
    """Null of ``erased``: all memories of the user, and their history."""
    version: int | None = None
    """The memory's, from this event on."""
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    namespace: list[str] | None = None
    before: Memory | None = None
    """As it was; null where it was not there, or what it was is no longer kept."""
    after: Memory | None = None
    """As it was then; null where it was gone, or what it was is no longer kept."""


class HistoryQuery(CollectionQuery):
    """Which part of a memory's history to list, the oldest event first."""

    limit: Limit = 100
    after: EventId = 0
    """Only events after this one."""


class HistoryAnswer(Answer):
    """Events of one memory, the oldest first."""

    events: list[Event]
    next_after: int | None = None
    """Where the next page starts; null on the last one."""


class EventsQuery(Scope):
    """Which changes to follow, and from where on."""

    collection: Name | None = None
    """Left out: all collections."""
    after: EventId | None = None
    """Only events after this one, 0: all that are kept; left out: only what happens from now on.
    The header ``Last-Event-ID`` goes before it."""


class RestoreRequest(Request):
    """To which of its states a memory goes back."""

    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    """One of its history's, in which it was there."""


class ErasedAnswer(Answer):
    """The receipt of an erasure: nothing of it is left in memories, history or caches."""

    user_id: str
    memories: int
    """How many were deleted."""
    events: int
    """How many events of the history were removed."""
    collections: int
    """In how many collections something was deleted."""
    erased_at: datetime
