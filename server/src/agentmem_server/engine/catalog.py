"""What there is: the collections of a tenant, and the sessions and namespaces in one of them."""

from collections.abc import Sequence

from agentmem_client import models as m
from agentmem_client.errors import DimensionMismatch, Forbidden, InvalidRequest, NotFound, shown

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..storage import (
    Collection,
    DropCollection,
    Embedding,
    NamespaceRequest,
    Outcome,
    PutCollection,
    Selection,
    Store,
    Write,
)
from . import records


class Catalog:
    """Lists, makes and deletes what memories are kept in.

    Every method takes the caller first, and sees nothing beyond what that one sees.

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

    async def sessions(self, caller: Caller, query: m.SessionsQuery) -> m.SessionsAnswer:
        """One page of the sessions with a memory that is meant, by their ids."""
        scope = caller.scope(query.user_id, query.agent_id, namespace=query.namespace)
        collection = await self._store.collection(caller.tenant, query.collection)
        if collection is None:
            return m.SessionsAnswer(sessions=[])
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

    async def namespaces(self, caller: Caller, query: m.NamespacesQuery) -> m.NamespacesAnswer:
        """The namespaces that hold memories and fit, sorted label by label."""
        collection = await self._store.collection(caller.tenant, query.collection)
        if collection is None:
            return m.NamespacesAnswer(namespaces=[])
        request = NamespaceRequest(
            prefix=_pattern(query.prefix),
            suffix=_pattern(query.suffix),
            max_depth=query.max_depth,
            limit=query.limit,
            offset=query.offset,
            user_id=caller.user_id,
        )
        found = await self._store.namespaces(collection, request)
        return m.NamespacesAnswer(namespaces=[list(namespace) for namespace in found])

    async def collections(self, caller: Caller) -> list[m.Collection]:
        """All collections, by name."""
        return [
            await self._describe(caller, one)
            for one in await self._store.collections(caller.tenant)
        ]

    async def collection(self, caller: Caller, name: str) -> m.Collection:
        """One collection.

        Raises:
            NotFound: when there is none of this name.
        """
        found = await self._store.collection(caller.tenant, name)
        if found is None:
            raise NotFound(f"there is no collection {shown(name)}: its first memory would make it")
        return await self._describe(caller, found)

    async def put_collection(
        self, caller: Caller, name: str, wish: m.CollectionInput
    ) -> m.Collection:
        """Make a collection, or find it as wished; what may change is changed.

        Raises:
            Forbidden: when the caller sees one user's memories alone, and says how long memories
                live: that would be everybody's.
            InvalidRequest: when the caller embeds and gives no dimension.
            DimensionMismatch: when the server embeds, with vectors of another length.
            Conflict: when it exists with other settings.
        """
        changes = _changes(wish)
        if changes and caller.user_id is not None:
            raise Forbidden(
                "this API key is bound to a user, and a collection is everybody's: leave "
                "default_ttl out, and give each memory its ttl"
            )
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
            PutCollection(caller.tenant, name, embedding, times.now(), changes)
        )
        return await self._describe(caller, made)

    async def drop_collection(self, caller: Caller, name: str) -> int:
        """Delete a collection; answers how many memories it had.

        Raises:
            Forbidden: when the caller sees one user's memories alone.
        """
        if caller.user_id is not None:
            raise Forbidden("this API key is bound to a user, and a collection is everybody's")
        deleted: int = await self._writes.submit(DropCollection(caller.tenant, name))
        return deleted

    async def _describe(self, caller: Caller, collection: Collection) -> m.Collection:
        embedding = collection.embedding
        return m.Collection(
            name=collection.name,
            embedder=embedding.embedder,
            model=embedding.model,
            dimension=embedding.dimension,
            metric=embedding.metric,
            default_ttl=records.to_seconds(collection.default_ttl),
            memories=await self._store.count(collection, caller.scope()),
            created_at=times.to_datetime(collection.created_at),
        )


def _changes(wish: m.CollectionInput) -> dict[str, int | None]:
    """What the wish says of that which may change."""
    if "default_ttl" not in wish.model_fields_set:
        return {}
    ttl = wish.default_ttl
    return {"default_ttl": None if ttl is None else times.from_seconds(ttl)}


def _pattern(labels: Sequence[str] | None) -> list[str | None]:
    return [None if label == "*" else label for label in labels or ()]
