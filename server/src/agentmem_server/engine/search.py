"""How one search is done: which channels it asks, how deep, and how their candidates are ranked."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from agentmem_client.errors import DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_client.models import Explanation, Mode, Rerank, SearchRequest
from numpy.typing import NDArray

from .. import times
from ..storage import Candidates, Embedding, Ranked
from .explaining import explain
from .ranking import Ids, Scored, Scores, fuse, minmax, mmr, share_of_max
from .reranking import DEPTH, rerank
from .weighing import total_weight, weigh

POOL = 100
"""How many candidates each channel brings, at least, where they are ranked anew."""
DEFAULT_ALPHA = 0.5
_LARGEST_KEPT = 1_000_000
"""Bytes of an answer, past which it is not kept: the cache is bounded by entries."""
_STALE = 0.01
"""The share of a half life for which an answer by recency holds: a score is off by .7 % of the
weight then."""
_ROUNDING = 1e-9


class Plan(NamedTuple):
    """What a search asks the store for, and how it ranks what comes.

    ``now`` (microseconds) is what ages are counted from. ``rerank`` is how candidates are ranked
    anew; None: not at all. ``unbounded`` says of a dense search that its scores have no scale, as
    inner products.
    """

    mode: Mode
    alpha: float
    depth: int
    now: int
    rerank: Rerank | None = None
    unbounded: bool = False

    @property
    def by_vector(self) -> bool:
        """Whether the dense channel takes part."""
        return self.mode != "sparse"

    @property
    def by_keyword(self) -> bool:
        """Whether the keyword channel takes part."""
        return self.mode != "dense"

    @property
    def by_tokens(self) -> bool:
        """Whether the query's token vectors take part, where there are some."""
        return self.rerank is not None and self.rerank.tokens > 0


