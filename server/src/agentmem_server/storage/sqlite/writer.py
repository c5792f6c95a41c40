"""Writes: a batch of operations in one transaction, a savepoint for each.

All of this runs on the one writer thread.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import apsw
from agentmem_client.errors import APIError, Unavailable

from .. import (
    Archive,
    Delete,
    DropCollection,
    Erase,
    Forget,
    Outcome,
    Put,
    PutCollection,
    PutKey,
    Refresh,
    Restore,
    RevokeKey,
    Sweep,
    Update,
    Write,
)
from . import history, keys
from .memory_state import MemoryState
from .operation import Operation

CollectionWrite: TypeAlias = (
    Put | Update | Delete | Archive | Refresh | Restore | PutCollection | DropCollection
)
"""A write to one collection."""


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
        outcomes: list[Outcome | APIError] = []
        after_commit: list[Callable[[], None]] = []
        touched = {_name(write) for write in writes if isinstance(write, CollectionWrite)}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                outcomes.append(self._attempt(write, after_commit, touched))
            last_event = history.last_event(self._connection)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._state.forget_draft()
            if isinstance(error, apsw.Error):
                raise Unavailable(f"the database could not be written: {error}") from error
            raise
        self._state.publish_draft()
        for apply in after_commit:
            apply()
        # Last, so that nobody caches under a new version what the old state answered.
        self._state.bump(touched)
        self._residue |= any(isinstance(write, Erase) for write in writes)
        if self._residue:
            self._truncate()
        if last_event != self._last_event:
            self._last_event = last_event
            announce()
        return outcomes

    def _attempt(
        self,
        write: Write,
        after_commit: list[Callable[[], None]],
        touched: set[tuple[str, str]],
    ) -> Outcome | APIError:
        operation = Operation(self._connection, self._state)
        self._connection.execute("SAVEPOINT operation")
        try:
            outcome = self._run(operation, write)
        except APIError as refused:
            operation.undo()
            self._connection.execute("ROLLBACK TO operation; RELEASE operation")
            return refused
        self._connection.execute("RELEASE operation")
        after_commit.extend(operation.after_commit)
        touched |= operation.touched
        return outcome

    def _run(self, operation: Operation, write: Write) -> Outcome:
        match write:
            case Put():
                return operation.put(write)
            case Update():
                return operation.update(write)
            case Delete():
                return operation.delete(write)
            case Archive():
                return operation.archive(write)
            case Refresh():
                return operation.refresh(write)
            case Sweep():
                return operation.sweep(write)
            case Restore():
                return operation.restore(write)
            case Erase():
                return operation.erase(write)
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

    def _truncate(self) -> None:
        """Leave nothing in the WAL; where readers are in the way, the next write tries again."""
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        self._residue = bool(busy)


def _name(write: CollectionWrite) -> tuple[str, str]:
    name = write.name if isinstance(write, PutCollection | DropCollection) else write.collection
    return write.tenant, name
