"""Searches in the index of vectors against numpy's scan of the same vectors: time, recall, memory.

Nothing is sent over HTTP: this is the part that grows with the collection. At each size, by turns:
numpy's float32 product with all vectors and the ten best of it (``numpy``), and the index as the
SQLite store has it, in all, and in one memory of a hundred (``1%``, compared with numpy's product
with these rows). ``late`` is what a thread notices that wakes up every millisecond beside the
index's searches, as the event loop would: how late it is in one case of a hundred; ``idle`` is the
same while nobody searches.

    python benchmarks/vectors.py [--sizes 1000 10000 100000] [--million] [--texts locomo.json]

The vectors are random, but spread like those of texts (384 numbers). With ``--texts`` they are the
built-in embedder's of a file's lines, or of the turns of a LoCoMo file (see `locomo.py`), up to
20,000, and past these mixtures of them; questions of that file, or held-out lines, are the queries.
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _mixture import Mixture, Vectors, memory
from agentmem_server.embedding.builtin import BuiltinEmbedder
from agentmem_server.storage.vectors import VectorIndex
from numpy.typing import NDArray

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
BATCH = 1_000
QUERIES = 100
BEST = 10
SHARE = 100
"""Scoped searches are among one in so many."""
MOST_TEXTS = 20_000

Ids = NDArray[np.int64]


def _scan(vectors: Vectors, query: Vectors) -> Ids:
    """The ten best by numpy, all compared."""
    scores = vectors @ query
    near = np.argpartition(scores, len(scores) - BEST)[-BEST:]
    best: Ids = near[np.argsort(-scores[near])]
    return best


class Beside:
    """A thread that wakes up every millisecond, and how late it was each time, in seconds."""

    def __init__(self) -> None:
        self._late = [0.0]

    def p99(self) -> float:
        """In one case of a hundred it was later than this."""
        return float(np.quantile(self._late, 0.99))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While this lasts."""
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                started = time.perf_counter()
                time.sleep(0.001)
                self._late.append(time.perf_counter() - started - 0.001)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _measure(size: int, mixture: Mixture, queries: Vectors, folder: Path) -> dict[str, Any]:
    """The figures of one size."""
    vectors = np.empty((size + 2 * BATCH, queries.shape[1]), dtype=np.float32)
    for start in range(0, len(vectors), 20_000):
        part = vectors[start : start + 20_000]
        part[:] = mixture.draw(len(part))
    before = memory()
    index = VectorIndex(vectors.shape[1], "cosine", folder=folder)
    build = _put(index, vectors[:size], 0)
    after = memory()
    figures: dict[str, Any] = {"size": size, "build_us": 1e6 * build / size}
    figures |= {f"{name}_mb": after[name] - before[name] for name in after}
    figures |= _searches(index, vectors[:size], queries)
    figures["add_us"] = 1e6 * _put(index, vectors[size : size + BATCH], size) / BATCH
    single = [
        _put(index, vectors[at : at + 1], at) for at in range(size + BATCH, size + BATCH + 200)
    ]
    figures["add_single_us"] = 1e6 * median(single)
    return figures


def _put(index: VectorIndex, vectors: Vectors, first: int) -> float:
    """Seconds of the processor that it takes to add vectors in batches."""
    took = 0.0
    for start in range(0, len(vectors), BATCH):
        records = [
            (first + start + number, vector.tobytes(), None)
            for number, vector in enumerate(vectors[start : start + BATCH])
        ]
        started = time.process_time()
        index.put_many(records)
        took += time.process_time() - started
    return took


