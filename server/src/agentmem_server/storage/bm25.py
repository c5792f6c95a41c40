"""BM25 (Robertson & Zaragoza, 2009) with the numbers of SQLite's FTS5, for all stores.

    score = sum over terms of rarity · n · (K1 + 1) / (n + K1 · (1 - B + B · length / mean length))

where n is how often the text has the term.
"""

import math

K1, B = 1.2, 0.75

LEAST = 1e-6
"""The rarity of a term that at least half of the texts have."""


def rarity(size: int, documents: int) -> float:
    """The inverse document frequency of a term that so many of so many texts have."""
    found = math.log((size - documents + 0.5) / (documents + 0.5))
    return found if found > 0 else LEAST
