"""Nodes as memories, and back: pure functions."""

from collections.abc import Iterable, Sequence
from typing import Any

from agentmem_client.models import Hit, Memory
from llama_index.core.schema import BaseNode, MetadataMode, Node, TextNode
from llama_index.core.vector_stores.types import VectorStoreQueryResult
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

UNRANKED = 1.0
"""The similarity of a node that was found by its filters alone: it fits them, fully."""


def to_items(nodes: Iterable[BaseNode]) -> list[dict[str, Any]]:
    """Nodes as the items of a batch.

    Raises:
        ValueError: when a node has no embedding. Without vectors the first write would make a
            collection that embeds by itself, so that is found before anything is sent.
    """
    return [_to_item(node) for node in nodes]


def _to_item(node: BaseNode) -> dict[str, Any]:
    if node.embedding is None:
        raise ValueError(f"the node {node.node_id!r} has no embedding: nothing was stored")
    return {
        "id": node.node_id,
        "content": node.get_content(metadata_mode=MetadataMode.NONE),
        "metadata": _to_metadata(node),
        "embedding": node.embedding,
    }


def _to_metadata(node: BaseNode) -> dict[str, Any]:
    """The node without its text, which is the memory's content.

    LlamaIndex leaves out a `Node`'s whole text resource, with its type and origin, and reads
    back an empty one where there was none.
    """
    if node.class_name() != Node.class_name() or not isinstance(node, Node):
        return node_to_metadata_dict(node, remove_text=True)
    resource = node.text_resource
    if resource is not None and resource.text is not None:
        bare = resource.model_copy(update={"text": ""})
        node = node.model_copy(update={"text_resource": bare})
    return node_to_metadata_dict(node)


def to_node(memory: Memory) -> BaseNode:
    """A memory as the node that it was made from, with its embedding where the answer has one.

    A memory that was not made from a node, but written by another client into the same
    collection, becomes a `TextNode` with its id, content and metadata.
    """
    node: BaseNode
    if "_node_content" in memory.metadata:
        node = metadata_dict_to_node(memory.metadata)
        if not isinstance(node, Node):
            node.set_content(memory.content)
        elif node.text_resource is not None and node.text_resource.text is not None:
            node.text_resource.text = memory.content
    else:
        node = TextNode(id_=memory.id, text=memory.content, metadata=memory.metadata)
    node.embedding = memory.embedding
    return node


def to_nodes(memories: Iterable[Memory]) -> list[BaseNode]:
    """Memories as nodes, in their order."""
    return [to_node(memory) for memory in memories]


def found(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    """The hits of a search, best first."""
    return _result(hits, [hit.score for hit in hits])


def listed(memories: Sequence[Memory]) -> VectorStoreQueryResult:
    """Memories that a filter admits, in the order in which they were first stored."""
    return _result(memories, [UNRANKED] * len(memories))


def _result(memories: Sequence[Memory], similarities: list[float]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=to_nodes(memories),
        similarities=similarities,
        ids=[memory.id for memory in memories],
    )
