"""What a classic LangChain chain recalls of other conversations."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from agentmem_client import AgentMemClient, AsyncAgentMemClient, F, Hit
from agentmem_client.filters import joined
from agentmem_client.models import MAX_LIMIT, Filters, ImportanceWeight, Mode, RecencyWeight
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from ._extras import needed_by
from ._messages import MESSAGES, from_memories
from ._recall import dated, distinct, not_among, search_limit
from ._window import Window

with needed_by("AgentMemRecallMemory", "classic"):
    from langchain_classic.base_memory import BaseMemory
    from langchain_classic.memory.utils import get_prompt_input_key

    from .memory import AgentMemMemory


class AgentMemRecallMemory(BaseMemory):
    """What was said in other conversations and bears on the chain's input, from AgentMem.

    ::

        talk = AgentMemMemory(session_id="trip-to-oslo", user_id="ann", input_key="input")
        recall = AgentMemRecallMemory(beside=talk)
        memory = AgentMemCombinedMemory(memories=[talk, recall])

    It searches the user's messages of all sessions for the input, and fills a variable of its own.
    What the prompt holds already is left out: the input, and what the memory that this one is
    ``beside`` puts there, which is the whole session or what is in its window. Without ``beside``,
    a session that is named is left out as a whole.

    It stores nothing, and `clear` deletes nothing, unless ``store`` is set: that is for a chain
    that has no other memory.

    Args:
        beside: the memory of the present conversation: its scope, collection and connection are
            taken.
        session_id: the present conversation, where no memory of it is given. This and the next
            seven are those of `AgentMemMemory`.
        user_id: whose memories to search.
        agent_id: as ``user_id``.
        collection: where to search.
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out.
        client: a ready client instead of the two.
        async_client: likewise, for the async methods.
        **fields: the attributes below.

    Raises:
        TypeError: ``beside`` stands with what it replaces, or with ``store``.
        ValueError: no user is named, and ``require_user`` is True.
        pydantic.ValidationError: an unknown field, one of the wrong type, or two that exclude each
            other.
        AgentMemError: a connection setting can't be right, or `InvalidFilter` the filter. Every
            method raises this class or one below it for what fails on the way.
    """

    model_config = ConfigDict(extra="forbid")

    memory_key: str = "recalled"
    """The prompt's variable."""
    input_key: str | None = None
    """Which input to look for (and to store), where a chain has several."""
    output_key: str | None = None
    """Which output to store, where a chain has several."""
    return_as: Literal["text", "messages", "documents"] = "text"
    """``"text"``: a line each, with its day: ``"(2026-05-08) Human: I sail."`` Best first."""
    k: int = Field(default=8, ge=1, le=MAX_LIMIT)
    """How many, at most; what says the same counts once."""
    filter: Filters = None
    """A condition on the metadata: a mapping, or built with `agentmem_client.F`."""
    mode: Mode | None = None
    """``"hybrid"`` (the server's default), ``"dense"`` (meaning) or ``"sparse"`` (keywords)."""
    alpha: float | None = Field(default=None, ge=0, le=1)
    """The vector's share in ``hybrid``: 0 keywords alone, 1 vectors alone."""
    min_score: float | None = None
    """Leave out what scores below; what a score means depends on the mode."""
    recency: RecencyWeight | None = None
    """Prefer what is of late."""
    importance: ImportanceWeight | None = None
    """Prefer what is important."""
    messages_only: bool = True
    """False: recall the user's other memories too, such as facts."""
    include_session: bool | None = None
    """True: search all of the present session too; False: nothing of it. Left out: what of it no
    other memory puts into the prompt."""
    require_user: bool = True
    """False: no user has to be named; without one, everybody's messages are recalled, or those of
    the user whom the API key is bound to."""
    store: bool = False
    """Store each turn, as `AgentMemMemory` does; `clear` then deletes the session's messages."""

    _beside: AgentMemMemory | None = PrivateAttr()
    _talk: AgentMemMemory = PrivateAttr()
    _session_named: bool = PrivateAttr()

    def __init__(
        self,
        *,
        beside: AgentMemMemory | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        collection: str | None = None,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        **fields: Any,
    ) -> None:
        own = (session_id, user_id, agent_id, collection, api_url, api_key, client, async_client)
        if beside is not None and any(value is not None for value in own):
            raise TypeError("beside has its scope and connection already: give it, or the others")
        super().__init__(**fields)
        if beside is not None and self.store:
            raise TypeError("the memory that this one is beside stores the turns: leave store out")
        self._beside = beside
        self._session_named = session_id is not None
        self._talk = beside or AgentMemMemory(
            session_id=session_id,
            user_id=user_id,
            agent_id=agent_id,
            collection=collection,
            api_url=api_url,
            api_key=api_key,
            client=client,
            async_client=async_client,
            memory_key=self.memory_key,
            input_key=self.input_key,
            output_key=self.output_key,
        )
        if self.require_user and self._talk.chat_memory._place["user_id"] is None:
            raise ValueError(
                "whose messages shall be recalled? Give user_id (or a memory to be beside that has "
                "one), or require_user=False for everybody's that the API key opens"
            )

    @model_validator(mode="after")
    def _check_messages(self) -> Self:
        if self.return_as == "messages" and not self.messages_only:
            raise ValueError("not every memory is a message: return text or documents")
        return self

    @property
    def memory_variables(self) -> list[str]:
        """The prompt's variables that this memory fills: `memory_key` alone."""
        return [self.memory_key]

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What is recalled for the input, best first: ``{memory_key: str}``, or a list.

        Args:
            inputs: of the chain.

        Raises:
            ValueError: there are several inputs, and no ``input_key``.
            TypeError: the input is no text.
        """
        history, window, query = self._talk.chat_memory, self._window, self._query(inputs)
        if not query.strip():
            return self._variables([])
        prompt = [] if window is None else history.read_back(window)
        return self._variables(history._clients.sync.search(**self._request(query, prompt)))

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As `load_memory_variables`."""
        history, window, query = self._talk.chat_memory, self._window, self._query(inputs)
        if not query.strip():
            return self._variables([])
        prompt = [] if window is None else await history.aread_back(window)
        client = history._clients.for_running_loop()
        return self._variables(await client.search(**self._request(query, prompt)))

    def save_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Store the turn in one transaction where ``store`` is set, else nothing."""
        if self.store:
            self._talk.save_context(inputs, outputs)

    async def asave_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """As `save_context`."""
        if self.store:
            await self._talk.asave_context(inputs, outputs)

    def clear(self) -> None:
        """Delete the session's messages where ``store`` is set, else nothing."""
        if self.store:
            self._talk.clear()

    async def aclear(self) -> None:
        """As `clear`."""
        if self.store:
            await self._talk.aclear()

    @property
    def _window(self) -> Window | None:
        """The window whose messages are left out one by one, where there is one."""
        beside = self._beside if self.include_session is None else None
        return None if beside is None else beside.window

    @property
    def _without_session(self) -> bool:
        if self.include_session is not None:
            return not self.include_session
        if self._beside is not None:
            return self._beside.window is None
        return self._session_named and not self.store

    def _query(self, inputs: dict[str, Any]) -> str:
        key = self.input_key or get_prompt_input_key(inputs, self.memory_variables)
        if not isinstance(inputs[key], str):
            raise TypeError(
                f"the input {key!r} is looked for, and so must be text, "
                f"not {type(inputs[key]).__name__}"
            )
        return str(inputs[key])

    def _request(self, query: str, prompt: Sequence[BaseMessage]) -> dict[str, Any]:
        history = self._talk.chat_memory
        elsewhere = F("@session_id") != history.session_id if self._without_session else None
        return {
            "query": query,
            "limit": search_limit(self.k),
            "filters": joined(
                MESSAGES if self.messages_only else None,
                elsewhere,
                not_among([*prompt, HumanMessage(query)]),
                self.filter,
            ),
            "mode": self.mode,
            "alpha": self.alpha,
            "min_score": self.min_score,
            "recency": self.recency,
            "importance": self.importance,
            **history._place,
        }

    def _variables(self, found: Sequence[Hit]) -> dict[str, Any]:
        hits = distinct(found, self.k)
        match self.return_as:
            case "text":
                recalled: Any = "\n".join(map(dated, hits))
            case "messages":
                recalled = from_memories(hits)
            case "documents":
                recalled = [
                    Document(page_content=hit.content, id=hit.id, metadata=hit.metadata)
                    for hit in hits
                ]
        return {self.memory_key: recalled}
