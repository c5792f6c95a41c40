"""What every store that is called in this process has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from _memories import Made

from . import Done, Kind, Known, Query, in_threads


class InProcess(ABC):
    """A store with blocking calls, from as many threads as there are callers."""

    name: str

    def __init__(self, known: Known) -> None:
        self._known = known

    async def fill(self, made: Made, size: int) -> None:
        self._known.learn(made)
        for start in range(0, len(made), size):
            self._add_many(made, range(start, min(start + size, len(made))))

    async def add(self, made: Made, callers: int, limit: float) -> Done:
        self._known.learn(made)
        return in_threads(lambda place: self._add(made, place), len(made), callers, limit)

    async def batches(self, made: Made, size: int, limit: float) -> Done | None:
        self._known.learn(made)
        starts = range(0, len(made), size)

        def add(part: int) -> None:
            self._add_many(made, range(starts[part], starts[part] + size))

        done = in_threads(add, len(starts), 1, limit)
        done.answered *= size
        return done

    async def search(
        self, kind: Kind, queries: Sequence[Query], callers: int, limit: float
    ) -> Done:
        self._known.learn_queries(queries)
        return in_threads(
            lambda place: self._search(kind, queries[place]), len(queries), callers, limit
        )

    async def found(self, kind: Kind, query: Query) -> list[int]:
        self._known.learn_queries([query])
        return self._search(kind, query)

    @abstractmethod
    def _add(self, made: Made, place: int) -> None:
        """Store one of them."""

    @abstractmethod
    def _add_many(self, made: Made, places: Sequence[int]) -> None:
        """Store some of them at once."""

    @abstractmethod
    def _search(self, kind: Kind, query: Query) -> list[int]:
        """The numbers of what is found, best first."""
