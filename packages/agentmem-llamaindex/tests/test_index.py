"""LlamaIndex's own parts, on the store on a real server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.vector_store import VectorIndexAutoRetriever
from llama_index.core.llms import CompletionResponse, MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, IndexNode, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    MetadataInfo,
    VectorStoreInfo,
)

PETS = [
    Document(id_="cat", text="The cat is called Mia. She is black.", metadata={"legs": 4}),
    Document(id_="bird", text="The parrot can say hello.", metadata={"legs": 2}),
    Document(id_="fish", text="Goldfish swim in a bowl.", metadata={"legs": 0}),
]


def build(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, documents: list[Document], **more: Any
) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(
        documents,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embed_model,
        **more,
    )


def sources(nodes: list[Any]) -> list[str]:
    return [found.node.ref_doc_id for found in nodes]


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.usefixtures("event_loop_of_sync_code")
def test_insert_and_retrieve(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, use_async: bool
) -> None:
    index = build(store, embed_model, PETS, use_async=use_async)
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("What is the cat called?")
    assert found.node.ref_doc_id == "cat"
    assert found.text == "The cat is called Mia. She is black."
    assert found.metadata == {"legs": 4}
    assert found.score is not None
    assert found.score > 0.2
    index.insert(Document(id_="dog", text="A dog barks at night."))
    assert sources(index.as_retriever(similarity_top_k=1).retrieve("dog barks")) == ["dog"]
    later = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    assert sources(later.as_retriever(similarity_top_k=1).retrieve("dog barks")) == ["dog"]


async def test_async_retrieve_and_delete(
    store: AgentMemVectorStore, embed_model: BaseEmbedding
) -> None:
    index = build(store, embed_model, PETS)
    retriever = index.as_retriever(similarity_top_k=3)
    assert sources(await retriever.aretrieve("parrot"))[0] == "bird"
    await index.adelete_ref_doc("bird")
    assert set(sources(await retriever.aretrieve("parrot"))) == {"cat", "fish"}
    await index.ainsert(PETS[1])
    assert sources(await retriever.aretrieve("parrot"))[0] == "bird"
    await store.aclose()


def test_delete_ref_doc_deletes_all_of_its_nodes(
    store: AgentMemVectorStore, embed_model: BaseEmbedding
) -> None:
    long = Document(id_="long", text="\n\n".join(f"Sentence {n} of many." for n in range(60)))
    splitter = SentenceSplitter(chunk_size=40, chunk_overlap=0)
    index = build(store, embed_model, [*PETS, long], transformations=[splitter])
    assert len(store.get_nodes()) > 10
    index.delete_ref_doc("long", delete_from_docstore=True)
    assert {node.ref_doc_id for node in store.get_nodes()} == {"cat", "bird", "fish"}


def test_refresh(store: AgentMemVectorStore, embed_model: BaseEmbedding) -> None:
    index = build(store, embed_model, PETS)
    changed = Document(id_="cat", text="The cat has moved out.", metadata={"legs": 4})
    assert index.refresh_ref_docs([changed, *PETS[1:]]) == [True, False, False]
    texts = {node.ref_doc_id: node.get_content() for node in store.get_nodes()}
    assert texts["cat"] == "The cat has moved out."
    assert len(texts) == 3


def test_retriever_options(store: AgentMemVectorStore, embed_model: BaseEmbedding) -> None:
    index = build(store, embed_model, PETS)

    def found(**options: Any) -> set[str]:
        return set(sources(index.as_retriever(similarity_top_k=3, **options).retrieve("the cat")))

    walks = MetadataFilters(filters=[MetadataFilter.from_dict({"key": "legs", "value": 4})])
    assert found(filters=walks) == {"cat"}
    assert found(doc_ids=["bird"]) == {"bird"}
    assert found(vector_store_query_mode="text_search") <= {"cat", "bird"}
    assert found(vector_store_query_mode="hybrid", alpha=0.5) == {"cat", "bird", "fish"}
    mmr = {"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 0.1}}
    assert found(**mmr) == {"cat", "bird", "fish"}


def test_delete_nodes_and_clear(store: AgentMemVectorStore, embed_model: BaseEmbedding) -> None:
    index = build(store, embed_model, PETS)
    node = store.get_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="legs", value=2)]))
    index.delete_nodes([node[0].node_id])
    assert {node.ref_doc_id for node in store.get_nodes()} == {"cat", "fish"}
    store.clear()
    assert index.as_retriever().retrieve("cat") == []


def test_index_nodes_are_retrieved(store: AgentMemVectorStore, embed_model: BaseEmbedding) -> None:
    target = TextNode(id_="target", text="the whole story of the cat")
    pointer = IndexNode(id_="pointer", text="cat", index_id="target", obj=target)
    index = VectorStoreIndex(
        objects=[pointer],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embed_model,
    )
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("cat")
    assert found.node.node_id == "target"


def test_query_engine(store: AgentMemVectorStore, embed_model: BaseEmbedding) -> None:
    index = build(store, embed_model, PETS)
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=1).query("the cat Mia")
    assert "The cat is called Mia." in str(answer)
    assert [found.node.ref_doc_id for found in answer.source_nodes] == ["cat"]


IN_ANOTHER_PROCESS = """
import sys
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core import Document, MockEmbedding, VectorStoreIndex

