"""A retriever over memories."""

from collections.abc import Sequence
from typing import Any, Self

from agentmem_client import DEFAULT_COLLECTION, AgentMemClient, AsyncAgentMemClient, ClientPair
from agentmem_client import Filters as FilterInput
from agentmem_client.filters import joined
from agentmem_client.models import Filters, ImportanceWeight, Mode, RecencyWeight
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from ._documents import scored
from ._search import RANKING, given


class AgentMemRetriever(BaseRetriever):
    """Finds memories, as documents.

    ::

        retriever = AgentMemRetriever(user_id="ann", k=8, filter={"topic": "pets"})
        documents = retriever.invoke("What is the cat's name?")
        documents = retriever.invoke("And the dog's?", k=2, filter=F("year") >= 2025)

    A document's ``id``, ``page_content`` and ``metadata`` are the memory's, exactly as stored.
    The score is not among them; `search_with_score` gives it.

    A call may set ``k``, ``filter``, ``mode``, ``alpha``, ``min_score``, ``recency`` and
    ``importance`` by keyword. Its filter is joined to the retriever's own with "and": a call
    narrows what the retriever may find and never widens it. A record field works in a filter too:
    ``filter={"@type": "semantic"}``.

    Raises:
        pydantic.ValidationError: an unknown field, or one of the wrong type.
        AgentMemError: a connection setting can't be right, or `InvalidFilter` the filter.
    """

    model_config = ConfigDict(extra="forbid")

    k: int = Field(default=4, ge=1)
    """How many documents, at most; there are as many as the filter admits."""
    filter: Filters = None
    """A condition on the metadata: a mapping, or built with `agentmem_client.F`."""
    mode: Mode | None = None
    """``"hybrid"`` (the server's default), ``"dense"`` (meaning) or ``"sparse"`` (keywords)."""
    alpha: float | None = Field(default=None, ge=0, le=1)
    """The vector's share in ``hybrid``: 0 keywords alone, 1 vectors alone."""
    min_score: float | None = None
    """Leave out what scores below; what a score means depends on the mode."""
    recency: RecencyWeight | None = None
    """Prefer what is of late; a mapping such as ``{"weight": 0.2, "half_life": 604_800}`` will
    do."""
    importance: ImportanceWeight | None = None
    """Prefer what is important, such as ``{"weight": 0.1}``."""
    collection: str = DEFAULT_COLLECTION
    """Where to search; its embedder must be the server."""
    user_id: str | None = None
    """Only this user's memories; left out, everybody's. Likewise the next two."""
    agent_id: str | None = None
    session_id: str | None = None
    api_url: str | Sequence[str] | None = None
    """Where the server is, or several that share a database are; from ``AGENTMEM_API_URL`` where
    left out."""
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """From ``AGENTMEM_API_KEY`` where left out; shown in no repr and no dump."""
    client: AgentMemClient | None = Field(default=None, exclude=True, repr=False)
    """A ready client instead of the two."""
    async_client: AsyncAgentMemClient | None = Field(default=None, exclude=True, repr=False)
    """Likewise, for the async methods."""

    _clients: ClientPair = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Prepare the connection, once the fields are checked."""
        super().model_post_init(context)
        self._clients = ClientPair(
            self.api_url, self.api_key, client=self.client, async_client=self.async_client
        )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Connections can't be copied; a copy goes on sharing ready clients."""
        memo = {} if memo is None else memo
        memo |= {id(one): one for one in (self.client, self.async_client) if one is not None}
        return super().__deepcopy__(memo)

    def search_with_score(
        self,
        query: str,
        *,
        k: int | None = None,
        filter: FilterInput | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """The documents that fit best with their scores, best first.

        Args:
            query: what to look for.
            k: how many, instead of the retriever's.
            filter: a further condition.
            **options: ``mode``, ``alpha``, ``min_score``, ``recency`` and ``importance``, instead
                of the retriever's.

        Raises:
            TypeError: an option that there is not.
            AgentMemError: what fails on the way; `InvalidFilter`, `InvalidRequest` and others.
        """
        request = self._request(k, filter, options)
        return scored(self._clients.sync.search(query, **request))

    async def asearch_with_score(
        self,
        query: str,
        *,
        k: int | None = None,
        filter: FilterInput | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """As `search_with_score`."""
        request = self._request(k, filter, options)
        return scored(await self._clients.for_running_loop().search(query, **request))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterInput | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        found = self.search_with_score(query, k=k, filter=filter, **kwargs)
        return [document for document, _ in found]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: FilterInput | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        found = await self.asearch_with_score(query, k=k, filter=filter, **kwargs)
        return [document for document, _ in found]

    def _request(
        self, k: int | None, extra_filter: FilterInput | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in RANKING}
        return {
            "limit": self.k if k is None else k,
            "filters": joined(self.filter, extra_filter),
            "collection": self.collection,
            "user_id": self.user_id,
            "agent_id": self.agent_id,
            "session_id": self.session_id,
            **own,
            **given(options, RANKING, ("k", "filter")),
        }
