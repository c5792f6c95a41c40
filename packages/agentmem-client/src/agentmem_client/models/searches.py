"""Searches and their hits."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ._fields import (
    DEFAULT_COLLECTION,
    MAX_LIMIT,
    MAX_TTL,
    Answer,
    Filters,
    Importance,
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

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
RecencyBy = Literal["event_at", "created_at", "updated_at"]


class Explanation(Answer):
    """What the score of a hit is made of."""

    parts: dict[str, float]
    """They add up to the score: ``similarity`` and ``keyword``, by the channels that were asked;
    ``tokens``, ``context`` and ``speaker``, by what ranked anew; ``recency`` and ``importance``
    where they have a weight. Later servers may know more of them."""
    relevance: float
    """The score before recency and importance are weighed against it."""
    similarity: float | None = None
    """By the collection's metric; null where no vector was compared."""
    keyword: float | None = None
    """BM25; null where the keyword channel did not find it."""
    tokens: float | None = None
    """How well the query's words are found in it or around it, on average: about a cosine; null
    where its token vectors weren't compared."""
    recency: float | None = None
    """1 for now, 0.5 after one half life; null where it has no weight."""
    importance: float | None = None
    """The memory's own, or what counts in its place; null where it has no weight."""
    rank: int
    """By the score among all candidates, from 1 on; ``mmr`` may have chosen another order."""
    similarity_rank: int | None = None
    """Among the candidates whose vectors were compared."""
    keyword_rank: int | None = None
    """Among what the keyword channel found."""
    resemblance: float | None = None
    """With ``mmr``: the cosine with the closest of the hits chosen before it."""


class Hit(Memory):
    """A memory that a search found."""

    score: float
    """Larger is better. ``dense``: cosine in -1..1, the inner product, or 1 / (1 + distance), by
    the collection's metric. ``sparse``: BM25, above 0. ``hybrid``: 0..1 within this answer's
    candidates. With ``recency`` or ``importance`` BM25 and the inner product are scaled to 0..1
    within the candidates, too."""
    explanation: Explanation | None = None
    """Only where ``explain`` asked for it."""


class MMR(Request):
    """Maximal marginal relevance: hits that are relevant and unlike each other."""

    fetch_k: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    """How many of the best hits to choose from."""
    lambda_mult: Share = 0.5
    """1: the score alone, 0: diversity alone."""


class Rerank(Request):
    """How the candidates of a ``hybrid`` search are ranked anew; 0 leaves a step out."""

    tokens: Share = 0.7
    """The share of the query's words, each as it is found in a memory, in the score; the rest is
    the fusion of both channels. It needs token vectors, which the server's builtin embedder
    makes."""
    context: Share = 0.85
    """What is found in a turn counts for the turns around it in their session, times this for each
    turn between them, up to three."""
    speaker: Share = 0.15
    """The share of turns ("Ann: ...") whose speaker the query names, where it names one."""


class RecencyWeight(Request):
    """How much it counts that a memory is of late: ``2 ** (-age / half_life)``, 1 for now."""

    weight: Share
    """Its share in the score."""
    half_life: Annotated[float, Field(ge=1, le=MAX_TTL)] = 30 * 86_400
    """Seconds after which it counts half."""
    by: RecencyBy = "event_at"
    """What the age is counted from. A memory without ``event_at`` has the age of its
    ``created_at``; one whose time is yet to come has the age 0."""


class ImportanceWeight(Request):
    """How much it counts what a memory's ``importance`` is."""

    weight: Share
    """Its share in the score."""
    default: Importance = 0.5
    """The importance of what has none."""


class SearchRequest(Scope):
    """A search by text, by vector, or by both."""

    query: Text | None = None
    embedding: PackedVector | None = None
    collection: Name = DEFAULT_COLLECTION
    filters: Filters = None
    mode: Mode | None = None
    """Left out: ``hybrid`` where there is a text and a vector for it, else what there is."""
    alpha: Share | None = None
    """The vector's share in the fusion of ``hybrid``: 0 takes keywords alone (what has none of them
    follows), 1 vectors alone; 0.5 where left out. With ``rerank`` false this alone ranks."""
    limit: Limit = 10
    offset: Offset = 0
    """Past the hundredth hit of ``hybrid``, and of a search with ``recency`` or ``importance``,
    pages are ranked among more candidates each, and may repeat or miss a hit; others don't."""
    min_score: float | None = None
    rerank: bool | Rerank = True
    """Ranks the candidates of ``hybrid`` anew by words, by what is said around them and by who says
    it; false leaves them as the channels have them. Other modes have nothing to rank anew."""
    mmr: MMR | None = None
    recency: RecencyWeight | None = None
    """Left out: it doesn't count. It is weighed for the 100 most relevant, at least."""
    importance: ImportanceWeight | None = None
    """As ``recency``; the weights of both are at most 1 together, and the rest is relevance."""
    explain: bool = False
    """Answers with each hit what its score is made of."""
    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class SearchAnswer(Answer):
    """The hits, best first."""

    hits: list[Hit]
