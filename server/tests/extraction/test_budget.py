"""What calls may take: so many at once and a minute, so many tokens; and what they took."""

import asyncio
import json
from time import monotonic

import pytest
from agentmem_client.errors import InvalidRequest, Overloaded, Unavailable
from agentmem_server.access.windows import Windows
from agentmem_server.extraction import Spent

from server.tests.extraction.extractors import CAT, ONE_CALL, Opening, Told, one_request, said
from tests.llm_server import LLM, Reply


async def test_so_many_calls_at_once_and_no_more(opened: Opening, llm: LLM) -> None:
    llm.latency = 0.05
    async with opened(concurrency=3) as extractor:
        extractions = (extractor.extract(said(f"FACT: fact {n}"), None) for n in range(10))
        found = await asyncio.gather(*extractions)
    assert llm.most == 3
    assert [one.facts[0].content for one in found] == [f"fact {n}" for n in range(10)]
    order = [json.loads(request["messages"][1]["content"]) for request in llm.requests]
    started = [given["messages"][0]["content"] for given in order]
    # Those of one group may overtake each other on their way.
    assert {*started[:3]} == {f"FACT: fact {n}" for n in range(3)}
    assert started[-1] == "FACT: fact 9"


async def test_a_call_that_waits_for_another_try_keeps_no_other_from_its_turn(
    opened: Opening, llm: LLM
) -> None:
    llm.replies = [Reply(status=429, headers={"Retry-After": "0.5"})]
    async with opened(concurrency=1) as extractor:
        first = asyncio.create_task(extractor.extract(CAT, None))
        await one_request(llm)
        await extractor.extract(CAT, None)
        assert not first.done()
        await first


async def test_a_conversation_too_long_is_never_sent(opened: Opening, llm: LLM) -> None:
    async with opened(max_input_tokens=2_000) as extractor:
        await extractor.extract(CAT, None)
        with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_MAX_INPUT_TOKENS"):
            await extractor.extract(said("ä" * 3_000), None)
    assert len(llm.requests) == 1


async def test_too_many_conversations_are_turned_away(opened: Opening, llm: LLM) -> None:
    llm.latency = 0.2
    async with opened(concurrency=1, max_pending=2) as extractor:
        tasks = [asyncio.create_task(extractor.extract(CAT, None)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert extractor.pending == 2
        with pytest.raises(Overloaded) as caught:
            await extractor.extract(CAT, None)
        assert caught.value.retry_after
        await asyncio.gather(*tasks)
        assert extractor.pending == 0


async def test_who_leaves_gives_back_the_turn(opened: Opening, llm: LLM, told: Told) -> None:
    llm.latency = 5.0
    async with opened(concurrency=1) as extractor:
        tasks = [asyncio.create_task(extractor.extract(CAT, None)) for _ in range(2)]
        await one_request(llm)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert told.outcomes == ["cancelled"]
        llm.latency = 0.0
        assert (await extractor.extract(CAT, None)).spent == ONE_CALL
        assert extractor.pending == 0


class Clock:
    """Seconds, and so many more as a test lets pass at once."""

    ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


async def test_the_rate_lets_calls_wait(opened: Opening, llm: LLM) -> None:
    clock = Clock()
    async with opened(windows=Windows(clock=clock), rate=2) as extractor:
        first = await asyncio.gather(*(extractor.extract(CAT, None) for _ in range(2)))
        clock.ahead = 58.5
        second = await asyncio.gather(*(extractor.extract(CAT, None) for _ in range(2)))
    assert [len(one.facts) for one in [*first, *second]] == [1] * 4
    # Without the rate they would come half a second earlier; the first had to connect, which counts
    # against it.
    assert llm.times[2] + clock.ahead - llm.times[0] >= 59.2


async def test_repetitions_count_against_the_rate(opened: Opening, llm: LLM) -> None:
    llm.answer = lambda _: Reply(status=500)
    windows = Windows()
    async with opened(windows=windows, rate=600) as extractor:
        with pytest.raises(Unavailable):
            await extractor.extract(CAT, None)
    ((_, taken),) = [await windows.get_moving_window(key, 600, 60) for key in windows._windows]
    assert taken == 3


async def test_a_wait_for_the_rate_that_is_too_long_is_left_to_the_caller(
    opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentmem_server.extraction.budget.LONGEST_WAIT", 1.0)
    async with opened(rate=1) as extractor:
        await extractor.extract(CAT, None)
        with pytest.raises(Unavailable, match="AGENTMEM_LLM_RATE") as caught:
            await extractor.extract(CAT, None)
    assert caught.value.retry_after == pytest.approx(60, abs=5)


@pytest.mark.parametrize("count", ["1e400", "-5", '"many"', "[]", "true"])
async def test_a_count_of_tokens_that_is_none_spoils_no_answer(
    opened: Opening, llm: LLM, told: Told, count: str
) -> None:
    usage = f'"usage": {{"prompt_tokens": {count}, "completion_tokens": 7}}'
    content = json.dumps(json.dumps({"facts": []}))
    body = f'{{"choices": [{{"message": {{"content": {content}}}}}], {usage}}}'
    llm.replies = [Reply(body=body.encode())]
    async with opened() as extractor:
        assert (await extractor.extract(CAT, None)).spent == Spent(1, 0, 7)
    assert told.calls == [("answered", 0, 7)]


async def test_no_rate(opened: Opening) -> None:
    async with opened(rate=0) as extractor:
        found = await asyncio.gather(*(extractor.extract(CAT, None) for _ in range(20)))
    assert len(found) == 20


async def test_without_a_count_of_tokens_the_calls_count(opened: Opening, llm: LLM) -> None:
    llm.replies = [Reply(usage=False)]
    async with opened() as extractor:
        assert (await extractor.extract(CAT, None)).spent == Spent(1, 0, 0)
