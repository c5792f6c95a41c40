"""What selections mean, kept in memory: which vectors are of the records that a search looks at."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

from .. import Collection, Scope, Selection
from ..vectors import Chosen

Key: TypeAlias = tuple[int, Scope, str | None]
"""A collection's key, a scope, and a filter as text, in which 1, 1.0, true and "1" are four."""

MAX_BYTES = 8 << 20
_ENTRY = 1_000
"""Bytes that an entry takes beside its ids and texts, about."""
_TEXT = 60
"""Bytes that a text takes beside its characters."""
_LARGEST = 4
"""One selection takes a fourth of the room at most."""


class Selections:
    """Selections and what they mean, those asked for last.

    What is kept is what the file says, as long as `changed` is told of every record that a commit
    stores, changes or deletes. Records that have expired are among what a selection means.

    Args:
        max_bytes: the room for all of them.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, Chosen] = OrderedDict()
        self._bytes = 0
        # By whose memories they can mean; None: anybody's.
        self._by_user: dict[tuple[int, str | None], set[Key]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """The bytes that they take, about."""
        return self._bytes

    @staticmethod
    def key(collection: Collection, selection: Selection) -> Key | None:
        """What a selection is kept under; None: it is not."""
        if selection.ids is not None:
            return None
        filter = None if selection.filter is None else repr(selection.filter)
        return collection.key, selection.scope, filter

    def get(self, key: Key) -> Chosen | None:
        """What a selection means, where it is known."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Key, meant: Chosen) -> None:
        """A selection means this."""
        self._remove([key])
        size = _size(key, meant)
        if size > self._max_bytes // _LARGEST:
            return
        self._kept[key] = meant
        self._by_user.setdefault(_whose(key), set()).add(key)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._remove([next(iter(self._kept))])

    def changed(self, collection: int, user_id: str | None) -> None:
        """A record of a user, or of none, came, went, or is another than before."""
        self._remove(self._by_user.get((collection, None), ()))
        if user_id is not None:
            self._remove(self._by_user.get((collection, user_id), ()))

    def cleared(self, collection: int) -> None:
        """All records of a collection went."""
        self._remove([key for key in self._kept if key[0] == collection])

    def clear(self) -> None:
        """Nothing is known any more."""
        self._remove(list(self._kept))

    def _remove(self, keys: Iterable[Key]) -> None:
        for key in list(keys):
            meant = self._kept.pop(key, None)
            if meant is None:
                continue
            self._bytes -= _size(key, meant)
            mates = self._by_user[_whose(key)]
            mates.remove(key)
            if not mates:
                del self._by_user[_whose(key)]


def _whose(key: Key) -> tuple[int, str | None]:
    return key[0], key[1].user_id


def _size(key: Key, meant: Chosen) -> int:
    _, scope, filter = key
    texts = (scope.user_id, scope.agent_id, scope.session_id, *(scope.namespace or ()), filter)
    size = _ENTRY + meant.ids.nbytes + meant.slots.nbytes
    return size + sum(_TEXT + 4 * len(text) for text in texts if text)
