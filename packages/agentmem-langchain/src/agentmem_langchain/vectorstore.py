"""A LangChain vector store on an AgentMem server."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ClientPair,
    Filters,
    Hit,
    NotFound,
    stored_ids,
)
from agentmem_client.models import Metric
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from pydantic import SecretStr

from ._documents import (
    columns,
    scored,
    text_batches,
    to_documents,
    to_items,
    with_vectors,
    within,
)
from ._search import embeds_text, relevance, require_dense, similar_to, to_delete

DOCUMENTS = "langchain"
"""Not the server's own ``default``, which holds what agents remember and say."""


class AgentMemVectorStore(VectorStore):
    """Keeps documents, with their metadata and vectors, on an AgentMem server.

    ::

        store = AgentMemVectorStore(collection="handbook")
        store.add_documents([Document("Mia is a cat.", metadata={"topic": "pets"})])
        store.similarity_search("feline", k=2, filter=F("topic") == "pets")

    Without ``embedding`` the server embeds. With it, every vector is made by it and travels to
    the server. A collection embeds in one way: the first write to it says in which one, and
    another is refused. It also compares by cosine; for another metric make it beforehand, with
    `AgentMemClient.create_collection`.

    What an add has answered is on disk, and every search sees it. A document's id, text and
    metadata come back exactly. Ids are unique in a collection, whatever the scope: a document with
    a known id replaces that one.

    **Modes and scores.** A search is ``dense`` unless a call says ``mode="hybrid"`` or
    ``"sparse"``: it compares vectors alone, as every vector store does. Scores are similarities,
    larger is better: in ``dense`` the cosine in -1..1 (or the inner product, or
    ``1 / (1 + distance)``, by the collection's metric), in ``hybrid`` 0..1 within this answer, in
    ``sparse`` BM25 above 0. ``hybrid`` finds the most; its scores can't be compared between
    answers, so that relevance scores, which can, are those of ``dense``.

    Args:
        embedding: makes the vectors; left out, the server does.
        collection: where the documents are.
        user_id: whose documents: written with each, and restricting what is found, read and
            deleted. Left out, it does not restrict. Likewise the next two.
        agent_id: as ``user_id``.
        session_id: as ``user_id``.
        relevance_score_fn: from a dense score to 0..1, where the metric's own does not fit.
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
        embedding: Embeddings | None = None,
        *,
        collection: str = DOCUMENTS,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        relevance_score_fn: Callable[[float], float] | None = None,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
    ) -> None:
        self.collection = collection
        self._embedding = embedding
        self._scope: dict[str, Any] = {
            "user_id": user_id,
            "agent_id": agent_id,
            "session_id": session_id,
        }
        self._relevance_score_fn = relevance_score_fn
        self._metric: Metric | None = None
        self._clients = ClientPair(api_url, api_key, client=client, async_client=async_client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(collection={self.collection!r})"

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes the vectors; None where the server does."""
        return self._embedding

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts added to it.

        Args:
            texts: as in `add_texts`.
            embedding: as for the class.
            metadatas: as in `add_texts`.
            ids: likewise.
            **kwargs: as for the class.
        """
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """As `from_texts`."""
        store = cls(embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    def from_documents(
        cls,
        documents: list[Document],
        embedding: Embeddings | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """As `from_texts`, of documents; ``ids`` go before their own."""
        store = cls(embedding, **kwargs)
        store.add_documents(documents, ids=ids)
        return store

    @classmethod
    async def afrom_documents(
        cls,
        documents: list[Document],
        embedding: Embeddings | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """As `from_documents`."""
        store = cls(embedding, **kwargs)
        await store.aadd_documents(documents, ids=ids)
        return store

    def add_texts(  # type: ignore[override]  # an option that the base lets pass is an error here
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Store texts; one whose id is known replaces what was there.

        Args:
            texts: any number.
            metadatas: one for each, JSON.
            ids: one for each, any string; None is a new one.
            batch_size: how many texts ``embedding`` is given at a time; left out, all of them.

        Returns:
            The ids, in the order of the texts.

        Raises:
            NotAllStored: some failed, with ids and reasons; all the others are stored.
            ValueError: ``texts`` is one text, or the numbers of texts, metadatas, ids or vectors
                differ. Nothing was stored.
        """
        items = to_items(texts, metadatas, ids, self._scope)
        batches = text_batches(items, batch_size)
        if self._embedding is not None:
            vectors = [self._embedding.embed_documents(batch) for batch in batches]
            items = with_vectors(items, vectors)
        return stored_ids(self._clients.sync.add_many(items, collection=self.collection))

    async def aadd_texts(  # type: ignore[override]  # as above
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """As `add_texts`."""
        items = to_items(texts, metadatas, ids, self._scope)
        batches = text_batches(items, batch_size)
        if self._embedding is not None:
            vectors = [await self._embedding.aembed_documents(batch) for batch in batches]
            items = with_vectors(items, vectors)
        client = self._clients.for_running_loop()
        return stored_ids(await client.add_many(items, collection=self.collection))

    def add_documents(  # type: ignore[override]  # as above
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Store documents; one whose id is known replaces what was there.

        Args:
            documents: each with an id or without; they are not changed.
            ids: instead of the documents' own.
            batch_size: as in `add_texts`, and so is the rest.
        """
        texts, metadatas, own_ids = columns(documents)
        ids = own_ids if ids is None else ids
        return self.add_texts(texts, metadatas, ids=ids, batch_size=batch_size)

    async def aadd_documents(  # type: ignore[override]  # as above
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """As `add_documents`."""
        texts, metadatas, own_ids = columns(documents)
        ids = own_ids if ids is None else ids
        return await self.aadd_texts(texts, metadatas, ids=ids, batch_size=batch_size)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in their order; what is not in the scope is missing."""
        found = self._clients.sync.get_many(ids, collection=self.collection)
        return to_documents(within(found, self._scope))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`."""
        client = self._clients.for_running_loop()
        return to_documents(
            within(await client.get_many(ids, collection=self.collection), self._scope)
        )

    def delete(  # type: ignore[override]  # as above
        self,
        ids: list[str] | None = None,
        *,
        filter: Filters | None = None,
        everything: bool = False,
    ) -> bool:
        """Delete the documents that meet every criterion given; there may be none.

        Args:
            ids: only these; an empty list deletes nothing.
            filter: only those that it admits.
            everything: True, and no other criterion: all documents of the scope.

        Returns:
            True; False where no criterion was given, and so nothing was deleted.

        Raises:
            ValueError: ``everything`` stands beside another criterion.
        """
        criteria = to_delete(ids, filter, everything, self._scope)
        if criteria:
            self._clients.sync.delete_all(**criteria, collection=self.collection)
        return bool(criteria)

    async def adelete(  # type: ignore[override]  # as above
        self,
        ids: list[str] | None = None,
        *,
        filter: Filters | None = None,
        everything: bool = False,
    ) -> bool:
        """As `delete`."""
        criteria = to_delete(ids, filter, everything, self._scope)
        if criteria:
            client = self._clients.for_running_loop()
            await client.delete_all(**criteria, collection=self.collection)
        return bool(criteria)

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[Document]:
        """The documents that fit best, best first.

        Args:
            query: what to look for.
            k: how many, at most; there are as many as the filter admits.
            filter: a condition on the metadata: a mapping, or built with `agentmem_client.F`.
            **options: ``mode`` (``"dense"``, the default, ``"hybrid"`` or ``"sparse"``), ``alpha``
                (the vector's share in ``hybrid``, 0 to 1), ``min_score``, and ``recency`` and
                ``importance``, which say what else is preferred.

        Raises:
            TypeError: an option that there is not.
            InvalidFilter: the filter says something that can't be honoured.
            EmbedderMismatch: the collection's vectors are not the server's, and no ``embedding``
                makes them here.
        """
        return to_documents(self._search(similar_to(query, k, filter, options)))

    async def asimilarity_search(
        self, query: str, k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[Document]:
        """As `similarity_search`."""
        return to_documents(await self._asearch(similar_to(query, k, filter, options)))

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with scores: larger is better; see the class."""
        return scored(self._search(similar_to(query, k, filter, options)))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`."""
        return scored(await self._asearch(similar_to(query, k, filter, options)))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[Document]:
        """As `similarity_search`, for a vector; there is no ``mode`` and no ``alpha``."""
        return to_documents(self._search(similar_to(embedding, k, filter, options)))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        return to_documents(await self._asearch(similar_to(embedding, k, filter, options)))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_by_vector`, with the scores of ``dense``."""
        return scored(self._search(similar_to(embedding, k, filter, options)))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filters | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score_by_vector`."""
        return scored(await self._asearch(similar_to(embedding, k, filter, options)))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filters | None = None,
        **options: Any,
    ) -> list[Document]:
        """Documents that fit and are unlike each other, in the order of being chosen.

        Args:
            query: what to look for.
            k: how many to choose, at most.
            fetch_k: from how many of the best; from ``k`` where that is more.
            lambda_mult: 1 looks at relevance alone, 0 at diversity alone.
            filter: as in `similarity_search`.
            **options: likewise, without the mode ``"sparse"``.
        """
        request = similar_to(query, k, filter, options, (fetch_k, lambda_mult))
        return to_documents(self._search(request))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filters | None = None,
        **options: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        request = similar_to(query, k, filter, options, (fetch_k, lambda_mult))
        return to_documents(await self._asearch(request))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filters | None = None,
        **options: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector; no ``mode`` and no ``alpha``."""
        request = similar_to(embedding, k, filter, options, (fetch_k, lambda_mult))
        return to_documents(self._search(request))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filters | None = None,
        **options: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`."""
        request = similar_to(embedding, k, filter, options, (fetch_k, lambda_mult))
        return to_documents(await self._asearch(request))

    def _search(self, request: dict[str, Any]) -> list[Hit]:
        if self._embedding is not None and embeds_text(request):
            request["embedding"] = self._embedding.embed_query(request["query"])
        return self._clients.sync.search(**request, collection=self.collection, **self._scope)

    async def _asearch(self, request: dict[str, Any]) -> list[Hit]:
        if self._embedding is not None and embeds_text(request):
            request["embedding"] = await self._embedding.aembed_query(request["query"])
        client = self._clients.for_running_loop()
        return await client.search(**request, collection=self.collection, **self._scope)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        require_dense(kwargs)
        found = self.similarity_search_with_score(query, k, **kwargs)
        if not found:
            return []  # perhaps there is no collection yet
        to_relevance = self._select_relevance_score_fn()
        return [(document, to_relevance(score)) for document, score in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        require_dense(kwargs)
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        if not found:
            return []
        if self._relevance_score_fn is None and self._metric is None:
            # Asked for here, since the function below would block the event loop.
            client = self._clients.for_running_loop()
            self._metric = (await client.get_collection(self.collection)).metric
        to_relevance = self._select_relevance_score_fn()
        return [(document, to_relevance(score)) for document, score in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._relevance_score_fn is not None:
            return self._relevance_score_fn
        if self._metric is None:
            try:
                self._metric = self._clients.sync.get_collection(self.collection).metric
            except NotFound:
                return relevance("cosine")  # as the first write will make it
        return relevance(self._metric)
