"""What a memory block stores and how it shows what it recalls: pure functions."""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import NAMESPACE_OID, uuid5

from agentmem_client import Filter, Memory
from agentmem_client.filters import joined
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.vector_stores.types import MetadataFilters

from ._filters import to_filter
from ._messages import MESSAGE_TYPE, ROLE_KEY, Item, chat_messages, spoken, storable

SESSION_KEY = "session_id"
"""Where LlamaIndex puts the session of a message that leaves the short-term memory."""

Tokenizer: TypeAlias = Callable[[str], Sequence[Any]]


def to_items(
    messages: Iterable[ChatMessage], *, user_id: str | None, agent_id: str | None, now: datetime
) -> list[Item]:
    """The messages that say something, as memories.

    The id is made of whose message it is, where and what it says. So a message that is given
    again is still one memory; said again later, it is one with a new day.
    """
    items: dict[str, Item] = {}
    for message in messages:
        text = (message.content or "").strip()
        if not text:
            continue
        scope = {
            "user_id": user_id,
            "agent_id": agent_id,
            "session_id": message.additional_kwargs.get(SESSION_KEY),
        }
        role, content = message.role.value, spoken(message, text)
        identity = json.dumps([*scope.values(), role, content])
        id_ = str(uuid5(NAMESPACE_OID, identity))
        items[id_] = {
            "id": id_,
            "content": content,
            "type": MESSAGE_TYPE,
            "metadata": {ROLE_KEY: role},
            "event_at": now,
            **scope,
        }
    return list(items.values())


def question(messages: Sequence[ChatMessage]) -> str | None:
    """What the user said last; None where there is no text of theirs."""
    for message in reversed(messages):
        text = (message.content or "").strip()
        if message.role is MessageRole.USER and text:
            return storable(text)
    return None


def given_filter(raw: object) -> object:
    """A filter of either kind as AgentMem's.

    Raises:
        InvalidFilter: when it says something that can't be honoured.
    """
    return to_filter(raw) if isinstance(raw, MetadataFilters) else raw


def recallable(own: Filter | None) -> Filter | None:
    """The filter of a recall.

    A chat store's messages are left out: what is still in the conversation is in the prompt
    anyway, and what has left it is the block's own.
    """
    return joined(~chat_messages(), own)


def as_text(memories: Iterable[Memory], *, tags: Iterable[str] = ()) -> str:
    """Memories for a prompt, a line each with its day; further lines of one are indented.

    Args:
        memories: the best first.
        tags: the XML tags that stand around the text; none in a memory can pretend to be one.
    """
    text = "\n".join(
        f"- ({memory.event_at or memory.created_at:%Y-%m-%d}) "
        # Every kind of line break: what begins a line looks like a memory of its own.
        + "\n  ".join(memory.content.strip().splitlines())
        for memory in memories
        if memory.content.strip()
    )
    for tag in tags:
        text = re.sub(rf"<(?=[\s/]*{re.escape(tag)})", "&lt;", text, flags=re.IGNORECASE)
    return text


def shortened(text: str, tokens: int, tokenizer: Tokenizer) -> str | None:
    """As many of the first memories of a text as fit, or the start of the first one.

    Args:
        text: of `as_text`.
        tokens: how many it may have.
        tokenizer: counts them.

    Returns:
        None where hardly a word fits.
    """
    entries = re.split(r"\n(?=- )", text)

    def whole(count: int) -> str:
        return "\n".join(entries[:count])

    day, *words = re.findall(r"^- \S+|\s*\S+", entries[0])

    def start(count: int) -> str:
        return f"{day}{''.join(words[:count])} …"

    for counts, part in ((range(1, len(entries) + 1), whole), (range(2, len(words)), start)):
        # Each part is made when it is looked at: all of them would take the square of the text.
        fitting = bisect_right(counts, tokens, key=lambda count: len(tokenizer(part(count))))
        if fitting:
            return part(counts[fitting - 1])
    return None
