"""The memory of a classic LangChain chain."""

from collections.abc import Sequence
from typing import Any, Self

from agentmem_client import DEFAULT_COLLECTION, AgentMemClient, AsyncAgentMemClient
from langchain_core.messages import BaseMessage, get_buffer_string
from pydantic import ConfigDict, Field, SecretStr, SkipValidation, field_validator, model_validator

from ._extras import needed_by
from ._window import TokenCounter, Window
from .history import AgentMemChatMessageHistory

with needed_by("AgentMemMemory", "classic"):
    from langchain_classic.memory.chat_memory import BaseChatMemory


class AgentMemMemory(BaseChatMemory):
    """The memory of a `ConversationChain`, or another classic chain, in AgentMem.

    ::

        memory = AgentMemMemory(session_id="trip-to-oslo", user_id="ann")
        chain = ConversationChain(llm=model, memory=memory)

    It gives the chain the conversation of its session, and stores each turn (what the person said
    and what the model answered) in one transaction.

    The prompt gets the whole conversation, or a window on its end: ``max_turns=10``,
    ``max_tokens=4_000``, or the shorter one of both. What is left out stays stored, and only what
    the window needs is read. A window by tokens holds whole messages; where it leaves any out it
    starts with a human message if one fits in, and never with a tool's answer whose call is left
    out.

    Args:
        session_id: which conversation; a new one where left out. This and the next seven are
            those of `AgentMemChatMessageHistory`.
        user_id: whose messages.
        agent_id: as ``user_id``.
        collection: where the messages are.
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out.
        client: a ready client instead of the two.
        async_client: likewise, for the async methods.
        chat_memory: a ready history instead of all of these.
        **fields: ``max_turns`` (how many of the last turns to give; a turn begins with a human
            message), ``max_tokens`` (how many tokens to give at most) and ``token_counter`` (what
            counts them, as `trim_messages` takes it: a callable, a chat model, or
            ``"approximate"``, which it is where left out; the async half calls it in the event
            loop, so that it should not do I/O), ``memory_key`` (the prompt's variable,
            ``"history"``), ``return_messages`` (messages instead of one text), ``human_prefix``
            and ``ai_prefix`` (who speaks, in the text), ``input_key`` and ``output_key`` (which
            to store, where a chain has several).

    Raises:
        TypeError: ``chat_memory`` stands beside what it replaces.
        pydantic.ValidationError: an unknown field, or one of the wrong type; a ``token_counter``
            without ``max_tokens``.
        AgentMemError: a connection setting can't be right. Every method raises this class or one
            below it for what fails on the way; see `agentmem_client`.
    """

    model_config = ConfigDict(extra="forbid")

    chat_memory: AgentMemChatMessageHistory
    memory_key: str = "history"
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    max_turns: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    # Not pydantic's to check: it would copy a model, where it takes one.
    token_counter: SkipValidation[TokenCounter | None] = Field(
        default=None, exclude=True, repr=False
    )

    def __init__(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        collection: str | None = None,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        chat_memory: AgentMemChatMessageHistory | None = None,
        **fields: Any,
    ) -> None:
        own = (session_id, user_id, agent_id, collection, api_url, api_key, client, async_client)
        if chat_memory is None:
            chat_memory = AgentMemChatMessageHistory(
                session_id,
                user_id=user_id,
                agent_id=agent_id,
                collection=DEFAULT_COLLECTION if collection is None else collection,
                api_url=api_url,
                api_key=api_key,
                client=client,
                async_client=async_client,
            )
        elif any(value is not None for value in own):
            raise TypeError(
                "chat_memory has its session and connection already: give it, or the others"
            )
        super().__init__(chat_memory=chat_memory, **fields)

    @field_validator("token_counter")
    @classmethod
    def _check_counter(cls, counter: Any) -> Any:
        counts = callable(counter) or hasattr(counter, "get_num_tokens_from_messages")
        if not counts and counter not in (None, "approximate"):
            raise ValueError('give a callable, a chat model, or "approximate"')
        return counter

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.token_counter is not None and self.max_tokens is None:
            raise ValueError("token_counter counts for max_tokens: give that too")
        return self

    @property
    def memory_variables(self) -> list[str]:
        """The prompt's variables that this memory fills: `memory_key` alone."""
        return [self.memory_key]

    @property
    def window(self) -> Window | None:
        """What of the conversation the prompt gets; None: all of it."""
        if self.max_turns is None and self.max_tokens is None:
            return None
        counter = "approximate" if self.token_counter is None else self.token_counter
        return Window(self.max_turns, self.max_tokens, counter)

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The conversation, as ``{memory_key: str}`` or ``{memory_key: list[BaseMessage]}``.

        Args:
            inputs: of the chain; what is returned does not depend on them.
        """
        history, window = self.chat_memory, self.window
        return self._variables(history.messages if window is None else history.read_back(window))

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As `load_memory_variables`."""
        history, window = self.chat_memory, self.window
        reading = history.aget_messages() if window is None else history.aread_back(window)
        return self._variables(await reading)

    def _variables(self, messages: Sequence[BaseMessage]) -> dict[str, Any]:
        if self.return_messages:
            return {self.memory_key: messages}
        return {self.memory_key: get_buffer_string(messages, self.human_prefix, self.ai_prefix)}
