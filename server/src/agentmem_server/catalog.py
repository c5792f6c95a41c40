"""What there is: the collections of a tenant, and the sessions and namespaces in one of them."""

from collections.abc import Sequence

from agentmem_client import models as m
from agentmem_client.errors import DimensionMismatch, InvalidRequest, NotFound, shown

from . import times
from .batcher import Batcher
from .storage import (
    Collection,
    DropCollection,
    Embedding,
    NamespaceRequest,
    Outcome,
    PutCollection,
    Scope,
    Selection,
    Store,
    Write,
)


class Catalog:
    """Lists, makes and deletes what memories are kept in.

    Every method takes the tenant first, and sees nothing of another one's.

    Args:
        store: where the memories are.
        writes: the queue that all writes to the store go through.
        server_embedding: how the server embeds.
    """

    def __init__(
        self, store: Store, writes: Batcher[Write, Outcome], server_embedding: Embedding
    ) -> None:
        self._store = store
        self._writes = writes
        self._server_embedding = server_embedding

    async def sessions(self, tenant: str, query: m.SessionsQuery) -> m.SessionsAnswer:
        """One page of the sessions with a memory that is meant, by their ids."""
        collection = await self._store.collection(tenant, query.collection)
        if collection is None:
            return m.SessionsAnswer(sessions=[])
        scope = Scope(query.user_id, query.agent_id, namespace=tuple(query.namespace or ()) or None)
        found = await self._store.sessions(
            collection,
            Selection(scope, query.filters),
            after=query.after,
            limit=query.limit + 1,
        )
        page = found[: query.limit]
        return m.SessionsAnswer(
            sessions=[
                m.Session(
                    session_id=one.id,
                    memories=one.count,
                    first_at=times.to_datetime(one.first_at),
                    last_at=times.to_datetime(one.last_at),
                )
                for one in page
            ],
            next_after=page[-1].id if len(found) > len(page) else None,
        )

    async def namespaces(self, tenant: str, query: m.NamespacesQuery) -> m.NamespacesAnswer:
        """The namespaces that hold memories and fit, sorted label by label."""
        collection = await self._store.collection(tenant, query.collection)
        if collection is None:
            return m.NamespacesAnswer(namespaces=[])
        request = NamespaceRequest(
            prefix=_pattern(query.prefix),
            suffix=_pattern(query.suffix),
            max_depth=query.max_depth,
            limit=query.limit,
            offset=query.offset,
        )
        found = await self._store.namespaces(collection, request)
        return m.NamespacesAnswer(namespaces=[list(namespace) for namespace in found])

    async def collections(self, tenant: str) -> list[m.Collection]:
        """All collections, by name."""
        return [await self._describe(one) for one in await self._store.collections(tenant)]

    async def collection(self, tenant: str, name: str) -> m.Collection:
        """One collection.

        Raises:
            NotFound: when there is none of this name.
        """
        found = await self._store.collection(tenant, name)
        if found is None:
            raise NotFound(f"there is no collection {shown(name)}: its first memory would make it")
        return await self._describe(found)

    async def put_collection(self, tenant: str, name: str, wish: m.CollectionInput) -> m.Collection:
        """Make a collection, or find it as wished.

        Raises:
            InvalidRequest: when the caller embeds and gives no dimension.
            DimensionMismatch: when the server embeds, with vectors of another length.
            Conflict: when it exists with other settings.
        """
        if wish.embedder == "client":
            if wish.dimension is None:
                raise InvalidRequest("give the dimension of the vectors that the caller makes")
            embedding = Embedding("client", None, wish.dimension, wish.metric)
        else:
            own = self._server_embedding
            if wish.dimension not in (None, own.dimension):
                raise DimensionMismatch(
                    f"the server's model {own.model!r} makes vectors of {own.dimension} numbers, "
                    f"not {wish.dimension}: leave the dimension out, or use embedder 'client'"
                )
            embedding = Embedding("server", own.model, own.dimension, wish.metric)
        made: Collection = await self._writes.submit(
            PutCollection(tenant, name, embedding, times.now())
        )
        return await self._describe(made)

    async def drop_collection(self, tenant: str, name: str) -> int:
        """Delete a collection; answers how many memories it had."""
        deleted: int = await self._writes.submit(DropCollection(tenant, name))
        return deleted

    async def _describe(self, collection: Collection) -> m.Collection:
        embedding = collection.embedding
        return m.Collection(
            name=collection.name,
            embedder=embedding.embedder,
            model=embedding.model,
            dimension=embedding.dimension,
            metric=embedding.metric,
            memories=await self._store.count(collection),
            created_at=times.to_datetime(collection.created_at),
        )


def _pattern(labels: Sequence[str] | None) -> list[str | None]:
    return [None if label == "*" else label for label in labels or ()]
