"""What may pass: how often it is tried again, and when."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from agentmem_client.errors import APIError, Unavailable
from agentmem_server.engine.repeating import may_pass
from agentmem_server.extraction import Spent

from server.tests.extraction.extractors import CAT, Opening, Told
from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS, Reply


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(status=429, headers={"Retry-After-Ms": "1"}), "rate_limited"),
        (Reply(status=500), "unavailable"),
        (Reply(status=503, headers={"Retry-After": "0"}), "unavailable"),
        (Reply(status=408), "unavailable"),
        (Reply(latency=1.0), "timeout"),
        (Reply(slow=0.01), "timeout"),
        (Reply(drops=True), "unavailable"),
    ],
    ids=["429", "500", "503", "408", "timeout", "slow body", "drop"],
)
async def test_what_passes_is_tried_twice_more(
    opened: Opening, llm: LLM, told: Told, reply: Reply, outcome: str
) -> None:
    llm.replies = [reply, reply]
    async with opened(timeout=0.3 if outcome == "timeout" else 5.0) as extractor:
        found = await extractor.extract(CAT, None)
        assert len(found.facts) == 1
        assert found.spent == Spent(3, INPUT_TOKENS, OUTPUT_TOKENS)
        assert told.outcomes == [outcome, outcome, "answered"]

        told.calls.clear()
        llm.replies = [reply] * 3
        with pytest.raises(Unavailable):
            await extractor.extract(CAT, None)
    assert told.outcomes == [outcome] * 3


@pytest.mark.parametrize(
    ("reply", "is_tried_again"),
    [
        (Reply(status=429, headers={"Retry-After": "100"}), True),
        (Reply(status=429, error={"message": "no credit", "code": "insufficient_quota"}), True),
        (Reply(status=500), True),
        (Reply(drops=True), True),
        (Reply(latency=1.0), True),
        (Reply(text="no facts"), True),
        (Reply(body=b"<html>"), True),
        (Reply(refusal="I can't help with that."), False),
        (Reply(text="", finish="content_filter"), False),
        (Reply(text='{"facts": [', finish="length"), False),
        (Reply(status=400, error={"message": "no", "code": "context_length_exceeded"}), False),
        (Reply(status=400), False),
        (Reply(status=401), False),
        (Reply(status=403), False),
        (Reply(status=404), False),
        (Reply(status=422), False),
    ],
)
async def test_which_failures_a_job_tries_again(
    opened: Opening, llm: LLM, reply: Reply, is_tried_again: bool
) -> None:
    llm.answer = lambda _: reply
    async with opened(timeout=0.1 if reply.latency else 5.0) as extractor:
        with pytest.raises(APIError) as caught:
            await extractor.extract(CAT, None)
    assert may_pass(caught.value) is is_tried_again


async def test_nobody_there(opened: Opening, unused_tcp_port: int, told: Told) -> None:
    url = f"http://someone:password@127.0.0.1:{unused_tcp_port}/v1"
    async with opened(url=url) as extractor:
        with pytest.raises(Unavailable, match="can't be reached") as caught:
            await extractor.extract(CAT, None)
    assert "password" not in caught.value.message
    assert told.outcomes == ["unavailable"] * 3


async def test_the_llm_says_when_to_come_back(opened: Opening, llm: LLM) -> None:
    llm.replies = [Reply(status=429, headers={"Retry-After": "0.3"})]
    async with opened() as extractor:
        await extractor.extract(CAT, None)
    first, second = llm.times
    assert second - first >= 0.3


@pytest.mark.parametrize("is_date", [False, True])
async def test_a_long_wait_is_left_to_the_caller(opened: Opening, llm: LLM, is_date: bool) -> None:
    until = datetime.now(UTC) + timedelta(seconds=100)
    header = format_datetime(until, usegmt=True) if is_date else "100"
    llm.replies = [Reply(status=429, headers={"Retry-After": header})]
    async with opened() as extractor:
        with pytest.raises(Unavailable) as caught:
            await extractor.extract(CAT, None)
    assert caught.value.retry_after == pytest.approx(100, abs=5)
    assert len(llm.requests) == 1
