"""Our server over HTTP against other stores of memories, on the same vectors, in one run, by turns.

Chroma's server is asked over HTTP by the same client; LangGraph's stores on SQLite, Qdrant's local
mode and mem0 are called in this process, from threads or coroutines. One that isn't installed is
left out. Vectors are given, so that no embedder is measured, and nothing is downloaded.

    pip install ./packages/agentmem-client ./server
    pip install chromadb langgraph-checkpoint-sqlite sqlite-vec qdrant-client mem0ai
    python benchmarks/peers.py [--size 10000] [--peers NAME …] [--json figures.json]

What a search finds is compared with the right answer, and what was acknowledged is counted after
a server was killed, or a store in this process was closed and opened again.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
import uvicorn
from _memories import Maker, best
from _sides import Done, Kind, Known, Query, Side
from _sides.servers import Ours

USERS = 100
BATCH = 1_000
CALLERS = (1, 32)
COMPARED = 30
"""Searches of each kind whose answers are compared with the right ones."""

PEERS = {
    "chroma": ("_sides.servers", "Chroma", "chromadb"),
    "sqlitestore": ("_sides.langgraph_sqlite", "SqliteStore", "langgraph-checkpoint-sqlite"),
    "asyncsqlitestore": (
        "_sides.langgraph_sqlite", "AsyncSqliteStore", "langgraph-checkpoint-sqlite",
    ),
    "qdrant": ("_sides.qdrant_local", "Qdrant", "qdrant-client"),
    "mem0": ("_sides.qdrant_local", "Mem0", "mem0ai"),
}  # fmt: skip
SLOW = ("qdrant", "mem0")
"""What takes minutes to fill with more than `FEW` memories, and is left out then."""
FEW = 20_000

TARGETS: Mapping[str, Mapping[tuple[str, int], float]] = {
    "Chroma": {
        **{(operation, callers): 10 for operation in ("scoped", "filtered") for callers in CALLERS},
        **{("unscoped", callers): 3 for callers in CALLERS},
        ("batches", 1): 10,
        **{("add", callers): 10 for callers in CALLERS},
    },
    "SqliteStore": {
        **{("scoped", callers): 2 for callers in CALLERS},
        **{
            (operation, callers): 20
            for operation in ("filtered", "unscoped")
            for callers in CALLERS
        },
        ("batches", 1): 1,
        ("add", 32): 2,
    },
}
"""How many times as fast we want to be."""


@dataclass
class Measured:
    """Rates of one operation, round by round."""

    operation: str
    callers: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def note(self, side: Side, done: Done | None) -> None:
        """Add a round of a side."""
        if done is None or not done.took:
            return
        self.rates.setdefault(side.name, []).append(done.answered / done.took)
        self.cpu.setdefault(side.name, []).append(1e6 * done.cpu / max(1, done.answered))
        self.failed[side.name] = self.failed.get(side.name, 0) + done.failed
        if done.problem:
            self.problems[side.name] = done.problem

    def row(self) -> dict[str, Any]:
        """Medians, and how many times as fast as each of the others we are, with the targets."""
        rates = {name: median(rates) for name, rates in self.rates.items()}
        ours, others = rates[Ours.name], {}
        for name, rate in rates.items():
            if name != Ours.name:
                target = TARGETS.get(name, {}).get((self.operation, self.callers))
                times = ours / rate if rate else float("inf")
                others[name] = {
                    "times": times,
                    "target": target,
                    "met": None if target is None else times >= target,
                    "failed": self.failed[name],
                    "problem": self.problems.get(name),
                }
        return {
            "operation": self.operation,
            "callers": self.callers,
            "per_second": rates,
            "cpu_us": {name: median(spent) for name, spent in self.cpu.items()},
            "others": others,
        }


class Comparison:
    """Measures one operation after the other, each side by turns."""

    def __init__(self, sides: Sequence[Side], rounds: int, seconds: float) -> None:
        self._sides = sides
        self._rounds = rounds
        self._seconds = seconds
        self._maker = Maker(USERS)
        self._queries = 0
        self._acknowledged = {side.name: 0 for side in sides}

    async def fill(self, size: int) -> None:
        """Store what is searched, and remember the right answers."""
        self._stored = self._maker.memories(size)
        for side in self._sides:
            await side.fill(self._stored, BATCH)
            self._acknowledged[side.name] += size

    async def right(self) -> dict[str, dict[str, float]]:
        """The share of the ten nearest that each side finds, for each kind of search."""
        shares: dict[str, dict[str, float]] = {side.name: {} for side in self._sides}
        for kind in get_args(Kind):
            asked = self._asked(COMPARED)
            expected = [set(self._best(kind, query)) for query in asked]
            for side in self._sides:
                found = 0
                for query, numbers in zip(asked, expected, strict=True):
                    found += len(numbers & set(await side.found(kind, query)))
                shares[side.name][kind] = found / sum(map(len, expected))
        return shares

    async def searches(self) -> list[Measured]:
        """All kinds of search."""
        rows = []
        for kind in get_args(Kind):
            for callers in CALLERS:

                async def search(side: Side, kind: Kind = kind, callers: int = callers) -> Done:
                    asked = self._asked(int(3_000 * self._seconds))
                    return await side.search(kind, asked, callers, self._seconds)

                rows.append(await self._by_turns(kind, callers, search))
        return rows

    async def writes(self) -> list[Measured]:
        """Batches and single adds; last, for what they leave behind differs from side to side."""
        rows = [await self._by_turns("batches", 1, self._batches)]
        for callers in CALLERS:

            async def add(side: Side, callers: int = callers) -> Done:
                made = self._maker.memories(int(5_000 * self._seconds))
                done = await side.add(made, callers, self._seconds)
                self._acknowledged[side.name] += done.answered
                return done

            rows.append(await self._by_turns("add", callers, add))
        return rows

    async def lost(self) -> dict[str, int]:
        """How many of the memories that were acknowledged are not there any more."""
        lost = {}
        for side in self._sides:
            await side.close()
            await side.open()
            lost[side.name] = self._acknowledged[side.name] - await side.count()
        return lost

    async def _batches(self, side: Side) -> Done | None:
        # As many as it makes in the time: each batch is all new.
        made = self._maker.memories(max(1, round(10 * self._seconds)) * BATCH)
        done = await side.batches(made, BATCH, self._seconds)
        if done is not None:
            self._acknowledged[side.name] += done.answered
        return done

    async def _by_turns(
        self, operation: str, callers: int, call: Callable[[Side], Awaitable[Done | None]]
    ) -> Measured:
        measured = Measured(operation, callers)
        for turn in range(self._rounds):
            first = turn % len(self._sides)
            for side in (*self._sides[first:], *self._sides[:first]):
                measured.note(side, await call(side))
        _print(measured.row())
        return measured

    def _asked(self, number: int) -> list[Query]:
        first, self._queries = self._queries, self._queries + number
        return [
            Query(f"query {n}", vector, f"user-{n % USERS}", f"topic-{n % 50}")
            for n, vector in enumerate(self._maker.vectors(number), start=first)
        ]

    def _best(self, kind: Kind, query: Query) -> list[int]:
        stored = self._stored
        places = np.array(
            [
                place
                for place in range(len(stored))
                if kind == "unscoped"
                or (kind == "scoped" and stored.user(place) == query.user)
                or (kind == "filtered" and stored.topic(place) == query.topic)
            ]
        )
        found = best(stored.vectors[places], query.vector)
        return [stored.first + int(places[place]) for place in found]


def _print(row: Mapping[str, Any]) -> None:
    rates, cpu = row["per_second"], row["cpu_us"]
    start = f"{row['operation']:9}{row['callers']:4}{rates[Ours.name]:10,.0f}{cpu[Ours.name]:9,.0f}"
    for name, other in row["others"].items():
        times, target = other["times"], other["target"]
        wanted = "" if target is None else f">= {target}x"
        met = {None: "", True: "met", False: "NOT MET"}[other["met"]]
        failed = f"  {other['failed']} failed: {other['problem']}" if other["failed"] else ""
        theirs = f"{name:17}{rates[name]:10,.1f}{cpu[name]:10,.0f}"
        print(f"{start:32}  {theirs}{times:8.1f}x  {wanted:7}{met}{failed}", flush=True)
        start = ""


def _open(names: Sequence[str], folder: Path, known: Known) -> tuple[list[Side], dict[str, str]]:
    """The sides that are installed, ours first; and their versions."""
    sides: list[Side] = [Ours(folder)]
    versions = {Ours.name: version("agentmem-server")}
    for name in names:
        module, made, package = PEERS[name]
        try:
            make = getattr(import_module(module), made)
            side = make(folder) if name == "chroma" else make(folder, known)
        except ImportError as missing:
            print(f"left out {name}: {missing}")
            continue
        sides.append(side)
        versions[side.name] = f"{package} {version(package)}"
    return sides, versions


async def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sides, versions = _open(options.peers, folder, Known())
    print(f"{'':13}{Ours.name + '/s':>10}{'CPU us':>9}  {'':17}{'a second':>10}{'CPU us':>10}")
    opened: list[Side] = []
    try:
        for side in sides:
            await side.open()
            opened.append(side)
        comparison = Comparison(sides, options.rounds, options.seconds)
        await comparison.fill(options.size)
        right = await comparison.right()
        rows = [*await comparison.searches(), *await comparison.writes()]
        lost = await comparison.lost()
    finally:
        for side in opened:
            await side.close()
    for name, shares in right.items():
        found = ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items())
        print(f"{name} ({versions[name]}) finds of the ten nearest: {found}; lost: {lost[name]}")
    return {
        "size": options.size,
        "versions": versions,
        "right": right,
        "lost": lost,
        "operations": [row.row() for row in rows],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=10_000, help="memories that are searched")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="all where left out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if options.peers is None:
        options.peers = [name for name in PEERS if options.size <= FEW or name not in SLOW]
    loops = uvicorn.Config("").get_loop_factory()
    with (
        tempfile.TemporaryDirectory(prefix="agentmem-") as folder,
        asyncio.Runner(loop_factory=loops) as runner,
    ):
        figures = runner.run(_run(options, Path(folder)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
