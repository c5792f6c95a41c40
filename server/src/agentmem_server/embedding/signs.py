"""The vectors of a text's tokens, small enough to keep: of each number its sign alone.

Of 384 numbers 48 bytes stay, and late interaction finds by them what it finds by the numbers
(benchmarks/README.md). A query's tokens are compared as they are, and kept as float16.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import unit

MAX_TOKENS = 256
"""How many tokens of a memory are kept; the first ones."""
MAX_QUESTION = 32
"""How many tokens of a query are compared; likewise. What it takes grows with each."""


def size(dimension: int) -> int:
    """Bytes of one token's signs."""
    return -(-dimension // 8)


def packed(tokens: NDArray[np.float32]) -> bytes:
    """The signs of token vectors (n, d), one token after the other: a set bit is above 0."""
    return np.packbits(tokens > 0, axis=1).tobytes()


def joined(parts: Sequence[bytes], dimension: int) -> bytes:
    """The signs of several texts of one memory, of its first tokens."""
    return b"".join(parts)[: MAX_TOKENS * size(dimension)]


def question(tokens: NDArray[np.float32]) -> bytes:
    """A query's token vectors (n, d), scaled to length 1, as float16; at most `MAX_QUESTION`."""
    return unit(tokens[:MAX_QUESTION]).astype("<f2").tobytes()
