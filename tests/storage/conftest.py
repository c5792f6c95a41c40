"""Where the contract suite finds its stores: one parameter a backend; and how it speaks to them."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from agentmem_client.errors import APIError
from agentmem_server import times
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    Candidates,
    Collection,
    Delete,
    Deleted,
    Embedding,
    Event,
    EventsRequest,
    ListRequest,
    Put,
    Ranked,
    Record,
    Restore,
    Scope,
    SearchRequest,
    Selection,
    Store,
    Update,
    Write,
    open_store,
)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def new_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Each call gives the URL of a store that is not there yet. A new backend is one more case."""
    numbers = count()
    match request.param:
        case "sqlite":
            folder = tmp_path_factory.mktemp("sqlite")
            return lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        case "postgres":
            return request.getfixturevalue("postgres").url  # type: ignore[no-any-return]  # by name
        case other:
            raise ValueError(other)


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of the test's own store."""
    return new_url()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await open_store(url, readers=3)
    yield opened
    await opened.close()


class Clock:
    """The time as the store is told it, in microseconds."""

    def __init__(self) -> None:
        self.now = times.now()

    def advance(self, microseconds: int) -> int:
        self.now += microseconds
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until it is advanced."""
    stopped = Clock()
    monkeypatch.setattr(times, "now", lambda: stopped.now)
    return stopped


SECOND = 1_000_000
TENANT, NOTES = "tenant", "notes"
EMBEDDING = Embedding("client", None, 2, "cosine")
EAST, NORTH, WEST = (np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1], [-1, 0]))


class Notes:
    """One tenant's collection, written and read in a test's words; what is refused is raised."""

    def __init__(self, url: str, store: Store) -> None:
        self.url = url
        self.store = store

    async def reopen(self) -> None:
        """Close the store and open it again."""
        await self.store.close()
        self.store = await open_store(self.url, readers=3)

    def record(self, id: str, content: str = "text", **fields: Any) -> Record:
        now = times.now()
        everything: dict[str, Any] = {
            **dict.fromkeys(("user_id", "agent_id", "session_id", "type", "importance")),
            **dict.fromkeys(("event_at", "expires_at")),
            "metadata": {},
            "created_at": now,
            "updated_at": now,
            "vectors": EAST,
        }
        return Record(id, content, **{**everything, **fields})

    def putting(self, *records: Record, **fields: Any) -> Put:
        return Put(
            **{"tenant": TENANT, "collection": NOTES, "embedding": EMBEDDING, **fields},
            records=records,
        )

    def changing(self, id: str, *, vectors: bytes | None = None, **fields: Any) -> Update:
        """An update; what it doesn't know as its own field is one of the record's."""
        own = {"user_id", "if_version", "idempotency_key"}
        changes = {name: value for name, value in fields.items() if name not in own}
        more = {name: value for name, value in fields.items() if name in own}
        embedding = None if vectors is None else EMBEDDING
        return Update(TENANT, NOTES, id, changes, times.now(), embedding, vectors, **more)

    def deleting(self, *ids: str, if_version: int | None = None, **scope: Any) -> Delete:
        """A deletion of these ids, or of all in a scope, or of everything."""
        selection = Selection(Scope(**scope), ids=ids or None)
        return Delete(TENANT, NOTES, selection, if_version=if_version)

    def restoring(self, id: str, version: int, user_id: str | None = None) -> Restore:
        return Restore(TENANT, NOTES, id, version, times.now(), user_id)

    async def write(self, one: Write) -> Any:
        (outcome,) = await self.store.write([one])
        if isinstance(outcome, APIError):
            raise outcome
        return outcome

    async def put(self, id: str, content: str = "text", **fields: Any) -> Record:
        (stored,) = await self.write(self.putting(self.record(id, content, **fields)))
        kept: Record = stored.record
        return kept

    async def change(self, id: str, **fields: Any) -> Record:
        changed: Record = await self.write(self.changing(id, **fields))
        return changed

    async def delete(self, *ids: str, **fields: Any) -> int:
        deleted: Deleted = await self.write(self.deleting(*ids, **fields))
        return deleted.count

    async def restore(self, id: str, version: int, user_id: str | None = None) -> Record:
        restored: Record = await self.write(self.restoring(id, version, user_id))
        return restored

    async def collection(self) -> Collection:
        found = await self.store.collection(TENANT, NOTES)
        assert found is not None
        return found

    async def get(self, id: str) -> Record | None:
        found = await self.store.get(await self.collection(), [id], with_vectors=True)
        return found[0] if found else None

    async def get_there(self, id: str) -> Record:
        """One that is there."""
        found = await self.get(id)
        assert found is not None
        return found

    async def ids(self) -> list[str]:
        """All ids, in the order in which they were first stored."""
        request = ListRequest(Selection(), order_by="seq", order="asc", limit=1_000)
        return [one.id for one in (await self.store.page(await self.collection(), request)).records]

    async def near(self, vector: bytes) -> list[str]:
        """The ids that the dense channel finds, best first."""
        return await self._found(vector, [], lambda c: (c.ids, c.similarities))

    async def saying(self, words: str) -> list[str]:
        """The ids that the keyword channel finds, best first."""
        terms = keyword_query(words)
        return await self._found(None, terms, lambda c: (c.keyword_ids, c.keyword_scores))

    async def _found(
        self, vector: bytes | None, terms: list[str], rank: Callable[[Candidates], Ranked]
    ) -> list[str]:
        request = SearchRequest(Selection(), vector, terms, 1_000, rank)
        return [one.id for one, _ in await self.store.search(await self.collection(), request)]

    async def history(
        self, id: str, user_id: str | None = None, after: int = 0, limit: int = 1_000
    ) -> list[Event]:
        page = await self.store.history(
            await self.collection(), id, user_id=user_id, after=after, limit=limit
        )
        return page.events

    async def events(self, after: int = 0, limit: int = 1_000, **fields: Any) -> list[Event]:
        """The tenant's events; a scope's fields are among those of the request."""
        collection = fields.pop("collection", None)
        request = EventsRequest(after, limit, Scope(**fields), collection)
        return (await self.store.events(TENANT, request)).events


@pytest.fixture(scope="session")
def new_notes() -> type[Notes]:
    """For tests that open many stores."""
    return Notes


@pytest.fixture
async def notes(url: str) -> AsyncIterator[Notes]:
    """An empty collection in a store of its own."""
    opened = Notes(url, await open_store(url, readers=3))
    yield opened
    await opened.store.close()
