"""Who says what: the speakers that turns of a conversation begin with, and those a query names."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from .ranking import Scores

_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[\w .'\u2019-]+")
_LONGEST = 4
"""How many words a name has at most."""


def speaker(opening: str) -> frozenset[str]:
    """The words of the name that a turn begins with ("Ann: ..."), in lower case; empty for none."""
    name, _, rest = opening.partition(":")
    # An address ("https://...") has no blank after its colon.
    if not rest[:1].isspace() or not _NAME.fullmatch(name):
        return frozenset()
    words = _words(name)
    return words if len(words) <= _LONGEST else frozenset()


def named(query: str, openings: Sequence[str | None]) -> Scores:
    """(n,) 1 for turns whose speaker the query names, by all words of the name; 0 for others.

    Args:
        query: a text.
        openings: how candidates begin; None for what is no turn.
    """
    asked = _words(query)
    said: dict[str, bool] = {}
    flags = []
    for opening in openings:
        if opening is None:
            flags.append(False)
            continue
        head = opening.partition(":")[0]
        if head not in said:
            said[head] = _names(asked, speaker(opening))
        flags.append(said[head])
    return np.array(flags, np.float64)


def _names(asked: frozenset[str], name: Iterable[str]) -> bool:
    words = frozenset(name)
    return bool(words) and words <= asked


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
