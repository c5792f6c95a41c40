"""Items of a LangGraph store as memories, and back: pure functions, no I/O."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from agentmem_client import AgentMemError, Hit, InvalidRequest, Memory
from agentmem_client.errors import shown
from agentmem_client.json_values import check_json, check_text
from agentmem_client.models import MAX_METADATA_DEPTH, MAX_NAME, MAX_VECTORS
from langgraph.store.base import Item, PutOp, SearchItem, get_text_at_path

WHOLE = "$"
"""The path of a whole value."""
_KEY = "key"


def record_id(namespace: Sequence[str], key: object) -> str:
    """The id of an item's memory: namespace and key as JSON, or a digest of a longer one.

    The key is the last element, so that no other namespace and key have the same id.
    """
    text = json.dumps([*namespace, str(key)], ensure_ascii=False, separators=(",", ":"))
    if len(text) <= MAX_NAME:
        return text
    return f"sha256:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def to_memory(op: PutOp, fields: Sequence[str]) -> dict[str, Any]:
    """An item that is put, as the arguments of a client's ``add``, without vectors.

    The value is the metadata, so that filters work on it; the content is the same as text.

    Args:
        op: a put that has a value.
        fields: the paths to what the item is found by, unless it has its own; none, where
            nothing is searched.

    Raises:
        InvalidRequest: value or key can't be stored, or there is too much to find it by.
        ValueError: its ``index`` is neither False nor a list of paths.
    """
    value, key = _storable(op)
    content = get_text_at_path(value, WHOLE)[0]
    texts = _texts(op, value, fields)
    # None here is "not given", where a memory's ttl of None says that it stays for good.
    lifetime = {} if op.ttl is None else {"ttl": op.ttl * 60}
    return {
        "id": record_id(op.namespace, key),
        "namespace": list(op.namespace),
        "content": content,
        "metadata": value,
        "payload": {_KEY: key},
        "index_texts": None if texts == [content] else texts,
    } | lifetime


def found_by(memory: Mapping[str, Any]) -> list[str]:
    """The texts that an item as `to_memory` makes it is found by."""
    texts: list[str] | None = memory["index_texts"]
    return [memory["content"]] if texts is None else texts


def _texts(op: PutOp, value: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    if op.index is False or not fields:
        return []
    paths = fields if op.index is None else op.index
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        raise ValueError(f"index is False or a list of paths, not {shown(paths)}")
    # Each once: the best one counts, and equal ones are equally good.
    texts = dict.fromkeys(text for path in paths for text in get_text_at_path(value, path))
    if len(texts) > MAX_VECTORS:
        raise InvalidRequest(
            f"{_named(op)} is to be found by {len(texts)} texts, and {MAX_VECTORS} are the most: "
            "index fewer paths"
        )
    return list(texts)


def to_item(memory: Memory) -> Item:
    """The item that a memory holds.

    Raises:
        AgentMemError: when it is not one of a LangGraph store.
    """
    return Item(**_fields(memory))


def to_search_item(memory: Memory) -> SearchItem:
    """The item that a memory holds, as a search answers it; with a score if it is a hit.

    Raises:
        AgentMemError: when it is not one of a LangGraph store.
    """
    score = memory.score if isinstance(memory, Hit) else None
    return SearchItem(**_fields(memory), score=score)


def _fields(memory: Memory) -> dict[str, Any]:
    payload = memory.payload
    if memory.namespace is None or not isinstance(payload, Mapping) or _KEY not in payload:
        raise AgentMemError(
            f"the memory {shown(memory.id)} in the collection {shown(memory.collection)} is no "
            "item of a LangGraph store: give the store a collection of its own"
        )
    return {
        "namespace": tuple(memory.namespace),
        "key": payload[_KEY],
        "value": memory.metadata,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
    }


def _storable(op: PutOp) -> tuple[dict[str, Any], str]:
    key = str(op.key)
    if not isinstance(op.value, Mapping):
        raise InvalidRequest(f"the value of {_named(op)} must be a mapping, not {shown(op.value)}")
    try:
        check_text(key)
    except ValueError as error:
        raise InvalidRequest(f"the key of {_named(op)} {error}") from None
    try:
        check_json(op.value, max_depth=MAX_METADATA_DEPTH)
    except ValueError as error:
        raise InvalidRequest(f"the value of {_named(op)} {error}") from None
    return dict(op.value), key


def _named(op: PutOp) -> str:
    return f"item {shown(op.key)} in {shown(tuple(op.namespace))}"
