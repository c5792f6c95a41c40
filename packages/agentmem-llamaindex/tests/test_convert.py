import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agentmem_client.models import Hit, Memory
from agentmem_llamaindex._convert import UNRANKED, found, listed, to_items, to_node
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from pydantic import AnyUrl

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def as_stored(item: dict[str, Any], **more: Any) -> Memory:
    """The memory that the server makes of an item."""
    return Memory(**(item | {"collection": "c", "created_at": NOW, "updated_at": NOW} | more))


def round_trip(node: BaseNode) -> BaseNode:
    (item,) = to_items([node])
    return to_node(as_stored(item))


def full_node() -> TextNode:
    return TextNode(
        id_="n/1 ü",
        text="  The cat\nis called Mia.  ",
        embedding=[0.25, -0.5],
        metadata={"topic": "pets", "a.b": {"deep": [1, None, True, 1.5]}, "@x": 3},
        excluded_embed_metadata_keys=["topic"],
        excluded_llm_metadata_keys=["@x"],
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc-1", metadata={"k": 1}),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="n/2"),
        },
        start_char_idx=3,
        end_char_idx=30,
        text_template="{content}",
    )


def test_item_of_a_node() -> None:
    (item,) = to_items([full_node()])
    assert item["id"] == "n/1 ü"
    assert item["content"] == "  The cat\nis called Mia.  "
    assert item["embedding"] == [0.25, -0.5]
    assert item["metadata"]["a.b"] == {"deep": [1, None, True, 1.5]}
    assert item["metadata"]["ref_doc_id"] == "doc-1"


def test_content_is_the_text_alone() -> None:
    node = TextNode(text="text", metadata={"topic": "pets"}, embedding=[1.0])
    assert to_items([node])[0]["content"] == "text"


@pytest.mark.parametrize(
    "node",
    [
        full_node(),
        TextNode(id_="empty", text="", embedding=[1.0]),
        IndexNode(id_="i", text="points elsewhere", index_id="other", embedding=[1.0]),
        ImageNode(id_="p", text="a caption", image_url="http://x.test/a.png", embedding=[1.0]),
        ImageNode(id_="no caption", image="aGVsbG8=", image_mimetype="image/png", embedding=[1.0]),
        IndexNode(id_="o", text="t", index_id="x", obj=TextNode(text="whole"), embedding=[1.0]),
        Node(id_="m", text_resource=MediaResource(text="a text"), embedding=[1.0]),
        Node(
            id_="typed",
            text_resource=MediaResource(text="a text", mimetype="text/markdown"),
            audio_resource=MediaResource(path=Path("a.mp3")),
            embedding=[1.0],
        ),
        Node(
            id_="no text",
            image_resource=MediaResource(url=AnyUrl("http://x.test/a.png")),
            embedding=[1.0],
        ),
        Node(
            id_="text elsewhere",
            text_resource=MediaResource(url=AnyUrl("http://x.test/a.txt")),
            embedding=[1.0],
        ),
        Node(id_="nothing", embedding=[1.0]),
    ],
    ids=lambda node: node.node_id,
)
def test_round_trip(node: BaseNode) -> None:
    back = round_trip(node)
    assert type(back) is type(node)
    assert back.model_dump() == node.model_dump()


def test_a_document_comes_back_as_a_text_node() -> None:
    # LlamaIndex's own metadata_dict_to_node knows no documents: stores hold nodes.
    back = round_trip(Document(id_="d", text="text", metadata={"k": 1}, embedding=[1.0]))
    assert (type(back), back.node_id, back.get_content(), back.metadata) == (
        TextNode,
        "d",
        "text",
        {"k": 1},
    )


@given(
    text=st.text(),
    metadata=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
)
def test_round_trip_of_any_text_and_metadata(text: str, metadata: dict[str, Any]) -> None:
    back = round_trip(TextNode(text=text, metadata=metadata, embedding=[1.0]))
    assert back.get_content() == text
    assert back.metadata == metadata


@pytest.mark.parametrize(
    "node",
    [full_node(), Node(text_resource=MediaResource(text="a text"), embedding=[1.0])],
    ids=lambda node: node.class_name(),
)
def test_nodes_are_not_changed(node: BaseNode) -> None:
    before = copy.deepcopy(node.model_dump())
    round_trip(node)
    assert node.model_dump() == before


def test_the_text_is_stored_once() -> None:
    for node in (full_node(), Node(text_resource=MediaResource(text="Mia"), embedding=[1.0])):
        (item,) = to_items([node])
        assert "Mia" in item["content"]
        assert "Mia" not in item["metadata"]["_node_content"]


def test_a_node_without_embedding_is_found_before_anything_is_sent() -> None:
    nodes = [TextNode(id_="a", embedding=[1.0]), TextNode(id_="b")]
    with pytest.raises(ValueError, match="'b' has no embedding"):
        to_items(nodes)


def test_a_memory_of_another_client_is_a_text_node() -> None:
    item = {"id": "m", "content": "said elsewhere", "metadata": {"topic": "pets"}}
    node = to_node(as_stored(item, embedding=[0.5]))
    assert isinstance(node, TextNode)
    assert (node.node_id, node.text, node.metadata, node.embedding) == (
        "m",
        "said elsewhere",
        {"topic": "pets"},
        [0.5],
    )


def test_result_has_nodes_similarities_and_ids() -> None:
    (item,) = to_items([full_node()])
    memory = as_stored(item)
    hit = Hit(**(memory.model_dump() | {"score": 0.75}))
    result = found([hit])
    assert (result.ids, result.similarities) == (["n/1 ü"], [0.75])
    assert [node.node_id for node in result.nodes or []] == ["n/1 ü"]
    result = listed([memory])
    assert (result.ids, result.similarities) == (["n/1 ü"], [UNRANKED])
    result = found([])
    assert (result.nodes, result.ids, result.similarities) == ([], [], [])
