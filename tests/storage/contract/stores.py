"""What the contract's tests write to a store, and how they read it."""

from typing import Any, Protocol

import numpy as np
from agentmem_client.errors import APIError
from agentmem_client.filters import parse
from agentmem_server import times
from agentmem_server.engine.ranking import fuse
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    Candidates,
    Collection,
    Delete,
    Deleted,
    Embedding,
    ListRequest,
    Outcome,
    Page,
    Put,
    Ranked,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Store,
    Stored,
    Update,
    Write,
)

SECOND = 1_000_000
MAY_8 = 1_683_550_000 * SECOND  # in 2023
TENANT, NOTES = "tenant", "notes"
EMBEDDING = Embedding("client", None, 4, "cosine")


class Clock(Protocol):
    now: int

    def advance(self, microseconds: int) -> int: ...


def vector(*numbers: float) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


def both(*vectors: bytes) -> bytes:
    return b"".join(vectors)


EAST, NORTH, UP = vector(1, 0, 0, 0), vector(0, 1, 0, 0), vector(0, 0, 1, 0)


def record(identity: str, content: str = "", **fields: Any) -> Record:
    now = times.now()
    everything: dict[str, Any] = {
        "metadata": {},
        "user_id": None,
        "agent_id": None,
        "session_id": None,
        "type": None,
        "importance": None,
        "event_at": None,
        "expires_at": None,
        "created_at": now,
        "updated_at": now,
        "vectors": EAST,
    }
    return Record(identity, content, **{**everything, **fields})


def turn(identity: str, content: str, session: str = "s", user: str | None = "u") -> Record:
    return record(identity, content, session_id=session, user_id=user)


def putting(
    *records: Record,
    tenant: str = TENANT,
    collection: str = NOTES,
    embedding: Embedding = EMBEDDING,
) -> Put:
    return Put(tenant, collection, embedding, records)


def selecting(
    filters: dict[str, Any] | None = None, *, ids: list[str] | None = None, **scope: Any
) -> Selection:
    return Selection(Scope(**scope), None if filters is None else parse(filters), ids)


def changing(identity: str, vector: bytes | None = None, **changes: Any) -> Update:
    embedding = None if vector is None else EMBEDDING
    return Update(TENANT, NOTES, identity, changes, times.now(), embedding, vector)


def deleting(selection: Selection) -> Delete:
    return Delete(TENANT, NOTES, selection)


async def written(store: Store, *writes: Write) -> list[Any]:
    """The outcomes of a batch, errors among them."""
    return [_plain(outcome) for outcome in await store.write(writes)]


async def write(store: Store, one: Write) -> Outcome:
    """The answer of one write that is not refused."""
    (outcome,) = await store.write([one])
    assert not isinstance(outcome, APIError), outcome
    return _plain(outcome)


def _plain(outcome: Outcome | APIError) -> Any:
    """A deletion that was not asked for its records is the number of them."""
    if isinstance(outcome, Deleted) and outcome.records is None:
        return outcome.count
    return outcome


async def put(store: Store, *records: Record, **where: Any) -> list[Stored]:
    stored: list[Stored] = await write(store, putting(*records, **where))
    return stored


async def opened(store: Store, name: str = NOTES, tenant: str = TENANT) -> Collection:
    found = await store.collection(tenant, name)
    assert found is not None
    return found


async def listed(store: Store, selection: Selection | None = None, **more: Any) -> Page:
    """The first 1,000 records in the order in which they were stored."""
    collection = await opened(store)
    how: dict[str, Any] = {"order_by": "seq", "order": "asc", "limit": 1_000, **more}
    return await store.page(collection, ListRequest(selection or Selection(), **how))


async def ids(store: Store, selection: Selection | None = None) -> list[str]:
    return [one.id for one in (await listed(store, selection)).records]


async def get(store: Store, identity: str) -> Record:
    (found,) = await store.get(await opened(store), [identity], with_vectors=True)
    return found


def by_vector(candidates: Candidates) -> Ranked:
    return candidates.ids, candidates.similarities


def by_words(candidates: Candidates) -> Ranked:
    return candidates.keyword_ids, candidates.keyword_scores


def by_both(candidates: Candidates) -> Ranked:
    found = fuse(
        candidates.ids,
        candidates.similarities,
        candidates.keyword_ids,
        candidates.keyword_scores,
    )
    return found.ids, found.scores


async def near(
    store: Store,
    to: bytes,
    selection: Selection | None = None,
    *,
    depth: int = 1_000,
    collection: Collection | None = None,
) -> list[str]:
    """The ids that the dense channel finds, best first."""
    request = SearchRequest(selection or Selection(), to, [], depth, by_vector)
    found = await store.search(collection or await opened(store), request)
    return [one.id for one, _ in found]


async def saying(
    store: Store,
    words: str,
    selection: Selection | None = None,
    *,
    depth: int = 1_000,
    collection: Collection | None = None,
) -> list[str]:
    """The ids that the keyword channel finds, best first."""
    terms = keyword_query(words)
    request = SearchRequest(selection or Selection(), None, terms, depth, by_words)
    found = await store.search(collection or await opened(store), request)
    return [one.id for one, _ in found]


async def everywhere(store: Store, word: str, selection: Selection | None = None) -> list[set[str]]:
    """What each way of reading shows of the records that hold a word; all should agree."""
    page = await listed(store, selection)
    holding = {one.id for one in page.records if word in one.content}
    assert page.total == len(page.records)
    dense = set(await near(store, EAST, selection))
    assert dense == {one.id for one in page.records}
    collection = await opened(store)
    got = await store.get(collection, [one.id for one in page.records])
    return [holding, set(await saying(store, word, selection)), {g.id for g in got} & holding]
