"""What has expired is deleted now and then, whatever happens to one sweep."""

import asyncio
from collections.abc import Iterator

import pytest
from agentmem_client.errors import Unavailable
from agentmem_server.sweeper import sweeping
from structlog.testing import capture_logs


async def test_it_sweeps_again_and_again_until_the_end() -> None:
    sweeps = 0
    thrice = asyncio.Event()

    async def sweep() -> int:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 2:
            raise Unavailable("the disk is full")
        if sweeps == 3:
            thrice.set()
        return sweeps

    async with sweeping(sweep, 0.001):
        await thrice.wait()
    ended = sweeps
    await asyncio.sleep(0.02)
    assert sweeps == ended


async def test_the_log_says_what_is_swept_and_how_much() -> None:
    outcomes: Iterator[int | Unavailable] = iter([0, 7, Unavailable("the disk is full")])
    ended = asyncio.Event()

    async def sweep() -> int:
        outcome = next(outcomes, None)
        if outcome is None:
            ended.set()
            return 0
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome

    with capture_logs() as logs:
        async with sweeping(sweep, 0.001, "old events"):
            await ended.wait()
    assert logs == [
        {"event": "old events deleted", "count": 7, "log_level": "info"},
        {
            "event": "old events could not be deleted",
            "error": "unavailable",
            "log_level": "warning",
        },
    ]


async def test_the_end_does_not_wait_for_the_next_sweep() -> None:
    async def sweep() -> int:
        raise AssertionError("not for an hour")

    async with asyncio.timeout(5), sweeping(sweep, 3_600):
        pass


async def test_a_defect_is_told_and_raised_at_the_end() -> None:
    failed = asyncio.Event()

    async def sweep() -> int:
        failed.set()
        raise ValueError("a defect")

    async def serve() -> None:
        async with sweeping(sweep, 0.001):
            await failed.wait()
            await asyncio.sleep(0)

    with capture_logs() as logs, pytest.raises(ValueError, match="a defect"):
        await serve()
    assert [entry["event"] for entry in logs] == ["the sweeper ended"]
