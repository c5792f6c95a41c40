import json
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agentmem_client import Memory
from agentmem_client.models import MAX_BATCH
from agentmem_llamaindex import MessageError
from agentmem_llamaindex._messages import (
    Item,
    batches,
    chat_messages,
    readable,
    storable,
    to_item,
    to_message,
    to_messages,
)
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.schema import ImageDocument
from llama_index.core.storage.chat_store.base_db import MessageStatus

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

MESSAGES = [
    ChatMessage("Hello!"),
    ChatMessage(role="assistant"),
    ChatMessage(""),
    ChatMessage("  two\nlines  ", role="system"),
    ChatMessage([TextBlock(text="one"), TextBlock(text="two")]),
    ChatMessage(
        [
            TextBlock(text="Look:"),
            ImageBlock(image=PNG, detail="low"),
            ImageBlock(url="http://x.test/a.png"),
            AudioBlock(audio=b"RIFF....WAVE", format="wav"),
            VideoBlock(url="http://x.test/a.mp4"),
            DocumentBlock(data=b"%PDF-1.4", title="t", document_mimetype="application/pdf"),
            CachePoint(cache_control=CacheControl(type="ephemeral")),
        ]
    ),
    ChatMessage(
        role="assistant",
        blocks=[
            ThinkingBlock(content="hm", num_tokens=3, additional_information={"signature": "x"}),
            TextBlock(text="Let me look."),
            ToolCallBlock(tool_call_id="1", tool_name="look", tool_kwargs={"where": ["a", None]}),
            ToolCallBlock(tool_name="raw", tool_kwargs='{"not": "parsed"'),
        ],
    ),
    ChatMessage(
        role="tool",
        content="42",
        additional_kwargs={"tool_call_id": "1", "deep": {"er": [True, None, 1.5, "ü"]}},
    ),
    ChatMessage(
        role="assistant",
        blocks=[
            CitableBlock(title="t", source="s", content=[TextBlock(text="a page")]),
            CitationBlock(
                cited_content=TextBlock(text="a line"),
                source="s",
                title="t",
                additional_location_info={"page": 1},
            ),
        ],
    ),
]


def stored(item: Item) -> Memory:
    """The memory that the server makes of an item."""
    return Memory(**(item | {"id": "m", "collection": "c", "created_at": NOW, "updated_at": NOW}))


def round_trip(message: ChatMessage) -> ChatMessage:
    item = to_item(message, ACTIVE, searchable=False)
    return to_message(stored(json.loads(json.dumps(item))))


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_round_trip(message: ChatMessage) -> None:
    before = message.model_dump()
    assert round_trip(message) == message
    assert message.model_dump() == before


@pytest.mark.parametrize("role", list(MessageRole))
def test_every_role(role: MessageRole) -> None:
    assert round_trip(ChatMessage(role=role, content="x")).role is role


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)


@given(text=st.text(), more=st.dictionaries(st.text(), json_values, max_size=3))
def test_round_trip_of_any_text_and_json(text: str, more: dict[str, Any]) -> None:
    more.pop("images", None)  # LlamaIndex reads this one as images
    message = ChatMessage(role="tool", content=text, additional_kwargs=more)
    assert round_trip(message) == message


@pytest.mark.parametrize("text", ["a\0b", "lone \ud800", "a\0b and 日本 \udfff"])
def test_what_no_store_keeps_survives_in_the_payload(text: str) -> None:
    item = to_item(ChatMessage(text, role="tool"), ACTIVE, searchable=False)
    for part in (item["content"], item["payload"]):
        assert storable(part) == part
    assert to_message(stored(item)).content == text


def test_values_that_llama_index_turns_into_json() -> None:
    kwargs = {"raw": b"\xff", "call": [TextBlock(text="t")], "number": float("nan")}
    assert round_trip(ChatMessage("x", additional_kwargs=kwargs)).additional_kwargs == {
        "raw": "/w==",
        "call": [{"block_type": "text", "text": "t"}],
        "number": None,
    }


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_deep_json_survives() -> None:
    message = ChatMessage("x", additional_kwargs={"deep": deep(100)})
    assert round_trip(message) == message


@pytest.mark.parametrize(
    "kwargs",
    [
        {"object": object()},
        {"images": [ImageDocument(image=PNG)]},  # which LlamaIndex can't read back itself
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_what_can_not_be_read_back_is_refused(kwargs: dict[str, Any]) -> None:
    message = ChatMessage("x", additional_kwargs=kwargs)
    with pytest.raises(MessageError, match="can't be stored and read back"):
        to_item(message, ACTIVE, searchable=False)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    item = to_item(ChatMessage([ImageBlock(path=image)]), ACTIVE, searchable=False)
    assert to_message(stored(item)).blocks[0].path == image  # type: ignore[union-attr]  # an image
    image.unlink()
    with pytest.raises(MessageError, match="'m' holds no readable message"):
        to_message(stored(item))


@pytest.mark.parametrize("payload", [None, 1, "", "[]", '{"role": "emperor"}', {"role": "user"}])
def test_a_payload_that_is_no_message(payload: Any) -> None:
    with pytest.raises(MessageError, match="'m' holds no readable message"):
        to_messages([stored({"content": "x", "payload": payload})])


def test_item() -> None:
    item = to_item(ChatMessage("Hello!"), ACTIVE, searchable=False)
    assert json.loads(item.pop("payload"))["role"] == "user"
    assert item == {
        "content": "User: Hello!",
        "type": "message",
        "metadata": {"role": "user", "format": "llamaindex"},
        "archived": False,
        "index_texts": [],
    }
    item = to_item(ChatMessage("Hello!"), ARCHIVED, searchable=True)
    assert (item["archived"], item["index_texts"]) == (True, None)


def test_an_unknown_status_is_an_error() -> None:
    with pytest.raises(ValueError, match="asleep"):
        to_item(ChatMessage("x"), "asleep", searchable=False)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="asleep"):
        chat_messages("asleep")  # type: ignore[arg-type]  # wrong on purpose


def test_filter() -> None:
    own = [{"@type": {"$eq": "message"}}, {"format": {"$eq": "llamaindex"}}]
    assert chat_messages().to_dict() == {"$and": own}
    for status, archived in ((ACTIVE, False), (ARCHIVED, True)):
        of_status = {"$and": [*own, {"@archived": {"$eq": archived}}]}
        assert chat_messages(status).to_dict() == of_status


READABLE = [
    "User: Hello!",
    "Assistant:",
    "User:",
    "System:   two\nlines",
    "User: one\ntwo",
    "User: Look:\n[image]\n[image]\n[audio]\n[video]\n[document]",
    'Assistant: Let me look.\n[calls look {"where": ["a", null]}]\n'
    '[calls raw "{\\"not\\": \\"parsed\\""]',
    "Tool: 42",
    "Assistant: a page\na line",
]


@pytest.mark.parametrize(
    ("message", "expected"), list(zip(MESSAGES, READABLE, strict=True)), ids=str
)
def test_readable(message: ChatMessage, expected: str) -> None:
    assert readable(message) == expected


def test_batches() -> None:
    items: list[Item] = [{"content": str(number)} for number in range(MAX_BATCH + 1)]
    first, second = batches(items)
    assert [*first, *second] == items
    assert len(first) == MAX_BATCH
    assert list(batches([])) == []
