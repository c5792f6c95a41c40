"""What is kept in memory of the file. All of it is derived.

Collections, write versions and vectors are here, and what searches read beside them in `kept`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw
import structlog

from .. import Collection, Embedding, KeptRow, Record
from ..vectors import DEFAULT, Change, Chosen, Sizes, VectorIndex
from .kept import Kept
from .loading import Loading
from .selections import Key

_log = structlog.get_logger()


class MemoryState:
    """Changed by the writer thread alone, read by all.

    Collections change in a draft while a transaction runs, for its later writes to see them, and
    for everybody when it is on disk; vectors and versions change only then.

    Args:
        connection: to the file.
        sizes: from which sizes on vectors are kept in which way.

    Attributes:
        kept: what searches have read.
    """

    def __init__(self, connection: apsw.Connection, sizes: Sizes = DEFAULT) -> None:
        self._folder = Path(connection.filename).parent
        self._sizes = sizes
        self.kept = Kept()
        rows = connection.execute(
            "SELECT cid, tenant, name, embedder, model, dimension, metric, created_at, default_ttl "
            "FROM collection"
        )
        self._collections = {
            (tenant, name): Collection(cid, tenant, name, Embedding(*embedding), created_at, ttl)
            for cid, tenant, name, *embedding, created_at, ttl in rows
        }
        self._draft = dict(self._collections)
        self._draft_changed = False
        self._versions: dict[tuple[str, str], int] = {}
        self._commits = 0
        self._vectors: dict[int, VectorIndex] = {}
        self._loading: dict[int, Loading] = {}
        self._changes: dict[int, dict[int, Change]] = {}

    def find(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""
        return self._collections.get((tenant, name))

    def all(self, tenant: str) -> list[Collection]:
        """All collections of a tenant, by name."""
        mine = [one for one in self._collections.values() if one.tenant == tenant]
        return sorted(mine, key=lambda one: one.name)

    def draft(self, tenant: str, name: str) -> Collection | None:
        """One collection, as the transaction under way has it."""
        return self._draft.get((tenant, name))

    def drafts(self) -> list[Collection]:
        """All collections of all tenants, as the transaction under way has them."""
        return list(self._draft.values())

    def put(self, collection: Collection) -> None:
        """The transaction under way made a collection, or changed one."""
        self._draft[collection.tenant, collection.name] = collection
        self._draft_changed = True

    def remove(self, collection: Collection) -> None:
        """The transaction under way deleted a collection, or took back its making."""
        self._draft.pop((collection.tenant, collection.name), None)
        self._draft_changed = True

    def publish_draft(self) -> None:
        """The transaction is on disk: all may see its collections."""
        if self._draft_changed:
            self._collections = dict(self._draft)
            self._draft_changed = False

    def forget_draft(self) -> None:
        """The transaction failed."""
        if self._draft_changed:
            self._draft = dict(self._collections)
            self._draft_changed = False

    def version(self, tenant: str, name: str) -> int:
        """The number of the last commit that wrote to a collection."""
        return self._versions.get((tenant, name), 0)

    def bump(self, names: Iterable[tuple[str, str]]) -> None:
        """A commit wrote to these collections; all that it changed in memory has been told."""
        self._apply_changes()
        self._commits += 1
        self._versions.update(dict.fromkeys(names, self._commits))

    def vectors(self, collection: Collection) -> VectorIndex | None:
        """The collection's index, if it was built already."""
        return self._vectors.get(collection.key)

    def keep(
        self,
        moment: int,
        collection: Collection,
        index: VectorIndex | None,
        meant: Mapping[Key, Chosen],
        found: Mapping[int, Record],
    ) -> None:
        """Keep what was read of the file, where nothing has touched it since.

        Args:
            moment: of `Kept`, before it was read.
            collection: that it is of.
            index: in which the vectors of ``meant`` are.
            meant: what selections mean.
            found: records by row id; of interest are those that have been rendered.
        """
        if index is not self._vectors.get(collection.key):  # emptied meanwhile
            meant = {}
        rendered = {
            rid: KeptRow(collection.key, record.rendered, record.expires_at)
            for rid, record in found.items()
            if record.rendered is not None
        }
        if meant or rendered:
            self.kept.put(moment, meant, rendered)

    def begin_loading(self, collection: Collection) -> Loading:
        """An index to be built from the file; from now on it is told of what changes."""
        loading = Loading(collection, self._new_index(collection))
        self._loading[collection.key] = loading
        return loading

    def end_loading(self, connection: apsw.Connection, loading: Loading) -> VectorIndex:
        """The collection's index, as new as the last commit; on the writer thread."""
        collection = loading.collection
        index = self._vectors.get(collection.key)
        if index is not None:  # the collection was emptied meanwhile
            return index
        loading.catch_up(connection)
        there = self.find(collection.tenant, collection.name)
        is_there = there is not None and there.key == collection.key
        if self._loading.pop(collection.key, None) is not None and is_there:  # else it was deleted
            self._vectors[collection.key] = loading.index
        return loading.index

    def give_up_loading(self, loading: Loading) -> None:
        """An index could not be built."""
        self._loading.pop(loading.collection.key, None)

    def put_vectors(
        self, collection: Collection, rid: int, vectors: bytes | None, expires_at: int | None
    ) -> None:
        """A record was stored; None leaves the vectors that it had."""
        changes = self._changes_of(collection)
        if vectors is None and rid in changes:
            before = changes[rid]
            if before is None:  # removed, and stored again without any
                return
            vectors = before[0]
        changes[rid] = vectors, expires_at

    def add_vectors(self, records: Iterable[tuple[Collection, Record]]) -> None:
        """Records were stored under seqs that are new."""
        for collection, record in records:
            changes = self._changes_of(collection)
            changes[record.seq] = record.vectors, record.expires_at

    def remove_vectors(self, collection: Collection, rids: Iterable[int]) -> None:
        """Records were deleted."""
        self._changes_of(collection).update(dict.fromkeys(rids))

    def clear_vectors(self, collection: Collection) -> None:
        """A collection was emptied."""
        self.drop_vectors(collection)
        self._vectors[collection.key] = self._new_index(collection)

    def drop_vectors(self, collection: Collection) -> None:
        """A collection was deleted."""
        self._changes.pop(collection.key, None)
        self._loading.pop(collection.key, None)
        self._vectors.pop(collection.key, None)

    def _changes_of(self, collection: Collection) -> dict[int, Change]:
        return self._changes.setdefault(collection.key, {})

    def _apply_changes(self) -> None:
        """What one commit changed goes into the indexes at once, which takes a fraction."""
        for key, changes in self._changes.items():
            # In this order: an index that is being built is handed over by this thread alone.
            if (index := self._vectors.get(key)) is not None:
                try:
                    index.apply(changes)
                except Exception:  # it is on disk: who searches next reads it from there
                    _log.exception("vectors_dropped")
                    del self._vectors[key]
            elif (loading := self._loading.get(key)) is not None:
                loading.changed(changes)
        self._changes.clear()

    def _new_index(self, collection: Collection) -> VectorIndex:
        embedding = collection.embedding
        return VectorIndex(
            embedding.dimension, embedding.metric, folder=self._folder, sizes=self._sizes
        )
