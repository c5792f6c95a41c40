"""The history over a real store: told, brought back, erased and forgotten."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_client.errors import APIError, InvalidRequest, NotFound
from agentmem_server import times
from agentmem_server.access.access import Access
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine
from agentmem_server.engine.feed import Feed
from agentmem_server.storage import Collection, Event, EventsRequest, Outcome, Record, SearchRequest
from agentmem_server.storage import Write as StoreWrite
from agentmem_server.storage.sqlite import SqliteStore
from agentmem_server.telemetry.watch import NOBODY, Watch
from numpy.typing import NDArray

TENANT = Caller("tenant")
ANN, BOB = Caller("tenant", "ann"), Caller("tenant", "bob")


class FakeEmbedder:
    """Makes a vector of a text's length, and notes the text."""

    name = "fake"
    dimension = 2

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        angles = np.array([len(text) / 100 for text in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    async def close(self) -> None:
        pass


class WatchedStore(SqliteStore):
    """Counts searches and the batches of writes; holds searches before they answer."""

    def __init__(self, path: Path, readers: int, watch: Watch = NOBODY) -> None:
        super().__init__(path, readers, watch)
        self.searches = 0
        self.writes = 0
        self.search_gate = asyncio.Event()
        self.search_gate.set()

    async def write(self, writes: Sequence[StoreWrite]) -> list[Outcome | APIError]:
        self.writes += 1
        return await super().write(writes)

    async def search(
        self, collection: Collection, request: SearchRequest
    ) -> list[tuple[Record, float]]:
        self.searches += 1
        found = await super().search(collection, request)
        await self.search_gate.wait()
        return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    opened = await WatchedStore.open(str(tmp_path / "memory.db"), readers=2)
    assert isinstance(opened, WatchedStore)
    yield opened
    await opened.close()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def engine(store: WatchedStore, embedder: FakeEmbedder) -> AsyncIterator[Engine]:
    made = Engine(store, embedder)
    yield made
    await made.close()


async def add(engine: Engine, id: str, content: str = "text", **fields: Any) -> m.Memory:
    return await engine.add(TENANT, m.MemoryInput(id=id, content=content, **fields))


async def change(engine: Engine, id: str, **fields: Any) -> m.Memory:
    return await engine.update(TENANT, "default", id, m.MemoryUpdate(**fields))


async def history(engine: Engine, id: str, caller: Caller = TENANT, **query: Any) -> list[m.Event]:
    return (await engine.history.events(caller, id, m.HistoryQuery(**query))).events


async def found(engine: Engine, query: str, **fields: Any) -> list[str]:
    body = await engine.search(TENANT, m.SearchRequest(query=query, **fields))
    return [hit["id"] for hit in json.loads(body)["hits"]]


async def feed(store: WatchedStore) -> list[Event]:
    return (await store.events("tenant", EventsRequest(0, 1_000))).events


# --- Told ------------------------------------------------------------------------------------


async def test_each_change_is_told_with_what_was_before_and_after(engine: Engine) -> None:
    states: list[m.Memory | None] = [None, await add(engine, "a", "one", user_id="ann")]
    states.append(await change(engine, "a", content="two", metadata={"b": [1, None]}))
    await engine.delete(TENANT, "default", "a")
    states += [None, await add(engine, "a", "three")]
    events = await history(engine, "a")
    assert [event.action for event in events] == ["added", "updated", "deleted", "added"]
    assert [event.version for event in events] == [1, 2, 3, 4]
    assert [(event.before, event.after) for event in events] == [
        (states[0], states[1]),
        (states[1], states[2]),
        (states[2], None),
        (states[3], states[4]),
    ]
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert {event.memory_id for event in events} == {"a"}
    assert [event.user_id for event in events] == ["ann", "ann", "ann", None]


async def test_it_is_told_page_by_page(engine: Engine) -> None:
    await add(engine, "a")
    for number in range(4):
        await change(engine, "a", metadata={"number": number})
    everything = await history(engine, "a")
    pages: list[list[m.Event]] = []
    after: int | None = 0
    while after is not None:
        query = m.HistoryQuery(limit=2, after=after)
        answer = await engine.history.events(TENANT, "a", query)
        pages.append(answer.events)
        after = answer.next_after
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [event for page in pages for event in page] == everything
    assert await history(engine, "a", after=everything[-1].id) == []
    assert (await engine.history.events(TENANT, "a", m.HistoryQuery(limit=5))).next_after is None


async def test_what_never_was_or_is_another_s_is_not_found(engine: Engine) -> None:
    await add(engine, "a", user_id="ann")
    assert len(await history(engine, "a", ANN)) == 1
    for caller, id, query in [
        (TENANT, "b", {}),
        (TENANT, "a", {"collection": "other"}),
        (BOB, "a", {}),
        (Caller("another"), "a", {}),
    ]:
        with pytest.raises(NotFound, match="there is no memory"):
            await history(engine, id, caller, **query)


async def test_what_has_expired_is_told_of_no_more(engine: Engine, store: WatchedStore) -> None:
    await add(engine, "a", "secret one")
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    await change(engine, "a", content="secret two", expires_at=soon)
    assert "secret" in repr(await history(engine, "a"))
    await asyncio.sleep(0.2)
    for action in ("updated", "expired"):
        events = await history(engine, "a")
        assert events[-1].action == action
        assert "secret" not in repr(events)
        assert "secret" not in repr(await feed(store))
        await engine.sweep()
    with pytest.raises(NotFound):
        await engine.history.restore(TENANT, "default", "a", 1)


@pytest.mark.parametrize("is_swept", [False, True])
async def test_one_memory_s_end_is_not_another_s_that_had_its_id(
    engine: Engine, is_swept: bool
) -> None:
    await engine.add(ANN, m.MemoryInput(id="a", content="ann's own"))
    await engine.delete(ANN, "default", "a")
    before = await history(engine, "a", ANN)
    await engine.add(BOB, m.MemoryInput(id="a", content="bob's", ttl=0.05))
    await asyncio.sleep(0.1)
    if is_swept:
        await engine.sweep()
    assert await history(engine, "a", ANN) == before
    assert "bob's" not in repr(await history(engine, "a"))
    with pytest.raises(NotFound):
        await engine.history.restore(BOB, "default", "a", 3)
    restored = await engine.history.restore(ANN, "default", "a", 1)
    assert (restored.content, restored.user_id, restored.version) == ("ann's own", "ann", 5)
    assert await found(engine, "ann's own", mode="dense") == ["a"]
    assert [event.action for event in await history(engine, "a", BOB)] == ["added", "expired"]


async def test_emptying_a_collection_keeps_what_another_memory_of_the_id_was(
    engine: Engine,
) -> None:
    await add(engine, "a", "first")
    await engine.delete(TENANT, "default", "a")
    await add(engine, "a", "second", ttl=0.05)
    await asyncio.sleep(0.1)
    await engine.delete_many(TENANT, m.DeleteRequest(everything=True))
    assert "second" not in repr(await history(engine, "a"))
    assert (await engine.history.restore(TENANT, "default", "a", 1)).content == "first"


async def test_large_states_come_a_few_at_a_time(engine: Engine, store: WatchedStore) -> None:
    large = "x" * 3_000_000
    for number in range(4):
        await add(engine, "a", f"{number}", payload=[number, large])
    await add(engine, "small", "y")
    first = await engine.history.events(TENANT, "a", m.HistoryQuery())
    assert [event.version for event in first.events] == [1]  # its after, and its next one's both
    told = list(first.events)
    page = first
    while page.next_after is not None:
        page = await engine.history.events(TENANT, "a", m.HistoryQuery(after=page.next_after))
        told += page.events
    assert [event.version for event in told] == [1, 2, 3, 4]
    assert [event.after and event.after.payload[0] for event in told] == [0, 1, 2, 3]
    request = EventsRequest(0, 100, max_bytes=1_000_000, large=False)
    nothing = await store.events("tenant", request)
    assert (nothing.events, nothing.more) == ([], True)
    alone = await store.events("tenant", EventsRequest(0, 100, max_bytes=1_000_000))
    assert [event.id for event in alone.events] == [1]
    assert alone.more
    assert 3_000_000 <= alone.size < 7_000_000


async def test_the_feed_tells_of_large_memories_in_parts(
    engine: Engine, store: WatchedStore
) -> None:
    for number in range(20):
        await add(engine, f"m{number}", "x" * 200_000, index_texts=[])
    told = Feed(store, max_followers=1)
    access = Access(TENANT, frozenset({"read"}), key_id="a key")
    ids: list[str | None] = []
    with await told.follow(access, m.EventsQuery(after=0)) as follower:
        while len(ids) < 20:
            news = await anext(follower)
            assert sum(len(event.data) for event in news.events) < 1_100_000
            ids += [json.loads(event.data)["memory_id"] for event in news.events]
    assert ids == [f"m{number}" for number in range(20)]
    told.close()


# --- Brought back ----------------------------------------------------------------------------


async def test_a_changed_memory_goes_back(engine: Engine) -> None:
    first = await add(engine, "a", "a cat", metadata={"n": 1}, user_id="ann")
    await change(engine, "a", content="something about dogs", metadata={})
    restored = await engine.history.restore(TENANT, "default", "a", 1)
    assert restored.version == 3
    same = {"content", "metadata", "user_id", "seq", "created_at"}
    assert restored.model_dump(include=same) == first.model_dump(include=same)
    assert await engine.get(TENANT, "a", m.GetQuery()) == restored
    assert await found(engine, "cat", mode="sparse") == ["a"]
    assert await found(engine, "dogs", mode="sparse") == []
    assert [event.after for event in await history(engine, "a")][-1] == restored


async def test_a_deleted_memory_comes_back_and_is_found_again(
    engine: Engine, embedder: FakeEmbedder
) -> None:
    first = await add(engine, "a", "a cat", session_id="s")
    await engine.delete(TENANT, "default", "a")
    assert await found(engine, "a cat") == []
    embedder.texts.clear()
    restored = await engine.history.restore(TENANT, "default", "a", 1)
    assert restored.version == 3
    assert (restored.seq, restored.created_at) == (first.seq, first.created_at)
    assert await found(engine, "a cat", mode="dense") == ["a"]
    assert embedder.texts == []  # its vector came back too, and the query's was kept


async def test_to_what_it_can_t_go_back(engine: Engine) -> None:
    await add(engine, "a", user_id="ann")
    await engine.delete(TENANT, "default", "a")
    for caller, id, version, refusal in [
        (TENANT, "a", 2, InvalidRequest),  # deleted
        (TENANT, "a", 3, NotFound),
        (TENANT, "b", 1, NotFound),
        (BOB, "a", 1, NotFound),
        (Caller("another"), "a", 1, NotFound),
    ]:
        with pytest.raises(refusal):
            await engine.history.restore(caller, "default", id, version)
    assert (await engine.history.restore(ANN, "default", "a", 1)).version == 3


async def test_to_what_it_is_it_goes_without_a_change(engine: Engine) -> None:
    memory = await add(engine, "a")
    assert await engine.history.restore(TENANT, "default", "a", 1) == memory
    assert len(await history(engine, "a")) == 1


# --- Erased ----------------------------------------------------------------------------------


async def test_a_user_is_erased_with_all_that_was(engine: Engine, store: WatchedStore) -> None:
    for collection in ("default", "other"):
        for user in ("ann", "bob", None):
            await add(engine, f"{user}", "secret", user_id=user, collection=collection)
    await change(engine, "ann", content="secret again")
    await add(engine, "gone", "secret", user_id="ann")
    await engine.delete(TENANT, "default", "gone")
    await engine.add(Caller("another"), m.MemoryInput(id="ann", content="x", user_id="ann"))
    before = datetime.now(UTC)
    receipt = await engine.history.erase(TENANT, "ann")
    assert receipt.model_dump(exclude={"erased_at"}) == {
        "user_id": "ann",
        "memories": 2,
        "events": 5,
        "collections": 2,
    }
    assert before <= receipt.erased_at <= datetime.now(UTC)
    for id in ("ann", "gone"):
        for read in (history(engine, id), engine.history.restore(TENANT, "default", id, 1)):
            with pytest.raises(NotFound):
                await read
    events = await feed(store)
    assert [event.scope.user_id for event in events] == ["bob", None, "bob", None, "ann"]
    assert (events[-1].action, events[-1].record_id) == ("erased", None)
    assert sorted(await found(engine, "secret")) == ["None", "bob"]
    assert len(await history(engine, "ann", Caller("another"))) == 1
    again = await engine.history.erase(TENANT, "ann")
    assert (again.memories, again.collections) == (0, 0)


async def test_a_bound_caller_erases_itself_alone(engine: Engine) -> None:
    await add(engine, "a", user_id="ann")
    with pytest.raises(NotFound, match="there is no user"):
        await engine.history.erase(BOB, "ann")
    assert (await engine.history.erase(ANN, "ann")).memories == 1


async def test_the_caches_keep_nothing_of_an_erased_user(
    engine: Engine, store: WatchedStore, embedder: FakeEmbedder
) -> None:
    """Not even what a search that was under way found, nor the vectors of its texts."""
    await add(engine, "a", "ann's text", user_id="ann")
    await add(engine, "b", "bob's text", user_id="bob", collection="other")
    for _ in range(2):
        await found(engine, "text", collection="other")
    assert store.searches == 1
    store.search_gate.clear()
    under_way = asyncio.create_task(found(engine, "ann's text"))
    while store.searches == 1:  # noqa: ASYNC110  # the store tells of it by its count alone
        await asyncio.sleep(0)
    await engine.history.erase(TENANT, "ann")
    store.search_gate.set()
    await under_way
    store.searches = 0
    embedder.texts.clear()
    assert await found(engine, "ann's text") == []
    assert await found(engine, "text", collection="other") == ["b"]
    assert store.searches == 2
    assert embedder.texts == ["ann's text", "text"]


# --- Forgotten -------------------------------------------------------------------------------


async def test_old_events_are_forgotten_step_by_step(
    engine: Engine, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(13):
        memories = [m.MemoryInput(id=f"{number}-{one}", content="x") for one in range(100)]
        await engine.add_all(TENANT, memories)
    assert await engine.history.forget(3_600) == 0
    later = times.now() + 60_000_000
    monkeypatch.setattr(times, "now", lambda: later)
    await add(engine, "new")
    store.writes = 0
    assert await engine.history.forget(30) == 1_300
    assert store.writes == 4  # of 500, 500, 300 and none
    assert [event.record_id for event in await feed(store)] == ["new"]
    assert await store.forgotten() == 1_300
    assert await history(engine, "0-0") == []  # there, and nothing is known of how it came
