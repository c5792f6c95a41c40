"""Nodes of every kind on a real server: they come back as they were."""

from pathlib import Path
from typing import Any

import pytest
from agentmem_llamaindex import AgentMemVectorStore
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from pydantic import AnyUrl

VECTOR = [0.5, -0.25, 0.125]

KINDS = [
    TextNode(id_="text", text="a text", embedding=VECTOR),
    TextNode(id_="no text", text="", embedding=VECTOR),
    ImageNode(id_="image at a url", image_url="http://x.test/a.png", text="a", embedding=VECTOR),
    ImageNode(id_="image itself", image="aGVsbG8=", embedding=VECTOR),
    IndexNode(id_="index", text="points elsewhere", index_id="other", embedding=VECTOR),
    IndexNode(
        id_="index with object",
        text="points elsewhere",
        index_id="inner",
        obj=TextNode(id_="inner", text="the whole"),
        embedding=VECTOR,
    ),
    Node(
        id_="several media",
        text_resource=MediaResource(text="a text", mimetype="text/markdown"),
        image_resource=MediaResource(url=AnyUrl("http://x.test/a.png")),
        video_resource=MediaResource(path=Path("a.mp4")),
        embedding=VECTOR,
    ),
    Node(
        id_="no text resource",
        audio_resource=MediaResource(path=Path("a.mp3")),
        embedding=VECTOR,
    ),
]


@pytest.mark.parametrize("node", KINDS, ids=lambda node: node.node_id)
async def test_a_node_of_any_kind(store: AgentMemVectorStore, call: Any, node: BaseNode) -> None:
    assert await call(store, "add", [node]) == [node.node_id]
    (got,) = await call(store, "get_nodes", [node.node_id])
    assert type(got) is type(node)
    assert got.model_dump() == node.model_dump()
    result = await call(store, "query", VectorStoreQuery(query_embedding=VECTOR))
    (found,) = result.nodes
    found.embedding = node.embedding  # a query leaves it out
    assert found.model_dump() == node.model_dump()
    assert (result.ids, result.similarities) == ([node.node_id], [pytest.approx(1.0)])


async def test_all_kinds_in_one_add(store: AgentMemVectorStore, call: Any) -> None:
    ids = [node.node_id for node in KINDS]
    assert await call(store, "add", KINDS) == ids
    assert [type(node) for node in await call(store, "get_nodes", ids)] == list(map(type, KINDS))


async def test_a_node_without_text_is_found_by_its_vector_alone(
    store: AgentMemVectorStore, call: Any
) -> None:
    nodes: list[BaseNode] = [
        TextNode(id_="empty", text="", embedding=[1.0, 0.0]),
        Node(id_="image", image_resource=MediaResource(path=Path("a.png")), embedding=[1.0, 0.1]),
        TextNode(id_="word", text="cat", embedding=[0.0, 1.0]),
    ]
    await call(store, "add", nodes)

    async def ids(mode: str) -> list[str]:
        query = VectorStoreQuery(
            query_embedding=[1.0, 0.0],
            query_str="cat",
            similarity_top_k=3,
            mode=VectorStoreQueryMode(mode),
        )
        found: list[str] = (await call(store, "query", query)).ids
        return found

    assert await ids("default") == ["empty", "image", "word"]
    assert await ids("text_search") == ["word"]
    assert set(await ids("hybrid")) == {"empty", "image", "word"}


async def test_relationships(store: AgentMemVectorStore, call: Any) -> None:
    node = TextNode(
        id_="n",
        text="middle",
        embedding=VECTOR,
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(
                node_id="doc", node_type=ObjectType.DOCUMENT, metadata={"file": "a.md"}, hash="h"
            ),
            NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="before"),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="after"),
            NodeRelationship.PARENT: RelatedNodeInfo(node_id="parent"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id=f"child {n}") for n in range(3)],
        },
    )
    await call(store, "add", [node])
    (got,) = await call(store, "get_nodes", ["n"])
    assert got.relationships == node.relationships
    assert (got.ref_doc_id, got.prev_node.node_id, got.next_node.node_id) == (
        "doc",
        "before",
        "after",
    )
    assert [child.node_id for child in got.child_nodes] == ["child 0", "child 1", "child 2"]
    assert got.source_node.metadata == {"file": "a.md"}


@pytest.mark.parametrize(
    "word",
    [
        "Straße",
        "naïve café",
        "日本語のテキスト",
        "مرحبا",
        "🙂‍↔️ ✓",
        "e\u0301",
        "a/b?c#d%20",
        "..",
        " x ",
    ],
)
async def test_any_unicode_in_ids_texts_and_metadata(
    store: AgentMemVectorStore, call: Any, word: str
) -> None:
    node = TextNode(id_=word, text=f"{word}\n{word}", metadata={word: [word]}, embedding=VECTOR)
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"doc {word}")
    await call(store, "add", [node, TextNode(id_="other", text="other", embedding=VECTOR)])
    (got,) = await call(store, "get_nodes", [word])
    assert got.model_dump() == node.model_dump()
    by_key = MetadataFilters(
        filters=[MetadataFilter.from_dict({"key": word, "value": word, "operator": "contains"})]
    )
    assert [one.node_id for one in await call(store, "get_nodes", filters=by_key)] == [word]
    await call(store, "delete", f"doc {word}")
    assert [one.node_id for one in await call(store, "get_nodes")] == ["other"]


async def test_metadata_comes_back_exactly(store: AgentMemVectorStore, call: Any) -> None:
    metadata: dict[str, Any] = {
        "null": None,
        "flags": [True, False],
        "numbers": [0, -1, 1.0, 1e-9, 2**53 + 1, 10**20],
        "nested": {"deep": [{"er": []}, {}]},
        "": "an empty key",
        "a.b": 1,
        "@id": 2,
        "$or": 3,
        "doc_id": "mine, not LlamaIndex's",
        "_node_type": "mine too",
    }
    node = TextNode(id_="n", text="t", metadata=metadata, embedding=VECTOR)
    await call(store, "add", [node])
    (got,) = await call(store, "get_nodes", ["n"])
    assert got.metadata == metadata
    assert [type(number) for number in got.metadata["numbers"]] == [
        int,
        int,
        float,
        float,
        int,
        int,
    ]
    assert node.metadata == metadata


async def test_of_equal_ids_in_one_add_the_last_one_holds(
    store: AgentMemVectorStore, call: Any, make_node: Any
) -> None:
    nodes = [make_node("1", VECTOR, text="old"), make_node("1", VECTOR, text="new")]
    assert await call(store, "add", nodes) == ["1", "1"]
    assert [node.text for node in await call(store, "get_nodes")] == ["new"]
