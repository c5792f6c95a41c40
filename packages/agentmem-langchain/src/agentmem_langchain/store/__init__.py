"""LangGraph's long-term memory."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Literal, Self, get_args

from agentmem_client import AgentMemClient, AsyncAgentMemClient, ClientPair
from agentmem_client.errors import shown
from agentmem_client.models import Mode
from langchain_core.embeddings import Embeddings
from pydantic import SecretStr

from .._extras import needed_by
from ._steps import arun, run, together

with needed_by("AgentMemStore", "langgraph"):
    from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

    from ._batch import Batch, Place, Vectors
    from ._index import Index, read_index

DEFAULT_STORE_COLLECTION = "langgraph"
"""Not the server's own ``default``: a store's items are a collection of their own."""


class AgentMemStore(BaseStore):
    """The store of a LangGraph graph or a LangChain agent, in AgentMem.

    ::

        store = AgentMemStore()
        store.put(("users", "ann"), "likes", {"text": "Ann likes chess."})
        store.search(("users",), query="What does Ann play?", filter={"text": {"$ne": ""}})

        agent = create_agent(model, tools, store=store)

    Nothing has to be set up: the server embeds, and a query finds items by meaning and by keywords.
    Without a query, a search lists what the filter admits, last updated first, with no score.

    The writes of a `batch` are one transaction; more than 2,048 puts or 30 MB take several, of
    which the first ones stay where a later one fails. Its reads see what was there before it, and
    those of `abatch` are done side by side.

    A value is JSON without NUL characters, NaN and infinities, nested up to 32 levels deep. A
    namespace has up to 32 labels, and an item is found by up to 64 texts.

    Args:
        index: what items are found by. Left out: the whole value. ``{"fields": ["title",
            "notes[*].body"]}``: the texts at these paths, of which the best one counts. ``embed``
            and ``dims`` beside them: compared by vectors of your own; ``embed`` is an `Embeddings`,
            a function, sync or async, or a name such as ``"openai:text-embedding-3-small"``. False:
            by nothing, so that a query lists as no query does.
        ttl: ``default_ttl``, the minutes that an item lives which is put without any, and
            ``refresh_on_read``, whether reads start them anew (True where left out). An expired
            item is never answered, whatever ``omit_expired`` and ``sweep_interval_minutes`` say.
        mode: how a query searches: ``"hybrid"`` (meaning and keywords; the score is 0 to 1 within
            the answer), ``"dense"`` (meaning; the cosine) or ``"sparse"`` (keywords; BM25). Left
            out: ``"dense"`` with vectors of your own, else ``"hybrid"``.
        collection: where the items are, and nothing else; one for each embedding model.
        api_url: where the server is, or several that share a database are; from
            ``AGENTMEM_API_URL`` where left out.
        api_key: from ``AGENTMEM_API_KEY`` where left out.
        client: a ready client instead of the two.
        async_client: likewise, for the async methods.

    Raises:
        ValueError: an option is unknown, or lacks another.
        AgentMemError: a connection setting can't be right. Every method raises this class or one
            below it for what fails on the way, `InvalidNamespaceError` for a namespace that can't
            be, and ValueError for an operator or option that there is not. A bad operation fails
            its batch before anything is written.
    """

    supports_ttl = True

    def __init__(
        self,
        *,
        index: IndexConfig | Literal[False] | None = None,
        ttl: TTLConfig | None = None,
        mode: Mode | None = None,
        collection: str = DEFAULT_STORE_COLLECTION,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
    ) -> None:
        super().__init__()
        self._index = read_index(index)
        self._place = Place(collection, self._index, _mode(mode, self._index))
        self.index_config = index.copy() if index else None
        self.ttl_config = _ttl_config(ttl)
        self._clients = ClientPair(api_url, api_key, client=client, async_client=async_client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(collection={self.collection!r})"

    @property
    def collection(self) -> str:
        """Where the items are."""
        return self._place.collection

    @property
    def embeddings(self) -> Embeddings | None:
        """The caller's embeddings; None where the server embeds."""
        return self._index.embeddings

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations; the results are in their order, and None for puts.

        It blocks; from a coroutine, await `abatch`.
        """
        batch = Batch(ops, self._place)
        client = self._clients.sync
        reads = batch.reads(self._embed_queries(batch.queries))
        answers = [run(client, read) for read in reads]
        run(client, batch.writes(self._embed(batch.texts)))
        return batch.results(answers)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`."""
        batch = Batch(ops, self._place)
        client = self._clients.for_running_loop()
        reads = batch.reads(await self._aembed_queries(batch.queries))
        answers = await together(arun(client, read) for read in reads)
        await arun(client, batch.writes(await self._aembed(batch.texts)))
        return batch.results(answers)

    def close(self) -> None:
        """Close the connections of the sync methods; ready clients are left open."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close them, and those of the running event loop."""
        await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def _embedder(self) -> Embeddings:
        assert self._index.embeddings is not None  # nothing is asked for its vector otherwise
        return self._index.embeddings

    def _embed_queries(self, queries: list[str]) -> Vectors:
        return {query: self._embedder.embed_query(query) for query in queries}

    async def _aembed_queries(self, queries: list[str]) -> Vectors:
        vectors = await together(self._embedder.aembed_query(query) for query in queries)
        return dict(zip(queries, vectors, strict=True))

    def _embed(self, texts: list[str]) -> Vectors:
        return _by_text(texts, self._embedder.embed_documents(texts)) if texts else {}

    async def _aembed(self, texts: list[str]) -> Vectors:
        return _by_text(texts, await self._embedder.aembed_documents(texts)) if texts else {}


def _by_text(texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> Vectors:
    if len(vectors) != len(texts):
        raise ValueError(f"embed gave {len(vectors)} vectors for {len(texts)} texts")
    return dict(zip(texts, vectors, strict=True))


def _mode(mode: Mode | None, index: Index) -> Mode:
    if mode is None:
        return "hybrid" if index.embeddings is None else "dense"
    if not index.fields:
        raise ValueError("mode says how a query searches: with index=False there is nothing to")
    if mode not in get_args(Mode):
        raise ValueError(f"mode is one of {', '.join(get_args(Mode))}, not {shown(mode)}")
    return mode


def _ttl_config(ttl: TTLConfig | None) -> TTLConfig | None:
    if ttl is None:
        return None
    known = TTLConfig.__annotations__
    if unknown := sorted(ttl.keys() - known.keys()):
        raise ValueError(f"unknown option {shown(unknown[0])} in ttl: there are {', '.join(known)}")
    return ttl.copy()
