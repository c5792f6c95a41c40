import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from agentmem_client.models import Message
from agentmem_server.extraction.answers import MAX_CONTENT, read_answer
from agentmem_server.times import to_microseconds
from hypothesis import given
from hypothesis import strategies as st

NINE = datetime(2026, 3, 2, 9, tzinfo=timezone(timedelta(hours=2)))
MESSAGES = [
    Message(content="Hello!"),
    Message(content="I moved yesterday.", at=NINE),
    Message(content="Bye!"),
]
FACT: dict[str, Any] = {
    "content": "Ann moved.",
    "type": "episodic",
    "event_time": None,
    "importance": 0.5,
    "messages": [1],
}
ANSWER = json.dumps({"facts": [FACT]})


def read_one(**changes: Any) -> Any:
    reading = read_answer(json.dumps({"facts": [FACT | changes]}), MESSAGES)
    assert reading.problems == []
    (fact,) = reading.facts
    return fact


def problems_of(**changes: Any) -> list[str]:
    reading = read_answer(json.dumps({"facts": [FACT | changes]}), MESSAGES)
    assert reading.is_json
    assert reading.facts == []
    return [problem.text for problem in reading.problems]


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"  {ANSWER}\n",
        f"```json\n{ANSWER}\n```",
        f"Here are the facts:\n\n```\n{ANSWER}\n```\nShall I go on?",
        f"Sure: {ANSWER}",
        f"{ANSWER} That is all {{of it}}.",
        f'<think>Maybe {{"facts": []}}? No.</think>{ANSWER}',
        f'Maybe {{"facts": []}}? No.</think>\n{ANSWER}',
        f"<thinking>{{</thinking>\n\n{ANSWER}",
        ANSWER.replace("}]}", ",},],}"),
        json.dumps([FACT]),
        json.dumps({"facts": [FACT], "note": "one"}),
        f"{ANSWER}\n\nOnce more: {ANSWER}",
        f"[1] says: {ANSWER}",
    ],
    ids=[
        "plain",
        "blanks",
        "fence",
        "fence and prose",
        "prose before",
        "prose after",
        "thoughts",
        "thoughts without a beginning",
        "thoughts with a brace",
        "commas",
        "a bare list",
        "more keys",
        "twice the same",
        "brackets in prose",
    ],
)
def test_what_is_unambiguous_is_read(text: str) -> None:
    reading = read_answer(text, MESSAGES)
    assert reading.problems == []
    assert [(fact.content, fact.messages) for fact in reading.facts] == [("Ann moved.", (1,))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't do that.",
        ANSWER[:-5],
        '{"facts": null}',
        '{"fact": []}',
        "{}",
        "null",
        "3",
        '{"facts": "none"}',
        '["Ann moved."]',
        "[" * 100_000,
        "{" * 100_000,
        f'{{"facts": []}} or rather {ANSWER}',
    ],
    ids=[
        "nothing",
        "words",
        "cut off",
        "null",
        "another key",
        "an empty object",
        "null alone",
        "a number",
        "text",
        "a list of texts",
        "deep lists",
        "deep objects",
        "two answers",
    ],
)
def test_what_is_not_is_said(text: str) -> None:
    reading = read_answer(text, MESSAGES)
    assert not reading.is_json
    assert reading.facts == []
    assert len(reading.problems) == 1


@pytest.mark.parametrize("text", ['{"facts": []}', "[]", "```\n[]\n```", '{"facts": [],}'])
def test_no_facts_is_an_answer(text: str) -> None:
    reading = read_answer(text, MESSAGES)
    assert (reading.facts, reading.problems, reading.is_json) == ([], [], True)


def test_commas_in_a_text_stay() -> None:
    text = '{"facts": [{"content": "a,] \\",} b", "type": "semantic", "messages": [0],},]}'
    (fact,) = read_answer(text, MESSAGES).facts
    assert fact.content == 'a,] ",} b'


def test_facts_that_are_good_are_kept_beside_bad_ones() -> None:
    facts = [FACT | {"content": "a"}, FACT | {"type": "x"}, 3, FACT | {"content": "b"}]
    reading = read_answer(json.dumps({"facts": facts}), MESSAGES)
    assert [fact.content for fact in reading.facts] == ["a", "b"]
    assert [problem.text.partition(":")[0] for problem in reading.problems] == [
        "facts[1]",
        "facts[2]",
    ]


@pytest.mark.parametrize("content", ["", "  ", None, 3, "x" * (MAX_CONTENT + 1), "a\0b", "\ud800"])
def test_a_content_must_be_a_sentence(content: Any) -> None:
    (problem,) = problems_of(content=content)
    assert problem.startswith('facts[0]: "content" ')
    assert len(problem) < 200


def test_a_content_is_stripped() -> None:
    assert read_one(content=" Ann moved.\n").content == "Ann moved."


