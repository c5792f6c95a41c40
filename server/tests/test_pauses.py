"""Long work in the event loop lets others have their turn."""

import asyncio
import math
import time

import pytest
from agentmem_client import models as m
from agentmem_client.vectors import pack
from agentmem_server import pauses
from agentmem_server.access.callers import Caller
from agentmem_server.engine.preparing import Preparation
from agentmem_server.pauses import Share, with_pauses


class Other:
    """A task that counts how often it had its turn."""

    def __init__(self) -> None:
        self.turns = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def stop(self) -> int:
        self._task.cancel()
        return self.turns


@pytest.mark.parametrize(("longest", "turns"), [(-math.inf, 3), (math.inf, 0)])
async def test_there_is_a_pause_when_work_has_taken_long(
    monkeypatch: pytest.MonkeyPatch, longest: float, turns: int
) -> None:
    monkeypatch.setattr(pauses, "LONGEST", longest)
    other = Other()
    assert [item async for item in with_pauses("abc")] == ["a", "b", "c"]
    assert other.stop() == turns


async def test_what_many_do_at_once_takes_no_more_than_its_share_of_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "LONGEST", 0.002)
    share, other, done = Share(), Other(), list[tuple[int, int]]()

    async def work(number: int) -> None:
        await share.left()
        with share:
            work_for(0.001)
        done.append((other.turns, number))

    await asyncio.gather(*map(work, range(10)))
    other.stop()
    turns = [turn for turn, _ in done]
    assert max(map(turns.count, turns)) <= 2
    assert [number for _, number in done] == list(range(10))


def work_for(seconds: float) -> None:
    busy = time.perf_counter() + seconds
    while time.perf_counter() < busy:
        pass


async def test_who_asks_again_does_not_go_before_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LONGEST", 0.0001)
    share, done = Share(), list[str]()

    async def ask(name: str) -> None:
        for _ in range(5):
            await share.left()
            with share:
                work_for(0.0002)
            done.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(ask("a"), ask("b"))
    assert done == ["a", "b"] * 5


async def test_who_no_longer_waits_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LONGEST", 0.0001)
    share = Share()
    gone, next_one = (asyncio.create_task(share.left()) for _ in range(2))
    with share:
        work_for(0.0002)
    asyncio.get_running_loop().call_soon(gone.cancel)
    await asyncio.wait_for(next_one, 10)
    assert gone.cancelled()
    await asyncio.wait_for(share.left(), 10)


class NothingThere:
    """A store without collections."""

    async def collection(self, _tenant: str, _name: str) -> None:
        return None


class NothingToEmbed:
    """An embedder for memories that have their vectors."""

    async def embed_many(self, texts: list[str]) -> list[bytes]:
        assert not texts
        return []


async def test_a_large_batch_is_prepared_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LONGEST", -math.inf)
    preparation = Preparation(NothingThere(), NothingToEmbed())  # type: ignore[arg-type]  # no more is used
    memories = [m.MemoryInput(content=f"{n}", embedding=pack([1.0])) for n in range(100)]
    other = Other()
    assert len(await preparation.puts(Caller("tenant"), memories)) == 100
    assert other.stop() >= 100
