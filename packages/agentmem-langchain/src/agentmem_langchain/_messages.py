"""Chat messages as memories, and back: pure functions, no I/O."""

import json
from collections.abc import Iterable
from typing import Any

from agentmem_client import AgentMemError, Memory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)

MESSAGE_TYPE = "message"
"""The ``type`` of a memory that is a chat message."""
ROLE_KEY = "role"
FORMAT_KEY = "format"
FORMAT = "langchain"
"""Whose messages these are: another framework's, in the same session, have another form."""

MESSAGES = {"@type": MESSAGE_TYPE, FORMAT_KEY: FORMAT}
"""The filter that admits what `to_memory` makes, and no other memory of a session."""

_LABELS = {"human": "Human", "ai": "AI", "system": "System", "tool": "Tool", "function": "Function"}
_MEDIA = {
    "image": "image",
    "image_url": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "file": "file",
    "document": "file",
}


class MessageError(AgentMemError, ValueError):
    """A message that can't be stored and read back as it is, or a stored one that can't be read."""


def to_memory(message: BaseMessage) -> dict[str, Any]:
    """A message as the arguments of a client's ``add`` (content, type, metadata, payload).

    The content is the message as a person would read it, with the role, so that a search finds
    it. The message itself is the payload, as JSON text: text, because an object would have to fit
    the bounds of JSON that is stored (no NUL, no lone surrogate, a maximal depth), and one odd byte
    in a tool's output must not cost a conversation its turn. ``role`` is metadata, for filters.

    Raises:
        MessageError: when part of the message is not JSON, or LangChain could not read it back.
    """
    payload = _dump(message)
    return {
        "content": _storable(readable(message)),
        "type": MESSAGE_TYPE,
        "metadata": {ROLE_KEY: _storable(_role(message)), FORMAT_KEY: FORMAT},
        "payload": payload,
    }


def from_memories(memories: Iterable[Memory]) -> list[BaseMessage]:
    """The messages that these memories hold, in the same order.

    Raises:
        MessageError: when one of them is not a message that this version of LangChain knows.
    """
    return [from_memory(memory) for memory in memories]


def from_memory(memory: Memory) -> BaseMessage:
    """The message that a memory holds.

    Raises:
        MessageError: when it is not a message that this version of LangChain knows.
    """
    try:
        return _load(memory.payload)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"memory {memory.id!r} holds no readable message: {error}") from error


def readable(message: BaseMessage) -> str:
    """A message as a person would read it: who says it, the text, the tools called, the media."""
    role = _role(message)
    speaker = _LABELS.get(role, role)
    if message.name:
        speaker = f"{speaker} ({message.name})"
    parts = [str(message.text), *_calls(message), *_media(message)]
    return f"{speaker}: {' '.join(part for part in parts if part)}".strip()


def _role(message: BaseMessage) -> str:
    # A chunk of a message has a type of its own but its role is that of the whole.
    match message:
        case HumanMessage():
            return "human"
        case AIMessage():
            return "ai"
        case SystemMessage():
            return "system"
        case ToolMessage():
            return "tool"
        case FunctionMessage():
            return "function"
        case ChatMessage():
            return message.role
        case _:
            return message.type


def _calls(message: BaseMessage) -> list[str]:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return [
        f"[calls {call['name']} {json.dumps(call['args'], ensure_ascii=False)}]" for call in calls
    ]


def _media(message: BaseMessage) -> list[str]:
    blocks = [] if isinstance(message.content, str) else message.content
    kinds = [str(block.get("type")) for block in blocks if isinstance(block, dict)]
    return [f"[{_MEDIA[kind]}]" for kind in kinds if kind in _MEDIA]


def _storable(text: str) -> str:
    """The text with what no store can keep (NUL, lone surrogates) replaced."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _dump(message: BaseMessage) -> str:
    fields = message_to_dict(message)
    try:
        _check_json(fields["data"], type(message).__name__)
        # A NaN (a log probability, say) is kept as Python's json writes and reads it.
        payload = json.dumps(fields, ensure_ascii=False)
        if not payload.isascii() and _storable(payload) != payload:
            payload = json.dumps(fields)  # a lone surrogate, which only an escape can carry
        # Read it now: a class or type of the caller's own would make the history unreadable.
        _load(payload)
    except MessageError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            f"this {type(message).__name__} can't be stored and read back: {error}"
        ) from error
    return payload


def _load(payload: str) -> BaseMessage:
    return messages_from_dict([json.loads(payload)])[0]


def _check_json(value: Any, path: str) -> None:
    """Refuse what JSON would lose: `json.dumps` alone turns a key that is a number into text."""
    match value:
        case None | bool() | int() | float() | str():
            return
        case list() | tuple():
            for index, element in enumerate(value):
                _check_json(element, f"{path}[{index}]")
        case dict():
            for key, element in value.items():
                if not isinstance(key, str):
                    raise MessageError(f"{path} has the key {key!r}: JSON's keys are strings")
                _check_json(element, f"{path}.{key}")
        case _:
            raise MessageError(
                f"{path} is a {type(value).__name__}, which is not JSON: convert it, or leave it "
                "out of the message that is stored"
            )
