"""What searches read of the file and keep in memory, and how it follows the file.

Invariant: whoever holds the lock finds vectors, selections and rows as one commit left them, the
last one of which memory was told. A commit is first in the file and then in memory. What is read of
the file in between may be of either, so that nothing is kept of it: all that is kept was read while
file and memory said the same.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .. import KeptRow
from ..vectors import Chosen
from .kept_rows import KeptRows
from .selections import Key, Selections


class Kept:
    """Selections and rows, changed by the writer's thread and filled by those that read.

    Attributes:
        lock: held by who reads here, and by the writer while it tells memory of a commit.
        selections: what selections mean.
        rows: records as they are answered.
        moment: a number of the state that file and memory are both in; None while a commit is under
            way. What is read of the file while this stays the same is of that state.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.selections = Selections()
        self.rows = KeptRows()
        self.moment: int | None = 0
        self._moments = 0

    def commit_begins(self) -> None:
        """From now on the file may be ahead of memory."""
        self.moment = None

    def commit_failed(self) -> None:
        """The file is as it was."""
        self._settle()

    @contextmanager
    def following(self) -> Iterator[None]:
        """While memory is told of a commit; nobody else looks at it."""
        with self.lock:
            try:
                yield
            except BaseException:  # nobody knows what has been told
                self.selections.clear()
                self.rows.clear()
                raise
            finally:
                self._settle()

    def added(self, collection: int, user_id: str | None) -> None:
        """A commit stored new rows of a user."""
        self.selections.changed(collection, user_id)

    def changed(self, collection: int, rid: int, *users: str | None) -> None:
        """A commit stored, changed or deleted a row, that is or was of these users."""
        self.rows.drop(rid)
        for user_id in users:
            self.selections.changed(collection, user_id)

    def cleared(self, collection: int) -> None:
        """A commit deleted all rows of a collection."""
        self.rows.cleared(collection)
        self.selections.cleared(collection)

    def selection(self, key: Key, moment: int | None) -> Chosen | None:
        """What a selection means, to who reads the file in the state of a moment."""
        with self.lock:
            return self.selections.get(key) if self._is(moment) else None

    def put(
        self, moment: int | None, meant: Mapping[Key, Chosen], rows: Mapping[int, KeptRow]
    ) -> None:
        """Keep what was read of the file since a moment, if that still lasts."""
        with self.lock:
            if self._is(moment):
                for key, chosen in meant.items():
                    self.selections.put(key, chosen)
                for rid, row in rows.items():
                    self.rows.put(rid, row)

    def _is(self, moment: int | None) -> bool:
        return moment is not None and moment == self.moment

    def _settle(self) -> None:
        self._moments += 1
        self.moment = self._moments
