"""What is recalled beside a conversation: what is left out, and how the rest is shown. No I/O."""

import re
from collections.abc import Iterable, Sequence

from agentmem_client import F, Filter, Hit, Memory
from agentmem_client.models import MAX_LIMIT
from langchain_core.messages import BaseMessage

from ._messages import MessageError, to_memory

MOST_LEFT_OUT = 1_000
"""How many of a prompt's messages are kept out of what is recalled beside it: the newest ones."""

PLACE = "{memories}"
"""Where the recalled memories go in a template."""

_TAG = re.compile(r"</?\s*([A-Za-z][\w-]*)")


def not_among(messages: Sequence[BaseMessage]) -> Filter | None:
    """The filter that leaves out what these messages say, wherever it was said.

    By the text: the same message may come with another id, or none, each time it is given.
    """
    said: dict[str, None] = {}
    for message in messages[-MOST_LEFT_OUT:]:
        try:
            said[to_memory(message)["content"]] = None
        except MessageError:
            continue  # what can't be stored can't be found either
    return F("@content").not_in(list(said)) if said else None


def search_limit(k: int) -> int:
    """How many hits to ask for, to have ``k`` of `distinct` ones."""
    return min(2 * k, MAX_LIMIT)


def distinct(hits: Sequence[Hit], k: int) -> list[Hit]:
    """The first ``k`` that say different things: "Human: Hello!" is said on many days."""
    by_content: dict[str, Hit] = {}
    for hit in hits:
        by_content.setdefault(hit.content, hit)
    return list(by_content.values())[:k]


def dated(memory: Memory) -> str:
    """A memory as an entry of a list: its day, then its text, whose further lines are set in."""
    day = (memory.event_at or memory.created_at).date().isoformat()
    # Every kind of line break: what begins a line looks like an entry of its own.
    return "\n  ".join(f"({day}) {memory.content}".splitlines())


def as_data(memories: Iterable[Memory], template: str) -> str:
    """The memories in a template, where none can pretend to be the end of the place it is in.

    Args:
        memories: the best first.
        template: with ``{memories}`` in it. Its tags (``<notes>``) are kept from the memories.
    """
    entries = "\n".join(f"- {dated(memory)}" for memory in memories)
    for name in set(_TAG.findall(template)):
        # One class for blanks and slashes: with several parts, a memory of blanks alone would
        # cost the square of its length.
        entries = re.sub(rf"<(?=[\s/]*{re.escape(name)})", "&lt;", entries, flags=re.IGNORECASE)
    return template.replace(PLACE, entries)
