"""One batch of a LangGraph store's operations, without its I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

from agentmem_client import Hit, Memory, Page
from agentmem_client.errors import shown
from agentmem_client.json_values import check_text
from agentmem_client.models import MAX_BATCH, MAX_IDS, MAX_LABELS, MAX_LIMIT, Mode
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)
from pydantic_core import to_json

from ._filters import to_filter
from ._index import Index
from ._items import found_by, record_id, to_item, to_memory, to_search_item
from ._steps import Call, Steps

MAX_REQUEST = 30_000_000
"""Bytes of the puts in one request: a server takes 32 MiB, unless it is told otherwise."""

Results: TypeAlias = dict[int, Result]
"""Results by the positions of their operations."""
Vectors: TypeAlias = Mapping[str, Sequence[float]]
"""The caller's vectors of texts."""


@dataclass(slots=True)
class Place:
    """The collection that holds a store's items, and how they are found there."""

    collection: str
    index: Index
    mode: Mode
    made: bool = False
    """Whether the collection is known to be there."""

    def make(self) -> Steps[None]:
        """Make the collection with the first write; a read of one that isn't there is empty."""
        if self.made:
            return
        if self.index.fields:  # else it holds no vectors, and any will do
            embedder = "server" if self.index.embeddings is None else "client"
            how = {"embedder": embedder, "dimension": self.index.dims}
            yield Call("create_collection", {"name": self.collection, **how})
        self.made = True


class Batch:
    """What a batch of operations embeds, reads and writes.

    All operations are checked and converted here, before the first call: a bad one fails them all.

    Args:
        ops: the operations, in order.
        place: where the items are.

    Raises:
        InvalidNamespaceError: a namespace can't be.
        InvalidRequest: an item can't be stored.
        InvalidFilter: a filter's value is not JSON.
        ValueError: an operation or option is one that there is not.
    """

    def __init__(self, ops: Iterable[Op], place: Place) -> None:
        self._place = place
        self._gets: dict[bool, dict[int, str]] = {}
        self._searches: dict[int, dict[str, Any]] = {}
        self._listings: list[Steps[Results]] = []
        self._puts: dict[str, dict[str, Any] | None] = {}
        self._size = 0
        for position, op in enumerate(ops):
            _check(op)
            self._sort_in(position, op)
            self._size += 1

    def _sort_in(self, position: int, op: Op) -> None:
        match op:
            case GetOp():
                ids = self._gets.setdefault(bool(op.refresh_ttl), {})
                ids[position] = record_id(op.namespace, op.key)
            case SearchOp() if op.query and self._place.index.fields:
                self._searches[position] = self._selected(op) | {
                    "query": op.query,
                    "limit": op.limit,
                    "offset": op.offset,
                }
            case SearchOp():
                newest = {"order_by": "updated_at", "order": "desc", "include_total": False}
                listing = _listed(position, self._selected(op) | newest, op.limit, op.offset)
                self._listings.append(listing)
            case ListNamespacesOp():
                self._listings.append(_namespaces(position, op, self._place.collection))
            case PutOp():
                fields = self._place.index.fields
                memory = None if op.value is None else to_memory(op, fields)
                self._puts[record_id(op.namespace, op.key)] = memory  # the last one counts

    def _selected(self, op: SearchOp) -> dict[str, Any]:
        return {
            "namespace": list(op.namespace_prefix) or None,
            "filters": to_filter(op.filter),
            "refresh_ttl": bool(op.refresh_ttl),
            "collection": self._place.collection,
        }

    @property
    def queries(self) -> list[str]:
        """The queries whose vectors the caller makes, each once."""
        if self._place.index.embeddings is None or self._place.mode == "sparse":
            return []
        return list(dict.fromkeys(search["query"] for search in self._searches.values()))

    @property
    def texts(self) -> list[str]:
        """The texts whose vectors the caller makes, each once."""
        if self._place.index.embeddings is None:
            return []
        return list(dict.fromkeys(text for put in self._stored for text in found_by(put)))

    @property
    def _stored(self) -> list[dict[str, Any]]:
        return [put for put in self._puts.values() if put is not None]

    def reads(self, vectors: Vectors) -> list[Steps[Results]]:
        """What is read, in any order; `vectors` are those of the queries."""
        gets = [
            _got(ids, {"collection": self._place.collection, "refresh_ttl": refresh})
            for refresh, ids in self._gets.items()
        ]
        searches = [
            _found(position, self._with_vector(search, vectors))
            for position, search in self._searches.items()
        ]
        return [*gets, *searches, *self._listings]

    def _with_vector(self, search: dict[str, Any], vectors: Vectors) -> dict[str, Any]:
        mode = self._place.mode
        if search["query"] not in vectors:
            return search | {"mode": mode}
        request = search | {"mode": mode, "embedding": vectors[search["query"]]}
        if mode == "dense":
            del request["query"]
        return request

    def writes(self, vectors: Vectors) -> Steps[None]:
        """What is then written: all of it in one transaction, if it fits into one request.

        Args:
            vectors: those of the texts.
        """
        if not self._puts:
            return
        yield from self._place.make()
        memories = [self._with_vectors(put, vectors) for put in self._stored]
        unwanted = [id_ for id_, put in self._puts.items() if put is None]
        parts = [unwanted[start : start + MAX_IDS] for start in range(0, len(unwanted), MAX_IDS)]
        for items, ids in zip_longest(_requests(memories), parts, fillvalue=None):
            arguments: dict[str, Any] = {"items": items or [], "atomic": True}
            if ids:
                arguments["replacing"] = {"ids": ids}
            yield Call("add_many", arguments | {"collection": self._place.collection})

    def _with_vectors(self, put: dict[str, Any], vectors: Vectors) -> dict[str, Any]:
        texts = found_by(put)
        if not texts or self._place.index.embeddings is None:
            return put
        return put | {"embeddings": [vectors[text] for text in texts]}

    def results(self, answers: Iterable[Results]) -> list[Result]:
        """The results of all operations in their order, from what was read."""
        results: list[Result] = [None] * self._size
        for answer in answers:
            for position, result in answer.items():
                results[position] = result
        return results


