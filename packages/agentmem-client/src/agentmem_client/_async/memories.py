"""What a client does with memories."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .. import endpoints
from .._base import (
    Filters,
    Vector,
    changed,
    changed_ones,
    given,
    given_list,
    id_parts,
    ids_of,
    make,
)
from .._batch import (
    BatchAdd,
    Item,
    Progress,
    batch_body,
    criteria,
    patience,
    prepare_atomic,
    require_stored,
)
from .._unset import UNSET, Unset
from ..errors import AgentMemError, InvalidRequest
from ..filters import F, joined
from ..ids import new_id
from ..models import (
    DEFAULT_COLLECTION,
    MAX_IDS,
    MAX_LIMIT,
    MMR,
    AddResult,
    ArchiveRequest,
    CollectionQuery,
    DeleteRequest,
    GetManyRequest,
    GetQuery,
    Hit,
    ListQuery,
    Memory,
    MemoryInput,
    MemoryUpdate,
    Mode,
    Order,
    OrderBy,
    PageAnswer,
    SearchRequest,
)
from .connection import AsyncConnection


class AsyncMemories(AsyncConnection):
    """Adds, finds, changes and deletes memories."""

    async def add(
        self,
        content: str,
        *,
        id: str | None = None,
        collection: str = DEFAULT_COLLECTION,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        type: str | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        event_at: datetime | str | None = None,
        expires_at: datetime | str | None = None,
        embedding: Vector | None = None,
        namespace: Sequence[str] | None = None,
        payload: Any = None,
        ttl: float | None = None,
        archived: bool | None = None,
        index_texts: Sequence[str] | None = None,
        embeddings: Sequence[Vector] | None = None,
    ) -> Memory:
        """Store a memory, or replace the one with its id.

        Args:
            content: the text, stored as given.
            id: any string; a new UUIDv7 where left out. It is made before the first try, so that
                an add that had to be sent twice is still one memory.
            collection: made by the first add to it.
            user_id: whose memory it is; searches with this ``user_id`` find it.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            type: a word of yours, such as ``"semantic"`` or ``"episodic"``.
            metadata: JSON; comes back as given, and filters work on it.
            importance: 0 to 1.
            event_at: when it happened, with a UTC offset; a search for a date finds it.
            expires_at: from then on nothing returns it.
            embedding: the vector, in a collection whose embedder is ``client``: a sequence of
                numbers, a numpy array, or float32 as bytes or base64.
            namespace: labels, the outermost first, such as ``("users", "ann")``; reads of a
                namespace find what is in it and below it.
            payload: any JSON, which comes back as given and which no search or filter looks into.
            ttl: seconds to live, in place of ``expires_at``; reads with ``refresh_ttl`` start them
                anew.
            archived: set aside from the start; see `archive`.
            index_texts: what it is found by, in place of ``content``: the best of them counts.
                With an empty list no search finds it, only ids and listings do.
            embeddings: several vectors in place of one; the best of them counts.

        Returns:
            The memory as it is stored: it is on disk, and searches find it.

        Raises:
            DimensionMismatch: the vector's length is not the collection's.
            EmbedderMismatch: a vector where the server embeds, or none where it doesn't.
        """
        memory = make(
            MemoryInput,
            given(
                id=new_id() if id is None else id,
                collection=collection,
                content=content,
                user_id=user_id,
                agent_id=agent_id,
                session_id=session_id,
                type=type,
                metadata=metadata,
                importance=importance,
                event_at=event_at,
                expires_at=expires_at,
                embedding=embedding,
                namespace=namespace,
                payload=payload,
                ttl=ttl,
                archived=archived,
                index_texts=given_list(index_texts),
                embeddings=given_list(embeddings),
            ),
        )
        return await self._call(endpoints.ADD_MEMORY, body=memory)

    async def add_many(
        self,
        items: Iterable[Item],
        *,
        collection: str | None = None,
        atomic: bool = False,
        replacing: Mapping[str, object] | None = None,
        progress: Progress | None = None,
    ) -> list[AddResult]:
        """Store any number of memories, in as many requests as it takes.

        Each item is judged singly: a bad one fails alone and the others are stored. Nothing but
        the outcomes tells which are which, so they are never lost to an exception: where a whole
        request fails after its retries, its items are ``failed`` with that error's code
        (``"connection_failed"``, ``"timed_out"``, or the server's) and the next request is sent.
        After three such requests in a row the rest is not sent, and fails with the last error.
        Sending the failed items again is safe: an outcome has the item's id, made here where it
        had none, and a memory with a known id is replaced.

        Args:
            items: texts, mappings with the arguments of `add`, or `MemoryInput`s. Read as they
                are sent, so a generator need not fit into memory.
            collection: for the items that name none.
            atomic: all of them in one transaction or none, at most 2,048; any failure is raised.
            replacing: with ``atomic``: what these criteria mean, the arguments of `delete_all`, is
                deleted in the same transaction, before the items are stored.
            progress: called as ``progress(done, total)`` after each request; ``total`` is None
                where ``items`` has no length.

        Returns:
            One outcome an item, in their order: ``stored``, ``updated`` (there was a memory with
            that id; also where a request had to be repeated) or ``failed`` with an ``error``.

        Raises:
            InvalidRequest: ``items`` is one item, or ``replacing`` stands without ``atomic``.
            AgentMemError: any other, with ``atomic`` alone.
        """
        if replacing is not None and not atomic:
            raise InvalidRequest(
                "replacing needs atomic=True: else some could be deleted for nothing"
            )
        if atomic:
            outgoing = prepare_atomic(items, collection)
            body = batch_body(outgoing, atomic=True, replacing=criteria(replacing, collection))
            more = patience(outgoing)
            answer = await self._call(endpoints.ADD_MEMORIES, body=body, patience=more)
            results = require_stored(outgoing, answer)
            if progress is not None:
                progress(len(results), len(results))
            return results
        batch = BatchAdd(items, collection, progress)
        for outgoing in batch.requests():
            body, more = batch_body(outgoing), patience(outgoing)
            try:
                answer = await self._call(endpoints.ADD_MEMORIES, body=body, patience=more)
            except AgentMemError as error:
                batch.failed(error)
            else:
                batch.answered(answer)
        return batch.results

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
        mmr: MMR | None = None,
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
            mmr: prefer hits that are unlike each other.
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
                mmr=mmr,
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

    async def update(
        self,
        id: str,
        *,
        content: str | Unset | None = UNSET,
        metadata: dict[str, Any] | Unset | None = UNSET,
        type: str | Unset | None = UNSET,
        importance: float | Unset | None = UNSET,
        event_at: datetime | str | Unset | None = UNSET,
        expires_at: datetime | str | Unset | None = UNSET,
        ttl: float | Unset | None = UNSET,
        payload: Any = UNSET,
        archived: bool | Unset = UNSET,
        index_texts: Sequence[str] | Unset | None = UNSET,
        embedding: Vector | Unset | None = UNSET,
        embeddings: Sequence[Vector] | Unset | None = UNSET,
        collection: str = DEFAULT_COLLECTION,
    ) -> Memory:
        """Change some fields of a memory; None clears a field, what is left out stays.

        ``metadata`` is replaced as a whole. ``created_at`` stays. A ``ttl`` starts now; one that
        is cleared clears ``expires_at`` too.

        Returns:
            The memory as it is now.

        Raises:
            NotFound: there is no memory with this id.
        """
        update = make(
            MemoryUpdate,
            changed(
                content=content,
                metadata=metadata,
                type=type,
                importance=importance,
                event_at=event_at,
                expires_at=expires_at,
                ttl=ttl,
                payload=payload,
                archived=archived,
                index_texts=given_list(index_texts),
                embedding=embedding,
                embeddings=given_list(embeddings),
            ),
        )
        query = make(CollectionQuery, given(collection=collection))
        return await self._call(endpoints.UPDATE_MEMORY, {"id": id}, query=query, body=update)

    async def delete(self, id: str, *, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a memory.

        Returns:
            Whether there was one; False also where the answer of a first try was lost, and the
            second one found it gone.
        """
        query = make(CollectionQuery, given(collection=collection))
        answer = await self._call(endpoints.DELETE_MEMORY, {"id": id}, query=query)
        return answer.deleted > 0

    async def delete_all(
        self,
        *,
        ids: Iterable[str] | None = None,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        everything: bool = False,
        collection: str = DEFAULT_COLLECTION,
    ) -> int:
        """Delete the memories that meet every criterion given.

        Args:
            ids: only these; an empty list deletes nothing. More than 10,000 take several
                requests, of which the first ones hold where a later one fails.
            filters: only those that it admits.
            user_id: only this user's; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            everything: True, and no other criterion: empty the collection.
            collection: which one.

        Returns:
            How many were deleted (by the try that was answered, where it took several).

        Raises:
            InvalidRequest: no criterion was given, or others beside ``everything``.
        """
        fields = given(
            filters=filters,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            everything=everything,
            collection=collection,
        )
        # Made before any is sent, so that a bad argument is found while nothing is deleted yet.
        bodies = (
            [make(DeleteRequest, fields)]
            if ids is None
            else [make(DeleteRequest, fields | {"ids": part}) for part in id_parts(ids)]
        )
        deleted = 0
        for body in bodies:
            answer = await self._call(endpoints.DELETE_MEMORIES, body=body)
            deleted += answer.deleted
        return deleted

    async def pop(
        self,
        limit: int = 1,
        *,
        order: Order = "asc",
        offset: int = 0,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> list[Memory]:
        """Delete the first or last memories, of a conversation say, and answer them.

        It reads which they are and then deletes these, in one transaction, so that a request that
        has to be repeated never deletes more. Of several callers at once, each memory goes to one.

        Args:
            limit: how many, at most 10,000.
            order: ``"asc"``: the first ones stored; ``"desc"``: the last ones.
            offset: so many of them are left out first.
            filters: as in `search`; likewise the rest.
            user_id: only this user's; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.

        Returns:
            What was deleted, in the order that was asked for.
        """
        found = await self._window(
            limit, order, offset, filters, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "include_memories": True}
        body = make(DeleteRequest, fields)
        answer, tries = await self._call_counted(endpoints.DELETE_MEMORIES, body=body)
        return changed_ones(found, answer.memories or [], tries)

    async def archive(
        self,
        limit: int = 1,
        *,
        archived: bool = True,
        order: Order = "asc",
        offset: int = 0,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> list[Memory]:
        """Set the first or last memories aside, of a conversation say, or take them back.

        An archived memory is kept, and found like any other; the filter ``{"@archived": false}``
        leaves it out. So a conversation can be shortened without being forgotten.

        Args:
            limit: how many, at most 10,000.
            archived: True: of those that are not archived; False: take back those that are.
            order: as in `pop`; likewise the rest.
            offset: so many of them are left out first.
            filters: as in `search`.
            user_id: only this user's; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.

        Returns:
            What changed, in the order that was asked for.
        """
        others = joined(F("@archived") == (not archived), filters)
        found = await self._window(
            limit, order, offset, others, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "archived": archived}
        body = make(ArchiveRequest, fields)
        answer, tries = await self._call_counted(endpoints.ARCHIVE_MEMORIES, body=body)
        return changed_ones(found, answer.memories, tries)

    async def _window(
        self,
        limit: int,
        order: Order,
        offset: int,
        filters: Filters | None,
        user_id: str | None,
        agent_id: str | None,
        session_id: str | None,
        namespace: Sequence[str] | None,
        collection: str,
    ) -> list[Memory]:
        """So many memories from either end."""
        # A fraction would never be reached: it would mean all of them.
        whole = isinstance(limit, int) and isinstance(offset, int)
        if not (whole and 0 < limit <= MAX_IDS and offset >= 0):
            raise InvalidRequest(f"give a limit of 1 to {MAX_IDS} and an offset of 0 or more")
        found: list[Memory] = []
        memories = self.iterate(
            page_size=min(limit + offset, MAX_LIMIT),
            filters=filters,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            order=order,
            collection=collection,
        )
        async for memory in memories:
            found.append(memory)
            if len(found) == offset + limit:
                break
        return found[offset:]

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
