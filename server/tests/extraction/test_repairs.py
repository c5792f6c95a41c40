"""Answers that are wrong in part: what is asked for again, and what stays."""

import json
from typing import Any

import pytest
from agentmem_client.errors import Unavailable

from server.tests.extraction.extractors import (
    CAT,
    GOOD,
    ONE_CALL,
    Opening,
    Told,
    failure,
    repaired,
    said,
)
from tests.llm_server import INPUT_TOKENS, LLM, OUTPUT_TOKENS, Reply


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{json.dumps({'facts': [GOOD]})}\n```",
        f"<think>Well.</think>{json.dumps({'facts': [GOOD]})}",
        [{"type": "thinking", "thinking": []}, {"type": "text", "text": f"[{json.dumps(GOOD)}]"}],
    ],
    ids=["fence", "thoughts", "parts"],
)
async def test_answers_of_several_forms_need_no_repair(
    opened: Opening, llm: LLM, text: Any
) -> None:
    llm.replies = [Reply(text=text)]
    async with opened() as extractor:
        found = await extractor.extract(CAT, None)
    assert [fact.content for fact in found.facts] == ["Ann has a cat."]
    assert found.spent.calls == 1


@pytest.mark.parametrize("text", ["Here you are!", '{"facts": [', "", None])
async def test_an_answer_without_json_is_asked_for_again(
    opened: Opening, llm: LLM, told: Told, text: str | None
) -> None:
    empty = b'{"choices": [{"message": {"content": null}}]}'
    llm.replies = [Reply(body=empty) if text is None else Reply(text=text)]
    async with opened() as extractor:
        found = await extractor.extract(CAT, None)
    assert [fact.content for fact in found.facts] == ["Ann has a cat."]
    assert found.spent.calls == 2
    assert told.outcomes == ["malformed", "answered"]
    again = llm.requests[1]["messages"]
    assert again[:2] == llm.requests[0]["messages"]
    assert all(message["content"] for message in again)
    assert 'no JSON object with a list "facts"' in again[-1]["content"]


async def test_only_what_is_wrong_is_asked_for_again(opened: Opening, llm: LLM) -> None:
    moved = GOOD | {"content": "Ann moved.", "messages": []}
    llm.replies = [Reply(facts=[moved, GOOD]), Reply(facts=[moved | {"messages": [1]}])]
    async with opened() as extractor:
        first, found = await repaired(extractor, "a", "b")
    assert [fact.content for fact in first.facts] == ["Ann has a cat."]
    assert [problem.content for problem in first.problems] == ["Ann moved."]
    assert [(fact.content, fact.messages) for fact in found.facts] == [
        ("Ann has a cat.", (0,)),
        ("Ann moved.", (1,)),
    ]
    assert (first.spent, found.spent) == (ONE_CALL, ONE_CALL)
    assert (list(found.problems), found.repair) == ([], None)
    wish = llm.requests[1]["messages"][-1]["content"]
    assert "facts[0]" in wish
    assert "facts[1]" not in wish
    assert "All others are kept" in wish


async def test_a_fact_that_no_message_says_can_be_taken_back(opened: Opening, llm: LLM) -> None:
    llm.replies = [Reply(facts=[GOOD, GOOD | {"messages": [9]}]), Reply(facts=[])]
    async with opened() as extractor:
        _, found = await repaired(extractor, "a")
    assert [fact.messages for fact in found.facts] == [(0,)]
    assert found.problems == []


@pytest.mark.parametrize(
    ("again", "problem"),
    [
        (Reply(facts=[GOOD | {"messages": [8]}, GOOD | {"content": 5}]), "facts[0]"),
        (Reply(text="sorry"), "facts[1]"),
    ],
)
async def test_what_was_good_stays_where_the_rest_is_wrong_again(
    opened: Opening, llm: LLM, again: Reply, problem: str
) -> None:
    llm.replies = [Reply(facts=[GOOD, GOOD | {"messages": [9]}]), again]
    async with opened() as extractor:
        _, found = await repaired(extractor, "a")
    assert [fact.content for fact in found.facts] == ["Ann has a cat."]
    assert found.problems[0].text.startswith(problem)
    assert found.problems[0].content == "Ann has a cat."
    assert [one.content for one in found.problems[1:]] == [None] * (len(found.problems) - 1)


async def test_a_repair_that_fails_can_be_tried_again(opened: Opening, llm: LLM) -> None:
    llm.replies = [Reply(facts=[GOOD, GOOD | {"messages": []}]), *[Reply(status=500)] * 3]
    async with opened() as extractor:
        found = await extractor.extract(said("a", "b"), None)
        assert found.repair is not None
        with pytest.raises(Unavailable):
            await found.repair()
        llm.replies = [Reply(facts=[GOOD | {"messages": [1]}])]
        assert [fact.messages for fact in (await found.repair()).facts] == [(0,), (1,)]
        assert extractor.pending == 0
    assert len({json.dumps(request["messages"]) for request in llm.requests[1:]}) == 1


async def test_an_answer_of_which_nothing_is_usable_may_get_better_in_part(
    opened: Opening, llm: LLM
) -> None:
    llm.replies = [Reply(text="no"), Reply(facts=[GOOD, GOOD | {"type": "x"}])]
    async with opened() as extractor:
        found = await extractor.extract(CAT, None)
    assert (len(found.facts), len(found.problems), found.repair) == (1, 1, None)
    assert found.spent == ONE_CALL + ONE_CALL


async def test_what_is_wrong_again_fails(opened: Opening, llm: LLM, told: Told) -> None:
    secret = "x" * 500
    llm.replies = [Reply(facts=[GOOD | {"type": secret}])] * 2
    async with opened() as extractor:
        error = await failure(extractor)
    assert error.details == {"reason": "malformed"}
    assert secret not in error.message
    assert told.calls == [("malformed", INPUT_TOKENS, OUTPUT_TOKENS)] * 2


async def test_half_of_a_character_can_be_asked_about_again(opened: Opening, llm: LLM) -> None:
    llm.replies = [Reply(text="A dog: \ud83d")]
    async with opened() as extractor:
        found = await extractor.extract(CAT, None)
    assert [fact.content for fact in found.facts] == ["Ann has a cat."]
    assert llm.requests[1]["messages"][2] == {"role": "assistant", "content": "A dog: ?"}
