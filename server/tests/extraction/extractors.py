"""What the tests of the extractor ask of it, and what they hold its answers to."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest
from agentmem_client.errors import ExtractionFailed
from agentmem_client.models import Message
from agentmem_server.extraction import Bounds, Found, Spent
from agentmem_server.extraction.extractor import LLMExtractor
from agentmem_server.telemetry.watch import Watch

from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS

ONE_CALL = Spent(1, INPUT_TOKENS, OUTPUT_TOKENS)
KEY = "sk-the-key-of-these-tests"
BOUNDS = Bounds(timeout=5.0)
GOOD = {
    "content": "Ann has a cat.",
    "type": "semantic",
    "event_time": None,
    "importance": 0.5,
    "messages": [0],
}


class Told:
    """What was told of the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.watch = Watch(llm=self._llm)

    def _llm(self, outcome: str, seconds: float, input_tokens: int, output_tokens: int) -> None:
        assert seconds > 0
        self.calls.append((outcome, input_tokens, output_tokens))

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _, _ in self.calls]


Opening: TypeAlias = Callable[..., AbstractAsyncContextManager[LLMExtractor]]


def said(*contents: str) -> list[Message]:
    return [Message(content=content) for content in contents]


CAT = said("FACT: Ann has a cat.")


async def one_request(llm: LLM) -> None:
    for _ in range(500):
        if llm.requests:
            return
        await asyncio.sleep(0.01)
    pytest.fail("no request came")


async def failure(extractor: LLMExtractor, messages: Sequence[Message] = CAT) -> ExtractionFailed:
    with pytest.raises(ExtractionFailed) as caught:
        await extractor.extract(messages, None)
    return caught.value


async def repaired(extractor: LLMExtractor, *contents: str) -> tuple[Found, Found]:
    """What an answer has that can be used in part, and what it becomes."""
    found = await extractor.extract(said(*contents), None)
    assert found.repair is not None
    return found, await found.repair()
