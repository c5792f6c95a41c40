"""An export's format: JSON lines, and what they are of collections and records.

The first line says that it is an export, the last one how much is in it. Between them, each
collection has a line, and after it each of its memories has one, in the order of first storing::

    {"agentmem_export": 1, "tenant": "acme", "exported_at": "...", "vectors": true, "server": "..."}
    {"collection": {"name": "default", "embedder": "server", ...}}
    {"memory": {"id": "...", "collection": "default", "content": "...", ...}}
    {"end": {"collections": 1, "memories": 1}}
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Self

from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest
from agentmem_client.vectors import to_base64
from pydantic import Field, ValidationError, model_validator
from pydantic_core import to_json

from .. import times
from ..engine import records
from ..storage import Collection, Embedding, Record
from .entries import Entry, Incoming, NewCollection, Note, Unreadable, reason

VERSION = 1

Count = Annotated[int, Field(ge=0)]


class Header(m.Answer):
    """The first line."""

    agentmem_export: int
    tenant: str
    exported_at: m.Time
    vectors: bool
    server: str


class CollectionLine(m.Request):
    """A collection."""

    name: m.Name
    embedder: m.Embedder
    model: str | None = None
    dimension: m.Dimension
    metric: m.Metric
    default_ttl: m.TimeToLive | None = None
    created_at: m.Time


class MemoryLine(m.MemoryInput):
    """A memory with all that a server answers of it; ``seq`` and ``version`` are not imported."""

    id: m.Name
    created_at: m.Time
    updated_at: m.Time
    seq: Count = 0
    version: Count = 1

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        """Unlike in a request, ``ttl`` and ``expires_at`` are both known."""
        if self.embedding is not None and self.embeddings is not None:
            raise ValueError("give embedding or embeddings, not both")
        if self.index_texts == [] and (self.embedding is not None or self.embeddings is not None):
            raise ValueError("index_texts=[]: no search finds it; give no embedding with it")
        return self

    def to_record(self) -> Record:
        """The record that it is, with the vectors that came along."""
        record = records.to_record(self, times.to_microseconds(self.updated_at))
        record.created_at = times.to_microseconds(self.created_at)
        if self.expires_at is not None:
            record.expires_at = times.to_microseconds(self.expires_at)
        return record


class End(m.Request):
    """The last line: how many lines of each kind there are."""

    collections: Count
    memories: Count


class _Line(m.Request):
    """Any line but the first; one of the three is there."""

    collection: CollectionLine | None = None
    memory: MemoryLine | None = None
    end: End | None = None


def header_line(tenant: str, *, vectors: bool, server: str) -> bytes:
    """The first line of an export that is made now."""
    now = times.to_datetime(times.now())
    header = {"tenant": tenant, "exported_at": now, "vectors": vectors, "server": server}
    return _line({"agentmem_export": VERSION, **header})


def collection_line(collection: Collection) -> bytes:
    """The line of a collection."""
    embedding = collection.embedding
    fields = {
        "name": collection.name,
        "embedder": embedding.embedder,
        "model": embedding.model,
        "dimension": embedding.dimension,
        "metric": embedding.metric,
        "default_ttl": records.to_seconds(collection.default_ttl),
        "created_at": times.to_datetime(collection.created_at),
    }
    return _line({"collection": fields})


def memory_line(record: Record, collection: Collection) -> bytes:
    """The line of a memory, with its vectors where they were read."""
    memory = records.to_memory(record, collection.name)
    fields: dict[str, Any] = memory.model_dump(exclude={"embedding", "embeddings"})
    if record.vectors:
        length = 4 * collection.embedding.dimension
        starts = range(0, len(record.vectors), length)
        texts = [to_base64(record.vectors[start : start + length]) for start in starts]
        fields |= {"embedding": texts[0]} if len(texts) == 1 else {"embeddings": texts}
    return _line({"memory": fields})


def end_line(collections: int, memories: int) -> bytes:
    """The last line."""
    return _line({"end": {"collections": collections, "memories": memories}})


def _line(value: dict[str, Any]) -> bytes:
    return to_json(value) + b"\n"


def read_export(lines: Iterable[bytes], only: frozenset[str] | None = None) -> Iterator[Entry]:
    """The entries of one export, or of several one after the other.

    Args:
        lines: of the file.
        only: the collections that are wanted; None for all.

    Raises:
        InvalidRequest: it is no export, or one of a format that this version doesn't know.
    """
    reader: _Export | None = None
    started = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if reader is None:
            reader = _Export(_read_header(line, number), only)
            started = True
            continue
        yield from reader.read(line, f"line {number}")
        if reader.ended:
            reader = None
    if not started:
        raise InvalidRequest("there is nothing in it: an export has a first and a last line")
    if reader is not None:
        yield Unreadable("the end", "the last line is missing: this is not the whole export")


def _read_header(line: bytes, number: int) -> Header:
    try:
        header = Header.model_validate_json(line)
    except ValidationError:
        raise InvalidRequest(
            f"line {number} is not the first line of an AgentMem export: say --format for what "
            "comes from another system"
        ) from None
    if header.agentmem_export != VERSION:
        raise InvalidRequest(
            f"the export has format {header.agentmem_export}, and this version reads {VERSION}: "
            "upgrade agentmem-server"
        )
    return header


class _Export:
    """One export while it is read: what was in it so far."""

    def __init__(self, header: Header, only: frozenset[str] | None) -> None:
        self._header = header
        self._only = only
        self._embeddings: dict[str, Embedding] = {}
        self._lines = 0
        self.ended = False

    def read(self, text: bytes, place: str) -> Iterator[Entry]:
        """The entries of a line."""
        self._lines += 1
        try:
            line = _Line.model_validate_json(text)
        except ValidationError as error:
            yield Unreadable(place, reason(error))
            return
        match line:
            case _Line(collection=CollectionLine() as collection, memory=None, end=None):
                yield from self._collection(collection, place)
            case _Line(collection=None, memory=MemoryLine() as memory, end=None):
                yield from self._memory(memory, place)
            case _Line(collection=None, memory=None, end=End() as end):
                yield from self._end(end, place)
            case _:
                yield Unreadable(place, "must be one of collection, memory and end")

    def _collection(self, line: CollectionLine, place: str) -> Iterator[Entry]:
        embedding = Embedding(line.embedder, line.model, line.dimension, line.metric)
        self._embeddings[line.name] = embedding
        if self._only is not None and line.name not in self._only:
            return
        yield NewCollection(
            place,
            line.name,
            embedding,
            times.to_microseconds(line.created_at),
            None if line.default_ttl is None else times.from_seconds(line.default_ttl),
        )
        if line.embedder == "client" and not self._header.vectors:
            yield Note("collections whose vectors come from the caller, and are not in the file")

    def _memory(self, line: MemoryLine, place: str) -> Iterator[Entry]:
        if self._only is not None and line.collection not in self._only:
            return
        source = self._embeddings.get(line.collection)
        if source is None:
            yield Unreadable(place, "memory.collection: no line before it has this collection")
            return
        record = line.to_record()
        if record.vectors is not None and len(record.vectors) % (4 * source.dimension):
            yield Unreadable(
                place, f"memory.embedding: must have {source.dimension} numbers, as its collection"
            )
            return
        yield Incoming(place, line.collection, record, source)

    def _end(self, line: End, place: str) -> Iterator[Entry]:
        self.ended = True
        said, found = line.collections + line.memories, self._lines - 1
        if said != found:
            yield Unreadable(
                place,
                f"there should be {said} lines before it, and there are {found}: some are lost",
            )
