"""An engine over a real store, with an embedder that makes a vector of a text's hash."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from agentmem_client import models as m
from agentmem_client.errors import APIError
from agentmem_server.access.callers import Caller
from agentmem_server.embedding import EmbedderUnavailable
from agentmem_server.engine.engine import Engine
from agentmem_server.storage import Collection, Outcome, Record, SearchRequest, Write
from agentmem_server.storage.sqlite import SqliteStore
from agentmem_server.telemetry.watch import NOBODY, Watch
from numpy.typing import NDArray

TENANT = Caller("tenant")
DIMENSION = 8


def vector_of(text: str, dimension: int = DIMENSION) -> NDArray[np.float32]:
    seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeEmbedder:
    """Notes what it embeds; refuses texts with "bad" in them; is down or slow when told to."""

    def __init__(self, name: str = "fake", dimension: int = DIMENSION) -> None:
        self.name = name
        self.dimension = dimension
        self.texts: list[str] = []
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Callable[[], Awaitable[object]] | None = None

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        await self.gate.wait()
        if self.before is not None:
            await self.before()
        if self.down:
            raise EmbedderUnavailable("connection refused")
        if any("bad" in text for text in texts):
            raise EmbedderUnavailable("the text is too long", retryable=False)
        return np.array([vector_of(text, self.dimension) for text in texts])

    async def close(self) -> None:
        pass


class WatchedStore(SqliteStore):
    """Counts searches; holds writes before they begin, and searches before they answer.

    ``at_onces`` are those searches that were answered at once.
    """

    def __init__(self, path: Path, readers: int, watch: Watch = NOBODY) -> None:
        super().__init__(path, readers, watch)
        self.searches = 0
        self.at_onces = 0
        search_at_once = self.at_once.search

        def counted(collection: Collection, request: SearchRequest) -> Any:
            found = search_at_once(collection, request)
            self.searches += found is not None
            self.at_onces += found is not None
            return found

        self.at_once.search = counted  # type: ignore[method-assign]  # the same, and counts
        self.batches: list[int] = []
        self.write_gate = asyncio.Event()
        self.search_gate = asyncio.Event()
        self.write_gate.set()
        self.search_gate.set()

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        self.batches.append(len(writes))
        await self.write_gate.wait()
        return await super().write(writes)

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        self.searches += 1
        found = await super().search(collection, request)
        await self.search_gate.wait()
        return found


def memory(content: str = "hello", **fields: Any) -> m.MemoryInput:
    return m.MemoryInput.model_validate({"content": content, **fields})


async def search(engine: Engine, query: str | None = None, **fields: Any) -> list[m.Hit]:
    tenant = fields.pop("tenant", TENANT)
    request = m.SearchRequest.model_validate({"query": query, **fields})
    return m.SearchAnswer.model_validate_json(await engine.search(tenant, request)).hits


async def found(engine: Engine, query: str | None = None, **fields: Any) -> list[str]:
    return [hit.id for hit in await search(engine, query, **fields)]


async def listed(engine: Engine, **fields: Any) -> list[str]:
    page = await engine.page(TENANT, m.ListQuery.model_validate(fields))
    return [one.id for one in page.memories]


async def got(engine: Engine, memory_id: str, collection: str = "default") -> m.Memory:
    query = m.GetQuery(collection=collection, include_embeddings=True)
    return await engine.get(TENANT, memory_id, query)


async def update(engine: Engine, memory_id: str, where: str = "default", **fields: Any) -> m.Memory:
    return await engine.update(TENANT, where, memory_id, m.MemoryUpdate.model_validate(fields))


async def delete(engine: Engine, **fields: Any) -> int:
    return (await engine.delete_many(TENANT, m.DeleteRequest.model_validate(fields))).deleted


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until a condition holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


def vector(collection: str, numbers: list[float]) -> m.MemoryInput:
    return memory("x", collection=collection, embedding=numbers)
