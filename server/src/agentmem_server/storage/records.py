"""What a store keeps: records in collections, each of a scope.

Times are integers: microseconds since the Unix epoch, UTC. Vectors are little-endian float32 bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from agentmem_client.errors import DimensionMismatch, EmbedderMismatch
from agentmem_client.filters import Filter
from agentmem_client.models import Embedder, Metric
from pydantic_core import to_json

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
    default_ttl: int | None = None
    """Microseconds that a memory lives which says nothing of it itself."""


class Scope(NamedTuple):
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


EVERYBODY = Scope()
"""No restriction."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record's content comes from.

    ``content`` is how it is said there, where that is not the record's; ``at`` is when it was
    learnt.
    """

    message_ids: list[str]
    content: str | None = None
    at: int | None = None


@dataclass(slots=True)
class Record:
    """One memory as it is stored.

    ``ttl`` is in microseconds. ``vectors`` holds one vector or several, one after the other; empty
    where there is none, None where they were not read or don't change. ``tokens`` go with
    ``vectors`` into the store and are not read back: the signs of token vectors, as
    `embedding.signs` has them, None where none are known. ``seq`` and ``version`` are the store's
    to give. ``rendered`` is how it is answered where somebody has made that: it is of this very
    record, and not taken over by one that is made of it.
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
    sources: list[Source] | None = None
    seq: int = field(default=0, compare=False)
    version: int = field(default=1, compare=False)
    vectors: bytes | None = None
    tokens: bytes | None = field(default=None, compare=False)
    rendered: bytes | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.user_id, self.agent_id, self.session_id, self.namespace)

    def is_expired(self, at: int) -> bool:
        """Whether it is past its expiry at a time."""
        return self.expires_at is not None and self.expires_at <= at

    def is_like(self, other: "Record") -> bool:
        """Whether both hold the same, vectors aside; JSON's true is not 1."""
        return replace(self, vectors=None) == replace(other, vectors=None) and (
            to_json([self.metadata, self.payload]) == to_json([other.metadata, other.payload])
        )

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
        return None if moment is None else _date(moment // times.DAY)

    @property
    def dense_texts(self) -> list[str]:
        """The texts that the record's vectors are of, in order, where the server embeds."""
        date = self.context_date
        return [keywords.dense_text(date, text) for text in self.texts]


@lru_cache(maxsize=1_024)
def _date(day: int) -> str:
    """The day of a number, as it is indexed: a batch says the same one again and again."""
    return keywords.context_date(times.to_datetime(day * times.DAY))


class Selection(NamedTuple):
    """The records that meet every criterion that is given."""

    scope: Scope = EVERYBODY
    filter: Filter | None = None
    ids: Sequence[str] | None = None
