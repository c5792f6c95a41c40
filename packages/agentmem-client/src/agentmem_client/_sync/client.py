# Generated from src/agentmem_client/_async/client.py by scripts/generate_sync.py: do not edit.
"""The sync client."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr
from tenacity import Retrying

from .. import endpoints
from .._base import (
    Filters,
    RetryPolicy,
    Vector,
    build_request,
    changed,
    changed_ones,
    given,
    given_list,
    id_parts,
    ids_of,
    make,
    read_answer,
    transport_error,
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
from .._settings import (
    DEFAULT_API_URL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MAX_RETRY_SECONDS,
    DEFAULT_TIMEOUT,
    Settings,
    as_secret,
    settings_from_env,
    ssl_context,
)
from .._turns import LIMITS, Turns
from .._unset import UNSET, Unset
from ..endpoints import AnswerT, Endpoint
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
    Collection,
    CollectionInput,
    CollectionQuery,
    DeleteRequest,
    Embedder,
    GetManyRequest,
    GetQuery,
    Health,
    Hit,
    ListQuery,
    Memory,
    MemoryInput,
    MemoryUpdate,
    Metric,
    Mode,
    NamespacesQuery,
    Order,
    OrderBy,
    PageAnswer,
    Request,
    SearchRequest,
    Session,
    SessionsQuery,
)


class AgentMemClient:
    """Talks to an AgentMem server.

    ::

        with AgentMemClient() as memory:
            memory.add("The cat is called Mia.", user_id="ann", metadata={"topic": "pets"})
            hits = memory.search("What is the cat's name?", user_id="ann")

    Every method raises a subclass of `AgentMemError`, and that alone: `InvalidRequest` for
    arguments that can't be right (before anything is sent), the other `APIError` classes for what
    the server answers, `ConnectionFailed` and `RequestTimedOut` where no answer came,
    `InvalidResponse` where the answer is not AgentMem's.

    No connection, no answer in time, and the statuses 429, 502, 503 and 504 are tried again, up
    to ``max_retries`` times and with growing random waits, never sooner than the server's
    Retry-After. A wait that would end later than ``max_retry_seconds`` after the first try is not
    begun: the error is raised at once.

    Args:
        api_url: where the server is.
        api_key: sent as ``X-API-Key``; shown in no repr and no error.
        timeout: seconds to connect, to send, and between two pieces of the answer, each; of an
            ``http_client`` of yours too.
        max_retries: how many more times to try, after the first.
        max_retry_seconds: for how long to go on trying.
        http_client: to send with, for proxies, certificates or tests; it stays yours to close.

    Raises:
        AgentMemError: when one of the arguments can't be right.
    """

    def __init__(
        self,
        api_url: str = DEFAULT_API_URL,
        api_key: str | SecretStr | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS,
        http_client: httpx.Client | None = None,
    ) -> None:
        self._settings = Settings(
            api_url=api_url,
            api_key=as_secret(api_key),
            timeout=timeout,
            max_retries=max_retries,
            max_retry_seconds=max_retry_seconds,
        )
        self._owns_http = http_client is None
        self._http = http_client or httpx.Client(verify=ssl_context(), limits=LIMITS)
        self._turns = Turns()
        self._retry = RetryPolicy(max_retries, max_retry_seconds)

    @classmethod
    def from_env(
        cls,
        *,
        api_url: str | None = None,
        api_key: str | SecretStr | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        max_retry_seconds: float | None = None,
        http_client: httpx.Client | None = None,
    ) -> Self:
        """A client made from the environment; what is given here goes before it.

        It reads ``AGENTMEM_API_URL``, ``AGENTMEM_API_KEY``, ``AGENTMEM_TIMEOUT``,
        ``AGENTMEM_MAX_RETRIES`` and ``AGENTMEM_MAX_RETRY_SECONDS``.

        Raises:
            AgentMemError: when a value can't be right.
        """
        settings = settings_from_env(api_url, api_key, timeout, max_retries, max_retry_seconds)
        return cls._from_settings(settings, http_client)

    @classmethod
    def _from_settings(cls, settings: Settings, http_client: httpx.Client | None = None) -> Self:
        return cls(
            settings.api_url,
            settings.api_key,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            max_retry_seconds=settings.max_retry_seconds,
            http_client=http_client,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.api_url!r})"

    def close(self) -> None:
        """Close the connections; a given ``http_client`` is left open."""
        if self._owns_http:
            self._http.close()

    def add(
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
        return self._call(endpoints.ADD_MEMORY, body=memory)

    def add_many(
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
            answer = self._call(endpoints.ADD_MEMORIES, body=body, patience=more)
            results = require_stored(outgoing, answer)
            if progress is not None:
                progress(len(results), len(results))
            return results
        batch = BatchAdd(items, collection, progress)
        for outgoing in batch.requests():
            body, more = batch_body(outgoing), patience(outgoing)
            try:
                answer = self._call(endpoints.ADD_MEMORIES, body=body, patience=more)
            except AgentMemError as error:
                batch.failed(error)
            else:
                batch.answered(answer)
        return batch.results

    def get(
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
        return self._call(endpoints.GET_MEMORY, {"id": id}, query=query)

    def get_many(
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
            answer = self._call(endpoints.GET_MEMORIES, body=body)
            memories.extend(answer.memories)
        return memories

    def search(
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
        answer = self._call(endpoints.SEARCH_MEMORIES, body=request)
        return answer.hits

    def iterate(
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
    ) -> Iterator[Memory]:
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
            page = self.list(
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

    def update(
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
        return self._call(endpoints.UPDATE_MEMORY, {"id": id}, query=query, body=update)

    def delete(self, id: str, *, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a memory.

        Returns:
            Whether there was one; False also where the answer of a first try was lost, and the
            second one found it gone.
        """
        query = make(CollectionQuery, given(collection=collection))
        answer = self._call(endpoints.DELETE_MEMORY, {"id": id}, query=query)
        return answer.deleted > 0

    def delete_all(
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
            answer = self._call(endpoints.DELETE_MEMORIES, body=body)
            deleted += answer.deleted
        return deleted

    def pop(
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
        found = self._window(
            limit, order, offset, filters, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "include_memories": True}
        body = make(DeleteRequest, fields)
        answer, tries = self._call_counted(endpoints.DELETE_MEMORIES, body=body)
        return changed_ones(found, answer.memories or [], tries)

    def archive(
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
        found = self._window(
            limit, order, offset, others, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "archived": archived}
        body = make(ArchiveRequest, fields)
        answer, tries = self._call_counted(endpoints.ARCHIVE_MEMORIES, body=body)
        return changed_ones(found, answer.memories, tries)

    def _window(
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
        for memory in memories:
            found.append(memory)
            if len(found) == offset + limit:
                break
        return found[offset:]

    def count(
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
        page = self.list(
            limit=1,
            filters=filters,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            collection=collection,
        )
        return page.total or 0

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
    ) -> Collection:
        """Make a collection, or find it as it should be.

        Args:
            name: of the collection.
            dimension: of its vectors; needed where the embedder is ``"client"``.
            metric: how vectors are compared.
            embedder: ``"server"``: texts are embedded there; ``"client"``: you give the vectors.

        Raises:
            Conflict: it is there with other settings.
        """
        body = make(CollectionInput, given(dimension=dimension, metric=metric, embedder=embedder))
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
        """How the server and what it needs are; an unhealthy server is an answer, not an error."""
        return self._call(endpoints.HEALTH)

    # After the last annotation with the builtin's name, which the method hides from here on.
    def list(
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
        return self._call(endpoints.LIST_MEMORIES, query=query)

    def _call(
        self,
        endpoint: Endpoint[AnswerT],
        segments: dict[str, str] | None = None,
        *,
        query: Request | None = None,
        body: Request | bytes | None = None,
        patience: float = 0.0,
    ) -> AnswerT:
        """Send the request until it is answered, or not worth another try."""
        answer, _ = self._call_counted(
            endpoint, segments, query=query, body=body, patience=patience
        )
        return answer

    def _call_counted(
        self,
        endpoint: Endpoint[AnswerT],
        segments: dict[str, str] | None = None,
        *,
        query: Request | None = None,
        body: Request | bytes | None = None,
        patience: float = 0.0,
    ) -> tuple[AnswerT, int]:
        """As `_call`, with how many tries it took."""
        if self._http.is_closed:
            raise AgentMemError("this client is closed")
        request = build_request(
            self._http, self._settings, endpoint, segments or {}, query, body, patience
        )
        retrying = Retrying(
            retry=self._retry.retry, stop=self._retry.stop, wait=self._retry.wait, reraise=True
        )
        answer: AnswerT = retrying(self._try, endpoint, request)
        return answer, retrying.statistics["attempt_number"]

    def _try(self, endpoint: Endpoint[AnswerT], request: httpx.Request) -> AnswerT:
        try:
            with self._turns:
                # Never to another address, whatever the http_client would do: the key goes along.
                response = self._http.send(request, follow_redirects=False)
        except httpx.HTTPError as error:
            raise transport_error(error, request) from error
        return read_answer(endpoint, response)
