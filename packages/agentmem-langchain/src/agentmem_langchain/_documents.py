"""Documents as memories, and back: pure functions, no I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from agentmem_client import Hit, Memory, new_id
from langchain_core.documents import Document

Scope: TypeAlias = Mapping[str, str | None]
"""``user_id``, ``agent_id`` and ``session_id``; None does not restrict."""


def to_items(
    texts: Iterable[str],
    metadatas: Sequence[dict[str, Any]] | None,
    ids: Sequence[str | None] | None,
    scope: Scope,
) -> list[dict[str, Any]]:
    """Texts as the items of a batch, with a new id for each that has none.

    Raises:
        ValueError: there are more or fewer metadatas or ids than texts, or ``texts`` is one text,
            whose characters nobody means.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be several texts: put the one into a list")
    texts = list(texts)
    _check_number("metadatas", metadatas, texts)
    _check_number("ids", ids, texts)
    return [
        {
            # Made here, so that an item that the client refuses has an outcome with its id too.
            # Not `or`: an empty id is a caller's mistake, which the client refuses.
            "id": new_id() if id_ is None else id_,
            "content": text,
            "metadata": metadata,
            **scope,
        }
        for text, metadata, id_ in zip(
            texts,
            metadatas if metadatas is not None else [None] * len(texts),
            ids if ids is not None else [None] * len(texts),
            strict=True,
        )
    ]


def columns(
    documents: Iterable[Document],
) -> tuple[list[str], list[dict[str, Any]], list[str | None]]:
    """The texts, metadatas and ids of documents."""
    documents = list(documents)
    return (
        [document.page_content for document in documents],
        [document.metadata for document in documents],
        [document.id for document in documents],
    )


def text_batches(
    items: Sequence[Mapping[str, Any]], batch_size: int | None = None
) -> list[list[str]]:
    """The texts of the items, at most so many in a list; all in one where None.

    Raises:
        ValueError: the size is below 1.
    """
    size = len(items) if batch_size is None else batch_size
    if items and size < 1:
        raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
    texts = [item["content"] for item in items]
    return [texts[start : start + size] for start in range(0, len(texts), max(size, 1))]


def with_vectors(
    items: Sequence[dict[str, Any]], batches: Iterable[Sequence[Sequence[float]]]
) -> list[dict[str, Any]]:
    """The items with their vectors, which come in batches.

    Raises:
        ValueError: the embedding made more or fewer vectors than there are texts.
    """
    vectors = [vector for batch in batches for vector in batch]
    if len(vectors) != len(items):
        raise ValueError(f"the embedding made {len(vectors)} vectors of {len(items)} texts")
    return [item | {"embedding": vector} for item, vector in zip(items, vectors, strict=True)]


def to_document(memory: Memory) -> Document:
    """A memory as a document: its id, content and metadata, exactly as stored."""
    return Document(page_content=memory.content, id=memory.id, metadata=memory.metadata)


def to_documents(memories: Iterable[Memory]) -> list[Document]:
    """Memories as documents, in their order."""
    return [to_document(memory) for memory in memories]


def scored(hits: Iterable[Hit]) -> list[tuple[Document, float]]:
    """Hits as documents with their scores, in their order."""
    return [(to_document(hit), hit.score) for hit in hits]


def within(memories: Iterable[Memory], scope: Scope) -> list[Memory]:
    """The memories that belong to the scope."""
    return [
        memory
        for memory in memories
        if all(value is None or getattr(memory, name) == value for name, value in scope.items())
    ]


def _check_number(name: str, given: Sequence[Any] | None, texts: Sequence[str]) -> None:
    if given is not None and len(given) != len(texts):
        raise ValueError(f"there must be as many {name} as texts: {len(given)} for {len(texts)}")
