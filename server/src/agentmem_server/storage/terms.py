"""The terms of a text: just those that SQLite's FTS5 makes of it, so that all stores find alike."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import cast

import apsw

from ..keywords import MAX_TERM_LENGTH


class _Tokenizer(threading.local):
    """SQLite's own; each thread has one, for a connection is used by one thread at a time."""

    def __init__(self) -> None:
        self._tokenize = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])

    def __call__(self, text: str, reason: int) -> list[str]:
        return cast(
            "list[str]",
            self._tokenize(
                text.encode(), reason, None, include_offsets=False, include_colocated=False
            ),
        )


_tokenize = _Tokenizer()


def words(text: str) -> list[str]:
    """The stemmed words of a text, in order."""
    return _tokenize(text, apsw.FTS5_TOKENIZE_DOCUMENT)


def terms(text: str) -> Counter[str]:
    """How often each term comes in a text; what is longer than any that is looked for, is none."""
    return counted(words(text))


def counted(stems: Iterable[str]) -> Counter[str]:
    """`terms` of the words of a text."""
    return Counter(word for word in stems if len(word) <= MAX_TERM_LENGTH)


def of_query(query: Iterable[str]) -> Counter[str]:
    """The terms of a query's words, and how many of the words each stands for."""
    return Counter(term for word in query for term in _tokenize(word, apsw.FTS5_TOKENIZE_QUERY))


def alone(query: Iterable[str]) -> dict[str, str]:
    """Of the words of a query that are one term, which it is."""
    found = {}
    for word in query:
        match _tokenize(word, apsw.FTS5_TOKENIZE_QUERY):
            case [term]:
                found[word] = term
    return found
