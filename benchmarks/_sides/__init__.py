"""The sides that `peers.py` compares: what each can do, and how it is called all the time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, Protocol, TypeAlias

from _memories import Made, Vectors

Kind: TypeAlias = Literal["scoped", "filtered", "unscoped"]
"""A search in one user's memories, in those of one topic, or in all."""

LIMIT = 10
SILENT = {"ANONYMIZED_TELEMETRY": "False", "MEM0_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"}
"""What keeps the others from calling home, and from downloading models."""


@dataclass(frozen=True)
class Query:
    """A vector to search by. The text stands for it where a store wants to embed one itself."""

    text: str
    vector: Vectors
    user: str
    topic: str


@dataclass
class Done:
    """How many calls were answered and how many failed, in how many seconds."""

    answered: int = 0
    failed: int = 0
    took: float = 0.0
    cpu: float = 0.0
    """Seconds of the processor, of a server's or this process's."""
    problem: str = ""
    """What one that failed said."""


class Side(Protocol):
    """A store that is measured. Memories are told apart by the number in their metadata.

    What is asked of it goes on for so many seconds at most (``limit``), from so many callers.
    """

    name: str

    async def open(self) -> None:
        """Make or open it."""
        ...

    async def close(self) -> None:
        """Close it; a server is killed."""
        ...

    async def fill(self, made: Made, size: int) -> None:
        """Store all of these, so many in a call."""
        ...

    async def add(self, made: Made, callers: int, limit: float) -> Done:
        """Store memories one by one."""
        ...

    async def batches(self, made: Made, size: int, limit: float) -> Done | None:
        """Store memories, so many in a call; None where there is no such call."""
        ...

    async def search(
        self, kind: Kind, queries: Sequence[Query], callers: int, limit: float
    ) -> Done:
        """Search, one query after the other."""
        ...

    async def found(self, kind: Kind, query: Query) -> list[int]:
        """The numbers of what a search finds."""
        ...

    async def count(self) -> int:
        """How many memories are stored."""
        ...


class Known:
    """The vectors of texts, for stores that call an embedder."""

    def __init__(self) -> None:
        self._vectors: dict[str, list[float]] = {}

    def learn(self, made: Made) -> None:
        """The texts of these memories are about to be embedded."""
        for text, vector in zip(made.texts, made.vectors, strict=True):
            self._vectors[text] = vector.tolist()

    def learn_queries(self, queries: Sequence[Query]) -> None:
        """The texts of these queries are."""
        self._vectors.update({query.text: query.vector.tolist() for query in queries})

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of texts."""
        return [self._vectors[text] for text in texts]


def metadata(made: Made, place: int) -> dict[str, Any]:
    """What is kept of a memory beside its text where there is but one kind of metadata."""
    number = made.first + place
    return {"topic": made.topic(place), "number": number, "user_id": made.user(place)}


def in_threads(call: Callable[[int], object], number: int, callers: int, limit: float) -> Done:
    """Make calls 0, 1, … from as many threads as there are callers."""
    places, done = count(), Done()
    started, cpu = time.perf_counter(), time.process_time()

    def go_on() -> None:
        answered = 0  # its own: threads that count together lose some
        while time.perf_counter() - started < limit and (place := next(places)) < number:
            try:
                call(place)
                answered += 1
            except Exception as error:
                _note(done, error)
        counted.append(answered)

    counted: list[int] = []
    if callers == 1:
        go_on()
    else:
        with ThreadPoolExecutor(callers) as threads:
            for task in [threads.submit(go_on) for _ in range(callers)]:
                task.result()
    done.answered = sum(counted)
    done.took, done.cpu = time.perf_counter() - started, time.process_time() - cpu
    return done


async def in_tasks(
    call: Callable[[int], Awaitable[object]], number: int, callers: int, limit: float
) -> Done:
    """Make calls 0, 1, … from as many tasks as there are callers."""
    places, done = count(), Done()
    started, cpu = time.perf_counter(), time.process_time()

    async def go_on() -> None:
        while time.perf_counter() - started < limit and (place := next(places)) < number:
            await call(place)
            done.answered += 1

    await asyncio.gather(*(go_on() for _ in range(callers)))
    done.took, done.cpu = time.perf_counter() - started, time.process_time() - cpu
    return done


def _note(done: Done, error: Exception) -> None:
    """A call failed: a figure of its own, for some stores do when they are called side by side."""
    done.failed += 1
    done.problem = f"{type(error).__name__}: {error}"[:100]
