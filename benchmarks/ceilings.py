"""Our server over HTTP against what this machine can do at all, in one run, by turns.

The ceilings are a bare Starlette endpoint under the same uvicorn that reads the same requests and
answers as many bytes; the same rows written to the same tables by prepared statements, without a
server; numpy over the same vectors; and the embedder alone. Each row says what the target is, and
whether it was met; `over` is what a search takes longer than the bare endpoint.

    python benchmarks/ceilings.py [--size 100000] [--rounds 5] [--only TEXT] [--json figures.json]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvicorn
from _alone import BareWrites, Transaction, embedded_alone, recorded
from _asking import Asked, Figures, Target
from _bare import bare_server
from _memories import Made, Maker, best, encoded
from _rows import Row, Sides, no_sides, note_round, print_row, share, within
from agentmem_server.embedding.builtin import BuiltinEmbedder

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server  # the examples' helper, which starts a server

USERS = 100
SMALL = 10_000
BATCH = 1_000
EMBEDDED = 100
"""Memories in a batch that the server embeds, as the client sends them."""
SINGLE, SHARED, BATCHES = 200, 40, 2
"""Transactions of one memory, of 32 and of 1,000 that a round writes without a server."""
CALLERS = 32
SECONDS = 1.0
"""After which a round sends no more."""
LATEST = 0.020
"""Seconds by which the event loop may be late."""


class Limits:
    """Measures one row after the other."""

    def __init__(self, ours: Target, bare: Target, folder: Path, size: int, rounds: int) -> None:
        self._ours = ours
        self._bare = bare
        self._folder = folder
        self._size = size
        self._rounds = rounds
        self._maker = Maker(USERS)
        self._embedder = BuiltinEmbedder()
        self._stored: dict[str, Made] = {}
        self.busy = 0.0
        """The largest share of time for which the client itself was busy."""

    async def fill(self) -> dict[str, float]:
        """Store what is searched; answers rows a second."""
        rates = {}
        for name, size in (("small", SMALL), ("large", self._size)):
            made = self._stored[name] = self._maker.memories(size)
            found = await self._ours.ask(_batches(made, name, BATCH))
            rates[name] = size / found.took
            await self._ours.ask([_search(name, embedding=encoded(made.vectors[0]))])
        return rates

    async def cached(self) -> list[Row]:
        """Searches that were asked before."""
        same = _search("large", user_id="user-1", embedding=self._vector())
        await self._ours.ask([same])
        sides = await self._over_http(lambda _: [same] * 40_000, CALLERS)
        rate = median(sides.ours)
        half = [same] * int(rate / 2 * 3 * SECONDS)
        late = await self._ours.arrive(half, rate / 2, CALLERS)
        floor = await self._bare.arrive(half, rate / 2, CALLERS)
        p99, least = (1e3 * float(np.quantile(seconds, 0.99)) for seconds in (late, floor))
        return [
            share("cached search, 32 callers", sides, 0.6),
            Row("cached search, p99 at half", "ms", p99, least, p99, "< 15 ms", p99 < 15),
        ]

    async def scoped(self) -> list[Row]:
        """Searches of one user's memories, a hundredth, by vectors that are new."""
        sides = await self._over_http(
            lambda turn: [self._of_user(turn + n) for n in range(4_000)], CALLERS
        )
        one = await self._over_http(lambda turn: [self._of_user(turn + n) for n in range(2_000)], 1)
        return [
            share("scoped search, 32 callers", sides, 0.25),
            share("scoped search, 1 caller", one, None),
        ]

    async def adds(self) -> list[Row]:
        """Memories with their vectors, singly and in batches, against the same rows bare."""
        plan = [1] * SINGLE + [CALLERS] * SHARED + [BATCH] * BATCHES
        groups = [
            [made.body(place, "added") for place in range(len(made))]
            for made in map(self._maker.memories, [BATCH] * 5 + plan * self._rounds)
        ]
        written = list(recorded(groups, self._folder / "recorded.db"))
        bare = BareWrites(self._folder / "bare.db")
        bare.write(written[:5])
        del written[:5]
        single, shared, batches, http = (
            no_sides(), no_sides(), no_sides(), no_sides()
        )  # fmt: skip
        for _ in range(self._rounds):
            now, written = written[: len(plan)], written[len(plan) :]
            for transactions, sides, callers, size in (
                (now[:SINGLE], single, 1, 1),
                (now[SINGLE : SINGLE + SHARED], shared, CALLERS, 1),
                (now[SINGLE + SHARED :], batches, 1, BATCH),
            ):
                await self._add(bare, transactions, sides, callers, size)
            await self._one_over_http(
                http, list(_adds(self._maker.memories(2_000))), CALLERS, bare_first=True
            )
        bare.close()
        least = Sides(
            shared.ours,
            [min(p) for p in zip(shared.ceiling, http.ceiling, strict=True)],
            shared.cpu,
        )
        times = median(t / o for o, t in zip(single.ours, single.ceiling, strict=True))
        took, floor = (1e3 / median(rates) for rates in (single.ours, single.ceiling))
        rate = median(batches.ours)
        many = share("add batches of 1,000", batches, 0.6)
        return [
            Row("add, 1 caller", "ms", took, floor, times, "<= 3.0x", times <= 3, single.cpu_us),
            share("add, 32 callers", least, 0.5, f"HTTP {median(http.ceiling):.0f}/s"),
            Row(**{**vars(many), "target": ">= .60 or 10k/s", "met": many.met or rate >= 10_000}),
        ]

    async def _add(
        self,
        bare: BareWrites,
        transactions: Sequence[Transaction],
        sides: Sides,
        callers: int,
        size: int,
    ) -> None:
        alone = bare.write(transactions)
        made = self._maker.memories(alone.memories)
        requests = _adds(made) if size == 1 else _batches(made, "added", size)
        found = await self._asked(requests, callers)
        note_round(sides, found, size, alone)

    async def embedded(self) -> list[Row]:
        """Memories that the server embeds, against the embedder alone."""
        many, few = no_sides(), no_sides()
        for _ in range(self._rounds):
            for sides, callers, size in ((many, 1, EMBEDDED), (few, CALLERS, 1)):
                made = self._maker.memories(5 * EMBEDDED)
                alone = await embedded_alone(self._embedder, made.texts)
                made = self._maker.memories(5 * EMBEDDED)
                requests = (
                    _adds(made, embedded=False)
                    if size == 1
                    else _batches(made, "embedded", size, embedded=False)
                )
                note_round(sides, await self._asked(requests, callers, limit=60), size, alone)
        return [
            share("embedded batches of 100", many, 0.9),
            share("embedded adds, 32 callers", few, 0.9),
        ]

    async def unscoped(self) -> list[Row]:
        """Searches of a whole collection by vector, one after the other."""
        rows = []
        for name, target in (("small", 2.0), ("large", 5.0)):
            stored = self._stored[name].vectors
            sides = await self._over_http(partial(self._by_vector, name), 1, latency=True)
            queries = self._maker.vectors(20)
            started = time.perf_counter()
            for query in queries:
                best(stored, query)
            scan = 1e3 * (time.perf_counter() - started) / len(queries)
            rows.append(
                within(f"unscoped search of {len(stored):,}", sides, target, f"numpy {scan:.2f} ms")
            )
        return rows

    async def keywords(self) -> list[Row]:
        """Searches by words, one after the other."""
        scoped = await self._over_http(
            lambda turn: [
                _search("large", user_id=f"user-{(turn + n) % USERS}", query=self._maker.query(5))
                for n in range(300)
            ],
            1,
            latency=True,
            mode="sparse",
        )
        common = await self._over_http(
            lambda _: [
                _search("large", query=self._maker.query(4, common=True)) for _ in range(100)
            ],
            1,
            latency=True,
            mode="sparse",
        )
        return [
            within("keywords, scoped", scoped, 5.0),
            within("keywords, common words", common, 30.0),
        ]

    def _vector(self) -> str:
        return encoded(self._maker.vectors(1)[0])

    def _by_vector(self, collection: str, _turn: int) -> list[Asked]:
        return [_search(collection, embedding=self._vector()) for _ in range(300)]

    def _of_user(self, number: int) -> Asked:
        return _search("large", user_id=f"user-{number % USERS}", embedding=self._vector())

    async def _over_http(
        self,
        make: Callable[[int], list[Asked]],
        callers: int,
        *,
        latency: bool = False,
        mode: str | None = None,
    ) -> Sides:
        """The same requests to ours and to the bare endpoint; rates, or the median's seconds."""
        sides = no_sides()
        for turn in range(self._rounds):
            requests = make(turn)
            if mode is not None:
                requests = [
                    (method, path, body | {"mode": mode}) for method, path, body in requests
                ]
            await self._one_over_http(
                sides, requests, callers, latency=latency, bare_first=bool(turn % 2)
            )
        return sides

    async def _one_over_http(
        self,
        sides: Sides,
        requests: list[Asked],
        callers: int,
        *,
        latency: bool = False,
        bare_first: bool = False,
    ) -> None:
        if bare_first and self._bare.size:
            floor = await self._asked(requests, callers, self._bare)
            found = await self._asked(requests, callers)
        else:
            found = await self._asked(requests, callers)
            self._bare.size = found.size
            floor = await self._asked(requests, callers, self._bare)
        self._bare.size = found.size
        for figures, values, cpu in (
            (found, sides.ours, sides.cpu[0]),
            (floor, sides.ceiling, sides.cpu[1]),
        ):
            number = len(figures.seconds)
            values.append(median(figures.seconds) if latency else number / figures.took)
            cpu.append(1e6 * figures.cpu / number)

    async def _asked(
        self,
        requests: Iterator[Asked] | Sequence[Asked],
        callers: int,
        target: Target | None = None,
        limit: float = SECONDS,
    ) -> Figures:
        found = await (target or self._ours).ask(requests, callers, limit)
        self.busy = max(self.busy, found.busy)
        return found


