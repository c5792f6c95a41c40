"""The memory of a classic LangChain chain."""

from collections.abc import Sequence
from typing import Any

from agentmem_client import DEFAULT_COLLECTION, AgentMemClient, AsyncAgentMemClient
from langchain_core.messages import BaseMessage, get_buffer_string
from pydantic import ConfigDict, SecretStr

from .history import AgentMemChatMessageHistory

try:
    from langchain_classic.memory.chat_memory import BaseChatMemory
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "langchain_classic":
        raise
    raise ImportError(
        'AgentMemMemory needs langchain-classic: pip install "agentmem-langchain[classic]"'
    ) from error


class AgentMemMemory(BaseChatMemory):
    """The memory of a `ConversationChain`, or another classic chain, in AgentMem.

    ::

        memory = AgentMemMemory(session_id="trip-to-oslo", user_id="ann")
        chain = ConversationChain(llm=model, memory=memory)

    It gives the chain the whole conversation of its session, and stores each turn (what the person
    said and what the model answered) in one transaction.

    Args:
        session_id: which conversation; a new one where left out. This and the next seven are
            those of `AgentMemChatMessageHistory`.
        user_id: whose messages.
        agent_id: as ``user_id``.
        collection: where the messages are.
        api_url: where the server is; from ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out.
        client: a ready client instead of the two.
        async_client: likewise, for the async methods.
        chat_memory: a ready history instead of all of these.
        **fields: ``memory_key`` (the prompt's variable, ``"history"``), ``return_messages``
            (messages instead of one text), ``human_prefix`` and ``ai_prefix`` (who speaks, in
            the text), ``input_key`` and ``output_key`` (which to store, where a chain has several).

    Raises:
        TypeError: ``chat_memory`` stands beside what it replaces.
        pydantic.ValidationError: an unknown field, or one of the wrong type.
        AgentMemError: a connection setting can't be right. Every method raises this class or one
            below it for what fails on the way; see `agentmem_client`.
    """

    model_config = ConfigDict(extra="forbid")

    chat_memory: AgentMemChatMessageHistory
    memory_key: str = "history"
    human_prefix: str = "Human"
    ai_prefix: str = "AI"

    def __init__(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        collection: str | None = None,
        api_url: str | None = None,
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

    @property
    def memory_variables(self) -> list[str]:
        """The prompt's variables that this memory fills: `memory_key` alone."""
        return [self.memory_key]

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The whole conversation, as ``{memory_key: str}`` or ``{memory_key: list[BaseMessage]}``.

        Args:
            inputs: of the chain; what is returned does not depend on them.
        """
        return self._variables(self.chat_memory.messages)

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As `load_memory_variables`."""
        return self._variables(await self.chat_memory.aget_messages())

    def _variables(self, messages: Sequence[BaseMessage]) -> dict[str, Any]:
        if self.return_messages:
            return {self.memory_key: messages}
        return {self.memory_key: get_buffer_string(messages, self.human_prefix, self.ai_prefix)}
