"""How many requests a second the server answers, without keys and with one, against a bare one.

The bare one is the ceiling: a Starlette endpoint under the same uvicorn that reads the same
requests and answers as many bytes. The three run side by side and are asked by turns, in rounds of
which the median counts: trust the ratios, and where the disk or the machine is busy with other
things, the time on the processor. All vectors come from the caller.

    python benchmarks/server.py [--json figures.json]

It takes about a minute on any machine: a round of an operation ends after `SECONDS`.
"""

import argparse
import asyncio
import json
import secrets
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from _asking import Asked, Target
from _bare import bare_server

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server  # the examples' helper, which starts a server

DIMENSION = 384
STORED = 10_000
"""Memories in the collection that is searched."""
BATCH = 1_000
EMPTIED = 20_000
"""Memories that are deleted at once."""
ROUNDS = 3
SECONDS = 0.3
"""After which a round of one operation sends no more."""
LATE = "0.02"
"""Seconds by which the event loop should never be late: a bucket of its histogram."""

random = np.random.default_rng(0)
numbers = count()


@dataclass(frozen=True)
class Operation:
    """What is measured. ``make`` gets names that are new each round, and gives a request for each.

    Attributes:
        requests: how many there are in a round, at most.
        stored: the collection in which there are memories of these names before the round.
        items: memories for each request; rates count these.
    """

    name: str
    callers: int
    requests: int
    make: Callable[[Sequence[str]], Iterable[Asked]]
    stored: str | None = None
    items: int = 1
    rounds: int = ROUNDS


def _vector() -> str:
    return b64encode(random.standard_normal(DIMENSION).astype("<f4").tobytes()).decode()


def _text(length: int) -> str:
    return " ".join(f"word{number}" for number in random.integers(5_000, size=length))


def _memory(id: str, collection: str = "stored") -> dict[str, Any]:
    """A memory of 40 words with its vector, of one of 50 users and 500 sessions."""
    number = next(numbers)
    return {
        "id": id,
        "collection": collection,
        "content": _text(40),
        "metadata": {"topic": f"t{number % 20}", "number": number},
        "user_id": f"user-{number % 50}",
        "session_id": f"session-{number % 500}",
        "embedding": _vector(),
    }


def _batches(names: Sequence[str], collection: str = "stored") -> Iterator[Asked]:
    """Memories of these names, `BATCH` in a request."""
    for start in range(0, len(names), BATCH):
        memories = [_memory(name, collection) for name in names[start : start + BATCH]]
        yield "POST", "/api/v1/memories/batch", {"memories": memories}


def _search(**how: Any) -> Asked:
    scope = {"collection": "stored", "user_id": f"user-{next(numbers) % 50}"}
    return "POST", "/api/v1/memories/search", scope | how


def _of_one(method: str, name: str, content: Any = None) -> Asked:
    return method, f"/api/v1/memories/{name}?collection=stored", content


def _add(names: Sequence[str]) -> Iterable[Asked]:
    return [("POST", "/api/v1/memories", _memory(name)) for name in names]


def _update(names: Sequence[str]) -> Iterable[Asked]:
    return [
        _of_one("PATCH", name, {"content": _text(40), "embedding": _vector()}) for name in names
    ]


def _delete(names: Sequence[str]) -> Iterable[Asked]:
    return [_of_one("DELETE", name) for name in names]


SAME = _search(embedding=_vector())
EVERYTHING = "POST", "/api/v1/memories/delete", {"collection": "emptied", "everything": True}
OPERATIONS = (
    Operation(
        "health/live", 8, 3_000, lambda names: [("GET", "/health/live", None) for _ in names]
    ),
    Operation(
        "get", 8, 2_000, lambda names: [_of_one("GET", f"kept-{n}") for n in range(len(names))]
    ),
    Operation("search, cached", 8, 3_000, lambda names: [SAME for _ in names]),
    Operation(
        "search, vector", 8, 600, lambda names: [_search(embedding=_vector()) for _ in names]
    ),
    Operation("search, words", 8, 600, lambda names: [_search(query=_text(4)) for _ in names]),
    Operation("add", 1, 500, _add),
    Operation("add", 32, 1_000, _add),
    Operation("add a batch", 1, 3 * BATCH, _batches, items=BATCH),
    Operation("update", 1, 300, _update, stored="stored"),
    Operation("update", 32, 600, _update, stored="stored"),
    Operation("delete", 1, 300, _delete, stored="stored"),
    Operation("delete", 32, 600, _delete, stored="stored"),
    Operation("delete all", 1, EMPTIED, lambda _: [EVERYTHING], "emptied", EMPTIED, rounds=1),
)


