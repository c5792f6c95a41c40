"""Between the wire's memories and the store's records."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, TypeAlias

from agentmem_client.errors import InvalidRequest
from agentmem_client.models import (
    Event,
    Memory,
    MemoryInput,
    MemoryUpdate,
    Source,
    SourceInput,
)
from agentmem_client.vectors import unpack
from pydantic_core import to_json

from .. import storage, times
from ..storage import Collection, Record

_NO_EXTRA = {"__pydantic_extra__": None, "__pydantic_private__": None}


def to_record(memory: MemoryInput, now: int, default_ttl: int | None = None) -> Record:
    """A memory as it will be stored at a time in microseconds, its vectors only if they came.

    ``default_ttl`` (microseconds) counts where the memory says nothing of its expiry.
    """
    ttl = None if memory.ttl is None else times.from_seconds(memory.ttl)
    if not memory.model_fields_set & {"ttl", "expires_at"}:
        ttl = default_ttl
    return Record(
        id=memory.id,
        content=memory.content,
        metadata=memory.metadata,
        user_id=memory.user_id,
        agent_id=memory.agent_id,
        session_id=memory.session_id,
        type=memory.type,
        importance=memory.importance,
        event_at=None if memory.event_at is None else times.to_microseconds(memory.event_at),
        expires_at=_expiry(memory.expires_at, ttl, now),
        created_at=now,
        updated_at=now,
        payload=memory.payload,
        namespace=None if memory.namespace is None else tuple(memory.namespace),
        ttl=ttl,
        archived=memory.archived,
        index_texts=memory.index_texts,
        sources=None if memory.sources is None else [_source(one) for one in memory.sources],
        vectors=given_vectors(memory),
    )


def _source(source: SourceInput) -> storage.Source:
    at = None if source.at is None else times.to_microseconds(source.at)
    return storage.Source(source.message_ids, source.content, at)


def _to_source(source: storage.Source) -> Source:
    at = None if source.at is None else times.to_datetime(source.at)
    return Source.model_construct(message_ids=source.message_ids, content=source.content, at=at)


def given_vectors(memory: MemoryInput | MemoryUpdate) -> bytes | None:
    """The vectors that came along, one after the other; None where there are none."""
    return memory.embedding if memory.embeddings is None else b"".join(memory.embeddings)


def _expiry(expires_at: datetime | None, ttl: int | None, now: int) -> int | None:
    if ttl is not None:
        return now + ttl
    return None if expires_at is None else times.to_microseconds(expires_at)


def to_memory(record: Record, collection: str, *, dimension: int | None = None) -> Memory:
    """A record as it is answered, with its vectors where their dimension is given."""
    fields = _fields(record, collection, dimension)
    memory = Memory.__new__(Memory)
    # As it is unpickled: `model_construct` looks at each field for a default, 5 us in place of 2.
    memory.__setstate__({"__dict__": fields, "__pydantic_fields_set__": set(fields), **_NO_EXTRA})
    return memory


def to_hit(
    record: Record, collection: str, score: float, *, dimension: int | None = None
) -> dict[str, Any]:
    """The fields of a `Hit`, in their order: making ten of the models would take 60 µs.

    The vectors are among them where their dimension is given.
    """
    return {**_fields(record, collection, dimension), "score": score}


def rendered(record: Record, collection: str) -> bytes:
    """The JSON of a `Hit` without vectors, up to where its score is to follow, and then ``}``."""
    return to_json(_fields(record, collection, None), inf_nan_mode="null")[:-1] + b',"score":'


def with_scores(
    parts: Iterable[bytes], scores: Sequence[float]
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The JSON, in parts, of hits of which the score was missing."""
    texts = to_json(scores, inf_nan_mode="null")[1:-1].split(b",")
    return zip(parts, texts, repeat(b"}"), strict=False)


def to_answer(hits: Iterable[tuple[bytes, ...]]) -> bytes:
    """The JSON of a `SearchAnswer`, of that of its hits in parts: megabytes, copied once."""
    parts = [b'{"hits":[']
    for hit in hits:
        parts += hit
        parts.append(b",")
    if len(parts) > 1:
        parts.pop()
    parts.append(b"]}")
    return b"".join(parts)


def _fields(record: Record, collection: str, dimension: int | None) -> dict[str, Any]:
    vectors = [] if dimension is None else _vectors(record.vectors or b"", dimension)
    return {
        "id": record.id,
        "seq": record.seq,
        "version": record.version,
        "collection": collection,
        "content": record.content,
        "metadata": record.metadata,
        "payload": record.payload,
        "user_id": record.user_id,
        "agent_id": record.agent_id,
        "session_id": record.session_id,
        "namespace": None if record.namespace is None else list(record.namespace),
        "type": record.type,
        "importance": record.importance,
        "event_at": None if record.event_at is None else times.to_datetime(record.event_at),
        "expires_at": None if record.expires_at is None else times.to_datetime(record.expires_at),
        "ttl": to_seconds(record.ttl),
        "archived": record.archived,
        "created_at": times.to_datetime(record.created_at),
        "updated_at": times.to_datetime(record.updated_at),
        "index_texts": record.index_texts,
        "sources": None if record.sources is None else [_to_source(one) for one in record.sources],
        "embedding": vectors[0] if vectors else None,
        "embeddings": vectors if len(vectors) > 1 else None,
    }


def to_event(event: storage.Event) -> Event:
    """An event as it is answered, without vectors."""

    def state(record: Record | None) -> Memory | None:
        return None if record is None else to_memory(record, event.collection or "")

    scope = event.scope
    return Event.model_construct(
        id=event.id,
        action=event.action,
        at=times.to_datetime(event.at),
        collection=event.collection,
        memory_id=event.record_id,
        version=event.version,
        user_id=scope.user_id,
        agent_id=scope.agent_id,
        session_id=scope.session_id,
        namespace=None if scope.namespace is None else list(scope.namespace),
        before=state(event.before),
        after=state(event.after),
    )


def to_seconds(microseconds: int | None) -> float | None:
    """A duration as it is answered."""
    return None if microseconds is None else microseconds / 1_000_000


def _vectors(data: bytes, dimension: int) -> list[list[float]]:
    length = 4 * dimension
    return [unpack(data[start : start + length]) for start in range(0, len(data), length)]


Changes: TypeAlias = dict[str, Any]
"""The fields of a record that an update gives a new value."""


_VECTORS = {"embedding", "embeddings"}


def to_changes(update: MemoryUpdate, now: int) -> Changes:
    """An update at a time as fields of the record; the vectors are not among them.

    Raises:
        InvalidRequest: when it changes nothing, or clears what can't be empty.
    """
    given = update.model_fields_set
    if not given:
        raise InvalidRequest("give at least one field to change")
    for name in ("content", "archived", *_VECTORS):
        if name in given and getattr(update, name) is None:
            raise InvalidRequest(f"{name} can't be null: leave it out to keep it")
    changes: Changes = {name: getattr(update, name) for name in given - _VECTORS}
    if changes.get("event_at") is not None:
        changes["event_at"] = times.to_microseconds(changes["event_at"])
    if given & {"ttl", "expires_at"}:  # each says when it expires, and the last word counts
        changes["ttl"] = None if update.ttl is None else times.from_seconds(update.ttl)
        changes["expires_at"] = _expiry(update.expires_at, changes["ttl"], now)
    if changes.get("metadata", {}) is None:
        changes["metadata"] = {}
    return changes


def answered_dimension(collection: Collection | None, with_vectors: bool) -> int | None:
    """The dimension of vectors where they are answered."""
    return collection.embedding.dimension if collection is not None and with_vectors else None
