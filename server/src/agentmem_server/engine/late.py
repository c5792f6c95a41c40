"""Late interaction: how well the single words of a query are found in candidates, and around them.

Pure functions over arrays. In the shapes, n counts candidates, q the query's tokens, t the
candidates' tokens together and d the dimension of a vector.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ..embedding import signs
from .ranking import Scores

_AT_ONCE = 4_096
"""How many tokens are unpacked at once: 6 MB of float32, which a processor's cache half holds."""
_ON_ONE_THREAD = 262_144
"""Up to so many multiplications OpenBLAS multiplies matrices on the caller's thread. With more it
wakes the others, which on a busy machine takes ten times the processor's time."""


def matches(query: NDArray[np.float32], tokens: Sequence[bytes]) -> Scores:
    """(n, q) For each token of the query its similarity to the closest token of each candidate.

    MaxSim (Khattab & Zaharia, SIGIR 2020) with candidates' tokens by their signs: about the cosine.

    Args:
        query: (q, d) the query's tokens, of length 1.
        tokens: of each candidate its tokens' signs (`signs.packed`); NaN comes of one without any.
    """
    found = np.full((len(tokens), len(query)), np.nan)
    dimension = query.shape[1]
    size = signs.size(dimension)
    known = [place for place, own in enumerate(tokens) if own]
    if not known or not len(query):
        return found
    counts = [len(tokens[place]) // size for place in known]
    rows = np.frombuffer(b"".join(tokens[place] for place in known), np.uint8).reshape(-1, size)
    starts = [0, *accumulate(counts[:-1])]
    cosines = np.concatenate(
        [_cosines(rows[start : start + _AT_ONCE], query) for start in range(0, len(rows), _AT_ONCE)]
    )
    found[known] = np.maximum.reduceat(cosines, starts, axis=0)
    return found


def _cosines(rows: NDArray[np.uint8], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """(t, q) The cosines of vectors of 1 and -1, by their packed signs, with the query's tokens."""
    dimension = query.shape[1]
    bits = np.unpackbits(rows, axis=1, count=dimension).astype(np.float32)
    together = max(1, _ON_ONE_THREAD // query.size)
    even = len(bits) - len(bits) % together
    stacked = np.matmul(bits[:even].reshape(-1, together, dimension), query.T)
    products = np.concatenate([stacked.reshape(even, len(query)), bits[even:] @ query.T])
    cosines: NDArray[np.float32] = (2 * products - query.sum(axis=1)) / np.sqrt(
        dimension, dtype=np.float32
    )
    return cosines


def spread(values: Scores, pairs: NDArray[np.int64], decay: float) -> Scores:
    """(n, ...) Each value, or what is more: a neighbour's, times ``decay`` a turn away.

    Args:
        values: (n, ...) of candidates; NaN is nothing.
        pairs: (p, 3) places of two neighbours, and how many turns they are apart.
        decay: 0 (neighbours don't count) to 1.
    """
    if not len(pairs) or decay == 0:
        return values
    one, other, apart = pairs.T
    factors = (decay**apart).reshape(-1, *(1,) * (values.ndim - 1))
    raised = values.copy()
    # What is below 0 would be raised by being far away.
    np.fmax.at(raised, other, np.where(values[one] > 0, factors * values[one], np.nan))
    np.fmax.at(raised, one, np.where(values[other] > 0, factors * values[other], np.nan))
    return raised
