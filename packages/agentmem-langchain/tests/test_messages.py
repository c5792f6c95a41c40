"""A message as a memory, and back."""

import json
import math
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from agentmem_client import AgentMemError, Memory, MemoryInput
from agentmem_langchain import AgentMemChatMessageHistory, MessageError
from agentmem_langchain._messages import from_memory, readable, to_memory
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

CALL = {"name": "weather", "args": {"city": "Oslo", "days": [1, {"unit": None}]}, "id": "c1"}

KINDS: list[BaseMessage] = [
    HumanMessage("Hello"),
    HumanMessage("Hello", id="m1", name="ann", additional_kwargs={"a": [1, {"b": None}]}),
    HumanMessage("", extra_field={"of": "the caller"}),
    HumanMessage([]),
    HumanMessage(["plain", {"type": "text", "text": "block"}]),
    HumanMessage(
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]
    ),
    AIMessage("Hello", response_metadata={"model": "m", "logprobs": {"content": [-0.5]}}),
    AIMessage(
        "Let me look.",
        tool_calls=[CALL, {**CALL, "id": "c2"}],
        usage_metadata={
            "input_tokens": 1,
            "output_tokens": 2,
            "total_tokens": 3,
            "input_token_details": {"cache_read": 1},
        },
    ),
    AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{bad", "id": "c", "error": "e"}]),
    AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    AIMessage(
        content_blocks=[
            {"type": "reasoning", "reasoning": "It is a cat."},
            {"type": "text", "text": "A cat."},
            {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        ]
    ),
    AIMessage(
        [
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
        ]
    ),
    ToolMessage("-3 °C", tool_call_id="c1", name="weather", status="error"),
    ToolMessage([{"type": "text", "text": "x"}], tool_call_id="c1", artifact={"rows": [[1, 2]]}),
    SystemMessage("You are kind."),
    ChatMessage(content="No.", role="critic"),
    ChatMessage(content="No.", role=""),
    FunctionMessage(content="42", name="answer"),
    RemoveMessage(id="m1"),
    HumanMessageChunk(content="Hel"),
    AIMessageChunk(
        content="Hel",
        tool_call_chunks=[{"name": "f", "args": '{"a": 1}', "id": "1", "index": 0}],
        chunk_position="last",
    ),
    ToolMessageChunk(content="x", tool_call_id="c1"),
    SystemMessageChunk(content="x"),
    ChatMessageChunk(content="x", role="critic"),
    FunctionMessageChunk(content="x", name="f"),
    ToolMessage("binary \0 output, half a pair \ud83d, and é 漢 🙂", tool_call_id="c1"),
    AIMessage("deep", additional_kwargs={"tree": json.loads('{"a":' * 60 + "1" + "}" * 60)}),
    AIMessage("long", additional_kwargs={"number": 10**400}),
]


def travelled(message: BaseMessage) -> Memory:
    """The message's memory as a server has it: checked, through JSON, and completed."""
    checked = MemoryInput.model_validate(to_memory(message))
    fields = json.loads(checked.model_dump_json(exclude_unset=True).encode())
    now = datetime.now(UTC)
    return Memory(id="1", collection="default", created_at=now, updated_at=now, **fields)


@pytest.mark.parametrize("message", KINDS, ids=lambda message: type(message).__name__)
def test_every_kind_comes_back_as_it_was(message: BaseMessage) -> None:
    back = from_memory(travelled(message))
    assert type(back) is type(message)
    assert back == message
    assert back.model_dump() == message.model_dump()


any_text = st.text(st.characters(exclude_categories=()), max_size=20)  # NUL and surrogates too
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
calls = st.builds(
    lambda name, args, id_: {"name": name, "args": args, "id": id_, "type": "tool_call"},
    any_text,
    st.dictionaries(any_text, any_json, max_size=3),
    st.none() | any_text,
)


@given(
    text=any_text,
    name=st.none() | any_text,
    tool_calls=st.lists(calls, max_size=2),
    extra=st.dictionaries(any_text, any_json, max_size=3),
)
def test_any_text_and_json_comes_back_as_it_was(
    text: str, name: str | None, tool_calls: list[Any], extra: dict[str, Any]
) -> None:
    message = AIMessage(text, name=name, tool_calls=tool_calls, additional_kwargs=extra)
    assert from_memory(travelled(message)) == message


def test_a_log_probability_that_is_no_number_comes_back() -> None:
    message = AIMessage("x", response_metadata={"logprobs": [float("-inf"), float("nan")]})
    lowest, none = from_memory(travelled(message)).response_metadata["logprobs"]
    assert lowest == float("-inf")
    assert math.isnan(none)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (HumanMessage("My name is Ann."), "Human: My name is Ann."),
        (HumanMessage("Hello", name="ann"), "Human (ann): Hello"),
        (HumanMessage(""), "Human:"),
        (AIMessage("Hello, Ann!"), "AI: Hello, Ann!"),
        (AIMessageChunk(content="Hello, Ann!"), "AI: Hello, Ann!"),
        (SystemMessage("Be kind."), "System: Be kind."),
        (ChatMessage(content="No.", role="critic"), "critic: No."),
        (FunctionMessage(content="42", name="answer"), "Function (answer): 42"),
        (ToolMessage("-3 °C", tool_call_id="c1", name="weather"), "Tool (weather): -3 °C"),
        (
            AIMessage("Let me look.", tool_calls=[{"name": "f", "args": {"ü": 1}, "id": "c"}]),
            'AI: Let me look. [calls f {"ü": 1}]',
        ),
        (
            HumanMessage(
                [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": ["odd"]},
                ]
            ),
            "Human: What is this? [image]",
        ),
    ],
)
def test_the_content_reads_like_a_conversation(message: BaseMessage, text: str) -> None:
    assert readable(message) == text
    assert to_memory(message)["content"] == text


