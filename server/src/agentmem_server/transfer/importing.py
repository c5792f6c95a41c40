"""From the entries of a file to a store: what is new or newer is written, batch by batch.

Each batch is compared with what is there and written in one transaction, so that an import that was
interrupted and is run again goes on where it stopped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from agentmem_client.errors import APIError, EmbedderMismatch, Unavailable
from pydantic_core import to_json

from .. import times
from ..embedding import signs
from ..embedding.batched import BatchedEmbedder, Embedded
from ..storage import Collection, Embedding, Outcome, Put, PutCollection, Record, Write
from .entries import Entry, Incoming, NewCollection, Note, Unreadable

_BATCH = 256
_BATCH_CHARACTERS = 4_000_000


class Target(Protocol):
    """What is imported into: a `Store`, or what stands for one in a dry run."""

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there."""

    async def get(
        self, collection: Collection, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Record]:
        """The records with these ids; missing ones are skipped."""

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply writes in order, durably."""


@dataclass
class Imported:
    """What became of the memories of a file, in numbers.

    ``kept`` are those that are newer in the store, or that the file has no date of and the store
    has otherwise; ``expired`` were so before they could be stored. ``made`` and ``found`` are names
    of collections.
    """

    stored: int = 0
    updated: int = 0
    unchanged: int = 0
    kept: int = 0
    expired: int = 0
    failed: int = 0
    embedded: int = 0
    made: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)


class Importer:
    """Imports the entries of files for one tenant.

    Args:
        target: where to.
        tenant: whose memories they become.
        embedder: makes the vectors that the file doesn't have, or that another model made.
        on_failure: told the place and the reason of each failure, as it comes up.
    """

    def __init__(
        self,
        target: Target,
        tenant: str,
        embedder: BatchedEmbedder,
        on_failure: Callable[[str, str], None],
    ) -> None:
        self.imported = Imported()
        self._target = target
        self._tenant = tenant
        self._embedder = embedder
        self._on_failure = on_failure
        self._batch: dict[str, Incoming] = {}
        self._characters = 0

    async def run(self, entries: Iterable[Entry]) -> None:
        """Import entries, in their order.

        Raises:
            Unavailable: the store or the embedder can't go on. What came before is stored.
        """
        for entry in entries:
            match entry:
                case Incoming():
                    await self._take(entry)
                case NewCollection():
                    await self._write_batch()
                    await self._make(entry)
                case Unreadable():
                    self._fail(entry.place, entry.reason)
                case Note():
                    self.imported.notes[entry.text] += entry.count
        await self._write_batch()

    async def _take(self, memory: Incoming) -> None:
        """Put a memory into the batch; one of the same id is written before."""
        batch = self._batch
        if batch and (
            memory.record.id in batch
            or memory.collection != next(iter(batch.values())).collection
            or len(batch) == _BATCH
            or self._characters > _BATCH_CHARACTERS
        ):
            await self._write_batch()
        self._batch[memory.record.id] = memory
        self._characters += len(memory.record.content) + len(memory.record.vectors or b"")

    async def _make(self, new: NewCollection) -> None:
        """Make a collection, unless it is there; one that the server embeds, by its model."""
        if await self._target.collection(self._tenant, new.name) is not None:
            self.imported.found.add(new.name)
            return
        embedding = new.embedding
        if embedding.embedder == "server":
            embedding = replace(self._server_embedding, metric=embedding.metric)
        changes = {} if new.default_ttl is None else {"default_ttl": new.default_ttl}
        await self._make_as(new.name, embedding, new.created_at, changes)

    async def _make_as(
        self, name: str, embedding: Embedding, created_at: int, changes: dict[str, Any]
    ) -> Collection:
        made: Collection = await self._write(
            PutCollection(self._tenant, name, embedding, created_at, changes)
        )
        self.imported.made.add(name)
        return made

    @property
    def _server_embedding(self) -> Embedding:
        return Embedding("server", self._embedder.model, self._embedder.dimension, "cosine")

    async def _write_batch(self) -> None:
        memories = list(self._batch.values())
        self._batch, self._characters = {}, 0
        if not memories:
            return
        name = memories[0].collection
        collection = await self._target.collection(self._tenant, name)
        stored: dict[str, Record] = {}
        if collection is None:
            collection = await self._make_as(name, self._server_embedding, times.now(), {})
        else:
            if name not in self.imported.made:
                self.imported.found.add(name)
            ids = [memory.record.id for memory in memories]
            there = await self._target.get(collection, ids, with_vectors=True)
            stored = {record.id: record for record in there}
        wanted = []
        for memory in memories:
            before = stored.get(memory.record.id)
            try:
                if self._is_wanted(memory, before, collection.embedding):
                    wanted.append(memory)
            except APIError as refused:
                self._fail(memory.place, refused.message)
        await self._put(collection, await self._embed(wanted), stored.keys())

    def _is_wanted(self, memory: Incoming, before: Record | None, embedding: Embedding) -> bool:
        """Whether it is to be written; its vectors then are None where those there stay.

        Raises:
            APIError: it can't go into a collection that embeds so.
        """
        record, texts = memory.record, memory.record.dense_texts
        if before is not None:
            _align(record, before, dated=memory.dated)
        if record.expires_at is not None and record.expires_at <= times.now():
            self.imported.expired += 1
            return False
        if before is not None and before.updated_at > record.updated_at:
            self.imported.kept += 1
            return False
        record.vectors = self._vectors(memory, before, embedding, texts)
        if before is None:
            return True
        if _is_same(record, before):
            self.imported.unchanged += 1
            return False
        if not memory.dated:
            self.imported.kept += 1
        return memory.dated

    def _vectors(
        self,
        memory: Incoming,
        before: Record | None,
        embedding: Embedding,
        texts: Sequence[str],
    ) -> bytes | None:
        """The vectors to write, or None where those there stay; ``texts``: what the file's are of.

        Raises:
            APIError: it can't go into a collection that embeds so.
        """
        record, given = memory.record, memory.record.vectors
        if not record.texts:
            return b""
        if embedding.embedder == "client":
            return _callers_vectors(memory, before, embedding)
        if (
            _is_alike(memory.source, embedding)
            and len(given or b"") == 4 * embedding.dimension * len(texts)
            and texts == record.dense_texts
        ):
            return given
        if before is not None and before.vectors and before.dense_texts == record.dense_texts:
            return None
        embedding.check_given(self._server_embedding)
        return _TO_EMBED

    async def _embed(self, memories: list[Incoming]) -> list[Incoming]:
        """The memories with all vectors; those that the embedder refuses have failed."""
        lacking = [memory for memory in memories if memory.record.vectors is _TO_EMBED]
        texts = [text for memory in lacking for text in memory.record.dense_texts]
        outcomes = iter(await self._embedder.embed_many(texts) if texts else [])
        failed: set[str] = set()
        for memory in lacking:
            own = [next(outcomes) for _ in memory.record.dense_texts]
            refused = [one for one in own if isinstance(one, Exception)]
            for error in refused[:1]:
                if isinstance(error, Unavailable) or not isinstance(error, APIError):
                    raise error
                self._fail(memory.place, error.message)
                failed.add(memory.record.id)
            made = [one for one in own if isinstance(one, Embedded)]
            memory.record.vectors = b"".join(one.vector for one in made)
            memory.record.tokens = signs.joined(
                [one.tokens for one in made], self._embedder.dimension
            )
        self.imported.embedded += len(lacking) - len(failed)
        return [memory for memory in memories if memory.record.id not in failed]

    async def _put(
        self, collection: Collection, memories: list[Incoming], there: Iterable[str]
    ) -> None:
        """Write memories in one step; where it is refused, one by one."""
        known = set(there)
        steps = [memories] if memories else []
        while steps:
            step = steps.pop(0)
            put = Put(
                self._tenant,
                collection.name,
                collection.embedding,
                [memory.record for memory in step],
                at=times.now(),
            )
            try:
                await self._write(put)
            except Unavailable:
                raise
            except APIError as refused:
                if len(step) > 1:
                    steps = [[memory] for memory in step]
                else:
                    self._fail(step[0].place, refused.message)
                continue
            updated = sum(memory.record.id in known for memory in step)
            self.imported.updated += updated
            self.imported.stored += len(step) - updated

    async def _write(self, write: Write) -> Outcome:
        (outcome,) = await self._target.write([write])
        if isinstance(outcome, APIError):
            raise outcome
        return outcome

    def _fail(self, place: str, reason: str) -> None:
        self.imported.failed += 1
        self._on_failure(place, reason)


_TO_EMBED = b"to embed"
"""In place of vectors that are to be made."""


def _align(record: Record, before: Record, *, dated: bool) -> None:
    """Give an imported record what the stored one knows better."""
    record.created_at = before.created_at
    if not dated:
        record.updated_at = before.updated_at
    if record.ttl is not None and record.ttl == before.ttl:
        # Reads have started its time to live anew meanwhile, here or there.
        record.expires_at = max(record.expires_at or 0, before.expires_at or 0)


def _callers_vectors(memory: Incoming, before: Record | None, embedding: Embedding) -> bytes | None:
    """The vectors of a memory in a collection whose callers embed; None where those there stay.

    Raises:
        EmbedderMismatch: there are none.
        DimensionMismatch: they are of another length.
    """
    record = memory.record
    if record.vectors and memory.source is not None and memory.source.embedder == "client":
        embedding.check_given(memory.source)
        return record.vectors
    if before is not None and before.vectors and before.texts == record.texts:
        return None
    raise EmbedderMismatch(
        "the collection's vectors come from the caller, and the file has none of this memory: "
        "export with --vectors, or import into a collection that the server embeds"
    )


def _is_alike(source: Embedding | None, embedding: Embedding) -> bool:
    """Whether vectors made one way can stand beside those made another way."""
    return source is not None and replace(source, metric=embedding.metric) == embedding


_COMPARED = [one.name for one in fields(Record) if one.compare and one.name != "vectors"]


def _is_same(record: Record, before: Record) -> bool:
    """Whether writing the record would change nothing; by JSON's types, for True is 1 in Python."""
    if record.vectors is not None and record.vectors != (before.vectors or b""):
        return False
    ours, theirs = ([getattr(one, name) for name in _COMPARED] for one in (record, before))
    return to_json(ours) == to_json(theirs)
