"""Between the wire's memories and the store's records."""

from typing import Any, TypeAlias

from agentmem_client.errors import InvalidRequest
from agentmem_client.models import Hit, Memory, MemoryInput, MemoryUpdate
from agentmem_client.vectors import unpack

from . import times
from .storage import Record


def to_record(memory: MemoryInput, now: int) -> Record:
    """A memory as it will be stored at a time in microseconds, its vector only if it came along."""
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
        expires_at=None if memory.expires_at is None else times.to_microseconds(memory.expires_at),
        created_at=now,
        updated_at=now,
        vector=memory.embedding,
    )


def to_memory(record: Record, collection: str, *, with_vector: bool) -> Memory:
    """A record as it is answered."""
    return Memory.model_construct(**_fields(record, collection, with_vector))


def to_hit(record: Record, collection: str, score: float, *, with_vector: bool) -> Hit:
    """A found record as it is answered."""
    return Hit.model_construct(**_fields(record, collection, with_vector), score=score)


def _fields(record: Record, collection: str, with_vector: bool) -> dict[str, Any]:
    def instant(moment: int | None) -> Any:
        return None if moment is None else times.to_datetime(moment)

    return {
        "id": record.id,
        "collection": collection,
        "content": record.content,
        "metadata": record.metadata,
        "user_id": record.user_id,
        "agent_id": record.agent_id,
        "session_id": record.session_id,
        "type": record.type,
        "importance": record.importance,
        "event_at": instant(record.event_at),
        "expires_at": instant(record.expires_at),
        "created_at": instant(record.created_at),
        "updated_at": instant(record.updated_at),
        "embedding": unpack(record.vector) if with_vector and record.vector else None,
    }


Changes: TypeAlias = dict[str, Any]
"""The fields of a record that an update gives a new value."""


def to_changes(update: MemoryUpdate) -> Changes:
    """An update as fields of the record; the embedding is not among them.

    Raises:
        InvalidRequest: when it changes nothing, or clears what can't be empty.
    """
    given = update.model_fields_set
    if not given:
        raise InvalidRequest("give at least one field to change")
    for name in ("content", "embedding"):
        if name in given and getattr(update, name) is None:
            raise InvalidRequest(f"{name} can't be null: leave it out to keep it")
    changes: Changes = {name: getattr(update, name) for name in given - {"embedding"}}
    for name in ("event_at", "expires_at"):
        if changes.get(name) is not None:
            changes[name] = times.to_microseconds(changes[name])
    if changes.get("metadata", {}) is None:
        changes["metadata"] = {}
    return changes