def _check(op: object) -> None:
    match op:
        case GetOp() | PutOp():
            namespaces: list[Any] = [op.namespace]
        case SearchOp():
            namespaces = [op.namespace_prefix]
        case ListNamespacesOp():
            namespaces = [condition.path for condition in op.match_conditions or ()]
        case _:
            raise ValueError(f"unknown operation {type(op).__name__}")
    for namespace in namespaces:
        if not isinstance(namespace, list | tuple):
            raise InvalidNamespaceError(
                f"a namespace is a tuple of labels, such as ('users', 'ann'), not {namespace!r}"
            )
    validate_op_namespace(op)
    for label in (label for namespace in namespaces for label in namespace):
        try:
            check_text(label)  # which the first versions of LangGraph's own check let pass
        except ValueError as problem:
            raise InvalidNamespaceError(f"the label {shown(label)} {problem}") from None
    if isinstance(op, PutOp) and op.value is not None and not op.namespace:
        raise InvalidNamespaceError("the namespace of an item needs at least one label")
    if isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            if condition.match_type not in ("prefix", "suffix"):
                raise ValueError(f"match_type is prefix or suffix, not {condition.match_type!r}")
    if isinstance(op, SearchOp | ListNamespacesOp) and (op.limit < 0 or op.offset < 0):
        raise ValueError(f"limit and offset are 0 or more, not {op.limit} and {op.offset}")


def _got(ids: Mapping[int, str], how: Mapping[str, Any]) -> Steps[Results]:
    memories: list[Memory] = yield Call("get_many", {"ids": dict.fromkeys(ids.values()), **how})
    by_id = {memory.id: memory for memory in memories}
    return {
        position: to_item(by_id[id_]) if id_ in by_id else None for position, id_ in ids.items()
    }


def _found(position: int, search: Mapping[str, Any]) -> Steps[Results]:
    hits: list[Hit] = (yield Call("search", search)) if search["limit"] else []
    return {position: [to_search_item(hit) for hit in hits]}


def _listed(position: int, listing: Mapping[str, Any], limit: int, offset: int) -> Steps[Results]:
    """Items without a query, in as many pages as it takes."""
    memories: list[Memory] = []
    start: dict[str, Any] = {"offset": offset}
    while len(memories) < limit:
        size = min(MAX_LIMIT, limit - len(memories))
        page: Page = yield Call("list", {**listing, **start, "limit": size})
        memories += page.memories
        if page.next_cursor is None:
            break
        start = {"cursor": page.next_cursor}
    return {position: [to_search_item(memory) for memory in memories]}


def _namespaces(position: int, op: ListNamespacesOp, collection: str) -> Steps[Results]:
    """Namespaces, in as many pages as it takes."""
    found: list[tuple[str, ...]] = []
    prefix = _joined(path for path in _paths(op, "prefix"))
    suffix = _joined(path[::-1] for path in _paths(op, "suffix"))
    if prefix is None or suffix is None:  # two conditions that exclude each other
        return {position: found}
    how = {
        "prefix": prefix or None,
        "suffix": suffix[::-1] or None,
        "max_depth": None if op.max_depth is None else min(op.max_depth, MAX_LABELS),
        "collection": collection,
    }
    while len(found) < op.limit:
        size = min(MAX_LIMIT, op.limit - len(found))
        start = {"offset": op.offset + len(found)}
        page: list[tuple[str, ...]] = yield Call("namespaces", {**how, **start, "limit": size})
        found += page
        if len(page) < size:
            break
    return {position: found}


def _paths(op: ListNamespacesOp, kind: str) -> list[Sequence[str]]:
    return [one.path for one in op.match_conditions or () if one.match_type == kind]


def _joined(paths: Iterable[Sequence[str]]) -> list[str] | None:
    """The one pattern that says what all of them do; None where they exclude each other."""
    joined: list[str] = []
    for path in paths:
        for depth, label in enumerate(path):
            if depth == len(joined):
                joined.append(label)
            elif joined[depth] == "*":
                joined[depth] = label
            elif label not in ("*", joined[depth]):
                return None
    return joined


def _requests(memories: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The memories in as few requests as a server takes."""
    part: list[dict[str, Any]] = []
    size = 0
    for memory in memories:
        length = _length(memory)
        if part and (len(part) == MAX_BATCH or size + length > MAX_REQUEST):
            yield part
            part, size = [], 0
        part.append(memory)
        size += length
    if part:
        yield part


def _length(memory: Mapping[str, Any]) -> int:
    """The bytes that a memory takes in a request, its vectors being base64 of float32 there."""
    vectors = memory.get("embeddings", [])
    text = {name: value for name, value in memory.items() if name != "embeddings"}
    return len(to_json(text)) + sum(6 * len(vector) + 10 for vector in vectors)