def test_the_role_stands_beside_the_message_for_filters() -> None:
    memory = to_memory(AIMessageChunk(content="Hello"))
    assert memory["type"] == "message"
    assert memory["metadata"] == {"role": "ai", "format": "langchain"}


class OwnMessage(BaseMessage):
    type: Literal["own"] = "own"


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (ToolMessage("x", tool_call_id="c", artifact=object()), "ToolMessage.artifact is a object"),
        (HumanMessage("x", additional_kwargs={"raw": [b"\0"]}), r"kwargs\.raw\[0\] is a bytes"),
        (HumanMessage("x", additional_kwargs={"at": datetime.now(UTC)}), "at is a datetime"),
        (HumanMessage("x", response_metadata={"seen": {1}}), "seen is a set"),
        (HumanMessage("x", response_metadata={"by": {1: "a"}}), "by has the key 1"),
        (
            AIMessage("x", tool_calls=[{"name": "f", "args": {"a": {1, 2}}, "id": "c"}]),
            "a is a set",
        ),
        (OwnMessage(content="x"), "OwnMessage can't be stored and read back.*'?own"),
    ],
)
def test_what_json_would_lose_is_refused(message: BaseMessage, problem: str) -> None:
    with pytest.raises(MessageError, match=problem) as caught:
        to_memory(message)
    assert isinstance(caught.value, AgentMemError)
    assert isinstance(caught.value, ValueError)


def test_an_artifact_of_documents_comes_back_as_their_fields() -> None:
    """It is what LangChain's own `message_to_dict` makes of them."""
    message = ToolMessage("x", tool_call_id="c", artifact=[Document("d", id="1")])
    back = from_memory(travelled(message))
    assert isinstance(back, ToolMessage)
    assert [Document(**fields) for fields in back.artifact] == [Document("d", id="1")]


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        "{cut off",
        '{"type": "newer", "data": {}}',
        '{"type": "human", "data": {}}',
        "[]",
    ],
)
def test_what_is_no_message_is_named(payload: Any) -> None:
    memory = travelled(HumanMessage("x")).model_copy(update={"id": "m7", "payload": payload})
    with pytest.raises(MessageError, match="memory 'm7' holds no readable message"):
        from_memory(memory)


def test_every_kind_comes_back_from_a_real_server(clients: dict[str, Any]) -> None:
    history = AgentMemChatMessageHistory(**clients)
    history.add_messages(KINDS)
    assert history.messages == KINDS
    assert [type(message) for message in history.messages] == [type(kind) for kind in KINDS]
