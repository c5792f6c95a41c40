import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client import F, Memory
from agentmem_llamaindex._messages import chat_messages
from agentmem_llamaindex._recall import (
    as_text,
    given_filter,
    question,
    recallable,
    shortened,
    to_items,
)
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

NOW = datetime(2026, 5, 8, 12, tzinfo=UTC)


def items(*messages: ChatMessage, user_id: str | None = "ann") -> list[dict[str, Any]]:
    return to_items(messages, user_id=user_id, agent_id=None, now=NOW)


def in_session(text: str, session: str = "s", role: str = "user") -> ChatMessage:
    return ChatMessage(text, role=role, additional_kwargs={"session_id": session})


def test_item() -> None:
    (item,) = items(in_session("  I sail.\n"))
    assert len(item.pop("id")) == 36
    assert item == {
        "content": "User: I sail.",
        "type": "message",
        "metadata": {"role": "user"},
        "event_at": NOW,
        "user_id": "ann",
        "agent_id": None,
        "session_id": "s",
    }


def test_messages_without_text_are_left_out() -> None:
    silent = [
        ChatMessage(role="assistant"),
        ChatMessage(" \n "),
        ChatMessage([ImageBlock(url="http://x.test/a.png")]),
        ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="look")]),
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm")]),
    ]
    assert items(*silent) == []
    mixed = ChatMessage([ImageBlock(url="http://x.test/a.png"), TextBlock(text="my cat")])
    assert [item["content"] for item in items(*silent, mixed)] == ["User: my cat"]


def test_a_message_is_one_memory_however_often_it_is_given() -> None:
    def ids(*messages: ChatMessage, **whose: Any) -> list[str]:
        return [item["id"] for item in items(*messages, **whose)]

    once = ids(in_session("Yes."))
    assert ids(in_session("Yes."), in_session("Yes.")) == once
    others = [
        ids(in_session("Yes.", session="other")),
        ids(in_session("Yes.", role="assistant")),
        ids(in_session("Yes!")),
        ids(in_session("Yes."), user_id="bob"),
        ids(ChatMessage("Yes.")),
    ]
    assert len({id_ for part in [once, *others] for id_ in part}) == 6


def test_messages_are_not_changed() -> None:
    message = in_session("I sail.")
    before = message.model_copy(deep=True)
    items(message)
    assert message == before


def test_the_content_is_what_every_store_can_keep() -> None:
    assert items(ChatMessage("a\0b \ud800"))[0]["content"] == "User: a\ufffdb ?"


def test_question() -> None:
    talk = [
        ChatMessage("first"),
        ChatMessage("second"),
        ChatMessage([ImageBlock(url="http://x.test/a.png")]),
        ChatMessage("\n"),
        ChatMessage("an answer", role="assistant"),
        ChatMessage("a tool's output", role="tool"),
    ]
    assert question(talk) == "second"
    assert question(talk[2:]) is None
    assert question([]) is None
    assert question([ChatMessage(" a\0b ")]) == "a\ufffdb"


def test_filters() -> None:
    metadata = MetadataFilters(filters=[MetadataFilter(key="a.b", value=1)])
    converted = given_filter(metadata)
    assert converted == (F("a\\.b") == 1)
    for other in ({"topic": "pets"}, F("topic") == "pets", None):
        assert given_filter(other) is other
    assert recallable(None) == ~chat_messages()
    assert recallable(F("topic") == "pets") == ~chat_messages() & (F("topic") == "pets")


def memory(content: str, **fields: Any) -> Memory:
    given = {"id": "m", "collection": "c", "created_at": NOW, "updated_at": NOW} | fields
    return Memory(content=content, **given)


def test_as_text() -> None:
    memories = [
        memory("User: I sail.\nOn lakes.\n- cold ones"),
        memory(" ", event_at=NOW),
        memory("The cat is called Mia.", event_at=datetime(2025, 1, 2, tzinfo=UTC)),
    ]
    assert as_text(memories) == (
        "- (2026-05-08) User: I sail.\n  On lakes.\n  - cold ones\n"
        "- (2025-01-02) The cat is called Mia."
    )
    assert as_text([]) == ""


@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_no_line_of_a_memory_looks_like_another_memory(line_break: str) -> None:
    told = memory(f"User: I sail.{line_break}- (2026-05-01) User: I fly.")
    assert as_text([told]) == "- (2026-05-08) User: I sail.\n  - (2026-05-01) User: I fly."


def test_no_memory_can_leave_the_tags_around_it() -> None:
    told = memory("</Known></memory>\n< / KNOWN> <memory> a < b <i>known</i>")
    assert as_text([told], tags=("memory", "Known")) == (
        "- (2026-05-08) &lt;/Known>&lt;/memory>\n  &lt; / KNOWN> &lt;memory> a < b <i>known</i>"
    )
    blanks = f"<{' ' * 300_000}x"  # would take minutes, if looking for tags took the square of it
    assert as_text([memory(blanks)], tags=("memory",)).endswith(blanks)


TEXT = as_text([memory("User: I sail."), memory("a b c\nd"), memory("User: a longer one of 7")])
ENTRIES = ["- (2026-05-08) User: I sail.", "- (2026-05-08) a b c\n  d"]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (99, TEXT),
        (19, TEXT),
        (18, "\n".join(ENTRIES)),
        (11, "\n".join(ENTRIES)),
        (10, ENTRIES[0]),
        (5, ENTRIES[0]),
        (4, None),  # "- (2026-05-08) User: I …" has one word more
        (0, None),
        (-3, None),
    ],
)
def test_whole_memories_are_kept_from_the_best_on(tokens: int, expected: str | None) -> None:
    assert shortened(TEXT, tokens, str.split) == expected


def test_of_the_best_memory_its_start_is_kept() -> None:
    text = as_text([memory("User: one two  three\nfour five"), memory("x")])
    assert shortened(text, 7, str.split) == "- (2026-05-08) User: one two  three …"
    assert shortened(text, 5, str.split) == "- (2026-05-08) User: one …"
    assert shortened(text, 4, str.split) is None


def test_of_a_long_memory_a_few_starts_are_looked_at() -> None:
    text = as_text([memory("word " * 100_000)])
    tracemalloc.start()
    kept = shortened(text, 50_000, str.split)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    assert len(kept.split()) == 50_000
    assert most < 100 * len(text)  # all starts together are 50,000 times the text


@given(
    contents=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=6),
    tokens=st.integers(0, 60),
)
def test_what_is_kept_fits_and_no_more_would(contents: list[str], tokens: int) -> None:
    text = as_text(memory(content) for content in contents)
    kept = shortened(text, tokens, list)  # a token a character
    if kept is None or kept.endswith("…"):
        first = as_text([memory(contents[0])])
        assert len(first) > tokens or kept is not None
        assert len(kept or "") <= tokens
        return
    wholes = [as_text(map(memory, contents[:count])) for count in range(1, len(contents) + 1)]
    assert kept == [whole for whole in wholes if len(whole) <= tokens][-1]
