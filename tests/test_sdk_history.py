"""The client on a real server: versions, history, the feed, erasure, figures, keys."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from agentmem_client import (
    AgentMemClient,
    AgentMemError,
    AsyncAgentMemClient,
    Event,
    EventsForgotten,
    Forbidden,
    InvalidRequest,
    Item,
    NotFound,
    Unauthorized,
    VersionConflict,
)

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

ADMIN_KEY = "am_the-operators-own-key-0123456789abcdef"
PATIENT: dict[str, Any] = {"max_retries": 1_000, "max_retry_seconds": 90.0}
"""For a server that is away while it restarts."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back soon, also where a server asks for some seconds."""

    def soon(_attempt: int, _retry_after: float | None) -> float:
        return random.uniform(0, 0.25)

    monkeypatch.setattr("agentmem_client._retries.backoff", soon)


@pytest.fixture
def client(running_server: "Server") -> Iterator[AgentMemClient]:
    with AgentMemClient(running_server.url) as client:
        yield client


@pytest.fixture
def collection() -> str:
    return f"c-{uuid4()}"


def told(events: list[Event]) -> list[tuple[str | None, str]]:
    return [(event.memory_id, event.action) for event in events]


class LosingAnswers(httpx.HTTPTransport):
    """A network that loses the first answer to each request: the server has done it."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, str, bytes]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        this = (request.method, str(request.url), request.read())
        if this not in self._seen:
            self._seen.add(this)
            response.close()
            raise httpx.ReadError("the answer was lost", request=request)
        return response


def test_a_change_is_made_of_the_version_it_was_meant_for_alone(
    client: AgentMemClient, collection: str
) -> None:
    memory = client.add("The cat is called Mia.", id="m1", collection=collection)
    assert memory.version == 1
    changed = client.update("m1", content="She is Mimi.", collection=collection, if_version=1)
    assert changed.version == 2
    with pytest.raises(VersionConflict):
        client.update("m1", content="She is Lola.", collection=collection, if_version=1)
    with pytest.raises(VersionConflict):
        client.delete("m1", collection=collection, if_version=1)
    assert client.get("m1", collection=collection).content == "She is Mimi."
    assert client.delete("m1", collection=collection, if_version=2) is True
    assert client.delete("m1", collection=collection, if_version=2) is False
    with pytest.raises(NotFound):
        client.update("m1", content="x", collection=collection, if_version=2)


def test_what_is_sent_again_is_done_once(running_server: "Server", collection: str) -> None:
    with httpx.Client(transport=LosingAnswers()) as http:
        client = AgentMemClient(running_server.url, http_client=http)
        assert client.add("a", id="m1", collection=collection).version >= 1
        before = client.get("m1", collection=collection).version
        memory = client.update("m1", content="b", collection=collection, if_version=before)
        assert (memory.content, memory.version) == ("b", before + 1)
        assert client.delete("m1", collection=collection, if_version=before + 1) is False
        assert client.restore("m1", before, collection=collection).content == "a"
        again = client.restore("m1", before, collection=collection)
        assert again.version == client.get("m1", collection=collection).version
        actions = [event.action for event in client.history("m1", collection=collection)]
        assert actions[-3:] == ["updated", "deleted", "added"]


def test_history_tells_what_became_of_a_memory(client: AgentMemClient, collection: str) -> None:
    first = client.add("one", id="m 1/2", collection=collection, metadata={"n": 1})
    client.update("m 1/2", content="two", collection=collection)
    client.add("three", id="m 1/2", collection=collection)
    client.delete("m 1/2", collection=collection)
    events = list(client.history("m 1/2", page_size=1, collection=collection))
    assert [(event.action, event.version) for event in events] == [
        ("added", 1),
        ("updated", 2),
        ("updated", 3),
        ("deleted", 4),
    ]
    texts = [
        (event.before and event.before.content, event.after and event.after.content)
        for event in events
    ]
    assert texts == [(None, "one"), ("one", "two"), ("two", "three"), ("three", None)]
    restored = client.restore("m 1/2", 1, collection=collection)
    assert (restored.content, restored.metadata, restored.version) == ("one", {"n": 1}, 5)
    assert (restored.seq, restored.created_at) == (first.seq, first.created_at)
    assert [hit.id for hit in client.search("one", collection=collection)] == ["m 1/2"]
    with pytest.raises(NotFound):
        client.restore("m 1/2", 99, collection=collection)
    with pytest.raises(InvalidRequest):
        client.restore("m 1/2", 4, collection=collection)  # it was not there then
    with pytest.raises(NotFound):
        list(client.history("nothing of this name", collection=collection))


class Following(threading.Thread):
    """Follows the feed in a thread, until it has so many events."""

    def __init__(self, url: str, wanted: int, **arguments: Any) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self.error: Exception | None = None
        self._url, self._wanted, self._arguments = url, wanted, arguments

    def run(self) -> None:
        try:
            with (
                AgentMemClient(self._url, **PATIENT) as client,
                closing(client.events(**self._arguments)) as events,
            ):
                for event in events:
                    self.events.append(event)
                    if len(self.events) == self._wanted:
                        return
        except Exception as error:
            self.error = error
            raise

    def wait_for(self, count: int) -> None:
        """Return when it has so many events."""
        deadline = time.monotonic() + 60
        while len(self.events) < count and self.error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (len(self.events), self.error) == (count, None)


def test_the_feed_goes_on_over_restarts(make_server: "MakeServer") -> None:
    server = make_server().start()
    following = Following(server.url, 8, after=0, user_id="ann")
    following.start()
    with AgentMemClient(server.url, **PATIENT) as client:
        client.add("1", id="1", user_id="ann")
        client.add("not hers", id="x", user_id="bob")
        client.update("1", content="2")
        following.wait_for(2)
        server.stop()
        server.start()
        client.add("3", id="3", user_id="ann", collection="other")
        client.delete("1")
        following.wait_for(4)
        server.kill()
        server.start()
        client.add_many([{"content": str(n), "id": str(n), "user_id": "ann"} for n in (5, 6, 7, 8)])
        following.wait_for(8)
    following.join(30)
    assert told(following.events) == [
        ("1", "added"),
        ("1", "updated"),
        ("3", "added"),
        ("1", "deleted"),
        *((str(n), "added") for n in (5, 6, 7, 8)),
    ]
    ids = [event.id for event in following.events]
    assert ids == sorted(set(ids))


async def test_nothing_is_missed_before_the_first_event(make_server: "MakeServer") -> None:
    server = make_server().start()
    async with AsyncAgentMemClient(server.url, **PATIENT) as client:
        await client.add("before", id="before")
        connected = asyncio.Event()

        async def note(response: httpx.Response) -> None:
            if response.request.url.path.endswith("/events"):
                connected.set()

        client._http.event_hooks["response"].append(note)
        found: list[Event] = []

        async def follow() -> None:
            async with aclosing(client.events()) as events:
                async for event in events:
                    found.append(event)
                    if len(found) == 3:
                        return

        following = asyncio.create_task(follow())
        await connected.wait()  # the response's head, which says where the feed is
        await asyncio.to_thread(server.stop)
        # While the follower is away: it must hear of it all the same.
        await asyncio.to_thread(server.start)
        async with AsyncAgentMemClient(server.url) as writer:
            await writer.add("a", id="a")
            await writer.add("b", id="b")
            await writer.delete("a")
        async with asyncio.timeout(60):
            await following
    assert told(found) == [("a", "added"), ("b", "added"), ("a", "deleted")]


async def test_many_follow_and_all_hear_the_same(make_server: "MakeServer") -> None:
    server = make_server().start()

    async def follow(client: AsyncAgentMemClient) -> list[int]:
        heard: list[int] = []
        async for event in client.events(after=0):  # left to the loop to close
            heard.append(event.id)
            if event.memory_id == "last":
                break
        return heard

    async with AsyncAgentMemClient(server.url, **PATIENT) as client:
        tasks = [asyncio.create_task(follow(client)) for _ in range(80)]
        await asyncio.gather(*(client.add(str(n)) for n in range(20)))
        await client.add("end", id="last")
        async with asyncio.timeout(60):
            heard = await asyncio.gather(*tasks)
    assert len(heard[0]) == 21
    assert all(one == heard[0] for one in heard)


async def test_who_leaves_the_feed_leaves_room(make_server: "MakeServer") -> None:
    server = make_server(environment={"AGENTMEM_MAX_STREAMS": "1"}).start()
    heard = asyncio.Event()

    async def follow(client: AsyncAgentMemClient) -> None:
        async for _event in client.events(after=0):
            heard.set()

    async with AsyncAgentMemClient(server.url, **PATIENT) as client:
        await client.add("one", id="1")
        async for event in client.events(after=0):
            assert event.memory_id == "1"
            break  # leaves without a word
        following = asyncio.create_task(follow(client))
        async with asyncio.timeout(60):
            await heard.wait()
        following.cancel()
        await asyncio.wait([following])
        assert following.cancelled()
        with AgentMemClient(server.url, **PATIENT) as sync_client:
            for event in sync_client.events(after=0):
                assert event.memory_id == "1"
                break
        async for event in client.events(after=0):
            assert event.memory_id == "1"
            break


async def test_a_client_that_is_closed_meanwhile_says_so(make_server: "MakeServer") -> None:
    server = make_server().start()
    client = AsyncAgentMemClient(server.url)
    await client.add("one")
    events = client.events(after=0)
    await anext(events)
    following = asyncio.create_task(anext(events))
    await asyncio.sleep(0.1)
    await client.aclose()
    with pytest.raises(AgentMemError, match="closed"):
        async with asyncio.timeout(30):
            await following
    await events.aclose()


def forgotten(client: AgentMemClient, after: int) -> EventsForgotten:
    """What the feed says when it is asked for events that are kept no longer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with closing(client.events(after=after)) as events:
                next(events)  # kept still
        except EventsForgotten as error:
            return error
        time.sleep(0.1)
    raise AssertionError("all events are kept")


