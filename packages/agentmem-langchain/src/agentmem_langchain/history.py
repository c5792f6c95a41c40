"""A chat history that outlives the process."""

from collections.abc import Iterator, Sequence
from typing import Any

from agentmem_client import (
    DEFAULT_COLLECTION,
    AgentMemClient,
    AsyncAgentMemClient,
    ClientPair,
    new_id,
)
from agentmem_client.models import MAX_BATCH
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from pydantic import SecretStr

from ._messages import MESSAGES, from_memory, to_memory
from ._window import Newest, ReadBack, Window


class AgentMemChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, in AgentMem: in the order they were said, all of them.

    ::

        history = AgentMemChatMessageHistory("trip-to-oslo", user_id="ann")
        history.add_messages([HumanMessage("I'm Ann."), AIMessage("Hello, Ann!")])
        history.messages    # in this process, or in any other later on

    Each message is a memory of type ``"message"`` whose content is the message as a person would
    read it (``"Human: I'm Ann."``), so that searches find it too; it comes back as it was, with
    its id, tool calls and content blocks. What else is stored under the session stays out of the
    history, and `clear` leaves it alone. A scope that is left out does not restrict: a history
    without ``user_id`` holds the session's messages of every user.

    Where many histories are made, as by `RunnableWithMessageHistory`, give them a ready client:
    otherwise each opens connections of its own.

    Args:
        session_id: which conversation; a new one, found at `session_id`, where left out.
        user_id: whose messages; written with each, and restricting what is read.
        agent_id: as ``user_id``.
        collection: where the messages are; its embedder must be the server.
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out; shown in no repr.
        client: a ready client instead of the two.
        async_client: likewise, for the async methods.

    Raises:
        AgentMemError: when a connection setting can't be right. Every method raises this class or
            one below it for what fails on the way; see `agentmem_client`.
    """

    def __init__(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        collection: str = DEFAULT_COLLECTION,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
    ) -> None:
        super().__init__()
        # Not `or`: an empty id is a caller's mistake, which the client refuses.
        self.session_id = new_id() if session_id is None else session_id
        self._place: dict[str, Any] = {
            "collection": collection,
            "user_id": user_id,
            "agent_id": agent_id,
        }
        self._clients = ClientPair(api_url, api_key, client=client, async_client=async_client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r})"

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # an attribute in the base
        """All messages, oldest first.

        Raises:
            MessageError: one of them is of a kind that this version of LangChain doesn't know.
        """
        return [from_memory(memory) for memory in self._clients.sync.iterate(**self._reading())]

    async def aget_messages(self) -> list[BaseMessage]:
        """As `messages`."""
        client = self._clients.for_running_loop()
        return [from_memory(memory) async for memory in client.iterate(**self._reading())]

    def newest(self, count: int) -> list[BaseMessage]:
        """The newest messages, in the order they were said; only these are read.

        Args:
            count: how many, at least 1; there may be fewer.
        """
        return self.read_back(Newest(count))

    async def anewest(self, count: int) -> list[BaseMessage]:
        """As `newest`."""
        return await self.aread_back(Newest(count))

    def read_back(self, cut: Newest | Window) -> list[BaseMessage]:
        """What is wanted of the end of the conversation, reading no more than it takes."""
        back = ReadBack(cut)
        while (request := back.request) is not None:
            back.answered(self._clients.sync.list(**self._from_the_end(), **request))
        return back.messages

    async def aread_back(self, cut: Newest | Window) -> list[BaseMessage]:
        """As `read_back`."""
        client = self._clients.for_running_loop()
        back = ReadBack(cut)
        while (request := back.request) is not None:
            back.answered(await client.list(**self._from_the_end(), **request))
        return back.messages

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, in their order: all of them in one transaction, or none.

        More than 2,048 don't fit into one request and go in several, of which the first ones
        stay where a later one fails.

        Raises:
            MessageError: a message can't be stored and read back as it is (its artifact, say, is
                not JSON). Nothing was stored.
        """
        for batch in self._batches(messages):
            self._clients.sync.add_many(batch, atomic=True)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """As `add_messages`."""
        for batch in self._batches(messages):
            await self._clients.for_running_loop().add_many(batch, atomic=True)

    def clear(self) -> None:
        """Delete this session's messages, and nothing else of it."""
        self._clients.sync.delete_all(**self._matching())

    async def aclear(self) -> None:
        """As `clear`."""
        await self._clients.for_running_loop().delete_all(**self._matching())

    def _matching(self) -> dict[str, Any]:
        return {"filters": MESSAGES, **self._place, "session_id": self.session_id}

    def _reading(self) -> dict[str, Any]:
        # By `seq`, the order in which the server stored them: clocks of several writers differ.
        return {**self._matching(), "order_by": "seq"}

    def _from_the_end(self) -> dict[str, Any]:
        return {**self._reading(), "order": "desc", "include_total": False}

    def _batches(self, messages: Sequence[BaseMessage]) -> Iterator[list[dict[str, Any]]]:
        place = {**self._place, "session_id": self.session_id}
        # All are converted before the first is sent: a message that can't be is found in time.
        items = [to_memory(message) | place for message in messages]
        return (items[start : start + MAX_BATCH] for start in range(0, len(items), MAX_BATCH))
