"""How a client stores, changes and deletes memories."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .. import endpoints
from .._base import Filters, Vector, changed, given, given_list, id_parts, if_match, make
from .._batch import (
    Item,
    Progress,
    adding,
    batch_body,
    criteria,
    patience,
    prepare_atomic,
    require_stored,
)
from .._unset import UNSET, Unset
from ..errors import AgentMemError, InvalidRequest
from ..ids import new_id
from ..models import (
    DEFAULT_COLLECTION,
    AddResult,
    CollectionQuery,
    DeleteRequest,
    Memory,
    MemoryInput,
    MemoryUpdate,
)
from .connection import AsyncConnection


class AsyncWriting(AsyncConnection):
    """Stores, changes and deletes memories."""

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
        expires_at: datetime | str | Unset | None = UNSET,
        embedding: Vector | None = None,
        namespace: Sequence[str] | None = None,
        payload: Any = None,
        ttl: float | Unset | None = UNSET,
        archived: bool | None = None,
        index_texts: Sequence[str] | None = None,
        embeddings: Sequence[Vector] | None = None,
        sources: Sequence[Mapping[str, Any]] | None = None,
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
            expires_at: from then on nothing returns it; None: it stays, whatever ``default_ttl``
                the collection has.
            embedding: the vector, in a collection whose embedder is ``client``: a sequence of
                numbers, a numpy array, or float32 as bytes or base64.
            namespace: labels, the outermost first, such as ``("users", "ann")``; reads of a
                namespace find what is in it and below it.
            payload: any JSON, which comes back as given and which no search or filter looks into.
            ttl: seconds to live, in place of ``expires_at``; reads with ``refresh_ttl`` start them
                anew. None: it stays, as with ``expires_at``.
            archived: set aside from the start; see `archive`.
            index_texts: what it is found by, in place of ``content``: the best of them counts.
                With an empty list no search finds it, only ids and listings do.
            embeddings: several vectors in place of one; the best of them counts.
            sources: where the content comes from, as ``{"message_ids": ["m1"]}`` each.

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
                embedding=embedding,
                namespace=namespace,
                payload=payload,
                archived=archived,
                index_texts=given_list(index_texts),
                embeddings=given_list(embeddings),
                sources=given_list(sources),
            )
            | changed(expires_at=expires_at, ttl=ttl),
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
                are sent, so a generator need not fit into memory. A None means what it means in
                `add`: of ``ttl`` and ``expires_at`` that the memory stays, else nothing.
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
        batch = adding(items, collection, progress)
        for outgoing in batch.requests():
            body, more = batch_body(outgoing), patience(outgoing)
            try:
                answer = await self._call(endpoints.ADD_MEMORIES, body=body, patience=more)
            except AgentMemError as error:
                batch.failed(error)
            else:
                batch.answered(answer.results)
        return batch.results

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
        if_version: int | None = None,
    ) -> Memory:
        """Change some fields of a memory; None clears a field, what is left out stays.

        ``metadata`` is replaced as a whole. ``created_at`` stays. A ``ttl`` starts now; one that
        is cleared clears ``expires_at`` too.

        With ``if_version``, the `Memory.version` that the change was thought out for, it is made
        of that version alone, so that nobody else's change is overwritten unseen. An update that is
        sent again because its answer was lost is known by its ``Idempotency-Key``, and answered as
        done.

        Returns:
            The memory as it is now.

        Raises:
            NotFound: there is no memory with this id.
            VersionConflict: it is of another version: read it again, and decide again.
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
        return await self._call(
            endpoints.UPDATE_MEMORY,
            {"id": id},
            query=query,
            body=update,
            headers=if_match(if_version, idempotency_key=new_id()),
        )

    async def delete(
        self,
        id: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        if_version: int | None = None,
    ) -> bool:
        """Delete a memory; with ``if_version`` only while it is of that version.

        Returns:
            Whether there was one; False also where the answer of a first try was lost, and the
            second one found it gone. What is gone is of no other version: it is False then too.

        Raises:
            VersionConflict: it is of another version.
        """
        query = make(CollectionQuery, given(collection=collection))
        headers = if_match(if_version)
        answer = await self._call(endpoints.DELETE_MEMORY, {"id": id}, query=query, headers=headers)
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