store = AgentMemVectorStore(api_url=sys.argv[1], collection=sys.argv[2])
index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=64))
index.delete_ref_doc("bird")
index.insert(Document(id_="dog", text="A dog barks at night.", metadata={"legs": 4}))
(found,) = index.as_retriever(vector_store_query_mode="text_search").retrieve("Mia")
print(found.node.ref_doc_id, found.metadata, found.text)
store.close()
"""


def test_the_index_in_another_process(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, api_url: str
) -> None:
    index = build(store, embed_model, PETS)
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, api_url, store.collection]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == "cat {'legs': 4} The cat is called Mia. She is black.\n"
    retriever = index.as_retriever(similarity_top_k=9)
    assert set(sources(retriever.retrieve("dog"))) == {"cat", "fish", "dog"}


def test_an_index_that_is_persisted(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, tmp_path: Path
) -> None:
    index = build(store, embed_model, PETS)
    index.storage_context.persist(tmp_path)
    context = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=store)
    again = load_index_from_storage(context, embed_model=embed_model)
    assert sources(again.as_retriever(similarity_top_k=1).retrieve("parrot")) == ["bird"]


class ScriptedLLM(MockLLM):
    """Answers what it was told to, whatever it is asked."""

    _answer: str = PrivateAttr()

    def __init__(self, answer: str) -> None:
        super().__init__()
        self._answer = answer

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self._answer)


INFO = VectorStoreInfo(
    content_info="sentences about animals",
    metadata_info=[MetadataInfo(name="legs", type="int", description="how many legs it has")],
)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"query": "cat", "filters": [{"key": "legs", "value": 3, "operator": ">"}]}, ["cat"]),
        ({"query": "cat", "filters": [{"key": "legs", "value": [0, 2], "operator": "in"}]}, 2),
        ({"query": "", "filters": [{"key": "legs", "value": 2}]}, ["bird"]),
        ({"query": "the bowl", "filters": [], "top_k": 1}, ["fish"]),
    ],
    ids=str,
)
async def test_filters_that_a_model_makes(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, way: str, spec: Any, expected: Any
) -> None:
    index = build(store, embed_model, PETS)
    retriever = VectorIndexAutoRetriever(
        index,
        vector_store_info=INFO,
        llm=ScriptedLLM(json.dumps(spec)),
        similarity_top_k=5,
        extra_filters=MetadataFilters(
            filters=[MetadataFilter(key="legs", value=4, operator=FilterOperator.LTE)]
        ),
    )
    if way == "async":
        found = await retriever.aretrieve("whatever the model makes of it")
    else:
        found = retriever.retrieve("whatever the model makes of it")
    assert sources(found) == expected or len(found) == expected
    await store.aclose()


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_query_engine_with_a_filter(
    store: AgentMemVectorStore, embed_model: BaseEmbedding, way: str
) -> None:
    walks = MetadataFilters(filters=[MetadataFilter(key="legs", value=4)])
    index = build(store, embed_model, PETS)
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3, filters=walks)
    question = "What swims in a bowl?"
    answer = await engine.aquery(question) if way == "async" else engine.query(question)
    assert sources(answer.source_nodes) == ["cat"]
    assert "Goldfish" not in str(answer)
    await store.aclose()