def _search(collection: str, **how: Any) -> Asked:
    return "POST", "/api/v1/memories/search", {"collection": collection, **how}


def _adds(made: Made, *, embedded: bool = True) -> Iterator[Asked]:
    for place in range(len(made)):
        collection = "added" if embedded else "embedded"
        yield "POST", "/api/v1/memories", made.body(place, collection, embedded=embedded)


def _batches(made: Made, collection: str, size: int, *, embedded: bool = True) -> Iterator[Asked]:
    for start in range(0, len(made), size):
        places = range(start, min(start + size, len(made)))
        memories = [made.body(place, collection, embedded=embedded) for place in places]
        yield "POST", "/api/v1/memories/batch", {"memories": memories}


def _lag(target: Target) -> dict[str, int]:
    """How often the event loop was late by at most so many seconds, by the histogram's bounds."""
    found: dict[str, int] = {}
    before = 0.0
    for bound, value in target.histogram("agentmem_event_loop_lag_seconds").items():
        if value > before:
            found[bound] = int(value - before)
        before = value
    return found


def _lag_row(ours: Mapping[str, int], bare: Mapping[str, int]) -> Row:
    late, floor = (
        sum(number for bound, number in found.items() if float(bound) > LATEST)
        for found in (ours, bare)
    )
    name = f"event loop late by > {1e3 * LATEST:.0f} ms"
    looks = f"of {sum(ours.values())} and {sum(bare.values())} looks"
    return Row(name, "", late, floor, late, "never", late == 0, note=looks)


