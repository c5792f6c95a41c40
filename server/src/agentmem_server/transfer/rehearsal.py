"""A dry run: an import into a store's state that writes nothing."""

from collections.abc import Sequence

import numpy as np
from agentmem_client.errors import APIError
from numpy.typing import NDArray

from ..embedding import Embedder
from ..storage import Collection, Outcome, PutCollection, Record, Snapshot, Write

_NOT_MADE = -1


class Rehearsal:
    """Stands for a store while an import is tried out: says what is there, and writes nothing.

    A memory that is in the file twice counts twice, for the first is not there for the second.

    Args:
        snapshot: what is there; None: nothing.
    """

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot
        self._made: dict[tuple[str, str], Collection] = {}

    async def collection(self, tenant: str, name: str) -> Collection | None:
        """One collection, if it is there or would be."""
        there = [] if self._snapshot is None else self._snapshot.collections(tenant)
        found = next((one for one in there if one.name == name), None)
        return found or self._made.get((tenant, name))

    async def get(
        self, collection: Collection, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Record]:
        """The records that are there with these ids."""
        if self._snapshot is None or collection.key == _NOT_MADE:
            return []
        return self._snapshot.get(collection, ids)

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Make nothing but a note of collections."""
        outcomes: list[Outcome | APIError] = []
        for write in writes:
            made = None
            if isinstance(write, PutCollection):
                made = Collection(
                    _NOT_MADE, write.tenant, write.name, write.embedding, write.created_at
                )
                self._made[write.tenant, write.name] = made
            outcomes.append(made)
        return outcomes


class NoEmbedding:
    """Stands for an embedder: of its name and dimension, and every vector is zero."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = embedder.name
        self.dimension = embedder.dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row of zeros for each text."""
        return np.zeros((len(texts), self.dimension), np.float32)

    async def close(self) -> None:
        """Nothing is held."""