@pytest.mark.parametrize("type", ["fact", "", None, 3, ["semantic"], "x" * 1_000])
def test_a_type_must_be_one_of_ours(type: Any) -> None:
    (problem,) = problems_of(type=type)
    assert "semantic, episodic, procedural" in problem
    assert len(problem) < 250


def test_a_types_case_does_not_matter() -> None:
    assert read_one(type=" Procedural").type == "procedural"


@pytest.mark.parametrize(
    "places", [[], None, [3], [-1], ["x"], [True], [0.5], {}, [[0]], [1e400], [10**400]]
)
def test_a_fact_that_no_message_says_gets_none_invented(places: Any) -> None:
    (problem,) = problems_of(messages=places)
    assert "from 0 to 2" in problem
    assert len(problem) < 250


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ([2, 0, 2], (0, 2)),
        ([0, 7, -1], (0,)),
        (1, (1,)),
        ("1", (1,)),
        (["0", 2.0], (0, 2)),
        ([0, None], (0,)),
    ],
)
def test_places_ascend_and_those_that_do_not_exist_are_dropped(
    places: Any, kept: tuple[int, ...]
) -> None:
    found = read_one(messages=places).messages
    assert found == kept
    assert all(type(place) is int for place in found)


@pytest.mark.parametrize(
    ("raw", "importance"),
    [
        (0.25, 0.25),
        (1, 1.0),
        (-3, 0.0),
        (8, 1.0),
        ("0.7", 0.7),
        (None, None),
        ("high", None),
        (True, None),
        ([1], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_importance_is_held_to_its_range(raw: Any, importance: float | None) -> None:
    assert read_one(importance=raw).importance == importance


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        ("2026-03-01T18:30:00Z", datetime(2026, 3, 1, 18, 30, tzinfo=UTC)),
        ("2026-03-01T18:30:00+02:00", datetime(2026, 3, 1, 16, 30, tzinfo=UTC)),
        ("2026-03-01T18:30", datetime(2026, 3, 1, 16, 30, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 2, 28, 22, tzinfo=UTC)),
        ("2026-03", datetime(2026, 2, 28, 22, tzinfo=UTC)),
        (" 2025 ", datetime(2024, 12, 31, 22, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_has_that_of_the_message(raw: str, moment: datetime) -> None:
    assert read_one(event_time=raw).event_at == to_microseconds(moment)


def test_a_time_without_any_offset_is_utc() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert read_one(event_time="2026-03-01", messages=[0]).event_at == to_microseconds(moment)


@pytest.mark.parametrize(
    "raw", [None, "", "yesterday", "2026-13-01", "2026-00", 3, "0001-01-01", "10000-01-01", {}]
)
def test_a_time_that_cannot_be_read_is_none(raw: Any) -> None:
    assert read_one(event_time=raw).event_at is None


@pytest.mark.parametrize(
    ("raw", "known"),
    [(0, 0), (2, 2), ("1", 1), (3, None), (-1, None), (None, None), (True, None), ([0], None)],
)
def test_a_known_memory_that_does_not_exist_is_none(raw: Any, known: int | None) -> None:
    text = json.dumps({"facts": [FACT | {"known": raw}]})
    (fact,) = read_answer(text, MESSAGES, known=[0, 1, 2]).facts
    assert fact.known == known


def test_what_is_optional_may_be_missing() -> None:
    text = '{"facts": [{"content": "a", "type": "semantic", "messages": [0]}]}'
    (fact,) = read_answer(text, MESSAGES).facts
    assert (fact.event_at, fact.importance) == (None, None)


def test_quotes_that_are_never_closed_hold_nobody_up() -> None:
    text = '{"facts": "' + '\\"' * 50_000  # minutes, were each looked at as a start
    reading = read_answer(text, MESSAGES)
    assert not reading.is_json
    prose = rf'C:\"new\" is 5" long: {ANSWER.replace("}]}", ",},],}")}'
    assert read_answer(prose, MESSAGES).facts == read_answer(ANSWER, MESSAGES).facts


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["facts", *FACT, "known"]), inner, max_size=6)
    ),
    max_leaves=20,
)
_PIECES = ["{", "}", "[", "]", ",", '"', "\\", ":", "facts", ANSWER, "</think>", "```", "1", " "]


@given(_JSON.map(json.dumps) | st.lists(st.sampled_from(_PIECES), max_size=30).map("".join))
def test_whatever_it_says_there_are_facts_or_problems(text: str) -> None:
    reading = read_answer(text, MESSAGES, known=[0])
    assert reading.is_json or (reading.problems and not reading.facts)
    for fact in reading.facts:
        assert fact.content.strip()
        assert set(fact.messages) <= {0, 1, 2}
        assert fact.messages
        assert fact.importance is None or 0 <= fact.importance <= 1
        assert fact.known in (None, 0)
    assert all(len(problem.text) < 300 for problem in reading.problems)
