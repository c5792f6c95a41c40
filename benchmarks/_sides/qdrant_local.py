"""Qdrant in process, on files: its own client, and mem0 on top of it."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _memories import DIMENSION, Made
from qdrant_client import QdrantClient
from qdrant_client import models as q

from . import LIMIT, SILENT, Done, Kind, Known, Query, metadata
from .in_process import InProcess

# It warns of more than 20,000 points: that is what is being measured.
warnings.filterwarnings("ignore", message="Local mode is not recommended")


class Qdrant(InProcess):
    """qdrant-client in its local mode."""

    name = "qdrant-client"

    def __init__(self, folder: Path, known: Known) -> None:
        super().__init__(known)
        self._folder = folder / "qdrant"

    async def open(self) -> None:
        self._client = QdrantClient(path=str(self._folder))
        if not self._client.collection_exists("peers"):
            vectors = q.VectorParams(size=DIMENSION, distance=q.Distance.COSINE)
            self._client.create_collection("peers", vectors_config=vectors)

    async def close(self) -> None:
        self._client.close()

    async def count(self) -> int:
        return int(self._client.count("peers").count)

    def _add(self, made: Made, place: int) -> None:
        self._add_many(made, [place])

    def _add_many(self, made: Made, places: Sequence[int]) -> None:
        points = [
            q.PointStruct(
                id=made.first + place,
                vector=made.vectors[place].tolist(),
                payload={"text": made.texts[place], **metadata(made, place)},
            )
            for place in places
        ]
        self._client.upsert("peers", points)

    def _search(self, kind: Kind, query: Query) -> list[int]:
        wanted = {"scoped": ("user_id", query.user), "filtered": ("topic", query.topic)}
        conditions = None
        if kind in wanted:
            key, value = wanted[kind]
            match = q.FieldCondition(key=key, match=q.MatchValue(value=value))
            conditions = q.Filter(must=[match])
        found = self._client.query_points(
            "peers", query=query.vector.tolist(), query_filter=conditions, limit=LIMIT
        )
        return [point.payload["number"] for point in found.points]


class Mem0(InProcess):
    """mem0 on local Qdrant, storing texts as they are (``infer=False``).

    Its searches want a user, an agent or a run: all memories are one agent's, so that a search
    of all names that one.
    """

    name = "mem0"

    def __init__(self, folder: Path, known: Known) -> None:
        super().__init__(known)
        os.environ.update(SILENT, MEM0_DIR=str(folder / "mem0"))
        from mem0 import Memory

        self._make = Memory.from_config
        self._folder = folder

    async def open(self) -> None:
        store = {
            "collection_name": "peers",
            "embedding_model_dims": DIMENSION,
            "path": str(self._folder / "mem0-qdrant"),
            "on_disk": True,
        }
        nobody = {"provider": "openai", "config": {"api_key": "none"}}  # made, and never asked
        self._memory = self._make(
            {
                "vector_store": {"provider": "qdrant", "config": store},
                "embedder": nobody,
                "llm": nobody,
                "history_db_path": str(self._folder / "mem0-history.db"),
            }
        )
        self._memory.embedding_model = _Embedder(self._known)

    async def close(self) -> None:
        self._memory.vector_store.client.close()
        self._memory.close()

    async def count(self) -> int:
        return int(self._memory.vector_store.client.count("peers").count)

    async def fill(self, made: Made, size: int) -> None:
        """Through its vector store, with what an add would have written there."""
        for start in range(0, len(made), size):
            places = range(start, min(start + size, len(made)))
            self._memory.vector_store.insert(
                vectors=[made.vectors[place].tolist() for place in places],
                payloads=[
                    {"data": made.texts[place], "agent_id": "agent", **metadata(made, place)}
                    for place in places
                ],
                ids=[made.first + place for place in places],
            )

    async def batches(self, made: Made, size: int, limit: float) -> Done | None:
        return None

    def _add(self, made: Made, place: int) -> None:
        kept = metadata(made, place)
        user = kept.pop("user_id")
        self._memory.add(
            made.texts[place], user_id=user, agent_id="agent", metadata=kept, infer=False
        )

    def _search(self, kind: Kind, query: Query) -> list[int]:
        filters: dict[Kind, dict[str, Any]] = {
            "scoped": {"user_id": query.user},
            "filtered": {"agent_id": "agent", "topic": query.topic},
            "unscoped": {"agent_id": "agent"},
        }
        found = self._memory.search(query.text, top_k=LIMIT, filters=filters[kind], threshold=0.0)
        return [one["metadata"]["number"] for one in found["results"]]


class _Embedder:
    """Gives mem0 the vectors."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """The vector of a text."""
        return self._known.embed([text])[0]

    def embed_batch(self, texts: list[str], memory_action: str | None = None) -> list[list[float]]:
        """The vectors of texts."""
        return self._known.embed(texts)
