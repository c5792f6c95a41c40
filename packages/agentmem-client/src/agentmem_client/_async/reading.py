"""How a client finds memories."""

from collections.abc import AsyncIterator, Iterable, Sequence

from .. import endpoints
from .._base import Filters, Vector, given, id_parts, make
from ..models import (
    DEFAULT_COLLECTION,
    MMR,
    GetManyRequest,
    GetQuery,
    Hit,
    ImportanceWeight,
    ListQuery,
    Memory,
    Mode,
    Order,
    OrderBy,
    PageAnswer,
    RecencyWeight,
    Rerank,
    SearchRequest,
)
from .connection import AsyncConnection


class AsyncReading(AsyncConnection):
    """Gets, searches and lists memories."""

    async def get(
        self,
        id: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        include_embeddings: bool = False,
        refresh_ttl: bool = False,
    ) -> Memory:
        """The memory with this id.

        Raises:
            NotFound: there is none.
        """
        fields = given(
            collection=collection,
            include_embeddings=include_embeddings,
            refresh_ttl=refresh_ttl or None,
        )
        query = make(GetQuery, fields)
        return await self._call(endpoints.GET_MEMORY, {"id": id}, query=query)

    async def get_many(
        self,
        ids: Iterable[str],
        *,
        collection: str = DEFAULT_COLLECTION,
        include_embeddings: bool = False,
        refresh_ttl: bool = False,
    ) -> list[Memory]:
        """The memories with these ids, in their order; missing ones are skipped."""
        memories: list[Memory] = []
        fields = given(
            collection=collection,
            include_embeddings=include_embeddings,
            refresh_ttl=refresh_ttl or None,
        )
        for part in id_parts(ids):
            body = make(GetManyRequest, fields | {"ids": part})
            answer = await self._call(endpoints.GET_MEMORIES, body=body)
            memories.extend(answer.memories)
        return memories

    async def search(
        self,
        query: str | None = None,
        *,
        embedding: Vector | None = None,
        limit: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        mode: Mode | None = None,
        alpha: float | None = None,
        min_score: float | None = None,
        rerank: bool | Rerank | None = None,
        mmr: MMR | None = None,
        recency: RecencyWeight | None = None,
        importance: ImportanceWeight | None = None,
        explain: bool = False,
        include_embeddings: bool = False,
        collection: str = DEFAULT_COLLECTION,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        refresh_ttl: bool = False,
    ) -> list[Hit]:
        """The memories that fit best, best first.

        Args:
            query: what to look for, as text.
            embedding: what to look for, as a vector; alone where the collection's embedder is
                ``client``, or beside ``query``, whose keywords then count too.
            limit: how many hits, at most; there are as many as the filter admits.
            offset: how many of the best to skip.
            filters: a condition on metadata, as JSON or built with `F`.
            mode: ``"hybrid"`` (the default where there is text and a vector for it),
                ``"dense"`` (meaning) or ``"sparse"`` (keywords).
            alpha: the vector's share in ``hybrid``, 0 to 1.
            min_score: leave out hits below; see `Hit.score` for what scores mean.
            rerank: false leaves the candidates of ``hybrid`` as the channels have them; a `Rerank`
                weighs the steps by which they are ranked anew.
            mmr: prefer hits that are unlike each other.
            recency: prefer what is of late.
            importance: prefer what is important.
            explain: tell of each hit what its score is made of; see `Hit.explanation`.
            include_embeddings: return the vectors too.
            collection: where to search.
            user_id: only this user's memories; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only what is in this one or below it.
            refresh_ttl: start the time to live of each hit anew.

        Raises:
            InvalidFilter: the filter says something that can't be honoured.
            DimensionMismatch: the vector's length is not the collection's.
            EmbedderMismatch: a text alone, where the collection's vectors are the caller's.
        """
        request = make(
            SearchRequest,
            given(
                query=query,
                embedding=embedding,
                limit=limit,
                offset=offset,
                filters=filters,
                mode=mode,
                alpha=alpha,
                min_score=min_score,
                rerank=rerank,
                mmr=mmr,
                recency=recency,
                importance=importance,
                explain=explain or None,
                include_embeddings=include_embeddings,
                collection=collection,
                user_id=user_id,
                agent_id=agent_id,
                session_id=session_id,
                namespace=namespace,
                refresh_ttl=refresh_ttl or None,
            ),
        )
        answer = await self._call(endpoints.SEARCH_MEMORIES, body=request)
        return answer.hits

    async def iterate(
        self,
        *,
        page_size: int = 500,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        order_by: OrderBy = "seq",
        order: Order = "asc",
        include_embeddings: bool = False,
        refresh_ttl: bool = False,
        collection: str = DEFAULT_COLLECTION,
    ) -> AsyncIterator[Memory]:
        """All memories that the filter admits, fetched page by page as they are consumed.

        Args:
            page_size: how many to fetch at a time, up to 1,000.
            filters: as in `search`.
            user_id: only this user's memories; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: as in `search`.
            order_by: as in `list`; likewise the rest.
            order: ``"asc"`` or ``"desc"``.
            include_embeddings: return the vectors too.
            refresh_ttl: start the time to live of each memory anew.
            collection: which one.
        """
        cursor: str | None = None
        while True:
            page = await self.list(
                limit=page_size,
                cursor=cursor,
                filters=filters,
                user_id=user_id,
                agent_id=agent_id,
                session_id=session_id,
                namespace=namespace,
                order_by=order_by,
                order=order,
                include_embeddings=include_embeddings,
                refresh_ttl=refresh_ttl,
                include_total=False,  # counting may cost more than the page
                collection=collection,
            )
            for memory in page.memories:
                yield memory
            cursor = page.next_cursor
            if cursor is None:
                return

    async def count(
        self,
        *,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> int:
        """How many memories the filter admits.

        Args:
            filters: as in `search`.
            user_id: only this user's memories; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.
        """
        page = await self.list(
            limit=1,
            filters=filters,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            collection=collection,
        )
        return page.total or 0

    # After the last annotation with the builtin's name, which the method hides from here on.
    async def list(
        self,
        *,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        order_by: OrderBy = "seq",
        order: Order = "asc",
        include_embeddings: bool = False,
        include_total: bool = True,
        refresh_ttl: bool = False,
        collection: str = DEFAULT_COLLECTION,
    ) -> PageAnswer:
        """One page of the memories that the filter admits; `iterate` goes through all pages.

        Args:
            limit: how many, at most 1,000.
            offset: how many to skip.
            cursor: the ``next_cursor`` of the page before; unlike an offset it stays right while
                others write.
            filters: as in `search`. They travel in the URL here, which holds some 60 KB.
            user_id: only this user's memories; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: as in `search`.
            order_by: ``"seq"`` (as first stored), ``"created_at"`` or ``"updated_at"``.
            order: ``"asc"`` or ``"desc"``.
            include_embeddings: return the vectors too.
            include_total: count all that the filter admits.
            refresh_ttl: start the time to live of each memory anew.
            collection: which one.

        Returns:
            A page with ``memories``, ``total`` and ``next_cursor`` (None on the last page).

        Raises:
            InvalidFilter: the filter says something that can't be honoured.
            InvalidCursor: the cursor belongs to another listing.
        """
        query = make(
            ListQuery,
            given(
                limit=limit,
                offset=offset,
                cursor=cursor,
                filters=filters,
                user_id=user_id,
                agent_id=agent_id,
                session_id=session_id,
                namespace=namespace,
                order_by=order_by,
                order=order,
                include_embeddings=include_embeddings,
                include_total=include_total,
                refresh_ttl=refresh_ttl or None,
                collection=collection,
            ),
        )
        return await self._call(endpoints.LIST_MEMORIES, query=query)
