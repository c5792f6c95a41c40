"""LlamaIndex's ingestion pipeline into the store on a real server, sync and async."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore import SimpleDocumentStore

Run = Callable[..., Awaitable[Sequence[BaseNode]]]

PETS = [
    Document(id_="cat", text="The cat is called Mia.", metadata={"legs": 4}),
    Document(id_="bird", text="The parrot can say hello.", metadata={"legs": 2}),
    Document(id_="fish", text="Goldfish swim in a bowl.", metadata={"legs": 0}),
]
MOVED = Document(id_="cat", text="The cat has moved out.", metadata={"legs": 4})


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a pipeline, by its sync method or its async one."""

    async def run(pipeline: IngestionPipeline, documents: list[Document]) -> Sequence[BaseNode]:
        if request.param == "sync":
            return pipeline.run(documents=documents)
        return await pipeline.arun(documents=documents)

    return run


@pytest.fixture
def make_pipeline(
    store: AgentMemVectorStore, embed_model: BaseEmbedding
) -> Callable[..., IngestionPipeline]:
    def make_pipeline(strategy: DocstoreStrategy, **more: Any) -> IngestionPipeline:
        given = {"docstore": SimpleDocumentStore()} | more
        return IngestionPipeline(
            transformations=[SentenceSplitter(chunk_size=40, chunk_overlap=0), embed_model],
            docstore_strategy=strategy,
            vector_store=store,
            **given,
        )

    return make_pipeline


def kept(store: AgentMemVectorStore) -> dict[str | None, str]:
    """The documents of the nodes, with their texts."""
    texts: dict[str | None, str] = {}
    for node in store.get_nodes():
        texts[node.ref_doc_id] = texts.get(node.ref_doc_id, "") + node.get_content()
    return texts


async def test_upserts(store: AgentMemVectorStore, run: Run, make_pipeline: Any) -> None:
    pipeline = make_pipeline(DocstoreStrategy.UPSERTS)
    assert len(await run(pipeline, PETS)) == 3
    before = {node.ref_doc_id: node.node_id for node in store.get_nodes()}
    assert [node.ref_doc_id for node in await run(pipeline, [MOVED, PETS[1]])] == ["cat"]
    after = {node.ref_doc_id: node.node_id for node in store.get_nodes()}
    assert kept(store) == {
        "cat": "The cat has moved out.",
        "bird": "The parrot can say hello.",
        "fish": "Goldfish swim in a bowl.",
    }
    assert (after["bird"], after["fish"]) == (before["bird"], before["fish"])
    assert after["cat"] != before["cat"]
    await store.aclose()


async def test_upserts_and_delete(store: AgentMemVectorStore, run: Run, make_pipeline: Any) -> None:
    pipeline = make_pipeline(DocstoreStrategy.UPSERTS_AND_DELETE)
    await run(pipeline, PETS)
    await run(pipeline, [MOVED, PETS[1]])
    assert kept(store) == {"cat": "The cat has moved out.", "bird": "The parrot can say hello."}
    assert list(await run(pipeline, [MOVED, PETS[1]])) == []
    await run(pipeline, [])
    assert kept(store) == {}
    await store.aclose()


async def test_duplicates_only(store: AgentMemVectorStore, run: Run, make_pipeline: Any) -> None:
    pipeline = make_pipeline(DocstoreStrategy.DUPLICATES_ONLY)
    await run(pipeline, PETS[:2])
    again = [document.model_copy() for document in PETS]
    assert [node.ref_doc_id for node in await run(pipeline, again)] == ["fish"]
    assert len(store.get_nodes()) == 3
    await store.aclose()


async def test_all_nodes_of_a_changed_document_are_replaced(
    store: AgentMemVectorStore, run: Run, make_pipeline: Any
) -> None:
    pipeline = make_pipeline(DocstoreStrategy.UPSERTS)
    long = " ".join(f"This is sentence {number} of a long story." for number in range(40))
    await run(pipeline, [Document(id_="story", text=long), PETS[0]])
    assert len(store.get_nodes()) > 9
    await run(pipeline, [Document(id_="story", text="It was short.")])
    assert kept(store) == {"story": "It was short.", "cat": "The cat is called Mia."}
    await store.aclose()


async def test_the_next_process_goes_on(
    store: AgentMemVectorStore, run: Run, make_pipeline: Any, tmp_path: Path
) -> None:
    first = make_pipeline(DocstoreStrategy.UPSERTS)
    await run(first, PETS)
    first.persist(str(tmp_path))
    later = make_pipeline(DocstoreStrategy.UPSERTS)
    later.load(str(tmp_path))
    assert [node.ref_doc_id for node in await run(later, [MOVED, *PETS[1:]])] == ["cat"]
    assert len(store.get_nodes()) == 3
    await store.aclose()
