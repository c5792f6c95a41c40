"""Candidates of a hybrid search ranked anew: by single words, what is around them, who says it.

Each step was measured for itself; the figures are in benchmarks/README.md.
"""

import numpy as np
from agentmem_client.models import Rerank
from numpy.typing import NDArray

from ..embedding import signs
from ..storage import Turns
from . import late
from .ranking import Scored, Scores, minmax
from .speakers import named

DEPTH = 200
"""How many candidates are ranked anew: all of them, where no more than ten pages are asked for."""
TOKENS = 16_384
"""How many tokens of candidates are compared, of the best first: four times what so many turns of a
conversation have. Of long texts the last ones count by the fusion."""


def rerank(
    found: Scored, turns: Turns, query: str, tokens: NDArray[np.float32] | None, how: Rerank
) -> Scored:
    """Rank candidates by the channels and by what they and the turns around them say.

        score = (1 - s) * ((1 - t) * fused + t * minmax(found)) + s * (the query names the speaker)

    where ``found`` is the mean over the query's tokens of the largest cosine with any token of the
    candidate, or of a turn around it, times ``how.context`` for each turn that it is away. Without
    token vectors, of the query or of all candidates, it is fused, or as much of that of a turn
    around it. Where the query names nobody, s is 0.

    Args:
        found: the fusion of both channels.
        turns: what the first k candidates say, k at most n; the others keep their place by the
            fusion.
        query: the text that was searched for.
        tokens: (q, d) its token vectors, of length 1; None where there are none.
        how: the shares s (``speaker``) and t (``tokens``).

    Returns:
        The same candidates with the parts ``tokens`` or ``context``, and ``speaker``, and the value
        ``tokens``.
    """
    parts, values = dict(found.parts), dict(found.values)
    said = None
    if how.tokens > 0 and tokens is not None and len(tokens):
        said = _said(turns, tokens, how.context)
    if said is not None and not np.isnan(said).all():
        values["tokens"] = _padded(said, len(found.ids), np.nan)
        parts = _shared(parts, how.tokens, "tokens", _scaled(values["tokens"], found.scores))
    elif how.context > 0 and len(turns.pairs):
        raised = found.scores.copy()
        first = slice(len(turns.tokens))
        raised[first] = late.spread(found.scores[first], turns.pairs, how.context)
        parts["context"] = raised - found.scores
    if how.speaker > 0:
        flags = named(query, turns.openings)
        if flags.any():
            parts = _shared(parts, how.speaker, "speaker", _padded(flags, len(found.ids), 0.0))
    return Scored.ranked(found.ids, parts, values)


def _said(turns: Turns, tokens: NDArray[np.float32], decay: float) -> Scores:
    """(k,) How well the query's tokens are found in each candidate or around it."""
    ends = np.cumsum([len(own) for own in turns.tokens])
    most = TOKENS * signs.size(tokens.shape[1])
    compared = [own if end <= most else b"" for own, end in zip(turns.tokens, ends, strict=True)]
    matches = late.matches(tokens, compared)
    known = ~np.isnan(matches[:, 0])
    # What has no tokens of its own is not known by its neighbours'.
    found: Scores = late.spread(matches, turns.pairs, decay).mean(axis=1)
    return np.where(known, found, np.nan)


def _scaled(said: Scores, fused: Scores) -> Scores:
    """(n,) From 0 to 1; what is not known is as good as the fusion says."""
    return np.where(np.isnan(said), fused, minmax(said))


def _shared(parts: dict[str, Scores], share: float, name: str, values: Scores) -> dict[str, Scores]:
    return {**{one: (1 - share) * part for one, part in parts.items()}, name: share * values}


def _padded(values: Scores, count: int, rest: float) -> Scores:
    return np.concatenate([values, np.full(count - len(values), rest)])
