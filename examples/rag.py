"""Retrieval over documents: a LlamaIndex index of this project's own pages, kept in AgentMem.

    python examples/rag.py ["a question about AgentMem"]

It uses the server of AGENTMEM_API_URL (and AGENTMEM_API_KEY), or starts one of its own on a
temporary file. It ends with an error when something did not hold.

Vectors: LlamaIndex embeds on its own side, here with the model that comes with AgentMem's server,
or with the one that OPENAI_EMBEDDING_MODEL names (at OPENAI_BASE_URL, with OPENAI_API_KEY). Both
are the server's code, which must be installed here. Answers: by the language model that
OPENAI_MODEL names, or else by a stand-in that quotes the best sentence, and says so.
"""

import asyncio
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from _server import running_server
from _stand_in import model
from agentmem_llamaindex import AgentMemVectorStore
from agentmem_server.embedding import Embedder, open_embedder
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.response.schema import Response
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import LLM, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

PROJECT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "LICENSE", "packages/*/README.md", "server/README.md", "server/docs/*.md")
T = TypeVar("T")

QUESTION = "What may I do with the software, and does it come with a warranty?"


def main(question: str = QUESTION) -> None:
    """Index, ask, delete the document that answered, ask again; and leave nothing behind."""
    with running_server() as api_url:
        store = AgentMemVectorStore(
            api_url=api_url, collection=f"example-rag-{uuid.uuid4().hex[:8]}"
        )
        print(f"server: {api_url}")
        try:
            walk_through(store, question)
        finally:
            deleted = store.client.delete_collection(store.collection)
            store.close()
            print(f"\ncleaned up: {deleted} memories deleted with their collection")


def walk_through(store: AgentMemVectorStore, question: str) -> None:
    """The example itself."""
    documents = read_pages()
    embed_model, llm = choose_embedding(), choose_llm()
    with step(f"embed and store {len(documents)} documents"):
        VectorStoreIndex.from_documents(
            documents,
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=embed_model,
            transformations=[SentenceSplitter(chunk_size=200, chunk_overlap=20)],
        )
    passages = {name: len(passages_of(store, name)) for name in (one.doc_id for one in documents)}
    for name, count in passages.items():
        print(f"  {name}: {count} passages")
    check(all(passages.values()), "every document is stored")

    # Nothing is kept on this side: another process would go on from here.
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    source = ask(index, llm, question)[0]
    with step(f"delete {source}"):
        index.delete_ref_doc(source)
    check(passages_of(store, source) == [], "its passages are gone")
    left = len(store.get_nodes())
    print(f"  {passages[source]} passages deleted, {left} left")
    check(left == sum(passages.values()) - passages[source], "the others are still there")
    check(source not in ask(index, llm, question), "the answer no longer draws on it")


def ask(index: VectorStoreIndex, llm: LLM, question: str) -> list[str]:
    """Print an answer and what it draws on; answers the names of those documents, best first."""
    engine = index.as_query_engine(llm=llm, similarity_top_k=3)
    with step(f"ask {question!r}"):
        response = engine.query(question)
    check(isinstance(response, Response) and bool(response.source_nodes), "something is found")
    for found in response.source_nodes:
        text = " ".join(found.node.get_content().split())
        print(f"  {found.score or 0:.3f}  {found.node.ref_doc_id}: {text[:70]}…")
    print(f"  answer: {response}")
    return [found.node.ref_doc_id or "" for found in response.source_nodes]


def passages_of(store: AgentMemVectorStore, document: str) -> list[Any]:
    """The nodes of a document, by a filter on metadata."""
    page = MetadataFilter(key="page", value=document)
    return store.get_nodes(filters=MetadataFilters(filters=[page]))


def read_pages() -> list[Document]:
    """This project's pages that have text in them, named by their paths."""
    paths = sorted({path for pattern in PAGES for path in PROJECT.glob(pattern)})
    texts = {path.relative_to(PROJECT).as_posix(): path.read_text("utf-8") for path in paths}
    pages = [
        Document(
            id_=name,
            text=text,
            metadata={"page": name},
            excluded_llm_metadata_keys=["page"],
        )
        for name, text in texts.items()
        if text.strip()
    ]
    check(len(pages) > 1, f"there are pages to read in {PROJECT}")
    return pages


class ServerModelEmbedding(BaseEmbedding):
    """A model of AgentMem's server, in this process, as LlamaIndex's embedding model."""

    _embedder: Embedder = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    def __init__(self, **options: Any) -> None:
        super().__init__()
        # A loop of its own for all calls: they come with and without a running one.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._embedder = self._start(open_embedder(**options)).result()
        self.model_name = self._embedder.name

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _embed(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = (await self._embedder.embed(texts)).tolist()
        return vectors

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._start(self._embed(texts)).result()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.wrap_future(self._start(self._embed(texts)))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._aget_text_embeddings([query]))[0]


def choose_embedding() -> ServerModelEmbedding:
    """The model that the environment names, or the one that comes with the server."""
    options = {"name": "builtin"}
    if name := os.environ.get("OPENAI_EMBEDDING_MODEL"):
        options = {"name": "openai", "model": name}
        for variable in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
            if os.environ.get(variable):
                options[variable.removeprefix("OPENAI_").lower()] = os.environ[variable]
    with step("load the embedding model"):
        embedding = ServerModelEmbedding(**options)
    print(f"  {embedding.model_name}")
    return embedding


class Answering(CustomLLM):
    """The examples' model, for LlamaIndex. In a program of yours this is, say, `OpenAI`."""

    answer: Callable[[str], str]

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex wants to know of a model."""
        return LLMMetadata(context_window=32_000)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Its answer to a prompt."""
        return CompletionResponse(text=self.answer(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Its answer, in one piece."""
        yield self.complete(prompt)


def quote(prompt: str) -> str:
    """The sentence of a prompt's passages that shares most words with its question.

    The prompt is LlamaIndex's: passages between two lines of dashes, and then the question.
    """
    _, passages, question = re.split(r"^-{5,}$", prompt, maxsplit=2, flags=re.MULTILINE)
    wanted = set(re.findall(r"\w{4,}", question.lower()))
    sentences = re.split(r"(?<=[.!?:])\s+|\n{2,}", passages)
    shared = {one: len(wanted & set(re.findall(r"\w+", one.lower()))) for one in sentences}
    best = max(sentences, key=shared.__getitem__)
    return f"“{' '.join(best.split())}”" if shared[best] else "The passages don't say."


def choose_llm() -> LLM:
    """The model that the environment names, or the stand-in."""
    chosen = model(quote)
    print(f"answers: {chosen.name}")
    return Answering(answer=chosen.complete)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    start = time.perf_counter()
    yield
    print(f"\n{what}: {(time.perf_counter() - start) * 1000:.0f} ms")


def check(holds: bool, what: str) -> None:
    """End the example when something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
