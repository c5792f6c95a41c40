"""What is not worth another try: it fails at once, and says why."""

from typing import Any

import pytest
from agentmem_client.errors import Unavailable

from server.tests.extraction.extractors import CAT, KEY, Opening, Told, failure
from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS, Reply


async def test_an_answer_that_was_cut_off_names_the_setting(
    opened: Opening, llm: LLM, told: Told
) -> None:
    llm.replies = [Reply(text='{"facts": [', finish="length")]
    async with opened() as extractor:
        error = await failure(extractor)
    assert error.details == {"reason": "cut_off"}
    assert "AGENTMEM_LLM_MAX_TOKENS" in error.message
    assert told.calls == [("cut_off", INPUT_TOKENS, OUTPUT_TOKENS)]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(refusal="I can't help with that."),
        Reply(text="", finish="content_filter"),
        Reply(status=400, error={"message": "filtered", "code": "content_filter"}),
    ],
    ids=["refusal", "finish", "status"],
)
async def test_a_refusal_is_no_failure_to_repeat(
    opened: Opening, llm: LLM, told: Told, reply: Reply
) -> None:
    llm.replies = [reply]
    async with opened() as extractor:
        error = await failure(extractor)
    assert error.details == {"reason": "refused"}
    assert told.outcomes == ["refused"]


@pytest.mark.parametrize(
    ("status", "setting"),
    [(401, "AGENTMEM_LLM_KEY"), (403, "AGENTMEM_LLM_KEY"), (404, "AGENTMEM_LLM_MODEL")],
)
async def test_a_wrong_setup_is_named(
    opened: Opening, llm: LLM, told: Told, status: int, setting: str
) -> None:
    llm.replies = [Reply(status=status, error={"message": f"no {KEY}"})]
    async with opened() as extractor:
        error = await failure(extractor)
    assert error.details == {"reason": "rejected"}
    assert setting in error.message
    assert KEY not in error.message
    assert told.outcomes == ["rejected"]


@pytest.mark.parametrize("status", [400, 402, 413, 422])
async def test_a_request_that_is_never_taken_fails_with_the_reason(
    opened: Opening, llm: LLM, status: int
) -> None:
    llm.answer = lambda _: Reply(status=status, error={"message": f"{KEY}: no! {'x' * 1_000}"})
    async with opened() as extractor:
        error = await failure(extractor)
        assert error.details == {"reason": "rejected"}
        assert ": no! xxx" in error.message
        assert KEY not in error.message
        assert len(error.message) < 400
        tried = len(llm.requests)
        await failure(extractor)
    # What was refused whatever was asked is not remembered.
    assert llm.requests[tried]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"choices": []}', b"3", b""])
async def test_what_is_no_chat_api_is_named(opened: Opening, llm: LLM, body: bytes) -> None:
    llm.replies = [Reply(body=body)]
    async with opened() as extractor:
        error = await failure(extractor)
    assert error.details == {"reason": "malformed"}
    assert "AGENTMEM_LLM_URL" in error.message


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Too many tokens.", "code": "context_length_exceeded"},
        {"message": "This model's maximum context length is 4096 tokens."},
        {"message": "max_tokens: 'max_completion_tokens' is too large"},
    ],
)
async def test_too_much_is_no_matter_of_options(
    opened: Opening, llm: LLM, error: dict[str, Any]
) -> None:
    llm.answer = lambda _: Reply(status=400, error=error)
    async with opened() as extractor:
        assert (await failure(extractor)).details == {"reason": "rejected"}
    assert len(llm.requests) <= 2


async def test_a_quota_that_is_used_up_does_not_pass(opened: Opening, llm: LLM) -> None:
    error = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
    llm.replies = [Reply(status=429, error=error)]
    async with opened() as extractor:
        with pytest.raises(Unavailable, match="quota"):
            await extractor.extract(CAT, None)
    assert len(llm.requests) == 1


async def test_an_answer_without_end_is_not_read_to_its_end(opened: Opening, llm: LLM) -> None:
    body = b'{"choices": [{"message": {"content": "%b"}}]}' % (b"x" * 1_000_000)
    llm.replies = [Reply(body=body)]
    async with opened(max_tokens=100) as extractor:
        error = await failure(extractor)
        assert (error.details["reason"], len(llm.requests)) == ("cut_off", 1)
        assert "max_tokens" in error.message
        assert (await extractor.extract(CAT, None)).facts
