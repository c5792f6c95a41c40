"""What searches read of the file and keep in memory, and how it follows the file.

Invariant: whoever holds the lock finds vectors, selections and rows as one commit left them, the
last one of which memory was told. A commit is first in the file and then in memory, and says before
both what it touches. So what is read of the file at any time is also what memory has to say, but
for what is touched by commits that memory was not told of when the reading began.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .. import KeptRow
from ..vectors import Chosen
from .kept_rows import KeptRows
from .selections import Key, Selections

_REMEMBERED = 16
"""Commits of which it is known what they touched; a reading that takes longer is not kept."""
_LONGEST_WAIT = 0.05
"""Seconds to wait until memory is told of a commit, which takes less than a millisecond mostly."""
_MOST_ROWS = 5_000
"""Rows of one of these that are told apart; of more, all of their collections count as touched."""


@dataclass(slots=True)
class Touched:
    """What a transaction touches.

    Attributes:
        rows: that are changed or deleted, by their ids.
        users: whose records are stored, changed or deleted: a collection's key and a user, or None.
        collections: those of which all records may be others than before, by their keys.
    """

    rows: set[int] = field(default_factory=set)
    users: set[tuple[int, str | None]] = field(default_factory=set)
    collections: set[int] = field(default_factory=set)

    def row(self, collection: int, rid: int, *users: str | None) -> None:
        """A row that is there, and that is or was of these users, is changed or deleted."""
        self.rows.add(rid)
        self.users.update((collection, user_id) for user_id in users)

    def shorten(self) -> None:
        """Take no more room than is worth it."""
        if len(self.rows) > _MOST_ROWS:
            self.collections.update(collection for collection, _ in self.users)
            self.rows.clear()

    def changes_meaning(self, key: Key) -> bool:
        """Whether a selection may mean other records than before."""
        collection, scope, _ = key
        if collection in self.collections:
            return True
        if scope.user_id is not None:
            return (collection, scope.user_id) in self.users
        return any(where == collection for where, _ in self.users)

    def changes_row(self, collection: int, rid: int) -> bool:
        """Whether a row may say something else than before."""
        return rid in self.rows or collection in self.collections


class Kept:
    """Selections and rows, which readers fill and the writer's thread empties.

    Attributes:
        lock: held by who looks at any of this, but for ``touched``.
        selections: what selections mean.
        rows: records as they are answered.
        moment: the number of the last commit that memory was told of.
        touched: by the transaction under way; the writer's own.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.selections = Selections()
        self.rows = KeptRows()
        self.moment = 0
        self.touched = Touched()
        self._begun = 0
        self._told = threading.Condition(self.lock)
        self._log: deque[Touched] = deque(maxlen=_REMEMBERED)

    def commit_begins(self) -> None:
        """From now on the file may be ahead of memory in what the transaction touches."""
        self.touched.shorten()
        with self.lock:
            self._log.append(self.touched)
            self._begun += 1
        self.touched = Touched()

    def commit_failed(self) -> None:
        """The file is as it was."""
        self.touched = Touched()
        with self.lock:
            self.moment = self._begun
            self._told.notify_all()

    @contextmanager
    def following(self) -> Iterator[None]:
        """While memory is told of a commit; nobody else looks at it."""
        with self.lock:
            try:
                yield
                self._drop(self._log[-1])
            except BaseException:  # nobody knows what has been told
                self.selections.clear()
                self.rows.clear()
                raise
            finally:
                self.moment = self._begun
                self._told.notify_all()

    def wait(self) -> None:
        """Come back when memory was told of the commit under way, if there is one, or soon."""
        with self._told:
            begun = self._begun
            self._told.wait_for(lambda: self.moment >= begun, _LONGEST_WAIT)

    def says_as_file(self, collection: int, rids: Iterable[int]) -> bool:
        """Whether rows are the same in the file as for memory, to who holds the lock."""
        under_way = self._since(self.moment) or ()
        return not any(
            touched.changes_row(collection, rid) for touched in under_way for rid in rids
        )

    def selection(self, key: Key, moment: int) -> Chosen | None:
        """What a selection means, to who has read the file since a moment."""
        with self.lock:
            found = self.selections.get(key)
            return found if found is not None and self._still_means(key, moment) else None

    def still_means(self, key: Key, moment: int) -> bool:
        """Whether no commit since a moment has changed what a selection means."""
        with self.lock:
            return self._still_means(key, moment)

    def put(self, moment: int, meant: Mapping[Key, Chosen], rows: Mapping[int, KeptRow]) -> None:
        """Keep what was read of the file since a moment, where nothing has touched it since."""
        with self.lock:
            touched = self._since(moment)
            if touched is None:
                return
            for key, chosen in meant.items():
                if not any(one.changes_meaning(key) for one in touched):
                    self.selections.put(key, chosen)
            for rid, row in rows.items():
                if not any(one.changes_row(row.collection, rid) for one in touched):
                    self.rows.put(rid, row)

    def _still_means(self, key: Key, moment: int) -> bool:
        touched = self._since(moment)
        return touched is not None and not any(one.changes_meaning(key) for one in touched)

    def _since(self, moment: int) -> Sequence[Touched] | None:
        """What was touched by commits of which memory was not told at a moment; None: forgotten."""
        commits = self._begun - moment
        if commits > len(self._log):
            return None
        return [self._log[-number] for number in range(1, commits + 1)]

    def _drop(self, touched: Touched) -> None:
        for rid in touched.rows:
            self.rows.drop(rid)
        for collection, user_id in touched.users:
            self.selections.changed(collection, user_id)
        for collection in touched.collections:
            self.rows.cleared(collection)
            self.selections.cleared(collection)