def test_what_is_no_longer_kept_is_told(make_server: "MakeServer") -> None:
    environment = {"AGENTMEM_HISTORY_TTL": "3", "AGENTMEM_SWEEP_INTERVAL": "0.1"}
    server = make_server(environment=environment).start()
    with AgentMemClient(server.url) as client:
        client.add_many(["old", "older"], atomic=True)
        oldest = forgotten(client, 1).oldest
        assert oldest == 3
        client.add("new", id="new")
        with closing(client.events(after=oldest - 1)) as events:
            assert next(events).memory_id == "new"


def test_a_user_is_erased(client: AgentMemClient, collection: str) -> None:
    user = f"u-{uuid4()}"
    mine: dict[str, Any] = {"user_id": user}
    client.add("secret one", id="a", collection=collection, **mine)
    client.add("secret two", id="b", collection=f"{collection}-2", **mine)
    client.update("a", content="secret three", collection=collection)
    client.add("another's", id="c", collection=collection, user_id="somebody else")
    erased = client.erase_user(user)
    assert (erased.user_id, erased.memories, erased.events, erased.collections) == (user, 2, 3, 2)
    assert client.count(collection=collection) == 1
    with pytest.raises(NotFound):
        list(client.history("a", collection=collection))
    with closing(client.events(after=0, user_id=user)) as events:
        event = next(events)
    assert (event.action, event.memory_id, event.user_id) == ("erased", None, user)
    assert client.erase_user(user).memories == 0


