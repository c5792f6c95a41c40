import asyncio

import pytest
from agentmem_client.errors import Unavailable
from agentmem_server.filler import filling
from structlog.testing import capture_logs


class Work:
    """Does one thing after the other: fails, or answers how much it filled."""

    def __init__(self, *outcomes: int | Exception) -> None:
        self.outcomes = list(outcomes)
        self.done = asyncio.Event()

    async def fill(self) -> int:
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_it_fills_once() -> None:
    work = Work(3)
    with capture_logs() as logs:
        async with filling(work.fill, 0.001):
            await work.done.wait()
            await asyncio.sleep(0.02)
    assert [(entry["event"], entry["count"]) for entry in logs] == [("tokens of memories made", 3)]


async def test_nothing_to_fill_is_no_news() -> None:
    work = Work(0)
    with capture_logs() as logs:
        async with filling(work.fill, 0.001):
            await work.done.wait()
            await asyncio.sleep(0)
    assert logs == []


async def test_what_is_down_is_tried_again() -> None:
    work = Work(Unavailable("down"), Unavailable("down"), 2)
    with capture_logs() as logs:
        async with filling(work.fill, 0.001):
            await work.done.wait()
            await asyncio.sleep(0.01)
    assert [entry["log_level"] for entry in logs] == ["warning", "warning", "info"]
    assert logs[0]["error"] == "unavailable"


async def test_it_ends_with_its_context() -> None:
    started = asyncio.Event()

    async def fill() -> int:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError("it went on")

    async with filling(fill, 0.001):
        await started.wait()


async def test_a_defect_is_told_and_raised_at_the_end() -> None:
    work = Work(ValueError("a defect"))

    async def run() -> None:
        async with filling(work.fill, 0.001):
            await work.done.wait()
            await asyncio.sleep(0.01)

    with capture_logs() as logs, pytest.raises(ValueError, match="a defect"):
        await run()
    assert [entry["log_level"] for entry in logs] == ["error"]
