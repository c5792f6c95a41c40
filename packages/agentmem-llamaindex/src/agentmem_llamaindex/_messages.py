"""LlamaIndex's chat messages as memories, and back: pure functions."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from agentmem_client import F, Filter, Memory
from agentmem_client.models import MAX_BATCH
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.storage.chat_store.base_db import MessageStatus

from .errors import MessageError

MESSAGE_TYPE = "message"
"""The ``type`` of a memory that is a chat message."""
ROLE_KEY = "role"
FORMAT_KEY = "format"
FORMAT = "llamaindex"
"""Whose messages a chat store's are: another framework's, in the same session, have another form.
"""

Item: TypeAlias = dict[str, Any]
"""The arguments of a client's ``add``."""


def chat_messages(status: MessageStatus | None = None) -> Filter:
    """The filter that admits a chat store's messages, and no other memory of a session."""
    own = (F("@type") == MESSAGE_TYPE) & (F(FORMAT_KEY) == FORMAT)
    if status is None:
        return own
    return own & (F("@archived") == (MessageStatus(status) is MessageStatus.ARCHIVED))


def to_item(message: ChatMessage, status: MessageStatus, *, searchable: bool) -> Item:
    """A message of a chat store.

    The content is the message as a person would read it. The message itself is the payload, as
    JSON text: an object would have to be what every store can keep (no NUL, no lone surrogate, a
    maximal depth), and one odd byte in a tool's output must not cost a conversation its turn.

    Raises:
        MessageError: when part of the message is not JSON, or LlamaIndex could not read it back.
    """
    return {
        "content": readable(message),
        "type": MESSAGE_TYPE,
        "metadata": {ROLE_KEY: message.role.value, FORMAT_KEY: FORMAT},
        "payload": _dump(message),
        "archived": MessageStatus(status) is MessageStatus.ARCHIVED,
        "index_texts": None if searchable else [],
    }


def to_message(memory: Memory) -> ChatMessage:
    """The message that a memory of a chat store holds.

    Raises:
        MessageError: when it holds none that this version of LlamaIndex can read.
    """
    try:
        return _load(memory.payload)
    except (TypeError, ValueError, AttributeError) as error:
        raise MessageError(f"memory {memory.id!r} holds no readable message: {error}") from error


def to_messages(memories: Iterable[Memory]) -> list[ChatMessage]:
    """The messages that these memories hold, in the same order.

    Raises:
        MessageError: when one of them can't be read.
    """
    return [to_message(memory) for memory in memories]


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in as many transactions as it takes."""
    return (items[start : start + MAX_BATCH] for start in range(0, len(items), MAX_BATCH))


def readable(message: ChatMessage) -> str:
    """A message as a person would read it: who says it, the text, the tools called, the media."""
    parts = [part for part in map(_readable_block, message.blocks) if part]
    return spoken(message, "\n".join(parts))


def spoken(message: ChatMessage, text: str) -> str:
    """A text with the one who says it; search finds it better so."""
    return storable(f"{message.role.value.capitalize()}: {text}".rstrip())


def storable(text: str) -> str:
    """The text with what no store can keep (NUL, lone surrogates) replaced."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _readable_block(block: Any) -> str:
    match block:
        case TextBlock():
            return block.text
        case ToolCallBlock():
            arguments = json.dumps(block.tool_kwargs, ensure_ascii=False, default=str)
            return f"[calls {block.tool_name} {arguments}]"
        case CitableBlock():
            return " ".join(map(_readable_block, block.content))
        case CitationBlock():
            return _readable_block(block.cited_content)
        case ThinkingBlock() | CachePoint():
            return ""
        case _:  # an image, a video, a document
            return f"[{block.block_type}]"


def _dump(message: ChatMessage) -> str:
    try:
        fields = message.model_dump(mode="json")
        payload = json.dumps(fields, ensure_ascii=False)
        if storable(payload) != payload:
            payload = json.dumps(fields)  # a lone surrogate, which only an escape can carry
        # Read it now: else a later `get_messages` would fail, and with it the conversation.
        _load(payload)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MessageError(f"this message can't be stored and read back: {error}") from error
    return payload


def _load(payload: str) -> ChatMessage:
    return ChatMessage.model_validate(json.loads(payload))
