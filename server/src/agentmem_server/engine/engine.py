"""What the server does with memories: the policy, in reading order.

add:    embed what the server has to embed -> write, batched with other callers -> answer.
search: see `searching`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    InvalidRequest,
    Unavailable,
)

from .. import times
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
    Delete,
    Deleted,
    ListRequest,
    Outcome,
    Put,
    Record,
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
from .known_searches import KnownSearches
from .learning import Learning
from .outcomes import failure
from .preparing import Preparation, no_memory
from .reading import Reader
from .refreshing import refresh
from .results import Results
from .searching import Searching
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
    background; `searching` has what is kept and counted of searches.

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
        self._preparation = Preparation(store, self._embedder)
        self.searching = Searching(
            store,
            self._writes,
            self._embedder,
            self._preparation,
            Results(copies, max_entries=limits.result_cache_size, ttl=limits.result_cache_ttl),
            KnownSearches(limits.result_cache_size),
        )
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
        return {"result": self.searching.results.cache, "embedding": self._embedder.cache}

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
        """The JSON of a `SearchAnswer`: see `Searching.search`."""
        return await self.searching.search(caller, request, digest)

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
            await refresh(self._writes, caller, collection.name, found)
        dimension = records.answered_dimension(collection, with_vectors)
        return [
            records.to_memory(record, collection.name, dimension=dimension)
            async for record in with_pauses(found)
        ]

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
            await refresh(self._writes, caller, collection.name, found.records)
        dimension = records.answered_dimension(collection, query.include_embeddings)
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
        self.searching.forget(tenant, user_id)
        self._embedder.clear()
        self.learning.forget(tenant, user_id)
        self.jobs.look_for_deleted()

    async def close(self) -> None:
        """Refuse new work and finish what was accepted; the store and embedder stay open."""
        await self._in_flight.close()
        await self._embedder.close()
        await self._writes.close()


def _result(memory_id: str | None, outcome: Sequence[Stored] | Exception) -> m.AddResult:
    if not isinstance(outcome, Exception):
        return m.AddResult(id=memory_id, status="stored" if outcome[0].created else "updated")
    return m.AddResult(id=memory_id, status="failed", error=failure(outcome))
