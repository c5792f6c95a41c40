# Generated from src/agentmem_client/_async/catalog.py by scripts/generate_sync.py: do not edit.
"""What a client says of collections, sessions, namespaces and the server itself."""

from collections.abc import Iterator, Sequence

from .. import endpoints
from .._base import Filters, changed, given, make
from .._unset import UNSET, Unset
from ..models import (
    DEFAULT_COLLECTION,
    Collection,
    CollectionInput,
    Embedder,
    Health,
    Metric,
    NamespacesQuery,
    Session,
    SessionsQuery,
)
from .connection import Connection


class Catalog(Connection):
    """What memories are kept in, and how the server is."""

    def sessions(
        self,
        *,
        page_size: int = 500,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> Iterator[Session]:
        """All sessions with a memory that is meant, by their ids, fetched as they are consumed.

        Args:
            page_size: how many to fetch at a time, up to 1,000.
            filters: which memories are meant and counted, as in `search`.
            user_id: only this user's memories; likewise the next.
            agent_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.
        """
        after: str | None = None
        while True:
            query = make(
                SessionsQuery,
                given(
                    limit=page_size,
                    after=after,
                    filters=filters,
                    user_id=user_id,
                    agent_id=agent_id,
                    namespace=namespace,
                    collection=collection,
                ),
            )
            answer = self._call(endpoints.LIST_SESSIONS, query=query)
            for session in answer.sessions:
                yield session
            after = answer.next_after
            if after is None:
                return

    def namespaces(
        self,
        *,
        prefix: Sequence[str] | None = None,
        suffix: Sequence[str] | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
        collection: str = DEFAULT_COLLECTION,
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold memories, sorted label by label.

        Args:
            prefix: only those that start with these labels; ``"*"`` stands for any one label.
            suffix: only those that end with these; likewise.
            max_depth: cut longer ones to so many labels, and list each once.
            limit: how many, at most 1,000.
            offset: how many to skip.
            collection: which one.
        """
        query = make(
            NamespacesQuery,
            given(
                prefix=prefix,
                suffix=suffix,
                max_depth=max_depth,
                limit=limit,
                offset=offset,
                collection=collection,
            ),
        )
        answer = self._call(endpoints.LIST_NAMESPACES, query=query)
        return [tuple(namespace) for namespace in answer.namespaces]

    def create_collection(
        self,
        name: str,
        *,
        dimension: int | None = None,
        metric: Metric = "cosine",
        embedder: Embedder = "server",
        default_ttl: float | Unset | None = UNSET,
    ) -> Collection:
        """Make a collection, or find it as it should be.

        Args:
            name: of the collection.
            dimension: of its vectors; needed where the embedder is ``"client"``.
            metric: how vectors are compared.
            embedder: ``"server"``: texts are embedded there; ``"client"``: you give the vectors.
            default_ttl: seconds to live of what is added with neither ``ttl`` nor ``expires_at``;
                None: it stays. Unlike the rest it may change: for what is added from then on.
                Left out, a collection that is there keeps its own.

        Raises:
            Conflict: it is there with other settings.
        """
        fields = given(dimension=dimension, metric=metric, embedder=embedder)
        body = make(CollectionInput, fields | changed(default_ttl=default_ttl))
        return self._call(endpoints.PUT_COLLECTION, {"name": name}, body=body)

    def get_collection(self, name: str) -> Collection:
        """The collection, with its settings and how many memories it has.

        Raises:
            NotFound: there is none of this name.
        """
        return self._call(endpoints.GET_COLLECTION, {"name": name})

    def list_collections(self) -> list[Collection]:
        """All collections, by name."""
        answer = self._call(endpoints.LIST_COLLECTIONS)
        return answer.collections

    def delete_collection(self, name: str) -> int:
        """Delete a collection and all of its memories.

        Returns:
            How many memories that were; 0 also where there is no such collection.
        """
        answer = self._call(endpoints.DELETE_COLLECTION, {"name": name})
        return answer.deleted

    def health(self) -> Health:
        """How the server and what it needs are; an unhealthy server is an answer, not an error.

        Of several servers it is the one in use.
        """
        return self._call(endpoints.HEALTH)
