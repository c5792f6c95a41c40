import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from agentmem_client.errors import Overloaded, PayloadTooLarge
from agentmem_server.batcher import Batcher
from hypothesis import given
from hypothesis import strategies as st


class Work:
    """Doubles numbers; refuses negative ones; holds each batch while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, items: list[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        await self.gate.wait()
        return [item * 2 if item >= 0 else ValueError(item) for item in items]

    async def run_or_raise(self, items: list[int]) -> Sequence[int | Exception]:
        for outcome in (outcomes := await self.run(items)):
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> AsyncIterator[None]:
    """No task outlives a test, and no exception is left for the event loop to complain of."""
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await settle()
    gc.collect()
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
    assert complaints == []


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def batcher(work: Work, *, max_batch: int = 100, max_pending: int = 100) -> Batcher[int, int]:
    return Batcher(work.run, max_batch=max_batch, max_pending=max_pending)


async def test_an_idle_batcher_runs_an_item_alone(work: Work) -> None:
    doubler = batcher(work)
    assert await doubler.submit(1) == 2
    assert await doubler.submit(2) == 4
    assert work.batches == [[1], [2]]


async def test_while_a_batch_runs_the_next_gathers(work: Work) -> None:
    doubler = batcher(work)
    work.gate.clear()
    first = asyncio.create_task(doubler.submit(1))
    await settle()
    others = [asyncio.create_task(doubler.submit(item)) for item in (2, 3, 4)]
    await settle()
    assert work.batches == [[1]]
    work.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]


async def test_batches_have_at_most_max_batch_items_in_the_order_they_came(work: Work) -> None:
    doubler = batcher(work, max_batch=3)
    many, one = await asyncio.gather(doubler.submit_many([1, 2, 3, 4]), doubler.submit(5))
    assert (many, one) == ([2, 4, 6, 8], 10)
    assert work.batches == [[1, 2, 3], [4, 5]]


async def test_what_is_heavy_together_comes_in_several_batches(work: Work) -> None:
    many: Batcher[int, int] = Batcher(
        work.run, max_batch=3, max_pending=100, max_weight=10, weigh=lambda item: item
    )
    items = [50, 4, 6, 1, 9, 11, 0, 0, 0, 0]
    assert await many.submit_many(items) == [item * 2 for item in items]
    assert work.batches == [[50], [4, 6], [1, 9], [11], [0, 0, 0], [0]]


@given(requests=st.lists(st.lists(st.integers(-5, 50))), max_batch=st.integers(1, 7))
def test_every_request_gets_its_own_outcomes(requests: list[list[int]], max_batch: int) -> None:
    async def check() -> None:
        doubler = batcher(Work(), max_batch=max_batch, max_pending=10_000)
        answers = await asyncio.gather(*(doubler.submit_many(items) for items in requests))
        for items, outcomes in zip(requests, answers, strict=True):
            found = [outcome if isinstance(outcome, int) else str(outcome) for outcome in outcomes]
            assert found == [item * 2 if item >= 0 else str(item) for item in items]

    asyncio.run(check())


async def test_no_items_need_no_batch(work: Work) -> None:
    assert await batcher(work).submit_many([]) == []
    assert work.batches == []


async def test_an_exception_among_the_outcomes_is_that_items_alone(work: Work) -> None:
    doubler = batcher(work)
    one, bad = await asyncio.gather(doubler.submit(1), doubler.submit(-1), return_exceptions=True)
    assert one == 2
    assert isinstance(bad, ValueError)
    assert work.batches == [[1, -1]]


async def test_a_batch_that_raises_is_run_again_one_by_one(work: Work) -> None:
    doubler = Batcher(work.run_or_raise, max_batch=9, max_pending=9)
    one, bad, two = await doubler.submit_many([1, -1, 2])
    assert (one, two) == (2, 4)
    assert isinstance(bad, ValueError)
    assert work.batches == [[1, -1, 2], [1], [-1], [2]]


async def test_an_item_that_raises_alone_is_not_run_again(work: Work) -> None:
    doubler = Batcher(work.run_or_raise, max_batch=9, max_pending=9)
    with pytest.raises(ValueError, match="-1"):
        await doubler.submit(-1)
    assert work.batches == [[-1]]


async def test_a_missing_outcome_is_an_error_of_every_item() -> None:
    async def run(items: list[int]) -> Sequence[int | Exception]:
        return items[1:]

    outcomes = await Batcher(run, max_batch=9, max_pending=9).submit_many([1, 2])
    assert [str(outcome) for outcome in outcomes] == ["a batch of 2 items gave 1 outcomes"] * 2


async def test_past_max_pending_nothing_of_a_request_is_accepted(work: Work) -> None:
    doubler = batcher(work, max_batch=2, max_pending=4)
    work.gate.clear()
    accepted = asyncio.create_task(doubler.submit_many([1, 2, 3]))
    await settle()
    assert doubler.pending == 3
    with pytest.raises(Overloaded) as caught:
        await doubler.submit_many([4, 5])
    assert caught.value.retry_after == 1.0
    fits = asyncio.create_task(doubler.submit(6))
    await settle()
    with pytest.raises(Overloaded):
        await doubler.submit(7)
    with pytest.raises(PayloadTooLarge, match="at most 4: send fewer"):
        await doubler.submit_many([1, 2, 3, 4, 5])
    work.gate.set()
    assert await accepted == [2, 4, 6]
    assert await fits == 12
    assert doubler.pending == 0
    assert await doubler.submit_many([4, 5]) == [8, 10]
    assert work.batches == [[1, 2], [3, 6], [4, 5]]


async def test_the_items_of_a_cancelled_caller_run_nevertheless(work: Work) -> None:
    doubler = batcher(work, max_batch=2)
    work.gate.clear()
    # It waits for the first of its items; -2 fails with nobody there to hear of it.
    leaves = asyncio.create_task(doubler.submit_many([1, -2, 3]))
    stays = asyncio.create_task(doubler.submit(4))
    await settle()
    leaves.cancel()
    await settle()
    assert leaves.cancelled()
    assert doubler.pending == 4
    work.gate.set()
    assert await stays == 8
    assert work.batches == [[1, -2], [3, 4]]


async def test_closing_answers_what_was_accepted_and_refuses_the_rest(work: Work) -> None:
    doubler = batcher(work, max_batch=1)
    work.gate.clear()
    accepted = asyncio.create_task(doubler.submit_many([1, 2]))
    await settle()
    closing = asyncio.create_task(doubler.close())
    await settle()
    assert not closing.done()
    with pytest.raises(Overloaded, match="shutting down"):
        await doubler.submit(3)
    work.gate.set()
    await closing
    assert doubler.pending == 0
    assert await accepted == [2, 4]
    assert work.batches == [[1], [2]]
    await doubler.close()


async def test_giving_up_on_closing_does_not_lose_items(work: Work) -> None:
    doubler = batcher(work)
    work.gate.clear()
    accepted = asyncio.create_task(doubler.submit(1))
    await settle()
    closing = asyncio.create_task(doubler.close())
    await settle()
    closing.cancel()
    await settle()
    work.gate.set()
    assert await accepted == 2


async def test_an_idle_batcher_has_no_task(work: Work) -> None:
    before = asyncio.all_tasks()
    await batcher(work).submit(1)
    assert asyncio.all_tasks() == before


async def test_cancellation_is_not_an_outcome() -> None:
    async def run(items: list[int]) -> Sequence[int | Exception]:
        if 0 in items:
            raise asyncio.CancelledError
        return items

    echo = Batcher(run, max_batch=1, max_pending=9)
    first, second = await asyncio.gather(echo.submit(0), echo.submit(1), return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert echo.pending == 0
    assert await echo.submit(2) == 2


async def test_a_batch_does_not_run_in_the_context_of_a_caller() -> None:
    request = ContextVar("request", default="none")

    async def run(items: list[int]) -> Sequence[str | Exception]:
        return [request.get() for _ in items]

    request.set("the first caller's")
    assert await Batcher(run, max_batch=9, max_pending=9).submit(1) == "none"
