"""Natural batching: while one batch runs, the next one gathers."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice, repeat
from typing import Generic, TypeVar

from agentmem_client.errors import Overloaded, PayloadTooLarge

from .telemetry.watch import NOBODY, Watch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Runs many callers' items together, in the order in which they came.

    There is no timer: an idle batcher runs an item at once, a busy one gathers what comes
    meanwhile. An accepted item runs even if its caller is cancelled.

    Args:
        run: does the work of a batch, one batch at a time. It returns an outcome for each item,
            in order; an Exception there is that item's alone. If it raises instead, the items
            are run again one by one, so that a bad item fails only its caller: `run` must bear
            that. For a failure of all (the service is down), return it for each item.
        max_batch: the most items in one batch.
        max_weight: the most that its items weigh together; one that alone weighs more comes alone.
        weigh: what an item weighs, in whatever unit.
        max_pending: the most items accepted and not yet answered; past it, `Overloaded`.
        name: the queue's, for who watches.
        watch: is told of each batch, and traces the wait for an outcome.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        max_batch: int,
        max_pending: int,
        max_weight: int = 0,
        weigh: Callable[[Item], int] | None = None,
        name: str = "batch",
        watch: Watch = NOBODY,
    ) -> None:
        self._run = run
        self._name = name
        self._watch = watch
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._max_weight = max_weight
        self._weigh = weigh
        self._waiting: deque[tuple[Item, _Call[Result]]] = deque()
        self._running = 0
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """The number of items accepted and not yet answered."""
        return len(self._waiting) + self._running

    async def submit(self, item: Item) -> Result:
        """Run `item` with others and return its result, or raise its Exception.

        Raises:
            Overloaded: too many items are pending, or the batcher is closed. It was not run.
        """
        call = self._accept([item])
        with self._watch.span(self._name):
            (outcome,) = await call.ended
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def submit_many(self, items: Sequence[Item]) -> list[Result | Exception]:
        """Run `items`, in as many batches as they need, and return their outcomes in order.

        Raises:
            Overloaded: they don't all fit, or the batcher is closed. None of them was run.
            PayloadTooLarge: they never will, being more than may be pending. Likewise.
        """
        call = self._accept(items)
        with self._watch.span(self._name):
            return await call.ended

    def _accept(self, items: Sequence[Item]) -> "_Call[Result]":
        if self._closed:
            raise Overloaded("the server is shutting down", retry_after=1.0)
        if len(items) > self._max_pending:
            raise PayloadTooLarge(
                f"{len(items)} items at once, where the server takes at most "
                f"{self._max_pending}: send fewer"
            )
        if self.pending + len(items) > self._max_pending:
            raise Overloaded(
                f"{self.pending} items are pending of at most {self._max_pending}: "
                f"there is no room for {len(items)} more",
                retry_after=1.0,
            )
        loop = asyncio.get_running_loop()
        call: _Call[Result] = _Call(len(items), loop.create_future())
        self._waiting.extend(zip(items, repeat(call), strict=False))
        if self._worker is None and items:
            # In a context of its own: the batches don't belong to the caller that came first.
            self._worker = loop.create_task(self._work(), context=Context())
        return call

    async def close(self) -> None:
        """Refuse new items, and return when those accepted have been answered."""
        self._closed = True
        if self._worker is not None:
            # Unlike awaiting it, waiting doesn't cancel the worker when this call is cancelled.
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        batch: list[tuple[Item, _Call[Result]]] = []
        try:
            while self._waiting:
                size = self._next_size()
                batch = [self._waiting.popleft() for _ in range(size)]
                self._running = size
                started = time.perf_counter()
                outcomes = await self._outcomes([item for item, _ in batch])
                self._watch.batch(self._name, size, time.perf_counter() - started)
                for (_, call), outcome in zip(batch, outcomes, strict=True):
                    call.add(outcome)
        finally:
            # All are answered, unless the event loop is ending and has cancelled this task.
            for _, call in (*batch, *self._waiting):
                call.ended.cancel()
            self._waiting.clear()
            self._running = 0
            self._worker = None

    def _next_size(self) -> int:
        """How many of those that wait are the next batch."""
        if self._weigh is None:
            return min(len(self._waiting), self._max_batch)
        size = together = 0
        for item, _ in islice(self._waiting, self._max_batch):
            together += self._weigh(item)
            if size and together > self._max_weight:
                break
            size += 1
        return size

    async def _outcomes(self, items: list[Item]) -> Sequence[Result | Exception]:
        try:
            outcomes = await self._run(items)
        except Exception as error:  # each caller raises its own
            if len(items) == 1:
                return [error]
            return [outcome for item in items for outcome in await self._outcomes([item])]
        if len(outcomes) != len(items):
            wrong = RuntimeError(f"a batch of {len(items)} items gave {len(outcomes)} outcomes")
            return [wrong] * len(items)
        return outcomes


class _Call(Generic[Result]):
    """Items of one caller, which are run in their order, perhaps in several batches.

    Attributes:
        ended: their outcomes. An Exception is among them and not raised: a caller that left needn't
            retrieve it.
    """

    def __init__(self, count: int, ended: "asyncio.Future[list[Result | Exception]]") -> None:
        self.ended = ended
        self._count = count
        self._outcomes: list[Result | Exception] = []
        if not count:
            ended.set_result(self._outcomes)

    def add(self, outcome: Result | Exception) -> None:
        """The outcome of the next one."""
        self._outcomes.append(outcome)
        if len(self._outcomes) == self._count and not self.ended.cancelled():
            self.ended.set_result(self._outcomes)
