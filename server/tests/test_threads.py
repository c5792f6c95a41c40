"""Threads that work for the event loop: what they answer, and how they end."""

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from agentmem_server.storage.sqlite.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1, "test")
    yield made
    made.close()


async def test_a_call_answers_or_raises_what_its_function_does(threads: Threads) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by nothing")

    assert (await threads.run(threading.current_thread)).name == "test_0"
    with pytest.raises(ZeroDivisionError, match="by nothing"):
        await threads.run(fail)
    assert await threads.run(lambda: 7) == 7  # the thread goes on


async def test_calls_run_side_by_side_in_several_threads() -> None:
    threads = Threads(2, "test")
    both = threading.Barrier(2, timeout=30)
    await asyncio.gather(threads.run(both.wait), threads.run(both.wait))
    threads.close()


async def test_a_call_that_has_not_begun_can_be_cancelled(threads: Threads) -> None:
    may_go, began = threading.Event(), []
    first = asyncio.create_task(threads.run(may_go.wait))
    second = asyncio.create_task(threads.run(lambda: began.append("second")))
    third = asyncio.create_task(threads.run(lambda: began.append("third")))
    await asyncio.sleep(0)
    first.cancel()  # has begun: it ends, and nobody is told
    second.cancel()
    await asyncio.wait([first, second])
    may_go.set()
    await third
    assert began == ["third"]


async def test_closing_finishes_what_was_accepted() -> None:
    threads = Threads(2, "test")
    done: list[int] = []
    calls = [asyncio.create_task(threads.run(partial(done.append, n))) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(threads.close)
    assert sorted(done) == list(range(20))
    await asyncio.gather(*calls)


def test_an_event_loop_that_ends_first_leaves_the_threads_as_they_were(threads: Threads) -> None:
    may_go = threading.Event()

    async def leave() -> None:
        call = asyncio.create_task(threads.run(may_go.wait))
        await asyncio.sleep(0)
        assert not call.done()

    asyncio.run(leave())
    may_go.set()
    assert asyncio.run(threads.run(lambda: 7)) == 7
