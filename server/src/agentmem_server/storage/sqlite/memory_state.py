"""What is kept in memory of the file: collections, write versions, vectors. All of it derived."""

from collections.abc import Iterable

import apsw

from .. import Collection, Embedding
from ..vector_index import VectorIndex


class MemoryState:
    """Changed by the writer thread alone, read by all.

    Collections change in a draft while a transaction runs, for its later writes to see them, and
    for everybody when it is on disk; vectors and versions change only then.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
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
        """A commit wrote to these collections."""
        self._commits += 1
        self._versions.update(dict.fromkeys(names, self._commits))

    def vectors(self, collection: Collection) -> VectorIndex | None:
        """The collection's index, if it was built already."""
        return self._vectors.get(collection.key)

    def load_vectors(self, collection: Collection) -> VectorIndex:
        """Build the collection's index from the file; on the writer thread, between commits."""
        index = self._vectors.get(collection.key)
        if index is None:
            count = self._connection.execute(
                "SELECT count(*) FROM memory WHERE cid = ?", (collection.key,)
            ).get
            rows = self._connection.execute(
                "SELECT rid, data, expires_at FROM memory JOIN vector USING (rid) "
                "WHERE cid = ? ORDER BY rid",
                (collection.key,),
            )
            embedding = collection.embedding
            index = VectorIndex.build(embedding.dimension, embedding.metric, rows, count)
            self._vectors[collection.key] = index
        return index

    def put_vectors(
        self, collection: Collection, rid: int, vectors: bytes | None, expires_at: int | None
    ) -> None:
        """A record was stored; None leaves the vectors that it had."""
        index = self._vectors.get(collection.key)
        if index is None:  # not built yet: it will be built from the file
            return
        if vectors is None:
            index.set_expiry(rid, expires_at)
        else:
            index.put(rid, vectors, expires_at)

    def remove_vectors(self, collection: Collection, rids: Iterable[int]) -> None:
        """Records were deleted."""
        index = self._vectors.get(collection.key)
        if index is not None:
            for rid in rids:
                index.remove(rid)

    def clear_vectors(self, collection: Collection) -> None:
        """A collection was emptied."""
        embedding = collection.embedding
        self._vectors[collection.key] = VectorIndex(embedding.dimension, embedding.metric)

    def drop_vectors(self, collection: Collection) -> None:
        """A collection was deleted."""
        self._vectors.pop(collection.key, None)