class Found(NamedTuple):
    """An encoded answer, and until when it holds (microseconds): a memory in it expires, or ages.

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


def holds_until(request: SearchRequest, chosen: Plan, expiries: Iterable[int | None]) -> int | None:
    """When an answer is out of date (microseconds) though nothing was written; None: never.

    Args:
        request: what was asked.
        chosen: how it was answered.
        expiries: of the memories in the answer.
    """
    ends = [moment for moment in expiries if moment is not None]
    if request.recency is not None:
        ends.append(chosen.now + times.from_seconds(_STALE * request.recency.half_life))
    return min(ends, default=None)


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
    _check_rerank(request, mode, can_tell_tokens=server_embeds and request.embedding is None)
    if request.mmr is not None and mode == "sparse":
        raise InvalidRequest("mmr compares vectors: use mode 'hybrid' or 'dense' with it")
    if request.embedding is not None and embedding is not None:
        given = len(request.embedding) // 4
        if given != embedding.dimension:
            raise DimensionMismatch(
                f"this collection's vectors have {embedding.dimension} numbers, not {given}",
                details={"expected": embedding.dimension, "given": given},
            )
    weight = total_weight(request.recency, request.importance)
    if weight > 1 + _ROUNDING:
        raise InvalidRequest(
            f"the weights of recency and importance are shares of the score: {weight:g} together "
            "is more than 1"
        )
    depth = max(request.offset + request.limit, request.mmr.fetch_k if request.mmr else 0)
    ranks_anew = mode == "hybrid" or request.recency is not None or request.importance is not None
    return Plan(
        mode=mode,
        alpha=DEFAULT_ALPHA if request.alpha is None else request.alpha,
        depth=max(POOL, depth) if ranks_anew else depth,
        now=times.now(),
        rerank=_how_to_rerank(request) if mode == "hybrid" else None,
        unbounded=embedding is not None and embedding.metric == "dot",
    )


class Ranking:
    """Ranks what one search finds.

    Args:
        chosen: how.
        request: what was asked.
        tokens: (q, d) the token vectors of the query, of length 1; None where there are none.

    Attributes:
        explanations: by id, of the hits that were ranked last; none unless they were asked for.
    """

    def __init__(
        self, chosen: Plan, request: SearchRequest, tokens: NDArray[np.float32] | None = None
    ) -> None:
        self._plan = chosen
        self._request = request
        self._tokens = tokens
        self.explanations: dict[int, Explanation] = {}

    def rank(self, candidates: Candidates) -> Ranked:
        """The hits' ids and scores, best first, cut to the page that was asked for."""
        request = self._request
        found = self._scored(candidates)
        end = request.offset + request.limit
        if request.min_score is None and request.mmr is None and not request.explain:
            return found.ids[request.offset : end], found.scores[request.offset : end]
        places = np.arange(len(found.ids))
        if request.min_score is not None:
            places = places[found.scores >= request.min_score]
        resemblance: Scores | None = None
        if request.mmr is not None:
            pool = places[: max(request.mmr.fetch_k, end)]
            vectors = candidates.vectors(found.ids[pool])
            order, resemblance = mmr(
                found.scores[pool], vectors, k=end, lambda_mult=request.mmr.lambda_mult
            )
            places, resemblance = pool[order], resemblance[request.offset : end]
        page = places[request.offset : end]
        if request.explain:
            self._explain(found, page, resemblance)
        return found.ids[page], np.asarray(found.scores[page], dtype=np.float64)

    def _scored(self, candidates: Candidates) -> Scored:
        recency, importance = self._request.recency, self._request.importance
        if recency is None and importance is None:
            return self._relevant(candidates, scaled=False)
        found = self._relevant(candidates, scaled=True)
        attributes = candidates.attributes(found.ids)
        return weigh(found, attributes, self._plan.now, recency=recency, importance=importance)

    def _relevant(self, candidates: Candidates, *, scaled: bool) -> Scored:
        """The candidates by what the channels say of them, on a scale of 0 to 1 or of a cosine."""
        if self._plan.mode == "hybrid":
            fused = fuse(
                candidates.ids,
                candidates.similarities,
                candidates.keyword_ids,
                candidates.keyword_scores,
                alpha=self._plan.alpha,
            )
            return self._reranked(fused, candidates)
        if self._plan.mode == "dense":
            name, ids, values = "similarity", candidates.ids, candidates.similarities
            scores = minmax(values) if scaled and self._plan.unbounded else values
        else:
            name, ids, values = "keyword", candidates.keyword_ids, candidates.keyword_scores
            scores = share_of_max(values) if scaled else values
        return Scored(ids, scores, {name: scores}, {name: values})

    def _reranked(self, fused: Scored, candidates: Candidates) -> Scored:
        how = self._plan.rerank
        if how is None or not len(fused.ids):
            return fused
        turns = candidates.turns(fused.ids[:DEPTH], self._tokens is not None)
        return rerank(fused, turns, self._request.query or "", self._tokens, how)

    def _explain(self, found: Scored, page: Ids, resemblance: Scores | None) -> None:
        explanations = explain(found, page, resemblance)
        self.explanations = dict(zip(found.ids[page].tolist(), explanations, strict=True))


def _how_to_rerank(request: SearchRequest) -> Rerank | None:
    if isinstance(request.rerank, Rerank):
        return request.rerank
    return Rerank() if request.rerank else None


def _check_rerank(request: SearchRequest, mode: Mode, *, can_tell_tokens: bool) -> None:
    if isinstance(request.rerank, Rerank) and mode != "hybrid":
        raise InvalidRequest(
            f"rerank ranks the candidates of mode 'hybrid' anew; the mode is {mode!r}"
        )
    if asks_for_tokens(request) and not can_tell_tokens:
        raise no_tokens()


def asks_for_tokens(request: SearchRequest) -> bool:
    """Whether token vectors are to be compared by the request's own words, not by default."""
    how = request.rerank
    return isinstance(how, Rerank) and how.tokens > 0 and "tokens" in how.model_fields_set


def no_tokens() -> InvalidRequest:
    """The refusal to compare token vectors where there are none."""
    return InvalidRequest(
        "rerank.tokens compares token vectors, which the server's builtin embedder makes of a "
        "query: leave it out, or set it to 0"
    )


def _default_mode(request: SearchRequest, has_vector: bool) -> Mode:
    if request.query is None:
        return "dense"
    return "hybrid" if has_vector else "sparse"
