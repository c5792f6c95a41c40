"""Writes: a batch of operations in one transaction, each all or nothing.

All of this runs on the one writer thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import apsw
import structlog
from agentmem_client.errors import APIError, Unavailable

from .. import (
    Archive,
    ClaimJobs,
    Delete,
    DeleteJob,
    DropCollection,
    Erase,
    FinishJob,
    Forget,
    ForgetJobs,
    Learn,
    Outcome,
    Purge,
    Put,
    PutCollection,
    PutJob,
    PutKey,
    PutTokens,
    Refresh,
    RenewJobs,
    Restore,
    RetryJob,
    RevokeKey,
    Sweep,
    Update,
    Write,
)
from . import history, jobs, keys, schema
from .memories import Memories
from .memory_state import MemoryState
from .operation import Operation

CollectionWrite: TypeAlias = (
    Put
    | Learn
    | Update
    | Delete
    | Archive
    | Refresh
    | PutTokens
    | Restore
    | PutCollection
    | DropCollection
)
"""A write to one collection."""


@dataclass
class _Batch:
    """What a transaction did, until it is on disk."""

    after_commit: list[Callable[[], None]]
    outcomes: list[Outcome | APIError] = field(default_factory=list)
    touched: set[tuple[str, str]] = field(default_factory=set)


_ERASING = (Erase, Purge)
_CLEANING = (*_ERASING, Sweep, Forget)
_WAIT_FOR_READERS = 200
"""Milliseconds that an erasure waits for searches under way to end."""

_log = structlog.get_logger()


class _HalfDone(Exception):
    """A write was refused after it had changed something."""


class Writer:
    """Applies writes to the file, and then to what is kept in memory of it.

    Args:
        connection: to the file, no other thread's.
        state: what is kept in memory.
    """

    def __init__(self, connection: apsw.Connection, state: MemoryState) -> None:
        self._connection = connection
        self._state = state
        self._last_event = history.last_event(connection)
        self._residue = False
        """Whether the WAL may still hold what was erased."""

    def write(
        self, writes: Sequence[Write], announce: Callable[[], None]
    ) -> list[Outcome | APIError]:
        """Apply writes in order, in one durable transaction; announce it where it has new events.

        Returns:
            What each answers, or the error that refused it; that one left no trace.

        Raises:
            Unavailable: when nothing could be written (a full disk, a broken file).
        """
        try:
            try:
                batch = self._apply(writes, singly=False)
            except _HalfDone:
                batch = self._apply(writes, singly=True)
            last_event = history.last_event(self._connection)
            self._state.kept.commit_begins()
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._take_back()
            self._state.kept.commit_failed()
            if isinstance(error, apsw.Error):
                raise Unavailable(f"the database could not be written: {error}") from error
            raise
        with self._state.kept.following():
            self._state.publish_draft()
            for apply in batch.after_commit:
                apply()
            # Last, so that nobody caches under a new version what the old state answered.
            self._state.bump(batch.touched)
        self._residue |= any(isinstance(write, _ERASING) for write in writes)
        if self._residue and any(isinstance(write, _CLEANING) for write in writes):
            self._truncate()
        if last_event != self._last_event:
            self._last_event = last_event
            announce()
        return batch.outcomes

    def _apply(self, writes: Sequence[Write], *, singly: bool) -> _Batch:
        """Run writes in a transaction, which stays open.

        A savepoint for each costs as much as a third of the work, for SQLite copies every page that
        a write is the first to change. So there is one only where a write is known to be refused
        when part of it is done.

        Raises:
            _HalfDone: a write was, and there are no savepoints; all of it has been taken back.
        """
        memories = Memories(self._connection, self._state)
        batch = _Batch(memories.after_commit)
        self._connection.execute("BEGIN IMMEDIATE")
        memories.new.look_up(writes)
        operation = Operation(self._connection, self._state, memories, self._last_event)
        for write in writes:
            if singly or not isinstance(write, Put):
                memories.new.flush()
            before, changes = None, memories.changes
            if singly:
                before = memories.mark()
                operation = Operation(self._connection, self._state, memories, self._last_event)
                self._connection.execute("SAVEPOINT operation")
            try:
                batch.outcomes.append(self._run(operation, write))
            except APIError as refused:
                if before is not None:
                    operation.undo()
                    self._connection.execute("ROLLBACK TO operation; RELEASE operation")
                    memories.go_back(before)
                elif memories.changes != changes:
                    self._take_back()
                    raise _HalfDone from refused
                batch.outcomes.append(refused)
            else:
                if singly:
                    memories.new.flush()
                    self._connection.execute("RELEASE operation")
                batch.touched |= operation.touched
            if isinstance(write, CollectionWrite):
                batch.touched.add(_name(write))
        memories.finish()
        return batch

    def _take_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._state.forget_draft()

    def _run(self, operation: Operation, write: Write) -> Outcome:
        match write:
            case Put():
                return operation.put(write)
            case Learn():
                return operation.learn(write)
            case Update():
                return operation.update(write)
            case Delete():
                return operation.delete(write)
            case Archive():
                return operation.archive(write)
            case Refresh():
                return operation.refresh(write)
            case PutTokens():
                return operation.put_tokens(write)
            case Sweep():
                return operation.sweep(write)
            case Restore():
                return operation.restore(write)
            case Erase():
                return operation.erase(write)
            case Purge():
                return operation.purge()
            case Forget():
                return history.forget(self._connection, write.before, write.now, write.limit)
            case PutCollection():
                return operation.put_collection(write)
            case DropCollection():
                return operation.drop_collection(write)
            case PutKey():
                return keys.put(self._connection, write.key)
            case RevokeKey():
                return keys.revoke(self._connection, write.id, write.tenant, write.at)
            case PutJob():
                return jobs.put(self._connection, write.job)
            case ClaimJobs():
                return jobs.claim(self._connection, write)
            case RenewJobs():
                return jobs.renew(self._connection, write)
            case FinishJob():
                return jobs.finish(self._connection, write)
            case RetryJob():
                return jobs.retry(self._connection, write)
            case DeleteJob():
                return jobs.delete(self._connection, write)
            case ForgetJobs():
                return jobs.forget(self._connection, write)

    def _truncate(self) -> None:
        """Leave nothing in the WAL.

        Where a long read is in the way, or the disk is full, a later sweep tries again: what was
        written stays so, and must not be done twice.
        """
        self._connection.set_busy_timeout(_WAIT_FOR_READERS)
        try:
            found = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._residue = bool(found[0][0])
        except apsw.Error as error:
            _log.warning("wal_not_truncated", error=str(error))
        finally:
            self._connection.set_busy_timeout(schema.BUSY_TIMEOUT)


def _name(write: CollectionWrite) -> tuple[str, str]:
    match write:
        case PutCollection() | DropCollection():
            return write.tenant, write.name
        case _:
            return write.tenant, write.collection
