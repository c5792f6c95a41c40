"""What of a conversation's end a prompt gets, and how much of it is read for that."""

from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client import Memory, Page
from agentmem_langchain._messages import to_memory
from agentmem_langchain._window import Newest, ReadBack, TokenCounter, Window
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

CALL = {"name": "weather", "args": {}, "id": "c1"}
TALK: list[BaseMessage] = [
    HumanMessage("one"),
    AIMessage("1"),
    HumanMessage("two"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("rain", tool_call_id="c1"),
    AIMessage("2"),
    HumanMessage("three"),
    AIMessage("3"),
]


def turns(count: int) -> Window:
    return Window(count, None, len)


def tokens(count: int, counter: TokenCounter = len) -> Window:
    return Window(None, count, counter)


@pytest.mark.parametrize(("count", "start"), [(1, 6), (2, 2), (3, 0), (4, 0)])
def test_the_last_turns_with_all_that_followed_them(count: int, start: int) -> None:
    assert turns(count)(TALK, True) == TALK[start:]


def test_what_stands_before_the_first_turn_is_part_of_the_whole() -> None:
    talk = [SystemMessage("Be kind."), AIMessage("Welcome!"), *TALK]
    assert turns(4)(talk, True) == talk
    assert turns(3)(talk, True) == TALK


@pytest.mark.parametrize(
    ("budget", "start"),
    [(8, 0), (7, 2), (6, 2), (5, 6), (4, 6), (3, 6), (2, 6)],
)
def test_whole_messages_up_to_the_tokens_from_a_human_one_on(budget: int, start: int) -> None:
    assert tokens(budget)(TALK, True) == TALK[start:]


def test_where_no_human_message_fits_a_tool_never_answers_a_call_that_is_left_out() -> None:
    talk = TALK[:6]
    assert tokens(3)(talk, True) == talk[3:]
    assert tokens(2)(talk, True) == talk[5:]
    old = [HumanMessage("?"), AIMessage("…"), FunctionMessage(content="rain", name="weather")]
    assert tokens(2)(old, True) == old[1:]
    assert tokens(1)(old, True) == []


def test_nothing_may_fit() -> None:
    assert tokens(1, lambda messages: 2 * len(messages))(TALK, True) == []


def test_a_counter_may_count_one_message_or_be_a_model() -> None:
    def words(message: BaseMessage) -> int:
        return len(str(message.content).split())

    class Counting(FakeListChatModel):
        def get_num_tokens_from_messages(
            self, messages: list[BaseMessage], tools: Any = None
        ) -> int:
            return 10 * len(messages)

    talk = [HumanMessage("a b c"), AIMessage("d e"), HumanMessage("f g h"), AIMessage("i")]
    assert tokens(5, words)(talk, True) == talk[2:]
    assert tokens(25, Counting(responses=[]))(talk, True) == talk[2:]
    assert tokens(1_000, "approximate")(talk, True) == talk
    assert tokens(12, "approximate")(talk, True) == talk[2:]


def test_of_turns_and_tokens_the_shorter_one_counts() -> None:
    assert Window(2, 100, len)(TALK, True) == TALK[2:]
    assert Window(2, 3, len)(TALK, True) == TALK[6:]
    assert Window(1, 100, len)(TALK, True) == TALK[6:]


def test_more_is_asked_for_until_it_can_be_said() -> None:
    assert turns(2)(TALK[3:], False) is None
    assert turns(2)(TALK[2:], False) == TALK[2:]
    assert tokens(4)(TALK[4:], False) is None
    assert tokens(3)(TALK[4:], False) == TALK[6:]
    assert Newest(3)(TALK[6:], False) is None
    assert Newest(3)(TALK[6:], True) == TALK[6:]
    assert Newest(3)(TALK, False) == TALK[5:]


def test_a_count_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Newest(0)


def page(messages: list[BaseMessage], start: int, limit: int) -> Page:
    """A page of a listing that begins with the newest message."""
    newest_first = messages[::-1]
    now = datetime.now(UTC)
    return Page(
        memories=[
            Memory(id=str(at), collection="c", created_at=now, updated_at=now, **to_memory(one))
            for at, one in enumerate(newest_first[start : start + limit])
        ],
        next_cursor=str(start + limit) if start + limit < len(messages) else None,
    )


def read(messages: list[BaseMessage], cut: Newest | Window) -> tuple[list[BaseMessage], list[int]]:
    """What is read of a conversation, and how many messages each request asked for."""
    back, limits = ReadBack(cut), []
    while (request := back.request) is not None:
        limits.append(request["limit"])
        back.answered(page(messages, int(request.get("cursor") or 0), request["limit"]))
    return back.messages, limits


def test_a_plain_conversation_takes_one_request_of_just_its_size() -> None:
    talk: list[BaseMessage] = [HumanMessage("?"), AIMessage("!")] * 500
    assert read(talk, turns(3)) == (talk[-6:], [6])
    assert read(talk, Newest(5)) == (talk[-5:], [5])
    assert read(talk, tokens(10)) == (talk[-10:], [100])
    assert read(talk, Window(3, 10_000, len)) == (talk[-6:], [6])


def test_pages_grow_where_more_is_needed() -> None:
    call, answer = AIMessage("", tool_calls=[CALL]), ToolMessage("rain", tool_call_id="c1")
    talk: list[BaseMessage] = [HumanMessage("?"), *[call, answer] * 20, AIMessage("!")]
    assert read([*TALK, *talk], turns(1)) == (talk, [2, 4, 8, 16, 32])
    long: list[BaseMessage] = [HumanMessage("?"), AIMessage("!")] * 2_000
    assert read(long, tokens(3_000)) == (long[-3_000:], [100, 200, 400, 800, 1_000, 1_000])
    assert read(long, turns(600)) == (long[-1_200:], [1_000, 1_000])


KINDS = st.sampled_from(TALK)


@given(
    talk=st.lists(KINDS, max_size=60),
    max_turns=st.none() | st.integers(1, 8),
    max_tokens=st.none() | st.integers(1, 40),
)
def test_reading_back_gives_what_reading_all_would(
    talk: list[BaseMessage], max_turns: int | None, max_tokens: int | None
) -> None:
    window = Window(max_turns, max_tokens, len)
    messages, _ = read(talk, window)
    assert messages == window(talk, True)
    assert messages == talk[len(talk) - len(messages) :]
    assert max_tokens is None or len(messages) <= max_tokens
    assert max_turns is None or sum(one.type == "human" for one in messages) <= max_turns
    if 0 < len(messages) < len(talk):
        assert not isinstance(messages[0], ToolMessage)
