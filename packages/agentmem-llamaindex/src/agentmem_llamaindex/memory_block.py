"""A LlamaIndex memory block on an AgentMem server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from agentmem_client import DEFAULT_COLLECTION, AgentMemClient, AsyncAgentMemClient
from agentmem_client.models import Filters, ImportanceWeight, Mode, RecencyWeight
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock
from llama_index.core.utils import get_tokenizer
from pydantic import BeforeValidator, Field, SecretStr

from ._connection import Connected
from ._messages import batches
from ._recall import Tokenizer, as_text, given_filter, question, recallable, shortened, to_items

MEMORY_TAG = "memory"
"""What LlamaIndex's `Memory` puts around what all blocks recall."""


class AgentMemMemoryBlock(Connected, BaseMemoryBlock[str]):
    """Long-term memory of a conversation: keeps what leaves it, recalls what fits the question.

    ::

        block = AgentMemMemoryBlock(api_url="http://localhost:8080", user_id="ann")
        memory = Memory.from_defaults(session_id="trip-to-oslo", memory_blocks=[block])

    Messages that leave the short-term memory become memories of the user and the session, one
    for each message that has text (``"User: I sail on cold lakes."``). A message that is given
    twice is one memory. For each prompt the block recalls what fits what the user said last, best
    first: its own messages, and everything else that is known of the user, such as facts that
    other clients stored. The messages of an `AgentMemChatStore` are not recalled: those of the
    conversation are in the prompt anyway.

    The connection's settings are no fields: ``api_key`` (from ``AGENTMEM_API_KEY`` where left
    out), or ready clients as ``client``, whose settings are taken, and ``async_client``.

    Raises:
        pydantic.ValidationError: an unknown field, or one of the wrong type.
        AgentMemError: a connection setting can't be right, or `InvalidFilter` the filters. Every
            method raises this class or one below it for what fails on the way.
    """

    name: str = "RecalledMemories"
    """What the model reads around the memories, as an XML tag; each block needs one of its own."""
    description: str | None = "What is known from earlier conversations."
    priority: int = 1
    """0: never shortened where the prompt gets too long; see `Memory` for the order of others."""
    similarity_top_k: int = Field(default=5, ge=1, le=1_000)
    """How many memories to recall, at most."""
    filters: Annotated[Filters, BeforeValidator(given_filter)] = None
    """Recall only what these admit: LlamaIndex's `MetadataFilters`, or AgentMem's as a mapping or
    built with `agentmem_client.F`, which also know record fields (``{"@type": "semantic"}``)."""
    min_score: float | None = None
    """Leave out what scores below; what a score means depends on the mode."""
    mode: Mode | None = None
    """``"hybrid"`` (the server's default), ``"dense"`` (meaning) or ``"sparse"`` (keywords)."""
    recency: RecencyWeight | None = None
    """Prefer what is of late; a mapping such as ``{"weight": 0.2, "half_life": 604_800}`` will
    do."""
    importance: ImportanceWeight | None = None
    """Prefer what is important, such as ``{"weight": 0.1}``."""
    collection: str = DEFAULT_COLLECTION
    """Where the memories are; its embedder must be the server."""
    user_id: str | None = None
    """Whose memories: written with each, and restricting what is recalled."""
    agent_id: str | None = None
    """As ``user_id``."""
    across_sessions: bool | None = None
    """Whether to recall from other sessions too. Left out: where there is a ``user_id``; without
    one, the other sessions may be other people's."""
    tokenizer_fn: Tokenizer | None = Field(default=None, exclude=True, repr=False)
    """Counts tokens; LlamaIndex's global one where left out."""

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

    async def _aget(
        self,
        messages: list[ChatMessage] | None = None,
        session_id: str | None = None,
        **block_kwargs: Any,
    ) -> str:
        """Recall what fits the latest words of the user.

        Args:
            messages: the conversation.
            session_id: which one it is, as `Memory` gives it.
            block_kwargs: of other blocks.

        Returns:
            A line for each memory, best first; an empty text where there is none.

        Raises:
            ValueError: neither ``user_id`` nor a session says whose memories to recall.
        """
        query = question(messages or [])
        if query is None:
            return ""
        hits = await self._clients.for_running_loop().search(query, **self._among(session_id))
        return as_text(hits, tags=(MEMORY_TAG, self.name))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Store the messages that have text: all in one transaction, or none."""
        now = datetime.now(UTC)
        items = to_items(messages, user_id=self.user_id, agent_id=self.agent_id, now=now)
        for batch in batches(items):
            await self._clients.for_running_loop().add_many(
                batch, collection=self.collection, atomic=True
            )

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """The best memories that are left when so many tokens go; None where none is."""
        if not content:  # LlamaIndex asks even where nothing was recalled, and gives a list
            return None
        tokenizer = self.tokenizer_fn or get_tokenizer()
        return shortened(content, len(tokenizer(content)) - tokens_to_truncate, tokenizer)

    def _among(self, session_id: str | None) -> dict[str, Any]:
        """The arguments of a search, beside what to look for."""
        across = self.user_id is not None if self.across_sessions is None else self.across_sessions
        if not across and session_id is None:
            raise ValueError(
                "whose memories shall be recalled? Give user_id, or across_sessions=True for "
                "everybody's, or use the block in a Memory, which has a session"
            )
        return {
            "limit": self.similarity_top_k,
            "filters": recallable(self.filters),
            "min_score": self.min_score,
            "mode": self.mode,
            "recency": self.recency,
            "importance": self.importance,
            "collection": self.collection,
            "user_id": self.user_id,
            "agent_id": self.agent_id,
            "session_id": None if across else session_id,
        }
