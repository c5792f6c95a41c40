"""A search, in reading order.

The results of equal searches -> what takes microseconds, at once -> those of other servers -> embed
the query -> let the store bring candidates and rank them -> answer.
"""

import time
from functools import partial

import numpy as np
from agentmem_client import models as m
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import keywords
from ..access.callers import Caller
from ..batcher import Batcher
from ..embedding.batched import BatchedEmbedder
from ..pauses import Share, with_pauses
from ..storage import Collection, Outcome, Record, SearchRequest, Selection, Store, Write
from . import records
from .known_searches import KnownSearches, digest_of
from .preparing import Preparation
from .refreshing import refresh
from .results import Results
from .search import Found, Plan, Ranking, asks_for_tokens, holds_until, no_tokens, plan
from .search_counts import SearchCounts
from .selecting import scope_of


class Searching:
    """Searches of all tenants.

    Args:
        store: what is searched.
        writes: the queue that all writes to the store go through.
        embedder: makes the vectors of queries.
        preparation: says how this server embeds.
        results: answers that are kept.
        known: what is asked again.

    Attributes:
        counts: of what was asked.
        results: see above.
        known: see above.
    """

    def __init__(
        self,
        store: Store,
        writes: Batcher[Write, Outcome],
        embedder: BatchedEmbedder,
        preparation: Preparation,
        results: Results,
        known: KnownSearches,
    ) -> None:
        self.counts = SearchCounts()
        self.results = results
        self.known = known
        self._store = store
        self._writes = writes
        self._embedder = embedder
        self._preparation = preparation
        self._share = Share()

    async def search(
        self, caller: Caller, request: m.SearchRequest, digest: bytes | None = None
    ) -> bytes:
        """The JSON of a `SearchAnswer`. It sees every write that was answered before.

        The request is not changed; its ``digest`` is known where it was asked before.

        Raises:
            InvalidRequest: for options that don't go together or with the collection.
        """
        started = time.perf_counter()
        found, is_cached = await self._find(caller, request, digest)
        self.counts.add(
            caller.tenant,
            caller.user(request.user_id),
            request.agent_id,
            time.perf_counter() - started,
            is_cached=is_cached,
        )
        return found.body

    async def _find(
        self, caller: Caller, request: m.SearchRequest, digest: bytes | None
    ) -> tuple[Found, bool]:
        """The answer to a search, and whether it came from another request or server."""
        is_new = digest is None
        if is_new:
            # Most such searches come once: their answers are worth keeping from the second time on.
            found = await self._search_at_once(caller, request)
            if found is not None:
                self.results.passed_over()
                return found, False
        # Before anything is read: what a later write changes must not be kept under its version.
        version = await self._store.version(caller.tenant, request.collection)
        key = (caller, request.collection, version, digest or digest_of(request))
        found = self.results.kept(key)
        if found is not None:
            return found, True
        if not is_new:
            found = await self._search_at_once(caller, request)
            if found is not None:
                self.results.keep(key, found)
                return found, False
        is_cached = True

        async def compute() -> Found:
            nonlocal is_cached
            is_cached = False
            return await self._search(caller, request)

        found = await self.results.get_or_compute(key, compute)
        return found, is_cached

    async def _search_at_once(self, caller: Caller, request: m.SearchRequest) -> Found | None:
        """What `_search` answers, where that is by a given vector alone and all is in memory."""
        at_once = self._store.at_once
        if at_once is None or request.embedding is None:
            return None
        await self._share.left()
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
        with self._share:
            found = at_once.search(collection, asked)
            if found is None:
                return None
            hits = records.with_scores(found.rendered, found.scores)
            until = holds_until(request, chosen, found.expiries)
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
                await self._share.left()
                at_once = self._found_at_once(request, chosen, collection, asked)
                if at_once is not None:
                    return at_once
            found = await self._store.search(collection, asked)
        refreshed = request.refresh_ttl and await refresh(
            self._writes, caller, request.collection, [record for record, _ in found]
        )
        dimension = records.answered_dimension(collection, request.include_embeddings)
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

    def forget(self, tenant: str, user_id: str) -> None:
        """Let go of what is kept of searches, and of what is counted of a user's."""
        self.results.cache.clear()
        self.known.clear()
        self.counts.forget(tenant, user_id)


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
