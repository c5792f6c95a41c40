"""What a write may do, and how it is refused; the same in every store."""

from dataclasses import replace
from typing import Any

from agentmem_client.errors import Conflict, InvalidRequest, NotFound, VersionConflict, shown

from .records import Collection, Embedding, Record
from .writes import Restore, Update


def updated(before: Record, write: Update) -> Record | None:
    """What an update makes of a record; None where it was prepared for another state of it.

    See `Update` on when that is.
    """
    after = replace(
        before,
        **write.changes,
        updated_at=write.updated_at,
        vectors=write.vectors,
        tokens=write.tokens,
    )
    if write.vectors and not after.texts:
        return None
    if write.found_by is not None and not write.found_by == before.texts == after.texts:
        return None
    if write.texts is not None:
        kept = write.texts if write.vectors is not None else before.dense_texts
        if not write.texts == kept == after.dense_texts:
            return None
    return after


def id_in_use() -> Conflict:
    """The refusal to replace what another user has under an id."""
    return Conflict("the id is in use in this collection: choose another")


def version_conflict(expected: int, actual: int) -> VersionConflict:
    """The refusal to change a record that has changed meanwhile."""
    return VersionConflict(
        f"the memory is of version {actual} by now, not {expected}: read it again, and repeat the "
        "change if it still makes sense",
        details={"expected": expected, "actual": actual},
    )


def other_settings(found: Collection, requested: Embedding) -> Conflict:
    """The refusal to make a collection that is there and embeds in another way."""
    return Conflict(
        f"the collection {shown(found.name)} exists with other settings: delete it "
        "first, or use another name",
        details={"existing": _described(found.embedding), "requested": _described(requested)},
    )


def no_version(asked: Restore) -> NotFound:
    """The refusal of what the history doesn't know."""
    return NotFound(
        f"the history of the memory {shown(asked.id)} has no version {asked.version}: list it"
    )


def not_kept(asked: Restore) -> NotFound:
    """The refusal of a version of which the history no longer knows what it was."""
    return NotFound(
        f"what the memory {shown(asked.id)} was in version {asked.version} is no longer kept"
    )


def was_not_there(asked: Restore) -> InvalidRequest:
    """The refusal of a version in which there was no record."""
    return InvalidRequest(
        f"the memory {shown(asked.id)} was not there in version {asked.version}: choose one in "
        "which it was"
    )


def _described(embedding: Embedding) -> dict[str, Any]:
    return {
        "embedder": embedding.embedder,
        "model": embedding.model,
        "dimension": embedding.dimension,
        "metric": embedding.metric,
    }