def _searches(index: VectorIndex, vectors: Vectors, queries: Vectors) -> dict[str, Any]:
    some = np.arange(0, len(vectors), SHARE)
    ways: dict[str, Callable[[Vectors], Ids]] = {
        "numpy": lambda query: _scan(vectors, query),
        "index": lambda query: index.top(query.tobytes(), BEST, 0)[0],
        "numpy_1%": lambda query: some[_scan(vectors[some], query)],
        "index_1%": lambda query: index.top(query.tobytes(), BEST, 0, some)[0],
    }
    beside, idle = Beside(), Beside()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[set[int]]] = {name: [] for name in ways}
    for query in queries[:QUERIES]:
        for name, search in ways.items():
            started = time.perf_counter()
            ids = search(query)
            seconds[name].append(time.perf_counter() - started)
            found[name].append(set(ids.tolist()))
    started = time.perf_counter()
    with beside.watching():
        for query in queries[:QUERIES]:
            ways["index"](query)
    took = time.perf_counter() - started
    with idle.watching():
        time.sleep(took)
    return {
        **{f"{name}_ms": 1e3 * median(taken) for name, taken in seconds.items()},
        "recall": _recall(found["index"], found["numpy"]),
        "recall_1%": _recall(found["index_1%"], found["numpy_1%"]),
        "late_ms": 1e3 * beside.p99(),
        "late_idle_ms": 1e3 * idle.p99(),
    }


def _recall(found: Sequence[set[int]], expected: Sequence[set[int]]) -> float:
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len(one & other) / len(other) for one, other in pairs]))


def _texts(path: Path) -> tuple[list[str], list[str]]:
    """Texts to be found, and those that are looked for."""
    if path.suffix == ".json":
        conversations = json.loads(path.read_text())["conversations"]
        turns = [turn["text"] for one in conversations for turn in one["turns"]]
        questions = [question["question"] for one in conversations for question in one["questions"]]
        return turns[:MOST_TEXTS], questions[:QUERIES]
    lines = list(dict.fromkeys(line.strip() for line in path.read_text().splitlines() if line))
    np.random.default_rng(0).shuffle(lines)
    return lines[QUERIES:][:MOST_TEXTS], lines[:QUERIES]


async def _embedded(texts: Sequence[str]) -> Vectors:
    embedder = BuiltinEmbedder()
    vectors: Vectors = await embedder.embed(texts)
    await embedder.close()
    return vectors


def _mixture(path: Path | None) -> tuple[Callable[[], Mixture], Vectors]:
    """What makes the same vectors again, and the queries."""
    if path is None:
        return Mixture, Mixture(seed=1).draw(QUERIES)
    texts, asked = _texts(path)
    vectors = asyncio.run(_embedded(texts))
    return lambda: Mixture(given=vectors), asyncio.run(_embedded(asked))


_COLUMNS = (
    ("vectors", "", "size", ",d"),
    ("numpy", "ms", "numpy_ms", ".2f"),
    ("index", "ms", "index_ms", ".2f"),
    ("recall", "@10", "recall", ".3f"),
    ("late", "ms", "late_ms", ".1f"),
    ("idle", "ms", "late_idle_ms", ".1f"),
    ("numpy", "1% ms", "numpy_1%_ms", ".2f"),
    ("index", "1% ms", "index_1%_ms", ".2f"),
    ("recall", "1%", "recall_1%", ".3f"),
    ("build", "us", "build_us", ".1f"),
    ("add", "us", "add_us", ".1f"),
    ("single", "us", "add_single_us", ".0f"),
    ("anon", "MB", "anon_mb", ".0f"),
    ("file", "MB", "file_mb", ".0f"),
)


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print("".join(f"{title:>10}" for title, _, _, _ in _COLUMNS))
    print("".join(f"{unit:>10}" for _, unit, _, _ in _COLUMNS))
    for row in rows:
        print("".join(f"{row.get(name, 0):>10{form}}" for _, _, name, form in _COLUMNS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--million", action="store_true", help="a million too: 4 GB of memory")
    parser.add_argument("--texts", type=Path, help="embed these, instead of random vectors")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    sizes = [*options.sizes, *([MILLION] if options.million else [])]
    make, queries = _mixture(options.texts)
    with tempfile.TemporaryDirectory(prefix="agentmem-") as folder:
        rows = [_measure(size, make(), queries, Path(folder)) for size in sizes]
    _print_table(rows)
    if options.json:
        options.json.write_text(json.dumps({"sizes": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
