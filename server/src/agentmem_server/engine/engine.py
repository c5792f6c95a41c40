"""What the server does with memories: the policy, in reading order.

add:    embed what the server has to embed -> write, batched with other callers -> answer.
search: look in the results of equal searches, here and of other servers -> embed the query -> let
        the store bring candidates and rank them -> answer.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    InvalidRequest,
    Unavailable,
)
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import keywords, times
from ..access.callers import Caller
from ..batcher import Batcher
from ..cache import Cache
from ..embedding import Embedder
from ..embedding.batched import BatchedEmbedder
from ..extraction import Extractor
from ..pauses import with_pauses
from ..sharing import NO_COPIES, Copies
from ..storage import (
    STALE,
    Archive,
    Collection,
    Delete,
    Deleted,
    ListRequest,
    Outcome,
    Put,
    Record,
    Refresh,
    SearchRequest,
    Selection,
    Store,
    Stored,
    Sweep,
    Write,
    weight,
)
from ..telemetry.watch import NOBODY, Watch
from . import cursor, records
from .catalog import Catalog
from .filling import Filling
from .history import History
from .in_flight import InFlight
from .jobs import Jobs
from .known_searches import KnownSearches, digest_of
from .learning import Learning
from .outcomes import failure
from .preparing import Preparation, no_memory
from .reading import Reader
from .results import Key, Results
from .search import Found, Plan, Ranking, asks_for_tokens, holds_until, no_tokens, plan
from .search_counts import SearchCounts
from .selecting import scope_of, selection_of

_UPDATE_ATTEMPTS = 10
_SWEPT_AT_ONCE = 200
"""Expired memories of a collection that one write deletes: others wait for it some 10 ms."""


@dataclass(frozen=True)
class Limits:
    """Sizes and lifetimes of what the engine holds in memory. Times are in seconds."""

    max_pending: int = 10_000
    write_batch: int = 512
    write_batch_bytes: int = 16_000_000
    embed_batch: int = 64
    embedding_cache_size: int = 1_000
    embedding_cache_ttl: float = 300.0
    result_cache_size: int = 500
    result_cache_ttl: float = 60.0
    job_attempts: int = 5


class Engine:
    """Adds, finds, changes and deletes the memories of all tenants in one store.

    `catalog` has what they are kept in: collections, sessions, namespaces; `history` what became of
    them; `learning` finds facts in conversations, and `jobs` has those where that goes on in the
    background; `searches` counts what was asked, and `known_searches` has what is asked again.

    Every method takes the caller first, and sees nothing beyond what that one sees. All may raise
    the errors of `agentmem_client.errors`; the docstrings name those that are particular.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        limits: Limits | None = None,
        watch: Watch = NOBODY,
        copies: Copies = NO_COPIES,
        extractor: Extractor | None = None,
    ) -> None:
        limits = limits or Limits()
        self.searches = SearchCounts()
        self.known_searches = KnownSearches(limits.result_cache_size)
        self._store = store
        self._copies = copies
        self._in_flight = InFlight()
        self._writes: Batcher[Write, Outcome] = Batcher(
            store.write,
            max_batch=limits.write_batch,
            max_pending=limits.max_pending,
            max_weight=limits.write_batch_bytes,
            weigh=weight,
            name="write",
            watch=watch,
        )
        self._embedder = BatchedEmbedder(
            embedder,
            max_batch=limits.embed_batch,
            max_pending=limits.max_pending,
            cache_size=limits.embedding_cache_size,
            cache_ttl=limits.embedding_cache_ttl,
            copies=copies,
            watch=watch,
        )
        self._results = Results(
            copies, max_entries=limits.result_cache_size, ttl=limits.result_cache_ttl
        )
        self._preparation = Preparation(store, self._embedder)
        self.catalog = Catalog(store, self._writes, self._preparation.server_embedding)
        self.filling = Filling(store, self._embedder, self._writes)
        self.jobs = Jobs(store, self._writes, limits.job_attempts)
        reader = Reader(store, extractor)
        self.learning = Learning(
            store, self._writes, self._preparation, self._in_flight, reader, self.jobs
        )
        self.history = History(store, self._writes, self._forget_copies)
        store.on_erase(self._erased_elsewhere)

    @property
    def pending(self) -> Mapping[str, int]:
        """How many items each queue has accepted and not yet answered."""
        return {"write": self._writes.pending, **self._embedder.pending}

    @property
    def caches(self) -> Mapping[str, Cache[Any]]:
        """What is kept so that it needn't be computed again."""
        return {"result": self._results.cache, "embedding": self._embedder.cache}

    async def add(self, caller: Caller, memory: m.MemoryInput) -> m.Memory:
        """Store a memory, or replace the one with its id, and answer it as it is stored."""
        with self._in_flight:
            (put,) = await self._preparation.puts(caller, [memory])
            if isinstance(put, Exception):
                raise put
            (stored,) = await self._writes.submit(put)
        return records.to_memory(stored.record, memory.collection)

    async def add_many(
        self, caller: Caller, memories: Sequence[m.MemoryInput | APIError]
    ) -> list[m.AddResult]:
        """Store memories, each with its own outcome, in order.

        An error in place of a memory (it could not be read) is its outcome.
        """
        good = [memory for memory in memories if not isinstance(memory, APIError)]
        with self._in_flight:
            prepared = await self._preparation.puts(caller, good)
            puts = [put for put in prepared if isinstance(put, Put)]
            stored = iter(await self._writes.submit_many(puts))
        outcomes = iter([next(stored) if isinstance(put, Put) else put for put in prepared])
        return [
            _result(None, memory)
            if isinstance(memory, APIError)
            else _result(memory.id, next(outcomes))
            async for memory in with_pauses(memories)
        ]

    async def add_all(
        self,
        caller: Caller,
        memories: Sequence[m.MemoryInput],
        replacing: m.Criteria | None = None,
    ) -> list[m.AddResult]:
        """Store memories of one collection in one transaction, or none of them.

        What ``replacing`` means is deleted first, in the same transaction.

        Raises:
            InvalidRequest: when they are of several collections, or ``replacing`` says nothing.
        """
        names = {memory.collection for memory in memories}
        if replacing is not None:
            names.add(replacing.collection)
        if len(names) > 1:
            raise InvalidRequest("an atomic batch goes into one collection: send one for each")
        selection = None if replacing is None else selection_of(caller, replacing)
        if not memories:
            if replacing is not None and selection is not None:
                await self._writes.submit(Delete(caller.tenant, replacing.collection, selection))
            return []
        with self._in_flight:
            puts = []
            for position, put in enumerate(await self._preparation.puts(caller, memories)):
                if isinstance(put, APIError):  # perhaps others' too: not ours to change
                    details = {**put.details, "field": f"memories.{position}"}
                    retry_after = put.retry_after
                    raise type(put)(put.message, details=details, retry_after=retry_after)
                if isinstance(put, Exception):
                    raise put
                puts.append(put)
            everything = [record for put in puts for record in put.records]
            # Without vectors either way of embedding is right: those with some decide.
            ways = [put.embedding for put in puts if put.records[0].vectors] or [puts[0].embedding]
            for way in ways[1:]:
                ways[0].check_given(way)
            whole = Put(
                caller.tenant, puts[0].collection, ways[0], everything, selection, caller.user_id
            )
            stored = await self._writes.submit(whole)
        return [_result(one.record.id, [one]) for one in stored]

    async def search(
        self, caller: Caller, request: m.SearchRequest, digest: bytes | None = None
    ) -> bytes:
        """The JSON of a `SearchAnswer`. It sees every write that was answered before.

        The request is not changed; its ``digest`` is made where it isn't known.

        Raises:
            InvalidRequest: for options that don't go together or with the collection.
        """
        started = time.perf_counter()
        # Before anything is read: what a later write changes must not be kept under its version.
        version = await self._store.version(caller.tenant, request.collection)
        key = (caller, request.collection, version, digest or digest_of(request))
        found = self._results.kept(key)
        is_cached = True
        if found is None:
            found, is_cached = await self._find(caller, request, key)
        self.searches.add(
            caller.tenant,
            caller.user(request.user_id),
            request.agent_id,
            time.perf_counter() - started,
            is_cached=is_cached,
        )
        return found.body

    async def _find(self, caller: Caller, request: m.SearchRequest, key: Key) -> tuple[Found, bool]:
        """The answer to a search, and whether it came from another request or server."""
        found = self._search_at_once(caller, request)
        if found is not None:
            self._results.keep(key, found)
            return found, False
        is_cached = True

        async def compute() -> Found:
            nonlocal is_cached
            is_cached = False
            return await self._search(caller, request)

        found = await self._results.get_or_compute(key, compute)
        return found, is_cached

    def _search_at_once(self, caller: Caller, request: m.SearchRequest) -> Found | None:
        """What `_search` answers, where that is by a given vector alone and all is in memory."""
        at_once = self._store.at_once
        if at_once is None or request.embedding is None:
            return None
        collection = at_once.collection(caller.tenant, request.collection)
        if collection is None:
            return None
        chosen = plan(request, collection.embedding)
        if chosen.by_keyword:
            return None
        asked = _asked(caller, request, chosen, request.embedding, Ranking(chosen, request))
        return self._found_at_once(request, chosen, collection, asked)

    def _found_at_once(
        self, request: m.SearchRequest, chosen: Plan, collection: Collection, asked: SearchRequest
    ) -> Found | None:
        at_once = self._store.at_once
        if at_once is None or asked.render is None:
            return None
        found = at_once.search(collection, asked)
        if found is None:
            return None
        rows = [row for row, _ in found]
        hits = records.with_scores([row.rendered for row in rows], [score for _, score in found])
        until = holds_until(request, chosen, [row.expires_at for row in rows])
        return Found(records.to_answer(hits), until, refreshed=False)

    async def _search(self, caller: Caller, request: m.SearchRequest) -> Found:
        collection = await self._store.collection(caller.tenant, request.collection)
        chosen = plan(request, None if collection is None else collection.embedding)
        ranking = Ranking(chosen, request)
        found: list[tuple[Record, float]] = []
        if collection is not None:
            vector, tokens = await self._query_vectors(chosen, request, collection)
            ranking = Ranking(chosen, request, tokens)
            asked = _asked(caller, request, chosen, vector, ranking)
            if request.embedding is None:  # else it was tried before
                at_once = self._found_at_once(request, chosen, collection, asked)
                if at_once is not None:
                    return at_once
            found = await self._store.search(collection, asked)
        refreshed = request.refresh_ttl and await self._refresh(
            caller, request.collection, [record for record, _ in found]
        )
        dimension = _answered_dimension(collection, request.include_embeddings)
        hits: list[tuple[bytes, ...]] = []
        async for record, score in with_pauses(found):
            if record.rendered is not None:
                hits += records.with_scores([record.rendered], [score])
                continue
            hit = records.to_hit(record, request.collection, score, dimension=dimension)
            if request.explain:
                hit["explanation"] = ranking.explanations[record.seq]
            hits.append((to_json(hit, inf_nan_mode="null"),))
        until = holds_until(request, chosen, (record.expires_at for record, _ in found))
        return Found(records.to_answer(hits), until, refreshed)

    async def _query_vectors(
        self, chosen: Plan, request: m.SearchRequest, collection: Collection
    ) -> tuple[bytes | None, NDArray[np.float32] | None]:
        """The vector to search by, and those of the query's tokens (q, d), as far as wanted."""
        if not chosen.by_vector:
            return None, None
        if request.embedding is not None:
            return request.embedding, None
        collection.embedding.check_given(self._preparation.server_embedding)
        if asks_for_tokens(request) and not self._embedder.tells_tokens:
            raise no_tokens()
        embedded = await self._embedder.embed_query(request.query or "")
        tokens = None
        if chosen.by_tokens and embedded.tokens:
            tokens = np.frombuffer(embedded.tokens, "<f2").astype(np.float32)
            tokens = tokens.reshape(-1, self._embedder.dimension)
        return embedded.vector, tokens

    async def get(self, caller: Caller, memory_id: str, query: m.GetQuery) -> m.Memory:
        """One memory.

        Raises:
            NotFound: when there is none with this id.
        """
        request = m.GetManyRequest(
            ids=[memory_id],
            collection=query.collection,
            include_embeddings=query.include_embeddings,
            refresh_ttl=query.refresh_ttl,
        )
        found = await self.get_many(caller, request)
        if not found:
            raise no_memory(memory_id, query.collection)
        return found[0]

    async def get_many(self, caller: Caller, request: m.GetManyRequest) -> list[m.Memory]:
        """The memories with these ids, in this order; missing ones are skipped."""
        collection = await self._store.collection(caller.tenant, request.collection)
        if collection is None:
            return []
        with_vectors = request.include_embeddings
        found = await self._store.get(
            collection, request.ids, scope=caller.scope(), with_vectors=with_vectors
        )
        if request.refresh_ttl:
            await self._refresh(caller, collection.name, found)
        dimension = _answered_dimension(collection, with_vectors)
        return [
            records.to_memory(record, collection.name, dimension=dimension)
            async for record in with_pauses(found)
        ]

    async def _refresh(self, caller: Caller, collection: str, found: Sequence[Record]) -> bool:
        """Start the time to live of what is being answered anew; whether any of it has one."""
        at = times.now()
        mortal = [record for record in found if record.ttl is not None]
        if mortal:
            ids = [record.id for record in mortal]
            await self._writes.submit(Refresh(caller.tenant, collection, ids, at))
        for record in mortal:
            assert record.ttl is not None
            record.expires_at = at + record.ttl
        return bool(mortal)

    async def page(self, caller: Caller, query: m.ListQuery) -> m.PageAnswer:
        """One page of a listing.

        Raises:
            InvalidCursor: for a cursor of another listing.
        """
        after = cursor.decode(caller, query)
        if after is not None and query.offset:
            raise InvalidRequest("a page starts at a cursor or at an offset: give one of them")
        # Before anything is read: whose memories a key opens depends on no collection.
        selection = Selection(scope_of(caller, query), query.filters)
        collection = await self._store.collection(caller.tenant, query.collection)
        if collection is None:
            return m.PageAnswer(memories=[], total=0 if query.include_total else None)
        found = await self._store.page(
            collection,
            ListRequest(
                selection=selection,
                order_by=query.order_by,
                order=query.order,
                limit=query.limit,
                offset=query.offset,
                after=after,
                with_total=query.include_total,
                with_vectors=query.include_embeddings,
            ),
        )
        if query.refresh_ttl:
            await self._refresh(caller, collection.name, found.records)
        dimension = _answered_dimension(collection, query.include_embeddings)
        return m.PageAnswer.model_construct(
            memories=[
                records.to_memory(record, collection.name, dimension=dimension)
                async for record in with_pauses(found.records)
            ],
            total=found.total,
            next_cursor=None if found.next is None else cursor.encode(caller, query, found.next),
        )

    async def update(
        self,
        caller: Caller,
        collection_name: str,
        memory_id: str,
        update: m.MemoryUpdate,
        if_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> m.Memory:
        """Change the given fields of a memory, and answer it as it is stored.

        A change of ``if_version`` that was made before under the same ``idempotency_key`` is not
        made again: the memory is answered as it is.

        Raises:
            NotFound: when there is none with this id.
            VersionConflict: when it is of another version than ``if_version``.
            EmbedderMismatch: when the content changes and the collection's vectors come from the
                caller, but no new one does; or the other way round.
        """
        now = times.now()
        with self._in_flight:
            for _ in range(_UPDATE_ATTEMPTS):
                write = await self._preparation.update(
                    caller,
                    collection_name,
                    memory_id,
                    update,
                    now,
                    if_version,
                    idempotency_key,
                )
                after: Record | Literal["stale"] | None = await self._writes.submit(write)
                if after is None:
                    raise no_memory(memory_id, collection_name)
                if after != STALE:
                    return records.to_memory(after, collection_name)
        raise Unavailable("others keep changing this memory: try again", retry_after=1.0)

    async def delete(
        self,
        caller: Caller,
        collection_name: str,
        memory_id: str,
        if_version: int | None = None,
    ) -> int:
        """Delete a memory; answers 1, or 0 when there was none.

        Raises:
            VersionConflict: when it is of another version than ``if_version``.
        """
        selection = Selection(caller.scope(), ids=[memory_id])
        deleted: Deleted = await self._writes.submit(
            Delete(caller.tenant, collection_name, selection, if_version=if_version)
        )
        return deleted.count

    async def delete_many(self, caller: Caller, request: m.DeleteRequest) -> m.DeletedMemories:
        """Delete the memories that meet every criterion given.

        Raises:
            InvalidRequest: when no criterion is given, or one beside ``everything``.
        """
        collection, returning = request.collection, request.include_memories
        deleted: Deleted = await self._writes.submit(
            Delete(caller.tenant, collection, selection_of(caller, request), returning)
        )
        memories = None
        if deleted.records is not None:
            memories = [records.to_memory(record, collection) for record in deleted.records]
        return m.DeletedMemories.model_construct(deleted=deleted.count, memories=memories)

    async def archive(self, caller: Caller, request: m.ArchiveRequest) -> list[m.Memory]:
        """Set the memories that meet every criterion aside, or take them back.

        Answers those that changed.

        Raises:
            InvalidRequest: as `delete_many`.
        """
        changed: list[Record] = await self._writes.submit(
            Archive(
                caller.tenant,
                request.collection,
                selection_of(caller, request),
                request.archived,
            )
        )
        return [records.to_memory(record, request.collection) for record in changed]

    async def sweep(self) -> int:
        """Delete what has expired, of all tenants; answers how many memories that were."""
        swept = 0
        while True:
            part: int = await self._writes.submit(Sweep(times.now(), _SWEPT_AT_ONCE))
            swept += part
            if not part:
                return swept

    async def _forget_copies(self, tenant: str, user_id: str) -> None:
        self._forget_here(tenant, user_id)
        await self._copies.forget()

    def _erased_elsewhere(self, tenant: str, user_id: str) -> None:
        self._forget_here(tenant, user_id)
        # Who erased did that too; but what was being computed here may have been kept since.
        self._copies.forget_soon()

    def _forget_here(self, tenant: str, user_id: str) -> None:
        self._results.cache.clear()
        self.known_searches.clear()
        self._embedder.clear()
        self.learning.forget(tenant, user_id)
        self.searches.forget(tenant, user_id)
        self.jobs.look_for_deleted()

    async def close(self) -> None:
        """Refuse new work and finish what was accepted; the store and embedder stay open."""
        await self._in_flight.close()
        await self._embedder.close()
        await self._writes.close()


def _asked(
    caller: Caller, request: m.SearchRequest, chosen: Plan, vector: bytes | None, ranking: Ranking
) -> SearchRequest:
    """A search as the store is asked for it."""
    name, render = request.collection, None
    if not (request.include_embeddings or request.explain or request.refresh_ttl):
        render = partial(records.rendered, collection=name)
    return SearchRequest(
        selection=Selection(scope_of(caller, request), request.filters),
        vector=vector,
        terms=keywords.keyword_query(request.query or "") if chosen.by_keyword else [],
        depth=chosen.depth,
        rank=ranking.rank,
        with_vectors=request.include_embeddings,
        render=render,
    )


def _answered_dimension(collection: Collection | None, with_vectors: bool) -> int | None:
    return collection.embedding.dimension if collection is not None and with_vectors else None


def _result(memory_id: str | None, outcome: Sequence[Stored] | Exception) -> m.AddResult:
    if not isinstance(outcome, Exception):
        return m.AddResult(id=memory_id, status="stored" if outcome[0].created else "updated")
    return m.AddResult(id=memory_id, status="failed", error=failure(outcome))
