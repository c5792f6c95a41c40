"""How one search is done: which channels it asks, how deep, and how their candidates are ranked."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from agentmem_client.errors import DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_client.models import Explanation, Mode, SearchRequest

from .. import times
from ..storage import Candidates, Embedding, Ranked
from .explaining import explain
from .ranking import Ids, Scored, Scores, fuse, minmax, mmr, share_of_max
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


@dataclass(frozen=True)
class Plan:
    """What a search asks the store for, and how it ranks what comes.

    ``now`` (microseconds) is what ages are counted from. ``unbounded`` says of a dense search that
    its scores have no scale, as inner products.
    """

    mode: Mode
    alpha: float
    depth: int
    now: int
    unbounded: bool = False

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
        unbounded=embedding is not None and embedding.metric == "dot",
    )


class Ranking:
    """Ranks what one search finds.

    Args:
        chosen: how.
        request: what was asked.

    Attributes:
        explanations: by id, of the hits that were ranked last; none unless they were asked for.
    """

    def __init__(self, chosen: Plan, request: SearchRequest) -> None:
        self._plan = chosen
        self._request = request
        self.explanations: dict[int, Explanation] = {}

    def rank(self, candidates: Candidates) -> Ranked:
        """The hits' ids and scores, best first, cut to the page that was asked for."""
        request = self._request
        found = self._scored(candidates)
        places = np.arange(len(found.ids))
        if request.min_score is not None:
            places = places[found.scores >= request.min_score]
        end = request.offset + request.limit
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
            return fuse(
                candidates.ids,
                candidates.similarities,
                candidates.keyword_ids,
                candidates.keyword_scores,
                alpha=self._plan.alpha,
            )
        if self._plan.mode == "dense":
            name, ids, values = "similarity", candidates.ids, candidates.similarities
            scores = minmax(values) if scaled and self._plan.unbounded else values
        else:
            name, ids, values = "keyword", candidates.keyword_ids, candidates.keyword_scores
            scores = share_of_max(values) if scaled else values
        return Scored(ids, scores, {name: scores}, {name: values})

    def _explain(self, found: Scored, page: Ids, resemblance: Scores | None) -> None:
        explanations = explain(found, page, resemblance)
        self.explanations = dict(zip(found.ids[page].tolist(), explanations, strict=True))


def _default_mode(request: SearchRequest, has_vector: bool) -> Mode:
    if request.query is None:
        return "dense"
    return "hybrid" if has_vector else "sparse"
