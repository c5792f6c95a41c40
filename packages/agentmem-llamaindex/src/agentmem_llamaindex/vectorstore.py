"""A LlamaIndex vector store on an AgentMem server."""

from collections.abc import Sequence
from typing import Any

from agentmem_client import AgentMemClient, AsyncAgentMemClient, F, stored_ids
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from pydantic import SecretStr

from ._connection import Connected
from ._convert import found, listed, to_items, to_nodes
from ._filters import REF_DOC_ID, slices, to_criteria
from ._query import Listing, plan

DEFAULT_COLLECTION = "llamaindex"
"""Not the server's own ``default``, where the server embeds: here the vectors are the index's."""


class AgentMemVectorStore(Connected, BasePydanticVectorStore):
    """Keeps the nodes of an index, with text, metadata and vectors, on an AgentMem server.

    ::

        store = AgentMemVectorStore(api_url="http://localhost:8080", collection="handbook")
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex.from_documents(documents, storage_context=context)

        index = VectorStoreIndex.from_vector_store(store)  # later, in another process

    The vectors are those of the index's ``embed_model``; the first write makes the collection,
    for vectors of that dimension, compared by cosine. What `add` has answered is on disk, and
    every query sees it. Each method has an async twin that does the same without a thread.

    The query modes are ``default``, ``hybrid`` (``alpha`` from 0, keywords, to 1, vectors),
    ``text_search`` and ``sparse`` (keywords; ``sparse_top_k``), and ``mmr`` (``mmr_threshold``,
    ``mmr_prefetch_k`` or ``mmr_prefetch_factor``). A query with neither text nor vector answers
    the nodes that its filters admit. Every filter operator and every nesting works.

    Args:
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out, else ``http://localhost:8080``.
        api_key: from ``AGENTMEM_API_KEY`` where left out. It is no field: neither `dict`, `json`
            nor a pickle has it, so a store that is loaded again takes the environment's.
        collection: where the nodes are kept; one for each embedding model.
        client: a ready client for the sync methods, in place of ``api_url`` and ``api_key``.
        async_client: likewise for the async ones.

    Raises:
        AgentMemError: when a setting can't be right, or is given beside a ready client. The
            methods raise its subclasses, as the clients do.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = False
    collection: str = DEFAULT_COLLECTION

    def __init__(
        self,
        *,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        collection: str = DEFAULT_COLLECTION,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(
            api_url=api_url,
            api_key=api_key,
            client=client,
            async_client=async_client,
            collection=collection,
            **fields,
        )

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in what LlamaIndex serialises."""
        return "AgentMemVectorStore"

    @property
    def client(self) -> AgentMemClient:
        """The client of the sync methods."""
        return self._clients.sync

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes; one whose id is known is replaced.

        Args:
            nodes: any number, each with its embedding.
            kwargs: of other stores; nothing here depends on one.

        Returns:
            The ids of the nodes, in their order.

        Raises:
            NotAllStored: some failed, with ids and reasons; all the others are stored.
            ValueError: a node has no embedding; nothing was stored.
        """
        items = to_items(nodes)
        return stored_ids(self._clients.sync.add_many(items, collection=self.collection))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        items = to_items(nodes)
        client = self._clients.for_running_loop()
        return stored_ids(await client.add_many(items, collection=self.collection))

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a document; there may be none."""
        condition = F(REF_DOC_ID) == ref_doc_id
        self._clients.sync.delete_all(filters=condition, collection=self.collection)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        condition = F(REF_DOC_ID) == ref_doc_id
        client = self._clients.for_running_loop()
        await client.delete_all(filters=condition, collection=self.collection)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that fit best, best first.

        Args:
            query: in any mode but the learners' and ``semantic_hybrid``. Without text and vector
                it answers the nodes that its filters admit, with similarity 1, in the order in
                which they were first stored.
            kwargs: for the mode ``mmr``: ``mmr_threshold`` (1: relevance alone, 0: diversity
                alone), and ``mmr_prefetch_k`` or ``mmr_prefetch_factor`` for how many of the best
                nodes, or how many times the wanted ones, it chooses from. For every mode:
                ``recency`` (``{"weight": 0.2, "half_life": 604_800}``) and ``importance``
                (``{"weight": 0.1}``) prefer what is of late and what is important.

        Returns:
            Nodes, similarities and ids. A similarity is the cosine in -1..1 in the modes
            ``default`` and ``mmr`` (unless the collection was made with another metric), BM25
            above 0 in ``text_search`` and ``sparse``, and 0..1 within this answer in ``hybrid``.

        Raises:
            ValueError: the mode is not offered or lacks what it needs, or more than 1,000 nodes
                are wanted.
            TypeError: an unknown keyword.
            InvalidFilter: an operator and its value can't go together.
        """
        request = plan(query, kwargs)
        client = self._clients.sync
        if isinstance(request, Listing):
            page = client.list(
                limit=request.limit,
                filters=request.filters,
                include_total=False,
                collection=self.collection,
            )
            return listed(page.memories)
        return found(client.search(**request, collection=self.collection))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        request = plan(query, kwargs)
        client = self._clients.for_running_loop()
        if isinstance(request, Listing):
            page = await client.list(
                limit=request.limit,
                filters=request.filters,
                include_total=False,
                collection=self.collection,
            )
            return listed(page.memories)
        return found(await client.search(**request, collection=self.collection))

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Nodes with their embeddings, by ids and filters; all of them where neither is given.

        Args:
            node_ids: only these, missing ones skipped; an empty list answers none.
            filters: only those that they admit.

        Returns:
            With ids alone, in the order of the ids; otherwise in the order of storing.

        Raises:
            InvalidFilter: an operator and its value can't go together.
        """
        client = self._clients.sync
        if node_ids is not None and filters is None:
            return to_nodes(
                client.get_many(node_ids, collection=self.collection, include_embeddings=True)
            )
        return to_nodes(
            memory
            for part in slices(node_ids, filters)
            for memory in client.iterate(
                filters=part, collection=self.collection, include_embeddings=True
            )
        )

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        client = self._clients.for_running_loop()
        if node_ids is not None and filters is None:
            return to_nodes(
                await client.get_many(node_ids, collection=self.collection, include_embeddings=True)
            )
        return to_nodes(
            [
                memory
                for part in slices(node_ids, filters)
                async for memory in client.iterate(
                    filters=part, collection=self.collection, include_embeddings=True
                )
            ]
        )

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete the nodes that have one of the ids, where given, and that the filters admit.

        With neither, or an empty one, nothing is deleted; `clear` deletes everything.

        Raises:
            InvalidFilter: an operator and its value can't go together.
        """
        if criteria := to_criteria(node_ids, filters):
            self._clients.sync.delete_all(**criteria, collection=self.collection)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`."""
        if criteria := to_criteria(node_ids, filters):
            client = self._clients.for_running_loop()
            await client.delete_all(**criteria, collection=self.collection)

    def clear(self) -> None:
        """Delete all nodes; the collection stays, with its dimension."""
        self._clients.sync.delete_all(everything=True, collection=self.collection)

    async def aclear(self) -> None:
        """As `clear`."""
        client = self._clients.for_running_loop()
        await client.delete_all(everything=True, collection=self.collection)
