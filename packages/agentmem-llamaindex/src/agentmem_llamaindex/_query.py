"""What a LlamaIndex query asks of AgentMem: pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from agentmem_client.filters import Filter
from agentmem_client.models import MAX_LIMIT, MMR, ImportanceWeight, Mode, RecencyWeight
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from ._filters import narrow

MMR_CANDIDATES = 50
"""How many of the best hits MMR chooses from, at least."""
MMR_FACTOR = 4.0
"""How many times as many as it shall choose."""

_KEYWORDS = frozenset(
    {"mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k", "recency", "importance"}
)


class SearchArguments(TypedDict, total=False):
    """What a query gives to the client's `search`, beside the collection."""

    query: str
    embedding: list[float]
    mode: Mode
    alpha: float | None
    mmr: MMR
    recency: RecencyWeight | None
    importance: ImportanceWeight | None
    limit: int
    filters: Filter | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A query with nothing to rank by: what its filter admits, in the order of storing."""

    filters: Filter | None
    limit: int


def plan(query: VectorStoreQuery, keywords: Mapping[str, Any]) -> SearchArguments | Listing:
    """What to ask of the server.

    Args:
        query: with an empty list of ``node_ids`` standing for all nodes, as an index's
            `as_retriever` has it, and an empty list of ``doc_ids`` for none.
        keywords: of the store's `query`: ``mmr_threshold``, ``mmr_prefetch_k``,
            ``mmr_prefetch_factor``, ``recency`` and ``importance``.

    Raises:
        ValueError: the mode or a field is not offered, the mode lacks what it needs, or a number
            is out of range.
        TypeError: an unknown keyword: it may have been meant to narrow the answer.
        InvalidFilter: the filters can't be honoured.
    """
    if unknown := set(keywords) - _KEYWORDS:
        raise TypeError(f"unknown keywords of a query: {', '.join(sorted(unknown))}")
    if query.embedding_field is not None or query.output_fields is not None:
        raise ValueError(
            "a query has no embedding_field and no output_fields here: a node has one vector, and "
            "comes back whole"
        )
    filters = narrow(query.filters, node_ids=query.node_ids or None, doc_ids=query.doc_ids)
    recency, importance = keywords.get("recency"), keywords.get("importance")
    match query.mode:
        case VectorStoreQueryMode.DEFAULT if query.query_embedding is None and not query.query_str:
            if recency is not None or importance is not None:
                raise ValueError("recency and importance are weighed against a text or a vector")
            return Listing(filters, _limit(query.similarity_top_k))
        case VectorStoreQueryMode.DEFAULT:
            arguments = _dense(query)
        case VectorStoreQueryMode.MMR:
            arguments = _dense(query)
            arguments["mmr"] = _mmr(query, keywords)
        case VectorStoreQueryMode.TEXT_SEARCH | VectorStoreQueryMode.SPARSE:
            arguments = _sparse(query)
        case VectorStoreQueryMode.HYBRID:
            arguments = _hybrid(query)
        case _:
            raise ValueError(
                f"the query mode {query.mode.value!r} is not offered: there are default, hybrid, "
                f"text_search, sparse and mmr"
            )
    arguments["filters"] = filters
    if recency is not None:
        arguments["recency"] = recency
    if importance is not None:
        arguments["importance"] = importance
    return arguments


def _dense(query: VectorStoreQuery) -> SearchArguments:
    return {
        "mode": "dense",
        "embedding": _embedding(query),
        "limit": _limit(query.similarity_top_k),
    }


def _sparse(query: VectorStoreQuery) -> SearchArguments:
    top_k = query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k
    return {"mode": "sparse", "query": _text(query), "limit": _limit(top_k)}


def _hybrid(query: VectorStoreQuery) -> SearchArguments:
    # `sparse_top_k` has no say here: how many keyword candidates enter the fusion is the server's
    # affair, and never fewer than the limit.
    top_k = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
    return {
        "mode": "hybrid",
        "query": _text(query),
        "embedding": _embedding(query),
        "alpha": query.alpha,  # 0.0 is keywords alone; None leaves it to the server
        "limit": _limit(top_k),
    }


def _mmr(query: VectorStoreQuery, keywords: Mapping[str, Any]) -> MMR:
    threshold = keywords.get("mmr_threshold")
    if threshold is None:
        threshold = query.mmr_threshold
    share = {} if threshold is None else {"lambda_mult": float(threshold)}
    candidates = keywords.get("mmr_prefetch_k")
    factor = keywords.get("mmr_prefetch_factor")
    if candidates is not None and factor is not None:
        raise ValueError("give mmr_prefetch_k or mmr_prefetch_factor, not both")
    if candidates is None:
        wanted = round(query.similarity_top_k * (MMR_FACTOR if factor is None else factor))
        candidates = min(max(wanted, MMR_CANDIDATES), MAX_LIMIT)
    return MMR(fetch_k=max(candidates, query.similarity_top_k), **share)


def _embedding(query: VectorStoreQuery) -> list[float]:
    if query.query_embedding is None:
        raise ValueError(f"the query mode {query.mode.value!r} needs a query_embedding")
    return query.query_embedding


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise ValueError(f"the query mode {query.mode.value!r} needs a query_str")
    return query.query_str


def _limit(top_k: int) -> int:
    if not 1 <= top_k <= MAX_LIMIT:
        raise ValueError(f"a query answers 1 to {MAX_LIMIT} nodes, not {top_k}")
    return top_k
