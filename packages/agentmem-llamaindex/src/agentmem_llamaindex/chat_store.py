"""A LlamaIndex chat store on an AgentMem server."""

from collections.abc import Sequence
from typing import Any

from agentmem_client import DEFAULT_COLLECTION, AgentMemClient, AsyncAgentMemClient
from agentmem_client.models import MAX_LIMIT
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import SecretStr

from ._connection import Connected
from ._messages import Item, batches, chat_messages, to_item, to_messages

_ACTIVE = MessageStatus.ACTIVE


class AgentMemChatStore(Connected, AsyncDBChatStore):
    """Keeps the messages of conversations on an AgentMem server, in the order they were added.

    ::

        store = AgentMemChatStore(api_url="http://localhost:8080", user_id="ann")
        memory = Memory.from_defaults(session_id="trip-to-oslo", chat_store=store)

    A key is the id of a session. Each message is a memory of type ``"message"`` that comes back
    as it was, with its blocks, tool calls and ``additional_kwargs``. What else is stored under the
    session is none of the store's, and stays when its messages are deleted. Several writers may
    append to one session; all readers see one order, the server's.

    A message is active, or archived: kept, but out of the conversation.

    Args:
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out, else ``http://localhost:8080``.
        api_key: from ``AGENTMEM_API_KEY`` where left out. It is no field: neither a dump nor a
            pickle has it.
        client: a ready client instead of the two, whose settings are taken.
        async_client: a ready client to talk with.
        collection: where the messages are kept.
        user_id: whose messages; written with each, and restricting what is read.
        agent_id: as ``user_id``.
        searchable: whether searches of the collection find the messages too, such as those of
            `AgentMemClient.search`. The server then embeds each, which takes it some 10 ms; the
            collection's vectors must be the server's. Without it a message is found by its
            session alone.

    Raises:
        pydantic.ValidationError: an unknown field, or one of the wrong type.
        AgentMemError: a connection setting can't be right. Every method raises this class or one
            below it for what fails on the way; see `agentmem_client`.
    """

    collection: str = DEFAULT_COLLECTION
    user_id: str | None = None
    agent_id: str | None = None
    searchable: bool = False

    # Said again, since type checkers read the fields alone.
    def __init__(
        self,
        *,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(
            api_url=api_url, api_key=api_key, client=client, async_client=async_client, **fields
        )

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in what LlamaIndex serialises."""
        return "AgentMemChatStore"

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = _ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """The messages of a session, oldest first.

        Args:
            key: the session.
            status: active ones, archived ones, or both where it is None.
            limit: how many, at most.
            offset: how many of the oldest to skip.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative.
            MessageError: a message can't be read by this version of LlamaIndex, or is about a
                local file that is gone.
        """
        start = offset or 0
        if start < 0 or (limit is not None and limit < 0):
            raise ValueError(f"limit and offset are 0 or more, not {limit} and {offset}")
        end = None if limit is None else start + limit
        if limit == 0:
            return []
        found = []
        memories = self._clients.for_running_loop().iterate(
            page_size=MAX_LIMIT if end is None else min(end, MAX_LIMIT),
            **self._matching(key, status),
        )
        async for memory in memories:
            found.append(memory)
            if len(found) == end:
                break
        return to_messages(found[start:])

    async def count_messages(self, key: str, status: MessageStatus | None = _ACTIVE) -> int:
        """How many messages a session has."""
        return await self._clients.for_running_loop().count(**self._matching(key, status))

    async def add_message(
        self, key: str, message: ChatMessage, status: MessageStatus = _ACTIVE
    ) -> None:
        """Append a message to a session; as `add_messages`."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: Sequence[ChatMessage], status: MessageStatus = _ACTIVE
    ) -> None:
        """Append messages to a session, in their order: all in one transaction, or none.

        More than 2,048 don't fit into one request and go in several, of which the first ones
        stay where a later one fails.

        Raises:
            MessageError: a message can't be stored and read back. Nothing was stored.
        """
        for batch in batches(self._items(key, messages, status)):
            await self._clients.for_running_loop().add_many(batch, atomic=True)

    async def set_messages(
        self, key: str, messages: Sequence[ChatMessage], status: MessageStatus = _ACTIVE
    ) -> None:
        """Replace all messages of a session, archived ones too, in one transaction.

        Beyond 2,048 the rest is appended, in further requests.

        Raises:
            MessageError: as `add_messages`; nothing was changed.
        """
        first, *rest = batches(self._items(key, messages, status)) if messages else [[]]
        client = self._clients.for_running_loop()
        await client.add_many(
            first,
            collection=self.collection,
            atomic=True,
            replacing=self._matching(key, None),
        )
        for batch in rest:
            await client.add_many(batch, atomic=True)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete one of a session's active messages.

        Args:
            key: the session.
            idx: its position in what `get_messages` answers, from 0.

        Returns:
            The message; None where there is none at that position.
        """
        if idx < 0:
            return None
        client = self._clients.for_running_loop()
        deleted = await client.pop(1, offset=idx, **self._matching(key, _ACTIVE))
        return next(iter(to_messages(deleted)), None)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete a session's messages: active ones, archived ones, or both.

        Nothing else of the session is deleted.
        """
        await self._clients.for_running_loop().delete_all(**self._matching(key, status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest n active messages of a session, 10,000 at most, and answer them.

        Of several callers at once, each message goes to one.
        """
        if n <= 0:
            return []
        client = self._clients.for_running_loop()
        return to_messages(await client.pop(n, **self._matching(key, _ACTIVE)))

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest n active messages of a session, 10,000 at most, and answer them."""
        if n <= 0:
            return []
        client = self._clients.for_running_loop()
        return to_messages(await client.archive(n, **self._matching(key, None)))

    async def get_keys(self) -> list[str]:
        """The sessions with messages of a chat store, active or archived ones, sorted."""
        sessions = self._clients.for_running_loop().sessions(
            filters=chat_messages(), collection=self.collection, **self._whose()
        )
        return [session.session_id async for session in sessions]

    def _whose(self) -> dict[str, Any]:
        return {"user_id": self.user_id, "agent_id": self.agent_id}

    def _matching(self, key: str, status: MessageStatus | None) -> dict[str, Any]:
        return {
            "filters": chat_messages(status),
            "session_id": key,
            "collection": self.collection,
            **self._whose(),
        }

    def _items(
        self, key: str, messages: Sequence[ChatMessage], status: MessageStatus
    ) -> list[Item]:
        place = {"session_id": key, "collection": self.collection, **self._whose()}
        # All are converted before the first is sent: one that can't be is found in time.
        return [to_item(one, status, searchable=self.searchable) | place for one in messages]
