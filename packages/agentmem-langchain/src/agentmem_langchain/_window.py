"""The newest part of a conversation: what it is, and how it is read from the end. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentmem_client import Page
from agentmem_client.models import MAX_LIMIT
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import (
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.messages.utils import count_tokens_approximately

from ._messages import from_memories

TokenCounter: TypeAlias = (
    Callable[[list[BaseMessage]], int]
    | Callable[[BaseMessage], int]
    | BaseLanguageModel[Any]
    | Literal["approximate"]
)
"""What counts tokens, as `langchain_core.messages.trim_messages` takes it."""

_PAGE = 100

Cut: TypeAlias = Callable[[list[BaseMessage], bool], list[BaseMessage] | None]
"""What is wanted of a conversation's newest messages (all of it, where the flag is true), or None:
it takes more of them to say."""


@dataclass(frozen=True)
class Newest:
    """The newest ``count`` messages."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")

    @property
    def page(self) -> int:
        """How many messages to read first."""
        return self.count

    def __call__(self, messages: list[BaseMessage], whole: bool) -> list[BaseMessage] | None:
        """Those of these messages, as a `Cut`."""
        return messages[-self.count :] if whole or len(messages) >= self.count else None


@dataclass(frozen=True)
class Window:
    """The newest turns, or what fits into a number of tokens, or the shorter one of the two.

    A turn begins with a human message and ends before the next one.
    """

    max_turns: int | None
    max_tokens: int | None
    token_counter: TokenCounter

    @property
    def page(self) -> int:
        """How many messages to read first: two a turn, which is all where no tools are called."""
        if self.max_turns is None:
            return _PAGE
        return 2 * self.max_turns if self.max_tokens is None else min(2 * self.max_turns, _PAGE)

    def __call__(self, messages: list[BaseMessage], whole: bool) -> list[BaseMessage] | None:
        """The window of these messages, as a `Cut`."""
        window, found = messages, whole
        if self.max_turns is not None:
            starts = [at for at, one in enumerate(messages) if isinstance(one, HumanMessage)]
            if len(starts) >= self.max_turns:
                window, found = messages[starts[-self.max_turns] :], True
        if self.max_tokens is not None:
            fitting = self._fitting(window, self.max_tokens)
            if len(fitting) < len(window):
                return _from_a_start(fitting)
        return window if found else None

    def _fitting(self, messages: Sequence[BaseMessage], max_tokens: int) -> list[BaseMessage]:
        counter = self.token_counter
        return trim_messages(
            messages,
            max_tokens=max_tokens,
            # By itself: the first versions of langchain-core don't know the word.
            token_counter=count_tokens_approximately if counter == "approximate" else counter,
        )


class ReadBack:
    """Reads a conversation from its end, page by page, until there is enough of it.

    ::

        back = ReadBack(window)
        while (request := back.request) is not None:
            back.answered(client.list(**request, …))
        back.messages

    """

    def __init__(self, cut: Newest | Window) -> None:
        self._cut = cut
        self._read: list[BaseMessage] = []
        self._limit = min(cut.page, MAX_LIMIT)
        self.request: dict[str, Any] | None = {"limit": self._limit}
        """The arguments of the next `list`, besides what is listed; None: enough was read."""
        self.messages: list[BaseMessage] = []
        """What was wanted, oldest first, once enough was read."""

    def answered(self, page: Page) -> None:
        """Take in a page.

        Raises:
            MessageError: a memory on it holds no message that this version of LangChain knows.
        """
        self._read = from_memories(reversed(page.memories)) + self._read
        wanted = self._cut(self._read, page.next_cursor is None)
        if wanted is not None:
            self.messages, self.request = wanted, None
            return
        self._limit = min(2 * self._limit, MAX_LIMIT)
        self.request = {"limit": self._limit, "cursor": page.next_cursor}


def _from_a_start(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The messages from the first human one on, for many models take no other to begin with.

    Where none is human, from the first one that answers no tool call: its call is left out.
    """
    starts = [at for at, one in enumerate(messages) if isinstance(one, HumanMessage)] or [
        at for at, one in enumerate(messages) if not isinstance(one, ToolMessage | FunctionMessage)
    ]
    return messages[starts[0] :] if starts else []
