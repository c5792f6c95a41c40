"""Which messages of an agent's state are still to be written. No I/O.

An agent's state holds the whole conversation, of which earlier runs may have written a part. What
they did stands in the state too, so that with a checkpointer the next run, in whatever process,
goes on from there. Without one a run knows nothing of others: it takes what came with the input,
up to the last answer of a model, for written.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypedDict
from uuid import UUID, uuid5

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

Keep = Callable[[BaseMessage], bool]

_NAMESPACE = UUID("9b1f4dd2-6b5e-4c0c-8f0e-2a1f3a9a7c55")


class Progress(TypedDict):
    """How far the writing of a conversation is."""

    seen: list[str]
    """The keys of the messages that need no more be written."""
    pending: dict[str, BaseMessage]
    """What is to be written, by key. It would be lost where a run removes messages from the state,
    as a summary does."""
    session_id: str
    """The conversation, where the run names none."""


def begun(messages: Sequence[BaseMessage], session_id: str) -> Progress:
    """How far the writing is at the beginning of a run that knows of none before it."""
    answers = [at for at, one in enumerate(messages) if isinstance(one, AIMessage)]
    brought = answers[-1] + 1 if answers else 0
    return {"seen": keys(messages)[:brought], "pending": {}, "session_id": session_id}


def ended(messages: Sequence[BaseMessage], session_id: str) -> Progress:
    """How far it is at the end of a run whose beginning was not noted.

    Other middleware ended the run first, or this one was not there yet when it was interrupted.
    What the run was given goes to its latest human message.
    """
    humans = [at for at, one in enumerate(messages) if isinstance(one, HumanMessage)]
    return begun(messages[: humans[-1] + 1] if humans else [], session_id)


def unwritten(
    progress: Progress, messages: Sequence[BaseMessage], keep: Keep
) -> dict[str, BaseMessage]:
    """What is to be written, by key, in the order it was said."""
    seen = set(progress["seen"])
    new = {
        key: message
        for key, message in zip(keys(messages), messages, strict=True)
        if key not in seen and keep(message)
    }
    return progress["pending"] | new


def keys(messages: Sequence[BaseMessage]) -> list[str]:
    """What tells the messages of a conversation from each other: their ids.

    LangGraph gives an id to each message that has none. In a state that holds them otherwise it is
    the text, and how often the same came before.
    """
    said: Counter[str] = Counter()
    found = []
    for message in messages:
        key = message.id
        if key is None:
            fields = json.dumps(message_to_dict(message), sort_keys=True, default=repr)
            digest = blake2b(fields.encode(errors="replace"), digest_size=16).hexdigest()
            key = f"{digest}-{said[digest]}"
            said[digest] += 1
        found.append(key)
    return found


def memory_id(key: str, scope: dict[str, Any]) -> str:
    """The id of a message's memory: always the same, so that writing it again makes no second."""
    return str(uuid5(_NAMESPACE, json.dumps([key, sorted(scope.items())])))
