"""What the scores of hits are made of, for people who want to know."""

import numpy as np
from agentmem_client.models import Explanation

from .ranking import Ids, Scored, Scores

_VALUES = ("similarity", "keyword", "tokens", "recency", "importance")
_RANKED = ("similarity", "keyword")


def explain(found: Scored, places: Ids, resemblance: Scores | None = None) -> list[Explanation]:
    """How the score of each hit came about.

    Args:
        found: all candidates.
        places: (k,) which of them are hits.
        resemblance: (k,) of each with those chosen before it by MMR; NaN where there is none.
    """
    unknown = np.full(len(found.ids), np.nan)
    values = {name: found.values.get(name, unknown) for name in _VALUES}
    ranks = {name: _ranks(found.ids, values[name]) for name in _RANKED}
    relevance = found.values.get("relevance", found.scores)
    if resemblance is None:
        resemblance = np.full(len(places), np.nan)
    return [
        Explanation(
            parts={name: float(part[place]) for name, part in found.parts.items()},
            relevance=float(relevance[place]),
            rank=place + 1,
            resemblance=_known(closest),
            **{name: _known(value[place]) for name, value in values.items()},
            **{f"{name}_rank": int(rank[place]) or None for name, rank in ranks.items()},
        )
        for place, closest in zip(places.tolist(), resemblance.tolist(), strict=True)
    ]


def _ranks(ids: Ids, values: Scores) -> Ids:
    """(n,) The rank of each by its value, from 1 on; 0 for NaN."""
    known = np.flatnonzero(~np.isnan(values))
    best_first = known[np.lexsort((ids[known], values[known]))[::-1]]
    ranks = np.zeros(len(ids), np.int64)
    ranks[best_first] = np.arange(1, len(known) + 1)
    return ranks


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
