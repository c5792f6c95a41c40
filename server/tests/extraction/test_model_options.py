"""Options that a model does not take: they are left out from then on."""

import asyncio
from typing import Any

import pytest
from agentmem_server.extraction import Spent

from server.tests.extraction.extractors import CAT, GOOD, ONE_CALL, Opening, Told
from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS, Reply


@pytest.mark.parametrize(
    ("refused", "fields"),
    [
        ({"json_schema"}, {"response_format": {"type": "json_object"}, "temperature": 0}),
        ({"response_format"}, {"temperature": 0}),
        ({"json_schema", "json_object"}, {"temperature": 0}),
        ({"temperature"}, {}),
        ({"max_tokens"}, {"max_completion_tokens": 4_096, "temperature": 0}),
        (
            {"json_schema", "temperature", "max_tokens"},
            {"response_format": {"type": "json_object"}, "max_completion_tokens": 4_096},
        ),
    ],
    ids=["schema", "format", "both formats", "temperature", "tokens", "all"],
)
async def test_what_a_model_does_not_take_is_left_out_from_then_on(
    opened: Opening, llm: LLM, refused: set[str], fields: dict[str, Any]
) -> None:
    llm.refuses = refused
    async with opened() as extractor:
        first = await extractor.extract(CAT, None)
        tried = len(llm.requests)
        second = await extractor.extract(CAT, None)
    assert len(first.facts) == len(second.facts) == 1
    assert first.spent == Spent(tried, INPUT_TOKENS, OUTPUT_TOKENS)
    assert second.spent == ONE_CALL
    last = {name: value for name, value in llm.requests[-1].items() if name != "messages"}
    tokens = {} if "max_tokens" in refused else {"max_tokens": 4_096}
    schema = {name: value for name, value in last.items() if name == "response_format"}
    expected = {"model": "m", **tokens, **fields}
    if "response_format" not in fields and not refused & {"json_schema", "response_format"}:
        expected |= schema
        assert schema["response_format"]["type"] == "json_schema"
    assert last == expected


@pytest.mark.parametrize(
    "message",
    [
        "System role not supported",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    ],
)
async def test_a_model_without_a_system_role_is_told_all_by_the_user(
    opened: Opening, llm: LLM, message: str
) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        if request["messages"][0]["role"] == "system":
            return Reply(status=400, error={"message": message})
        return Reply(facts=[GOOD])

    llm.answer = answer
    async with opened() as extractor:
        await extractor.extract(CAT, None)
        assert (await extractor.extract(CAT, None)).spent == ONE_CALL
    (said_to_it,) = llm.requests[-1]["messages"]
    assert said_to_it["content"].startswith("You extract facts")
    assert "Ann has a cat." in said_to_it["content"]
    assert llm.requests[-1]["response_format"]["type"] == "json_schema"


async def test_ten_conversations_learn_it_side_by_side(opened: Opening, llm: LLM) -> None:
    llm.refuses = {"json_schema", "temperature", "max_tokens"}
    async with opened() as extractor:
        found = await asyncio.gather(*(extractor.extract(CAT, None) for _ in range(10)))
        assert [len(one.facts) for one in found] == [1] * 10
        assert (await extractor.extract(CAT, None)).spent == ONE_CALL


async def test_who_waits_for_a_turn_asks_as_others_have_learnt(
    opened: Opening, llm: LLM, told: Told
) -> None:
    llm.refuses = {"json_schema"}
    async with opened(concurrency=1) as extractor:
        await asyncio.gather(*(extractor.extract(CAT, None) for _ in range(5)))
    assert told.outcomes == ["rejected", *["answered"] * 5]


async def test_json_that_a_model_failed_to_write_is_not_held_against_it(
    opened: Opening, llm: LLM
) -> None:
    error = {"message": "Failed to generate JSON.", "code": "json_validate_failed"}
    llm.replies = [Reply(status=400, error=error)]
    async with opened() as extractor:
        assert (await extractor.extract(CAT, None)).spent.calls == 2
        await extractor.extract(CAT, None)
    formats = [request["response_format"]["type"] for request in llm.requests]
    assert formats == ["json_schema", "json_object", "json_schema"]
