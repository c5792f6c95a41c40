"""What a store is asked to change; each write is one step, all or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic_core import to_json

from .jobs import ClaimJobs, DeleteJob, FinishJob, ForgetJobs, PutJob, RenewJobs, RetryJob
from .keys import ApiKey
from .records import Embedding, Record, Selection


@dataclass(frozen=True, slots=True)
class Put:
    """Store records in one step, all or none; a record with a known id replaces that one.

    Answers ``list[Stored]``. The collection is made with ``embedding`` if it isn't there; one that
    is there must embed alike, unless none of the records has a vector. What ``replacing`` selects
    is deleted first, in the same step. With ``user_id``, a record of another user's is not replaced
    (`Conflict`). ``at`` is when it is written, where that is not when the records were changed.
    """

    tenant: str
    collection: str
    embedding: Embedding
    records: Sequence[Record]
    replacing: Selection | None = None
    user_id: str | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A record after it was stored, and whether it was new."""

    record: Record
    created: bool


@dataclass(frozen=True, slots=True)
class Learn:
    """Store a record unless what it says is known. Answers `Learned`, or `STALE`.

    Known is what a living record of the same scope says that has a `learning.fact_id` of this one;
    or else ``similar``, the id and the content of a record that was found to say it in other words,
    if that record is still there, of this scope, and has this content. It gets the record's sources
    (`learning.linked`). The record's id is the store's to give.

    ``since`` is the last event before ``similar`` was looked for. Where the record is not known,
    and its scope has had events since, before this transaction, nothing is stored and the answer is
    `STALE`: look again. None: it is stored in any case.
    """

    tenant: str
    collection: str
    embedding: Embedding
    record: Record
    similar: tuple[str, str] | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """The record that says it, and whether it is new."""

    record: Record
    created: bool


@dataclass(frozen=True, slots=True)
class Update:
    """Change fields of one record. Answers the `Record`, or None where there is none.

    With ``user_id``, one of another user's is none. With ``if_version``, one of another version is
    refused (`VersionConflict`), unless the same ``idempotency_key`` has made this change of that
    version before: then its answer was lost, and is the record as it is now.

    Where the server embeds, ``texts`` is what the record's `Record.dense_texts` will be; its
    vectors, the new ones with their ``tokens`` or else those that are there, are of these texts.
    Where another write came between and they no longer are, or where new vectors find a record that
    has no texts, nothing changes and the answer is `STALE`. So it is where ``found_by`` is given,
    for vectors of the caller's that stay, and `Record.texts` were or would be others.
    """

    tenant: str
    collection: str
    id: str
    changes: Mapping[str, Any]
    updated_at: int
    embedding: Embedding | None = None
    vectors: bytes | None = None
    texts: Sequence[str] | None = None
    tokens: bytes | None = None
    found_by: Sequence[str] | None = None
    user_id: str | None = None
    if_version: int | None = None
    idempotency_key: str | None = None


STALE: Final = "stale"
"""A write was prepared for what has changed since: read that again, prepare again."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the selected records. Answers `Deleted`, with the records where ``returning``.

    With ``if_version``, records of another version are refused (`VersionConflict`).
    """

    tenant: str
    collection: str
    selection: Selection
    returning: bool = False
    if_version: int | None = None


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
class PutTokens:
    """Give records the ``tokens`` that they lack: each by its seq and version.

    Those that are of another version by now, or gone, are left as they are. Nothing of it is told
    in their history. Answers how many got theirs (int).
    """

    tenant: str
    collection: str
    tokens: Sequence[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Delete records of all tenants that expired by a time: ``limit`` at most of a collection.

    They are hidden already, so that no read changes by it. Nothing of what they were stays in their
    history. Answers how many (int).
    """

    now: int
    limit: int


@dataclass(frozen=True, slots=True)
class PutCollection:
    """Make a collection, or find it there as asked for. Answers the `Collection`.

    ``changes`` are fields of a collection that may change (``default_ttl``).
    """

    tenant: str
    name: str
    embedding: Embedding
    created_at: int
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DropCollection:
    """Delete a collection and its memories. Answers how many these were (int)."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Take a record back to one of the versions in its history, vectors included.

    Answers the `Record`, as a new version; where it is as it was, nothing changes. One that was
    deleted comes back with its seq and ``created_at``. With ``user_id``, what is of another user
    is not there.

    Raises `NotFound` where the history has no such version or no longer keeps it, `InvalidRequest`
    where the record was not there in it.
    """

    tenant: str
    collection: str
    id: str
    version: int
    at: int
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Delete all records of a user, in all collections, and their history. Answers `Erased`.

    Where an index still has single words of them, `Purge` takes these out.
    """

    tenant: str
    user_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Erased:
    """How many records and events are gone, and from how many collections records are."""

    records: int
    events: int
    collections: int


@dataclass(frozen=True, slots=True)
class Purge:
    """Take what was erased out of one of the indexes that still have words of it.

    Others' writes wait for it some 0.3 s where a collection has 50,000 memories, so that it is not
    done with each erasure. Answers how many indexes it did (int), 0 where none is left.
    """


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove events of all tenants from before a time, and what has expired by ``now`` from others.

    ``limit`` at most of each. Answers how many (int).
    """

    before: int
    now: int
    limit: int


@dataclass(frozen=True, slots=True)
class PutKey:
    """Keep a new API key. Answers None."""

    key: ApiKey


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Revoke an API key, of one tenant where one is given.

    Answers the `ApiKey`, or None where there is none; one that was revoked before stays as it was.
    """

    id: str
    tenant: str | None
    at: int


Write: TypeAlias = (
    Put
    | Learn
    | Update
    | Delete
    | Archive
    | Refresh
    | PutTokens
    | Sweep
    | Restore
    | Erase
    | Purge
    | Forget
    | PutCollection
    | DropCollection
    | PutKey
    | RevokeKey
    | PutJob
    | ClaimJobs
    | RenewJobs
    | FinishJob
    | RetryJob
    | DeleteJob
    | ForgetJobs
)

Outcome: TypeAlias = Any
"""What a write answers (see each), or the `APIError` that refused it."""

_ROWS = 4_000
"""What a record weighs by its rows alone."""


def weight(write: Write) -> int:
    """About how many bytes a write brings; one that brings nothing weighs nothing."""
    match write:
        case Put(records=records):
            return sum(_ROWS + _size(record) for record in records)
        case Learn(record=record):
            return _ROWS + _size(record)
        case PutTokens(tokens=tokens):
            return sum(len(own) for *_, own in tokens)
        case PutJob(job=job):
            return _ROWS + len(job.request or b"")
        case Update(changes=changes, vectors=vectors, tokens=new):
            return _ROWS + len(to_json(changes)) + len(vectors or b"") + len(new or b"")
    return 0


def _size(record: Record) -> int:
    texts = (record.metadata, record.payload, record.index_texts, record.sources)
    return (
        len(record.content)
        + len(record.vectors or b"")
        + len(record.tokens or b"")
        + len(to_json(texts))
    )
