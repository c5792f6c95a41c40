"""A collection's vectors in memory: exact, and past a size by binary codes and exact rescoring.

All of it is derived: it is built from the store's rows and follows each commit.
"""

from .index import DEFAULT, Change, Sizes, VectorIndex
from .measures import Ids, Scores, normalised
from .table import NEVER, Chosen

__all__ = [
    "DEFAULT",
    "NEVER",
    "Change",
    "Chosen",
    "Ids",
    "Scores",
    "Sizes",
    "VectorIndex",
    "normalised",
]