async def _measure(limits: Limits, only: str) -> list[Row]:
    """Every group of rows whose name has this text in it; each is printed when it is there."""
    rates = await limits.fill()
    print(f"filled at {', '.join(f'{rate:,.0f}/s ({name})' for name, rate in rates.items())}")
    print(f"{'':28}{'ours':>10}{'ceiling':>10} {'':3}{'figure':>8}  {'target':24}", end="")
    print(f"{'CPU us':>8}{'':8}")
    groups: Sequence[Callable[[], Awaitable[list[Row]]]] = (
        limits.cached, limits.scoped, limits.adds, limits.embedded, limits.unscoped,
        limits.keywords,
    )  # fmt: skip
    rows: list[Row] = []
    for group in groups:
        if only in group.__name__:
            found = await group()
            rows += found
            for row in found:
                print_row(row)
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000, help="memories that are searched")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--only", default="", help="groups of rows with this in their name")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with ExitStack() as stack:
        ours = Target("ours", stack.enter_context(private_server()))
        bare = stack.enter_context(bare_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentmem-")))
        limits = Limits(ours, bare, folder, options.size, options.rounds)
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            rows = runner.run(_measure(limits, options.only))
        lags = {target.name: _lag(target) for target in (ours, bare)}
    rows.append(_lag_row(lags["ours"], lags["bare"]))
    print_row(rows[-1])
    for name, found in lags.items():
        print(f"{name}: the loop was late by up to", found)
    print(f"the client was busy {limits.busy:.0%} of the time at most")
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "lag": lags, "client_busy": limits.busy}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