async def _measure(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """A row of figures for each operation; the bare target is the last."""
    for target in targets[:-1]:
        await target.ask(_batches([f"kept-{number}" for number in range(STORED)]))
        await target.ask([SAME])
    return [await _row(operation, targets) for operation in OPERATIONS]


async def _row(operation: Operation, targets: Sequence[Target]) -> dict[str, Any]:
    """What one operation costs at each target."""
    *real, bare = targets
    rates: dict[str, list[float]] = {target.name: [] for target in targets}
    cpu: dict[str, list[float]] = {target.name: [] for target in real}
    seconds: dict[str, list[float]] = {target.name: [] for target in targets}
    for turn in range(operation.rounds):
        first = turn % len(real)
        for target in (*real[first:], *real[:first], bare):
            names = [f"{operation.name[:3]}-{next(numbers)}" for _ in range(operation.requests)]
            if operation.stored is not None and target is not bare:
                await target.ask(_batches(names, operation.stored))
            found = await target.ask(operation.make(names), operation.callers, SECONDS)
            done = len(found.seconds) * operation.items
            rates[target.name].append(done / found.took)
            seconds[target.name] += found.seconds
            if target is not bare:
                cpu[target.name].append(1e6 * found.cpu / done)
            bare.size = found.size
    return {
        "operation": operation.name,
        "callers": operation.callers,
        "per_second": {name: median(measured) for name, measured in rates.items()},
        "cpu_us": {name: median(measured) for name, measured in cpu.items()},
        "p95_ms": {name: 1e3 * float(np.quantile(all, 0.95)) for name, all in seconds.items()},
    }


@contextmanager
def _keyed_server() -> Iterator[Target]:
    """A server that wants a key, with a limit that holds nothing up."""
    operator = secrets.token_hex(32)
    settings = {"AGENTMEM_ADMIN_KEY": operator, "AGENTMEM_RATE_LIMIT": "1e6"}
    wish = {"tenant": "benchmark", "name": "benchmark"}
    with private_server(settings) as url:
        answer = httpx.post(f"{url}/api/v1/keys", json=wish, headers={"X-API-Key": operator})
        yield Target("key", url, answer.raise_for_status().json()["key"], operator)


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print(f"{'':15}{'callers':>8}{'per second: bare':>18}{'open':>8}{'key':>8}", end="")
    print(f"{'open:bare':>11}{'key:open':>10}{'CPU us: open':>14}{'key':>8}")
    for row in rows:
        bare, free, key = (row["per_second"][name] for name in ("bare", "open", "key"))
        print(f"{row['operation']:15}{row['callers']:8}{bare:18.0f}{free:8.0f}{key:8.0f}", end="")
        print(f"{free / bare:11.2f}{key / free:10.2f}", end="")
        print(f"{row['cpu_us']['open']:14.0f}{row['cpu_us']['key']:8.0f}")


def _lateness(target: Target) -> dict[str, int]:
    """How often the event loop was looked at, and how often it was late by more than `LATE`."""
    name = "agentmem_event_loop_lag_seconds"
    looks, in_time = target.metric(f"{name}_count"), target.metric(f'{name}_bucket{{le="{LATE}"}}')
    return {"looks": int(looks), "late": int(looks - in_time)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with private_server() as url, _keyed_server() as keyed, bare_server() as bare:
        free = Target("open", url)
        rows = asyncio.run(_measure([free, keyed, bare]))
        lag = {target.name: _lateness(target) for target in (free, keyed)}
    _print_table(rows)
    for name, found in lag.items():
        print(f"{name}: event loop over {LATE} s late in {found['late']} of {found['looks']} looks")
    if options.json:
        options.json.write_text(json.dumps({"operations": rows, "lag": lag}, indent=2) + "\n")


if __name__ == "__main__":
    main()