def test_figures(make_server: "MakeServer") -> None:
    server = make_server().start()
    with AgentMemClient(server.url) as client:
        client.add_many([{"content": str(n), "user_id": "ann"} for n in range(3)])
        client.add("bob's", user_id="bob", agent_id="bot")
        client.search("bob", user_id="bob")
        stats = client.stats(days=2)
    assert (stats.memories, stats.added_today) == (4, 4)
    assert [(day.added, day.total) for day in stats.growth] == [(0, 0), (4, 4)]
    assert stats.searches.count == 1
    assert [(user.id, user.memories, user.searches) for user in stats.users] == [
        ("ann", 3, 0),
        ("bob", 1, 1),
    ]
    assert [agent.id for agent in stats.agents] == ["bot"]


def test_keys_open_their_tenant_and_their_user(make_server: "MakeServer") -> None:
    server = make_server(environment={"AGENTMEM_ADMIN_KEY": ADMIN_KEY}).start()
    with AgentMemClient(server.url) as nobody, pytest.raises(Unauthorized):
        nobody.count()
    with AgentMemClient(server.url, ADMIN_KEY) as operator:
        team = operator.create_key("team", tenant="acme")
        ann = operator.create_key("ann", tenant="acme", user_id="ann", scopes=["read"])
        assert [key.name for key in operator.list_keys("acme")] == ["team", "ann"]
        with AgentMemClient(server.url, team.key) as writer:
            writer.add("hers", id="a", user_id="ann")
            writer.add("his", id="b", user_id="bob")
            assert writer.count() == 2
            with pytest.raises(Forbidden):
                writer.create_key("more")
        assert operator.count() == 0  # another tenant
        with AgentMemClient(server.url, ann.key) as reader:
            assert [memory.id for memory in reader.iterate()] == ["a"]
            with pytest.raises(Forbidden):
                reader.add("she only reads")
            with closing(reader.events(after=0)) as events:
                assert next(events).memory_id == "a"
                assert operator.revoke_key(ann.id).revoked_at is not None
                with pytest.raises(Unauthorized):
                    next(events)
            with pytest.raises(Unauthorized):
                reader.count()


def test_a_memory_may_stay_where_others_expire(client: AgentMemClient, collection: str) -> None:
    assert client.create_collection(collection, default_ttl=3_600).default_ttl == 3_600
    assert client.create_collection(collection).default_ttl == 3_600
    passing = client.add("for an hour", collection=collection)
    assert passing.expires_at is not None
    assert client.add("for good", collection=collection, ttl=None).expires_at is None
    assert client.add("for good", collection=collection, expires_at=None).expires_at is None
    many: list[Item] = [{"content": "x", "id": "1"}, {"content": "x", "id": "2", "ttl": None}]
    client.add_many(many, collection=collection)
    first, second = client.get_many(["1", "2"], collection=collection)
    assert first.expires_at is not None
    assert second.expires_at is None
    assert client.create_collection(collection, default_ttl=None).default_ttl is None
    assert client.add("for good", collection=collection).expires_at is None
