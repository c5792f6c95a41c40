"""Memories to measure with: their words are as frequent as real ones, their vectors as spread."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from agentmem_server.embedding import builtin
from agentmem_server.keywords import STOP_WORDS
from numpy.typing import NDArray

DIMENSION = 384
_TOPICS = 1_000
_TURNS = 20
"""Memories of a session."""
_COMMON = 30
"""The words that every eighth text has, at least."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """Some memories, each of one of ``users`` users: its text, and its vector of length 1."""

    first: int
    texts: list[str]
    vectors: Vectors
    users: int

    def __len__(self) -> int:
        return len(self.texts)

    def id(self, place: int) -> str:
        """The id of one."""
        return f"m{self.first + place}"

    def user(self, place: int) -> str:
        """Whose it is."""
        return f"user-{(self.first + place) // _TURNS % self.users}"

    def topic(self, place: int) -> str:
        """A value of its metadata, one of 50."""
        return f"topic-{(self.first + place) * 7 // 3 % 50}"

    def body(self, place: int, collection: str, *, embedded: bool = True) -> dict[str, Any]:
        """What adds it over HTTP, with its vector or without."""
        body = {
            "id": self.id(place),
            "collection": collection,
            "content": self.texts[place],
            "metadata": {"topic": self.topic(place), "number": self.first + place},
            "user_id": self.user(place),
            "session_id": f"session-{(self.first + place) // _TURNS}",
        }
        if embedded:
            body["embedding"] = encoded(self.vectors[place])
        return body


class Maker:
    """Makes memories and queries; the same ones for the same seed."""

    def __init__(self, users: int, seed: int = 0) -> None:
        self._users = users
        self._random = np.random.default_rng(seed)
        self._made = 0
        # Real embeddings fill few directions: a falling spectrum in a turned space, by topics.
        turned, _ = np.linalg.qr(self._random.standard_normal((DIMENSION, DIMENSION)))
        self._space = (turned * np.arange(1, DIMENSION + 1)[:, np.newaxis] ** -0.4).astype("<f4")
        self._topics = self._points(_TOPICS)
        self._words = _words()
        odds = 1 / np.arange(1, len(self._words) + 1)  # Zipf's law
        self._chances = np.cumsum(odds / odds.sum())

    def memories(self, number: int) -> Made:
        """So many memories that were not made before, with 20 to 60 words each."""
        first, self._made = self._made, self._made + number
        lengths = self._random.integers(20, 61, size=number)
        drawn = np.searchsorted(self._chances, self._random.random(int(lengths.sum())))
        words = [self._words[min(place, len(self._words) - 1)] for place in drawn.tolist()]
        ends = np.cumsum(lengths).tolist()
        texts = [
            " ".join(words[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]
        return Made(first, texts, self.vectors(number), self._users)

    def vectors(self, number: int) -> Vectors:
        """So many vectors of length 1, each near a topic."""
        topics = self._topics[self._random.integers(_TOPICS, size=number)]
        return _unit(topics + self._points(number))

    def query(self, words: int, *, common: bool = False) -> str:
        """A query of words as texts have them, or of those that most texts have."""
        if common:
            drawn = self._random.choice(_COMMON, size=words, replace=False)
        else:
            drawn = np.searchsorted(self._chances, self._random.random(words))
        return " ".join(self._words[min(place, len(self._words) - 1)] for place in drawn.tolist())

    def _points(self, number: int) -> Vectors:
        points = self._random.standard_normal((number, DIMENSION), dtype=np.float32)
        return _unit(points @ self._space)


def best(vectors: Vectors, query: Vectors, number: int = 10) -> Sequence[int]:
    """The places of the nearest vectors by inner product, the best first; numpy's own pace."""
    scores = vectors @ query
    if len(scores) <= number:
        return [int(place) for place in np.argsort(-scores)]
    found = np.argpartition(-scores, number)[:number]
    return [int(place) for place in found[np.argsort(-scores[found])]]


def encoded(vector: Vectors) -> str:
    """A vector as it travels."""
    return b64encode(vector.astype("<f4").tobytes()).decode()


def _unit(vectors: Vectors) -> Vectors:
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


@cache
def _words() -> list[str]:
    """Words that the built-in embedder has a token for, in an order of chance."""
    known = builtin.VOCABULARY.read_text(encoding="utf-8").split()
    words = [
        word
        for word in known
        if len(word) > 2 and word.isascii() and word.isalpha() and word not in STOP_WORDS
    ]
    return [words[place] for place in np.random.default_rng(1).permutation(len(words))]
