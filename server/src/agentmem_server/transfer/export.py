"""From a store's state to an export."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from agentmem_client.errors import NotFound, shown

from .. import __version__
from ..storage import Collection, Snapshot
from . import format


@dataclass
class Exported:
    """How much was exported."""

    collections: int = 0
    memories: int = 0
    unrepeatable: list[str] = field(default_factory=list)
    """Collections whose vectors only their callers can make, and that are exported without."""


def choose(snapshot: Snapshot, tenant: str, names: Sequence[str]) -> list[Collection]:
    """The collections of a tenant, or those of these names.

    Raises:
        NotFound: one of them is not there.
    """
    there = {collection.name: collection for collection in snapshot.collections(tenant)}
    for name in names:
        if name not in there:
            raise NotFound(f"there is no collection {shown(name)} of the tenant {shown(tenant)}")
    return [one for name, one in there.items() if not names or name in names]


def lines(
    snapshot: Snapshot,
    tenant: str,
    collections: Sequence[Collection],
    *,
    vectors: bool,
    exported: Exported,
    on_memory: Callable[[], object],
) -> Iterator[bytes]:
    """The lines of an export; ``exported`` counts along."""
    yield format.header_line(tenant, vectors=vectors, server=__version__)
    for collection in collections:
        yield format.collection_line(collection)
        exported.collections += 1
        if collection.embedding.embedder == "client" and not vectors:
            exported.unrepeatable.append(collection.name)
        for record in snapshot.records(collection, with_vectors=vectors):
            yield format.memory_line(record, collection)
            exported.memories += 1
            on_memory()
    yield format.end_line(exported.collections, exported.memories)
