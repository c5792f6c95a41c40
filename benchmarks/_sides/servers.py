"""Servers that are asked over HTTP, by the same client: ours and Chroma's."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from _asking import Asked, Target
from _memories import Made, encoded
from _servers import ServerProcess

from . import LIMIT, SILENT, Done, Kind, Query, metadata


class _OverHTTP(ABC):
    """A server that is asked over as many connections as there are callers."""

    name: str

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._target = _Target(self.name, process)

    async def open(self) -> None:
        self._process.start()

    async def close(self) -> None:
        self._process.kill()

    async def fill(self, made: Made, size: int) -> None:
        await self._ask(self._batches(made, size), 1)

    async def add(self, made: Made, callers: int, limit: float) -> Done:
        requests = [self._adds(made, range(place, place + 1)) for place in range(len(made))]
        return await self._ask(requests, callers, limit)

    async def batches(self, made: Made, size: int, limit: float) -> Done | None:
        done = await self._ask(self._batches(made, size), 1, limit)
        done.answered *= size
        return done

    async def search(
        self, kind: Kind, queries: Sequence[Query], callers: int, limit: float
    ) -> Done:
        return await self._ask([self._searches(kind, query) for query in queries], callers, limit)

    def _batches(self, made: Made, size: int) -> list[Asked]:
        starts = range(0, len(made), size)
        return [self._adds(made, range(start, min(start + size, len(made)))) for start in starts]

    async def _ask(
        self, requests: Sequence[Asked], callers: int, limit: float = float("inf")
    ) -> Done:
        figures = await self._target.ask(requests, callers, limit)
        return Done(len(figures.seconds), took=figures.took, cpu=figures.cpu)

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx.AsyncClient(base_url=self._process.url, timeout=60) as client:
            return (await client.request(method, path, json=body)).raise_for_status().json()

    @abstractmethod
    def _adds(self, made: Made, places: Sequence[int]) -> Asked:
        """The request that stores these."""

    @abstractmethod
    def _searches(self, kind: Kind, query: Query) -> Asked:
        """The request that searches."""


class _Target(Target):
    """A server whose processor time the system tells: not all have metrics."""

    def __init__(self, name: str, process: ServerProcess) -> None:
        super().__init__(name, process.url)
        self._process = process

    def cpu(self) -> float:
        """Seconds that it has spent on the processor."""
        return self._process.cpu()


class Ours(_OverHTTP):
    """Our server on a SQLite file."""

    name = "AgentMem"

    def __init__(self, folder: Path) -> None:
        database = f"sqlite:///{(folder / 'memories.db').resolve().as_posix()}"
        command = [sys.executable, "-m", "agentmem_server.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", "{port}", "--database", database]
        super().__init__(ServerProcess(command, "/health/ready", folder / "server.log"))

    async def found(self, kind: Kind, query: Query) -> list[int]:
        answer = await self._json(*self._searches(kind, query))
        return [hit["metadata"]["number"] for hit in answer["hits"]]

    async def count(self) -> int:
        path = "/api/v1/memories?collection=peers&limit=1&include_total=true"
        return int((await self._json("GET", path))["total"])

    def _adds(self, made: Made, places: Sequence[int]) -> Asked:
        memories = [made.body(place, "peers") for place in places]
        if len(memories) == 1:
            return "POST", "/api/v1/memories", memories[0]
        return "POST", "/api/v1/memories/batch", {"memories": memories}

    def _searches(self, kind: Kind, query: Query) -> Asked:
        body: dict[str, Any] = {"collection": "peers", "embedding": encoded(query.vector)}
        if kind == "scoped":
            body["user_id"] = query.user
        elif kind == "filtered":
            body["filters"] = {"topic": query.topic}
        return "POST", "/api/v1/memories/search", {**body, "limit": LIMIT}


class Chroma(_OverHTTP):
    """Chroma's server, asked what its own client asks: vectors to store come in base64."""

    name = "Chroma"
    _ROOT = "/api/v2/tenants/default_tenant/databases/default_database/collections"

    def __init__(self, folder: Path) -> None:
        from chromadb.cli.cli import app

        command = [sys.executable, "-c", f"from {app.__module__} import app; app()", "run"]
        command += ["--path", str(folder / "chroma"), "--host", "127.0.0.1", "--port", "{port}"]
        log = folder / "chroma.log"
        super().__init__(ServerProcess(command, "/api/v2/heartbeat", log, SILENT))

    async def open(self) -> None:
        await super().open()
        wanted = {"name": "peers", "configuration": {"hnsw": {"space": "cosine"}}}
        made = await self._json("POST", self._ROOT, {**wanted, "get_or_create": True})
        self._collection = f"{self._ROOT}/{made['id']}"

    async def found(self, kind: Kind, query: Query) -> list[int]:
        answer = await self._json(*self._searches(kind, query))
        return [found["number"] for found in answer["metadatas"][0]]

    async def count(self) -> int:
        return int(await self._json("GET", f"{self._collection}/count"))

    def _adds(self, made: Made, places: Sequence[int]) -> Asked:
        body = {
            "ids": [made.id(place) for place in places],
            "embeddings": [encoded(made.vectors[place]) for place in places],
            "documents": [made.texts[place] for place in places],
            "metadatas": [metadata(made, place) for place in places],
            "uris": None,
        }
        return "POST", f"{self._collection}/add", body

    def _searches(self, kind: Kind, query: Query) -> Asked:
        where = {"scoped": {"user_id": query.user}, "filtered": {"topic": query.topic}}
        body = {
            "query_embeddings": [query.vector.tolist()],
            "n_results": LIMIT,
            "where": where.get(kind),
            "include": ["metadatas", "documents", "distances"],
        }
        return "POST", f"{self._collection}/query", body
