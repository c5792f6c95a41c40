"""From requests to writes: each memory becomes a record with the vectors that it is found by."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

from agentmem_client import models as m
from agentmem_client.errors import APIError, EmbedderMismatch, InvalidRequest, NotFound, shown

from .. import times
from ..access.callers import Caller
from ..embedding import signs
from ..embedding.batched import BatchedEmbedder, Embedded
from ..pauses import with_pauses
from ..storage import Collection, Embedding, Put, Store, Update
from . import records


class Preparation:
    """Reads what is there, and embeds what the server has to embed."""

    def __init__(self, store: Store, embedder: BatchedEmbedder) -> None:
        self._store = store
        self._embedder = embedder

    @property
    def server_embedding(self) -> Embedding:
        """How the server embeds."""
        return Embedding("server", self._embedder.model, self._embedder.dimension, "cosine")

    async def puts(
        self, caller: Caller, memories: Sequence[m.MemoryInput]
    ) -> list[Put | Exception]:
        """Each memory as a write with its vectors, or what refuses it."""
        now = times.now()
        puts: list[Put | Exception] = []
        texts: list[tuple[int, str]] = []
        collections: dict[str, Collection | None] = {}
        async for position, memory in with_pauses(enumerate(memories)):
            name = memory.collection
            try:
                if name not in collections:
                    collections[name] = await self._store.collection(caller.tenant, name)
                put = self._put(caller, memory, now, collections[name])
            except APIError as refused:
                puts.append(refused)
                continue
            if put.records[0].vectors is None:
                put.records[0].vectors = b""
                texts.extend((position, text) for text in put.records[0].dense_texts)
            puts.append(put)
        outcomes = await self._embedder.embed_many([text for _, text in texts])
        for (position, _), outcome in zip(texts, outcomes, strict=True):
            prepared = puts[position]
            if isinstance(outcome, Exception):
                puts[position] = outcome
            elif isinstance(prepared, Put):
                record = prepared.records[0]
                record.vectors = (record.vectors or b"") + outcome.vector
                record.tokens = signs.joined(
                    [record.tokens or b"", outcome.tokens], self._embedder.dimension
                )
        return puts

    def _put(
        self, caller: Caller, memory: m.MemoryInput, now: int, found: Collection | None
    ) -> Put:
        """A memory, of a collection if it is there, as a write that may still lack its vectors."""
        record = records.to_record(memory, now, None if found is None else found.default_ttl)
        record.user_id = caller.user(memory.user_id)
        given = record.vectors is not None
        embedding = client_embedding(memory) if given else self.server_embedding
        if found is not None:
            if not given and not record.texts:
                embedding = found.embedding  # without vectors, either way is right
            # Before the work of embedding; the writer checks again, with the final word.
            found.embedding.check_given(embedding)
        return Put(caller.tenant, memory.collection, embedding, [record], user_id=caller.user_id)

    async def update(
        self,
        caller: Caller,
        collection_name: str,
        memory_id: str,
        update: m.MemoryUpdate,
        now: int,
        if_version: int | None,
        idempotency_key: str | None,
    ) -> Update:
        """An update with the vectors that it calls for, if any.

        Raises:
            NotFound: when there is none with this id.
            EmbedderMismatch: when the content changes and the collection's vectors come from the
                caller, but no new one does; or the other way round.
        """
        changes = records.to_changes(update, now)
        collection = await self._store.collection(caller.tenant, collection_name)
        found = (
            []
            if collection is None
            else await self._store.get(collection, [memory_id], scope=caller.scope())
        )
        if collection is None or not found:
            raise no_memory(memory_id, collection_name)
        before, after = found[0], replace(found[0], **changes)
        write = partial(
            Update,
            caller.tenant,
            collection_name,
            memory_id,
            changes,
            now,
            user_id=caller.user_id,
            if_version=if_version,
            idempotency_key=idempotency_key,
        )
        given = records.given_vectors(update)
        if given is not None and not after.texts:
            raise InvalidRequest(
                "no search finds this memory, which has index_texts=[]: give index_texts too, "
                "null for its content, or no embedding"
            )
        if given is not None:
            return write(client_embedding(update), given)
        if not after.texts:
            return write(vectors=b"", texts=[])
        if collection.embedding.embedder == "client":
            if after.texts != before.texts:
                raise EmbedderMismatch(
                    "the text changes, and this collection's vectors come from the caller: give "
                    "the embedding of the new text with it"
                )
            return write(found_by=after.texts)
        if after.dense_texts == before.dense_texts:
            return write(texts=after.dense_texts)
        collection.embedding.check_given(self.server_embedding)
        embedded: list[Embedded] = []
        for outcome in await self._embedder.embed_many(after.dense_texts):
            if isinstance(outcome, Exception):
                raise outcome
            embedded.append(outcome)
        return write(
            self.server_embedding,
            b"".join(one.vector for one in embedded),
            after.dense_texts,
            tokens=signs.joined([one.tokens for one in embedded], self._embedder.dimension),
        )


def client_embedding(memory: m.MemoryInput | m.MemoryUpdate) -> Embedding:
    """How a memory's own vectors were made."""
    vector = memory.embedding if memory.embeddings is None else memory.embeddings[0]
    assert vector is not None
    return _given(len(vector) // 4)


@cache
def _given(dimension: int) -> Embedding:
    return Embedding("client", None, dimension, "cosine")


def no_memory(memory_id: str, collection: str) -> NotFound:
    """The refusal of what is about a memory that isn't there."""
    return NotFound(f"there is no memory {shown(memory_id)} in the collection {shown(collection)}")
