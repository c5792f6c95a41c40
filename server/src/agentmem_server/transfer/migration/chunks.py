"""What is moved at once: rows of the source, with those that are derived of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic_core import from_json

from ...storage.postgres.inserts import EVENT, IMAGE, MEMORY, TAG, TOKEN, VECTOR, tag_rows
from ...storage.postgres.vectors import rows_of
from .source import COLLECTION, Row, Source

T = TypeVar("T")
Kind: TypeAlias = Literal["memory", "vector", "event"]

_ROWS = 1_000
_BYTES = 4_000_000
"""Of the source; what is larger alone is a chunk of its own."""

_CID, _RID, _METADATA = (list(MEMORY).index(name) for name in ("cid", "rid", "metadata"))
_DIMENSION, _METRIC = (COLLECTION.index(name) for name in ("dimension", "metric"))


@dataclass
class Chunk:
    """Rows that are there together, or not.

    Attributes:
        kind: what they are of the source.
        last: the id of the last one there.
        count: how many of the source's they are.
        rows: of each table.
        indexed: memories by collection and row id, whose keywords are to be indexed.
    """

    kind: Kind
    last: int
    count: int
    rows: dict[str, list[Row]] = field(default_factory=dict)
    indexed: Sequence[tuple[int, int]] = ()


COLUMNS: Mapping[str, Mapping[str, str]] = {
    "memory": MEMORY,
    "embedding": VECTOR,
    "token": TOKEN,
    "tag": TAG,
    "event": EVENT,
    "image": IMAGE,
}
"""Of the tables that chunks go to."""


def chunks(source: Source, positions: Mapping[Kind, int]) -> Iterator[Chunk]:
    """All of the source that comes after these positions, in order."""
    return chain(
        _memories(source, positions["memory"]),
        _left_vectors(source, positions["vector"]),
        _events(source, positions["event"]),
    )


def _memories(source: Source, after: int) -> Iterator[Chunk]:
    is_true = _booleans(MEMORY)
    for taken in _taken(source.memories(after), lambda one: _size(one[0]) + _size(one[1:])):
        keys = [(row[_CID], row[_RID]) for row, *_ in taken]
        vectors: list[Row] = []
        tags: list[Row] = []
        for key, (row, given, _) in zip(keys, taken, strict=True):
            if given is not None:
                vectors += vector_rows(source, *key, given)
            tags += tag_rows(key, from_json(row[_METADATA]))
        tokens = [(*key, own) for key, (*_, own) in zip(keys, taken, strict=True) if own]
        rows = {
            "memory": [is_true(row) for row, *_ in taken],
            "embedding": vectors,
            "token": tokens,
            "tag": tags,
        }
        yield Chunk("memory", keys[-1][1], len(taken), rows, keys)


def _left_vectors(source: Source, after: int) -> Iterator[Chunk]:
    for taken in _taken(source.left_vectors(after), _size):
        rows = [row for one in taken for row in vector_rows(source, *one)]
        yield Chunk("vector", taken[-1][1], len(taken), {"embedding": rows})


def _events(source: Source, after: int) -> Iterator[Chunk]:
    is_true = _booleans(IMAGE)
    for taken in _taken(source.events(after), lambda one: _size(one[0]) + _size(one[1] or ())):
        images = [is_true(image) for _, image in taken if image is not None]
        events = [event for event, _ in taken]
        yield Chunk("event", events[-1][0], len(taken), {"event": events, "image": images})


def vector_rows(source: Source, cid: int, rid: int, given: bytes) -> list[Row]:
    """The rows of a memory's vectors."""
    collection = source.collections[cid]
    of = rows_of(collection[_METRIC], collection[_DIMENSION], given)
    return [(cid, rid, *row) for row in of]


def _booleans(columns: Iterable[str]) -> Callable[[Row], Row]:
    """What makes a boolean of the number that SQLite has in its stead."""
    place = list(columns).index("archived")
    return lambda row: (*row[:place], bool(row[place]), *row[place + 1 :])


def _taken(rows: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The rows, as many at once as may go together."""
    taken: list[T] = []
    whole = 0
    for row in rows:
        taken.append(row)
        whole += size(row)
        if len(taken) == _ROWS or whole >= _BYTES:
            yield taken
            taken, whole = [], 0
    if taken:
        yield taken


def _size(row: Sequence[Any]) -> int:
    return sum(len(value) for value in row if isinstance(value, str | bytes))
