"""Vectors in any number that are spread like those of texts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_CENTRES = 5_000
_DECAY = 0.8
"""How fast the variance falls from one direction to the next: most of it is in about a hundred."""
_LEANING = 0.25
"""The length of the mean of vectors of length 1, as MiniLM's have it."""


class Mixture:
    """Mixtures of two of some vectors, and noise of these vectors' spread; all of length 1.

    Args:
        dimension: numbers a vector.
        seed: of what is drawn.
        given: vectors of texts, which are then the first that are drawn; left out, random ones,
            the same for any seed.
    """

    def __init__(self, dimension: int = 384, seed: int = 0, given: Vectors | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._left = 0 if given is None else len(given)
        if given is None:
            given = _centres(dimension)
        self._known = given
        spread = np.cov((given - given.mean(axis=0)).T) + 1e-9 * np.eye(given.shape[1])
        self._noise = np.linalg.cholesky(spread).T.astype(np.float32)

    def draw(self, count: int) -> Vectors:
        """The next vectors (count, d)."""
        start = len(self._known) - self._left
        given = self._known[start : start + min(count, self._left)]
        self._left -= len(given)
        return np.concatenate([given, self._mixed(count - len(given))])

    def _mixed(self, count: int) -> Vectors:
        random, known = self._random, self._known
        one, other = random.integers(len(known), size=(2, count))
        share = random.uniform(0, 0.35, size=(count, 1)).astype(np.float32)
        noise = random.standard_normal((count, known.shape[1]), dtype=np.float32) @ self._noise
        return unit((1 - share) * known[one] + share * known[other] + np.float32(0.3) * noise)


def _centres(dimension: int) -> Vectors:
    random = np.random.default_rng(2)
    sizes = np.arange(1, dimension + 1) ** (-_DECAY / 2)
    turned = np.linalg.qr(random.standard_normal((dimension, dimension)))[0]
    centres = unit(random.standard_normal((_CENTRES, dimension)) * sizes @ turned)
    side = unit(random.standard_normal((1, dimension)))
    return unit(centres + np.float32(_LEANING) * side)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Vectors (n, d), each of length 1."""
    scaled: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def memory() -> dict[str, float]:
    """Megabytes that this process has in memory: its own (anon), and of mapped files (file)."""
    return memory_of("self")


def memory_of(process: int | str) -> dict[str, float]:
    """Megabytes that a process has in memory; empty off Linux."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except FileNotFoundError:
        return {}
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if "Rss" in line}
    return {"anon": sizes["RssAnon:"], "file": sizes["RssFile:"]}
