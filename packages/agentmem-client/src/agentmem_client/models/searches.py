"""Searches and their hits."""

from typing import Annotated

from pydantic import Field

from ._fields import (
    DEFAULT_COLLECTION,
    MAX_LIMIT,
    Answer,
    Filters,
    Limit,
    Mode,
    Name,
    Offset,
    PackedVector,
    Request,
    Scope,
    Text,
)
from .memories import Memory


class Hit(Memory):
    """A memory that a search found."""

    score: float
    """Larger is better. ``dense``: cosine in -1..1, the inner product, or 1 / (1 + distance), by
    the collection's metric. ``sparse``: BM25, above 0. ``hybrid``: 0..1 within this answer's
    candidates."""


class MMR(Request):
    """Maximal marginal relevance: hits that are relevant and unlike each other."""

    fetch_k: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    """How many of the best hits to choose from."""
    lambda_mult: Annotated[float, Field(ge=0, le=1)] = 0.5
    """1: relevance alone, 0: diversity alone."""


class SearchRequest(Scope):
    """A search by text, by vector, or by both."""

    query: Text | None = None
    embedding: PackedVector | None = None
    collection: Name = DEFAULT_COLLECTION
    filters: Filters = None
    mode: Mode | None = None
    """Left out: ``hybrid`` where there is a text and a vector for it, else what there is."""
    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    """The vector's share in ``hybrid``: 0 ranks by keywords alone (what has none of them follows,
    with score 0), 1 by vectors alone; 0.5 where left out."""
    limit: Limit = 10
    offset: Offset = 0
    """Past the hundredth hit of ``hybrid``, pages are ranked among more candidates each, and may
    repeat or miss a hit; the other modes' pages don't."""
    min_score: float | None = None
    mmr: MMR | None = None
    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class SearchAnswer(Answer):
    """The hits, best first."""

    hits: list[Hit]
