"""Tools with which a model remembers, searches and forgets."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from agentmem_client import (
    DEFAULT_COLLECTION,
    AgentMemClient,
    AsyncAgentMemClient,
    ClientPair,
    Filter,
    Filters,
    Hit,
    InvalidRequest,
    Memory,
)
from agentmem_client.errors import shown
from agentmem_client.filters import joined, parse
from agentmem_client.json_values import check_text
from agentmem_client.models import Name
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from ._documents import to_documents
from ._messages import MESSAGES

_REMEMBER = """\
Store something worth knowing in later conversations: a fact, a preference, a decision, an event. \
Write one complete sentence that can be understood alone: with names instead of "he" or "it", and \
dates instead of "yesterday". Don't store what search_memory finds already. Answers the id of the \
new memory."""
_SEARCH_MEMORY = """\
Look for what was remembered in earlier conversations. Use it before you answer what may depend on \
them. Answers the memories that fit best, best first, one JSON object a line with its id, its \
content, and the day it was stored or happened; judge yourself whether they fit."""
_FORGET = """\
Delete one memory for good, by the id that search_memory or remember answered. Use it when a \
memory is wrong or no longer true, or when you are asked to forget it. To correct one, remember \
what is right and forget what was wrong."""


ScopeId: TypeAlias = str | Callable[[RunnableConfig], str] | None
"""Part of a scope: fixed, found out for each call, or None, which does not restrict."""

_Words: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(check_text)]


class _Arguments(BaseModel):
    # What a model makes up beside them is told to it, not ignored: it may have meant a scope.
    model_config = ConfigDict(extra="forbid")


class _RememberArguments(_Arguments):
    content: _Words = Field(
        description="What to remember: one complete sentence that can be understood alone."
    )


class _SearchArguments(_Arguments):
    query: _Words = Field(
        description="What to look for: a question, or the words that such a memory would have."
    )


class _ForgetArguments(_Arguments):
    memory_id: Name = Field(description="The id of the memory.")


def get_memory_tools(
    *,
    user_id: ScopeId,
    agent_id: ScopeId = None,
    session_id: ScopeId = None,
    filter: Filters | None = None,
    metadata: Mapping[str, Any] | None = None,
    k: int = 5,
    collection: str = DEFAULT_COLLECTION,
    api_url: str | Sequence[str] | None = None,
    api_key: str | SecretStr | None = None,
    client: AgentMemClient | None = None,
    async_client: AsyncAgentMemClient | None = None,
) -> list[BaseTool]:
    """The tools ``remember``, ``search_memory`` and ``forget``, for one scope.

    ::

        agent = create_agent(model, tools=get_memory_tools(user_id="ann"))

    One agent for many users takes the user from each run, by a function of its configuration::

        def user(config: RunnableConfig) -> str:
            return config["configurable"]["user_id"]

        agent = create_agent(model, tools=get_memory_tools(user_id=user))

    The scope and the filter are yours: no argument of a tool reaches beyond them. What a tool can't
    find it can't forget either, and what it remembers is always a new memory, so that a model that
    guesses an id harms nobody. The messages of a chat history stay out: a history is complete, and
    a retriever searches it.

    What the model can act on (an argument is missing, an id is unknown) is answered to it as a
    tool message with the status ``error``. All else (no server, a wrong key, a collection whose
    embedder is the caller) is raised in the loop that runs the tools, as an `AgentMemError`.

    Args:
        user_id: whose memories, or a function that finds it out for each call; one that finds
            nothing is an error. None does not restrict: all users' memories can be found and
            forgotten, which is right for an agent with one user alone, and where the API key is
            bound to a user.
        agent_id: as ``user_id``.
        session_id: as ``user_id``.
        filter: what the tools may find and forget: a condition on the metadata or record fields.
        metadata: stored with what is remembered; where there is a ``filter``, make it fit.
        k: how many memories a search answers, at most.
        collection: where the memories are; its embedder must be the server.
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out; shown in no repr.
        client: a ready client instead of the two.
        async_client: likewise, for the async half.

    Returns:
        Three tools. The message of ``search_memory`` has the documents found as its ``artifact``.

    Raises:
        AgentMemError: a connection setting can't be right, or `InvalidFilter` the filter.
    """
    memory = _Memory(
        clients=ClientPair(api_url, api_key, client=client, async_client=async_client),
        scope={"user_id": user_id, "agent_id": agent_id, "session_id": session_id},
        admitted=joined(parse({"$not": MESSAGES}), filter),
        metadata=None if metadata is None else dict(metadata),
        k=k,
        collection=collection,
    )
    return [
        StructuredTool(
            name="remember",
            description=_REMEMBER,
            args_schema=_RememberArguments,
            func=memory.remember,
            coroutine=memory.aremember,
            handle_validation_error=_wrong_arguments,
        ),
        StructuredTool(
            name="search_memory",
            description=_SEARCH_MEMORY,
            args_schema=_SearchArguments,
            func=memory.search,
            coroutine=memory.asearch,
            response_format="content_and_artifact",
            handle_validation_error=_wrong_arguments,
        ),
        StructuredTool(
            name="forget",
            description=_FORGET,
            args_schema=_ForgetArguments,
            func=memory.forget,
            coroutine=memory.aforget,
            handle_validation_error=_wrong_arguments,
            handle_tool_error=True,
        ),
    ]


