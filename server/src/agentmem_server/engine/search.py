"""How one search is done: which channels it asks, how deep, and how their candidates are ranked."""

from dataclasses import dataclass

import numpy as np
from agentmem_client.errors import DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_client.models import Mode, SearchRequest

from .. import times
from ..storage import Candidates, Embedding, Ranked
from .ranking import fuse, mmr

POOL = 100
"""How many candidates each channel of a hybrid search brings, at least."""
DEFAULT_ALPHA = 0.5
_LARGEST_KEPT = 1_000_000
"""Bytes of an answer, past which it is not kept: the cache is bounded by entries."""


@dataclass(frozen=True)
class Plan:
    """What a search asks the store for."""

    mode: Mode
    alpha: float
    depth: int

    @property
    def by_vector(self) -> bool:
        """Whether the dense channel takes part."""
        return self.mode != "sparse"

    @property
    def by_keyword(self) -> bool:
        """Whether the keyword channel takes part."""
        return self.mode != "dense"


@dataclass(frozen=True)
class Found:
    """An encoded answer, and when the first memory in it expires (microseconds).

    One that ``refreshed`` a time to live is not kept: the next search has to refresh again.
    """

    body: bytes
    expires_at: int | None
    refreshed: bool

    def lifetime(self) -> float:
        """Seconds for which it holds; 0 where it is not to be kept."""
        if self.refreshed or len(self.body) > _LARGEST_KEPT:
            return 0.0
        if self.expires_at is None:
            return float("inf")
        return (self.expires_at - times.now()) / 1_000_000


def plan(request: SearchRequest, embedding: Embedding | None) -> Plan:
    """Choose how to search a collection (None: one that isn't there yet).

    Raises:
        InvalidRequest: when the request's options can't be honoured together.
        EmbedderMismatch: when there is no vector to search with and the server can't make one.
        DimensionMismatch: when the vector has another length than the collection's.
    """
    if request.query is None and request.embedding is None:
        raise InvalidRequest("give a query, an embedding or both; to filter alone, list memories")
    server_embeds = embedding is None or embedding.embedder == "server"
    has_vector = request.embedding is not None or server_embeds
    mode = request.mode or _default_mode(request, has_vector)
    if mode != "dense" and request.query is None:
        raise InvalidRequest(f"mode {mode!r} looks for the words of a query: give one")
    if mode != "sparse" and not has_vector:
        raise EmbedderMismatch(
            f"mode {mode!r} compares vectors, and this collection's come from the caller: give the "
            "embedding of the query, or use mode 'sparse'"
        )
    if request.alpha is not None and mode != "hybrid":
        raise InvalidRequest(f"alpha weighs the channels of mode 'hybrid'; the mode is {mode!r}")
    if request.mmr is not None and mode == "sparse":
        raise InvalidRequest("mmr compares vectors: use mode 'hybrid' or 'dense' with it")
    if request.embedding is not None and embedding is not None:
        given = len(request.embedding) // 4
        if given != embedding.dimension:
            raise DimensionMismatch(
                f"this collection's vectors have {embedding.dimension} numbers, not {given}",
                details={"expected": embedding.dimension, "given": given},
            )
    depth = max(request.offset + request.limit, request.mmr.fetch_k if request.mmr else 0)
    return Plan(
        mode=mode,
        alpha=DEFAULT_ALPHA if request.alpha is None else request.alpha,
        depth=max(POOL, depth) if mode == "hybrid" else depth,
    )


def rank(chosen: Plan, request: SearchRequest, candidates: Candidates) -> Ranked:
    """The hits' ids and scores, best first, cut to the page that was asked for."""
    if chosen.mode == "hybrid":
        ids, scores = fuse(
            candidates.ids,
            candidates.similarities,
            candidates.keyword_ids,
            candidates.keyword_scores,
            alpha=chosen.alpha,
        )
    elif chosen.mode == "dense":
        ids, scores = candidates.ids, candidates.similarities
    else:
        ids, scores = candidates.keyword_ids, candidates.keyword_scores
    if request.min_score is not None:
        good = scores >= request.min_score
        ids, scores = ids[good], scores[good]
    end = request.offset + request.limit
    if request.mmr is not None:
        pool = slice(0, max(request.mmr.fetch_k, end))
        vectors = candidates.vectors(ids[pool])
        order = mmr(scores[pool], vectors, k=end, lambda_mult=request.mmr.lambda_mult)
        ids, scores = ids[order], scores[order]
    page = slice(request.offset, end)
    return ids[page], np.asarray(scores[page], dtype=np.float64)


def _default_mode(request: SearchRequest, has_vector: bool) -> Mode:
    if request.query is None:
        return "dense"
    return "hybrid" if has_vector else "sparse"
