"""A server with very many memories: how it opens, answers, and goes on taking more.

A real server over HTTP; all vectors come from the caller. It fills one collection, is stopped and
started again, and is then searched. What a request costs in itself stands beside (``floor``).

    python benchmarks/scale.py [--memories 1000000] [--json figures.json]

It takes about six minutes for a million, and 8 GB of the disk (``--folder``).
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _asking import Asked, Figures, Target
from _mixture import Mixture, Vectors, memory_of

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server, process_id, restart  # the examples' helper

USERS = 100
"""Each has one in so many of the memories, and is whom scoped searches are about."""
BATCH = 1_000
SEARCHES = 200
SINGLE = 1_000
CALLERS = 32
LATE = ("0.01", "0.02", "0.05")
"""Seconds by which the event loop may be late: buckets of its histogram."""

random = np.random.default_rng(1)


def _encoded(vectors: Vectors) -> list[str]:
    return [b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]


def _memories(first: int, vectors: Vectors) -> list[dict[str, Any]]:
    """Memories of 12 words with their vectors, of one of the users and 1,000 sessions."""
    return [
        {
            "id": f"m{number}",
            "collection": "large",
            "content": " ".join(f"word{word}" for word in random.integers(20_000, size=12)),
            "metadata": {"topic": f"t{number % 20}"},
            "user_id": f"user-{number % USERS}",
            "session_id": f"session-{number % 1_000}",
            "embedding": encoded,
        }
        for number, encoded in enumerate(_encoded(vectors), start=first)
    ]


class Run:
    """One server that is filled and searched.

    Args:
        target: the server.
        memories: how many it is to have.
    """

    def __init__(self, target: Target, memories: int) -> None:
        self._target = target
        self._memories = memories
        self._stored = 0
        self._mixture = Mixture()

    async def fill(self) -> dict[str, Any]:
        """Store all, searching from early on, and measure adds near the beginning and the end."""
        await self._batches(min(10_000, self._memories // 2))
        await self._target.ask(self._searches(1))
        early = await self._adds()
        while self._stored < self._memories - 12_000:
            await self._batches(min(50_000, self._memories - 12_000 - self._stored))
            print(f"{self._stored:,} stored", file=sys.stderr, flush=True)
        return {"early": early, "late": await self._adds(), "lag": self.lateness()}

    async def search(self) -> dict[str, Any]:
        """The first search after a start, and many."""
        first = await self._target.ask(self._searches(1))
        floor = await self._target.ask([("GET", "/health/live", None)] * SEARCHES)
        found = {"first_s": first.took, "floor": _milliseconds(floor)}
        for name, scope in SCOPES.items():
            found[name] = _milliseconds(await self._target.ask(self._searches(SEARCHES, scope)))
        beside = asyncio.create_task(self._batches(20 * BATCH))
        found["unscoped beside adds"] = _milliseconds(
            await self._target.ask(self._searches(SEARCHES))
        )
        await beside
        crowd = await self._target.ask(self._searches(SEARCHES), callers=8)
        found["unscoped, 8 callers"] = _milliseconds(crowd)
        return found | {"lag": self.lateness()}

    def lateness(self) -> dict[str, int]:
        """How often the event loop was looked at, and how often it was late by more than so."""
        name = "agentmem_event_loop_lag_seconds"
        in_time = {at: int(self._target.metric(f'{name}_bucket{{le="{at}"}}')) for at in LATE}
        looks = int(self._target.metric(f"{name}_count"))  # read last: it can't be the smaller one
        late = {at: looks - number for at, number in in_time.items()}
        return {"looks": looks} | late

    async def _adds(self) -> dict[str, float]:
        """What adds cost at this size: rows a second, and microseconds of the processor a row."""
        size = self._stored
        batches = await self._batches(10 * BATCH)
        memories = _memories(self._stored, self._mixture.draw(SINGLE))
        self._stored += SINGLE
        single = await self._target.ask(
            [("POST", "/api/v1/memories", memory) for memory in memories], CALLERS
        )
        return {
            "stored": size,
            "batch_rows_s": 10 * BATCH / batches.took,
            "batch_cpu_us": 1e6 * batches.cpu / (10 * BATCH),
            "single_rows_s": SINGLE / single.took,
            "single_cpu_us": 1e6 * single.cpu / SINGLE,
        }

    async def _batches(self, count: int) -> Figures:
        def requests() -> Iterator[Asked]:
            for _ in range(0, count, BATCH):
                memories = _memories(self._stored, self._mixture.draw(BATCH))
                self._stored += BATCH
                yield "POST", "/api/v1/memories/batch", {"memories": memories}

        every = Figures()
        for request in requests():  # made before it is timed
            one = await self._target.ask([request])
            every.seconds += one.seconds
            every.took += one.took
            every.cpu += one.cpu
        return every

    def _searches(self, count: int, scope: Callable[[int], Any] = lambda _: {}) -> list[Asked]:
        return [
            (
                "POST",
                "/api/v1/memories/search",
                {"collection": "large", "embedding": vector, "limit": 10} | scope(number),
            )
            for number, vector in enumerate(_encoded(self._mixture.draw(count)))
        ]


SCOPES: dict[str, Callable[[int], Any]] = {
    "unscoped": lambda _: {},
    "of a user": lambda number: {"user_id": f"user-{number % USERS}"},
    "of a user and topic": lambda number: {
        "user_id": f"user-{number % USERS}",
        "filters": {"topic": f"t{number % 20}"},
    },
}


def _milliseconds(figures: Figures) -> dict[str, float]:
    found = {
        name: 1e3 * float(np.quantile(figures.seconds, share))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }
    return found | {"cpu": 1e3 * figures.cpu / len(figures.seconds)}


def _memory(url: str) -> dict[str, float]:
    process = process_id(url)
    return {} if process is None else memory_of(process)


def _measure(folder: Path, memories: int) -> dict[str, Any]:
    database = folder / "large.db"
    with private_server(database=database) as url:
        run = Run(Target("server", url), memories)
        figures: dict[str, Any] = {"memories": memories, "filling": asyncio.run(run.fill())}
        figures["memory_filled_mb"] = _memory(url)
        started = time.perf_counter()
        restart(url)
        figures["restart_s"] = time.perf_counter() - started
        figures["memory_opened_mb"] = _memory(url)
        figures["searching"] = asyncio.run(run.search())
        figures["memory_searched_mb"] = _memory(url)
    figures["file_gb"] = database.stat().st_size / 1e9
    return figures


def _print_table(figures: dict[str, Any]) -> None:
    filling, searching = figures["filling"], figures["searching"]
    print(f"{figures['memories']:,} memories, a file of {figures['file_gb']:.2f} GB")
    print(f"stopped and started: {figures['restart_s']:.1f} s; ", end="")
    print(f"first search: {searching['first_s']:.1f} s")
    for when in ("filled", "opened", "searched"):
        sizes: dict[str, float] = figures[f"memory_{when}_mb"]
        print(f"memory {when}: " + ", ".join(f"{at:.0f} MB {name}" for name, at in sizes.items()))
    print(f"{'adds at':>20}{'batches/s':>11}{'CPU us':>8}{'single/s':>10}{'CPU us':>8}")
    for adds in (filling["early"], filling["late"]):
        print(
            f"{adds['stored']:20,}{adds['batch_rows_s']:11.0f}{adds['batch_cpu_us']:8.0f}", end=""
        )
        print(f"{adds['single_rows_s']:10.0f}{adds['single_cpu_us']:8.0f}")
    print(f"{'search, ms':>22}{'p50':>8}{'p95':>8}{'max':>8}{'CPU':>8}")
    for name, found in searching.items():
        if isinstance(found, dict) and "p50" in found:
            print(f"{name:>22}{found['p50']:8.2f}{found['p95']:8.2f}{found['max']:8.2f}", end="")
            print(f"{found['cpu']:8.2f}")
    _print_lateness({"filling": filling["lag"], "searching": searching["lag"]})


def _print_lateness(lags: dict[str, dict[str, int]]) -> None:
    for name, lag in lags.items():
        late = ", ".join(f"{lag[at]} by {float(at) * 1e3:g} ms" for at in LATE)
        print(f"event loop late while {name}, of {lag['looks']} looks: {late}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--memories", type=int, default=1_000_000, help="at least 40,000")
    parser.add_argument("--folder", type=Path, help="where the database is made, and deleted")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="agentmem-", dir=options.folder) as folder:
        figures = _measure(Path(folder), options.memories)
    _print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