class _Memory:
    """What the tools do."""

    def __init__(
        self,
        *,
        clients: ClientPair,
        scope: Mapping[str, ScopeId],
        admitted: Filter | None,
        metadata: dict[str, Any] | None,
        k: int,
        collection: str,
    ) -> None:
        self._clients = clients
        self._scope = scope
        self._admitted = admitted
        self._metadata = metadata
        self._k = k
        self._collection = collection

    def remember(self, content: str, config: RunnableConfig) -> str:
        return _remembered(self._clients.sync.add(content, **self._adding(config)))

    async def aremember(self, content: str, config: RunnableConfig) -> str:
        client = self._clients.for_running_loop()
        return _remembered(await client.add(content, **self._adding(config)))

    def search(self, query: str, config: RunnableConfig) -> tuple[str, list[Document]]:
        return _answer(self._clients.sync.search(query, **self._searching(config)))

    async def asearch(self, query: str, config: RunnableConfig) -> tuple[str, list[Document]]:
        client = self._clients.for_running_loop()
        return _answer(await client.search(query, **self._searching(config)))

    def forget(self, memory_id: str, config: RunnableConfig) -> str:
        deleted = self._clients.sync.delete_all(**self._deleting(memory_id, config))
        return _forgot(memory_id, deleted)

    async def aforget(self, memory_id: str, config: RunnableConfig) -> str:
        client = self._clients.for_running_loop()
        return _forgot(memory_id, await client.delete_all(**self._deleting(memory_id, config)))

    def _adding(self, config: RunnableConfig) -> dict[str, Any]:
        return {"metadata": self._metadata, **self._place(config)}

    def _searching(self, config: RunnableConfig) -> dict[str, Any]:
        return {"limit": self._k, "filters": self._admitted, **self._place(config)}

    def _deleting(self, memory_id: str, config: RunnableConfig) -> dict[str, Any]:
        # Not the deletion of one memory, which asks for no more than its id.
        return {"ids": [memory_id], "filters": self._admitted, **self._place(config)}

    def _place(self, config: RunnableConfig) -> dict[str, Any]:
        scope = {name: _found(name, given, config) for name, given in self._scope.items()}
        return {**scope, "collection": self._collection}


def _found(name: str, given: ScopeId, config: RunnableConfig) -> str | None:
    if not callable(given):
        return given
    found = given(config)
    if not found:  # None would mean everybody's
        raise InvalidRequest(f"the function of the tools' {name} found none in this run")
    return found


def _remembered(memory: Memory) -> str:
    return f"Remembered, with the id {memory.id}"


def _answer(hits: Sequence[Hit]) -> tuple[str, list[Document]]:
    # JSON, so that no content can look like another memory.
    lines = [json.dumps(_shown(hit), ensure_ascii=False) for hit in hits]
    return "\n".join(lines) or "There are no memories yet.", to_documents(hits)


def _shown(hit: Hit) -> dict[str, str]:
    happened = {} if hit.event_at is None else {"happened": hit.event_at.date().isoformat()}
    stored = {"stored": hit.created_at.date().isoformat()}
    return {"id": hit.id, "content": hit.content, **happened, **stored}


def _forgot(memory_id: str, deleted: int) -> str:
    if not deleted:
        raise ToolException(
            f"There is no memory with the id {shown(memory_id)}: search_memory answers the ids."
        )
    return f"Forgot the memory {memory_id}"


def _wrong_arguments(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        raise error
    problems = [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return f"Nothing was done, for the arguments are wrong. {'; '.join(problems)}"
