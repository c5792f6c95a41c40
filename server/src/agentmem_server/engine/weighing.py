"""Recency and importance as parts of a score, beside relevance: pure functions over arrays."""

import numpy as np
from agentmem_client.models import ImportanceWeight, RecencyBy, RecencyWeight

from ..storage import Attributes
from .ranking import Scored, Scores

_RELEVANCE = "relevance"


def weigh(
    found: Scored,
    attributes: Attributes,
    now: int,
    *,
    recency: RecencyWeight | None = None,
    importance: ImportanceWeight | None = None,
) -> Scored:
    """Rank by relevance, recency and importance together.

        score = (1 - r - i) * relevance + r * 2 ** (-age / half_life) + i * importance

    A convex combination: where relevance is a cosine, so is the scale of the score.

    Args:
        found: what is relevant, its scores about on the scale of 0 to 1.
        attributes: of each of its candidates.
        now: microseconds, from which ages are counted back.
        recency: with the weight r; None: 0.
        importance: with the weight i; None: 0.

    Returns:
        The same candidates with the parts and values ``recency`` and ``importance`` too, where
        these are weighed, and the value ``relevance``.
    """
    values = {**found.values, _RELEVANCE: found.scores}
    added: dict[str, Scores] = {}
    if recency is not None:
        moments = moments_of(attributes, recency.by)
        values["recency"] = freshness(moments, now, recency.half_life * 1e6)
        added["recency"] = recency.weight * values["recency"]
    if importance is not None:
        known = ~np.isnan(attributes.importance)
        values["importance"] = np.where(known, attributes.importance, importance.default)
        added["importance"] = importance.weight * values["importance"]
    rest = max(0.0, 1 - total_weight(recency, importance))
    parts = {name: rest * part for name, part in found.parts.items()}
    return Scored.ranked(found.ids, {**parts, **added}, values)


def total_weight(recency: RecencyWeight | None, importance: ImportanceWeight | None) -> float:
    """The share of the score that is not relevance."""
    return (recency.weight if recency else 0.0) + (importance.weight if importance else 0.0)


def moments_of(attributes: Attributes, by: RecencyBy) -> Scores:
    """(n,) When each was, in microseconds."""
    if by == "updated_at":
        return attributes.updated_at
    if by == "created_at":
        return attributes.created_at
    return np.where(np.isnan(attributes.event_at), attributes.created_at, attributes.event_at)


def freshness(moments: Scores, now: int, half_life: float) -> Scores:
    """(n,) Halved with every half life since the moment: 1 for now and later, 0 for NaN."""
    ages = np.maximum(now - moments, 0)
    return np.nan_to_num(np.exp2(-ages / half_life))
