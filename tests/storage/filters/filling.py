"""Records in a store, and those of them that a filter admits."""

import json
from typing import Any

import numpy as np
from agentmem_client.filters import parse
from agentmem_server.storage import (
    Collection,
    Embedding,
    ListRequest,
    Put,
    Record,
    SearchRequest,
    Selection,
    Store,
)

from tests.storage.filters.oracle import Json

EMBEDDING = Embedding("client", None, 2, "cosine")
ANYWHERE = np.array([1, 0], dtype="<f4").tobytes()


def record(identity: str, metadata: dict[str, Json], content: str = "") -> Record:
    nothing: dict[str, Any] = dict.fromkeys(
        ("user_id", "agent_id", "session_id", "type", "importance", "event_at", "expires_at")
    )
    return Record(
        identity, content, metadata, **nothing, created_at=1, updated_at=1, vectors=ANYWHERE
    )


async def filled(store: Store, name: str, records: list[Record]) -> Collection:
    (outcome,) = await store.write([Put("tenant", name, EMBEDDING, records)])
    assert not isinstance(outcome, Exception), outcome
    collection = await store.collection("tenant", name)
    assert collection is not None
    return collection


async def admitted(store: Store, collection: Collection, raw: dict[str, Json]) -> set[str]:
    selection = Selection(filter=parse(json.loads(json.dumps(raw))))
    page = await store.page(collection, ListRequest(selection, "seq", "asc", 1_000))
    found = await store.search(
        collection,
        SearchRequest(selection, ANYWHERE, [], 1_000, lambda c: (c.ids, c.similarities)),
    )
    ids = {one.id for one in page.records}
    assert page.total == len(page.records) == len(ids)
    assert {one.id for one, _ in found} == ids
    return ids
