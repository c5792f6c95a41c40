"""The feed over a store whose commits the test makes: who follows misses nothing, and polls not."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from agentmem_client import models as m
from agentmem_client.errors import Forbidden, Overloaded, Unauthorized, Unavailable
from agentmem_server.access.access import OPERATOR, Access
from agentmem_server.access.callers import Caller
from agentmem_server.engine.feed import Feed, Follower, News
from agentmem_server.storage import Event, EventPage, EventsRequest, Scope, Store

BOUND = Access(Caller("default", "ann"), frozenset({"read"}), key_id="a key")


class FakeStore:
    """Events of one tenant, of several users.

    Attributes:
        reads: what was asked of it.
        large: ids of events that are.
        gate: holds the answers to reads while it is closed.
        failure: raised by reads, where it is set.
    """

    def __init__(self) -> None:
        self.reads: list[EventsRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.lost = 0
        self.large: set[int] = set()
        self._events: list[Event] = []
        self._listeners: list[Callable[[], None]] = []

    def commit(self, *users: str) -> None:
        """One commit, with an event of each user."""
        for user in users:
            number = len(self._events) + 1
            scope = Scope(user_id=user)
            self._events.append(
                Event(number, "added", number, "default", f"m{number}", 1, scope, None, None)
            )
        for listener in self._listeners:
            listener()

    def forget(self, id: int) -> None:
        self.lost = id

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def last_event(self) -> int:
        if self.failure is not None:
            raise self.failure
        return len(self._events)

    async def forgotten(self) -> int:
        return self.lost

    async def events(self, tenant: str, request: EventsRequest) -> EventPage:
        assert tenant == "default"
        self.reads.append(request)
        user = request.scope.user_id
        found = [
            one
            for one in self._events
            if one.id > max(request.after, self.lost) and user in (None, one.scope.user_id)
        ]
        await self.gate.wait()
        large = [at for at, one in enumerate(found) if one.id in self.large]
        if large[:1] == [0] and request.large:
            return EventPage(found[:1], more=len(found) > 1, size=2 * request.max_bytes)
        fitting = found[: min(request.limit, *large[:1], len(found))]
        return EventPage(fitting, more=len(fitting) < len(found))


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def feed(store: FakeStore) -> AsyncIterator[Feed]:
    made = Feed(cast(Store, store), max_followers=3, heartbeat=600)
    yield made
    made.close()


async def told(follower: Follower, count: int) -> list[int]:
    """The ids of the next events, exactly so many."""
    ids: list[int] = []
    while len(ids) < count:
        ids += [event.id for event in (await anext(follower)).events]
    assert len(ids) == count
    return ids


async def is_idle(follower: Follower) -> bool:
    """Whether there is nothing to tell."""
    try:
        async with asyncio.timeout(0.3):
            await anext(follower)
    except TimeoutError:
        return True
    return False


async def test_by_default_it_tells_what_happens_from_now_on(feed: Feed, store: FakeStore) -> None:
    store.commit("ann", "bob")
    with await feed.follow(OPERATOR, m.EventsQuery()) as follower:
        assert follower.position == 2
        store.commit("ann")
        assert await told(follower, 1) == [3]
        assert await is_idle(follower)
        store.commit("bob", "ann")
        assert await told(follower, 2) == [4, 5]


async def test_from_a_position_on_it_tells_everything_once_and_in_order(
    feed: Feed, store: FakeStore
) -> None:
    store.commit(*["ann"] * 350)
    for after in (0, 1, 250, 350):
        with await feed.follow(OPERATOR, m.EventsQuery(after=after)) as follower:
            assert await told(follower, 350 - after) == list(range(after + 1, 351))
            assert await is_idle(follower)
    assert max(request.limit for request in store.reads) == 100


async def test_what_is_committed_during_a_read_is_told_next(feed: Feed, store: FakeStore) -> None:
    store.commit("ann")
    with await feed.follow(OPERATOR, m.EventsQuery(after=0)) as follower:
        store.gate.clear()
        reading = asyncio.create_task(told(follower, 1))
        await asyncio.sleep(0.05)
        assert store.reads
        store.commit("ann")
        store.gate.set()
        assert await reading == [1]
        assert await told(follower, 1) == [2]


async def test_nothing_is_read_while_nothing_is_written(feed: Feed, store: FakeStore) -> None:
    with await feed.follow(OPERATOR, m.EventsQuery(after=0)) as follower:
        assert await is_idle(follower)
        assert await is_idle(follower)
        assert len(store.reads) == 1


async def test_many_commits_are_few_reads(feed: Feed, store: FakeStore) -> None:
    with await feed.follow(OPERATOR, m.EventsQuery()) as follower:

        async def write() -> None:
            for _ in range(100):
                store.commit("ann")
                await asyncio.sleep(0.002)

        started = time.monotonic()
        writing = asyncio.create_task(write())
        assert await told(follower, 100) == list(range(1, 101))
        await writing
        # Some more at the beginning, for the first reads are of a few events.
        assert len(store.reads) <= 6 + 10 * (time.monotonic() - started)


async def test_a_filter_goes_to_the_store_and_others_events_are_passed_once(
    feed: Feed, store: FakeStore
) -> None:
    query = m.EventsQuery(after=0, user_id="bob", collection="c", namespace=["a", "b"])
    with await feed.follow(OPERATOR, query) as follower:
        store.commit("bob", *["ann"] * 500)
        assert await told(follower, 1) == [1]
        store.commit("ann")
        assert await is_idle(follower)
        store.commit("bob")
        assert await told(follower, 1) == [503]
        assert {(request.scope, request.collection) for request in store.reads} == {
            (Scope("bob", namespace=("a", "b")), "c")
        }
        assert [request.after for request in store.reads] == [0, 501, 502]


async def test_silence_has_a_sign_of_life_that_tells_where_to_go_on(store: FakeStore) -> None:
    feed = Feed(cast(Store, store), max_followers=1, heartbeat=0.2)
    with await feed.follow(OPERATOR, m.EventsQuery(after=0, user_id="bob")) as follower:
        assert await anext(follower) == News([], 0)
        store.commit("ann", "ann")
        assert await anext(follower) == News([], 2)


async def test_what_is_no_longer_kept_is_said(feed: Feed, store: FakeStore) -> None:
    store.commit(*["ann"] * 10)
    store.forget(6)
    lost = {0: None, 3: 6, 5: 6, 6: None, 8: None}
    for after, last in lost.items():
        with await feed.follow(OPERATOR, m.EventsQuery(after=after)) as follower:
            news = await anext(follower)
            assert news.lost == last
            assert [event.id for event in news.events] == list(range(max(after, 6) + 1, 11))
    nobody = m.EventsQuery(after=3, user_id="bob")
    with await feed.follow(OPERATOR, nobody) as follower:
        assert await anext(follower) == News([], 10, lost=6)
        store.forget(8)
        store.commit("bob")
        assert (await anext(follower)).lost is None


async def test_a_position_that_there_never_was_is_said_too(feed: Feed, store: FakeStore) -> None:
    """A database that was set back to an older copy of it counts on from there."""
    store.commit("ann", "ann")
    with await feed.follow(OPERATOR, m.EventsQuery(after=5)) as follower:
        assert await anext(follower) == News([], 2, lost=2)
        store.commit("ann")
        assert await told(follower, 1) == [3]


async def test_a_key_that_no_longer_opens_ends_it(store: FakeStore) -> None:
    revoked: set[str | None] = set()

    async def still_opens(access: Access) -> bool:
        return access.key_id not in revoked

    feed = Feed(cast(Store, store), max_followers=2, still_opens=still_opens, heartbeat=600)
    with (
        await feed.follow(BOUND, m.EventsQuery()) as bound,
        await feed.follow(OPERATOR, m.EventsQuery()) as other,
    ):
        assert await is_idle(bound)
        revoked.add("a key")
        with pytest.raises(Unauthorized, match="another one"):
            async with asyncio.timeout(0.9):
                await anext(bound)
        store.commit("ann")
        assert await told(other, 1) == [1]


async def test_a_revoked_key_sees_nothing_more_however_busy_it_is(store: FakeStore) -> None:
    opens = True

    async def still_opens(_access: Access) -> bool:
        return opens

    feed = Feed(cast(Store, store), max_followers=1, still_opens=still_opens)
    store.commit(*["ann"] * 1_000)
    with await feed.follow(BOUND, m.EventsQuery(after=0)) as follower:
        assert (await anext(follower)).events
        opens = False
        await asyncio.sleep(0.5)  # as long as it takes somebody to read the first batch
        with pytest.raises(Unauthorized):
            await anext(follower)


async def test_closing_ends_all_at_once_and_lets_nobody_in(feed: Feed, store: FakeStore) -> None:
    followers = [await feed.follow(OPERATOR, m.EventsQuery()) for _ in range(2)]
    waiting = [asyncio.create_task(told(one, 1)) for one in followers]
    await asyncio.sleep(0.05)
    feed.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
    with pytest.raises(Overloaded, match="shutting down"):
        await feed.follow(OPERATOR, m.EventsQuery())


async def test_large_events_are_told_to_one_at_a_time(feed: Feed, store: FakeStore) -> None:
    store.large = {2}
    store.commit("ann", "ann", "ann")
    slow = await feed.follow(OPERATOR, m.EventsQuery(after=0))
    quick = await feed.follow(OPERATOR, m.EventsQuery(after=0))
    for follower in (slow, quick):
        assert await told(follower, 1) == [1]
    news = await anext(slow)
    assert ([event.id for event in news.events], news.is_large) == ([2], True)
    assert await is_idle(quick)  # until what the other was told is sent
    assert quick.position == 1
    assert await told(slow, 1) == [3]
    assert await told(quick, 2) == [2, 3]
    await is_idle(quick)
    store.large = {4}
    store.commit("ann")
    assert await told(slow, 1) == [4]
    slow.leave()
    assert await told(quick, 1) == [4]


async def test_a_tenant_takes_half_of_the_places_and_a_user_half_of_those(
    store: FakeStore,
) -> None:
    def key(tenant: str, user: str | None = None) -> Access:
        return Access(Caller(tenant, user), frozenset({"read"}), key_id="a key")

    feed = Feed(cast(Store, store), max_followers=8)
    ann = [await feed.follow(key("one", "ann"), m.EventsQuery()) for _ in range(2)]
    with pytest.raises(Overloaded, match="this user") as refused:
        await feed.follow(key("one", "ann"), m.EventsQuery())
    assert refused.value.retry_after == 5
    await feed.follow(key("one", "bob"), m.EventsQuery())
    await feed.follow(key("one"), m.EventsQuery())
    for user in (None, "bob"):
        with pytest.raises(Overloaded, match="this tenant"):
            await feed.follow(key("one", user), m.EventsQuery())
    for _ in range(4):
        await feed.follow(key("two"), m.EventsQuery())
    with pytest.raises(Overloaded, match="AGENTMEM_MAX_STREAMS"):
        await feed.follow(key("three"), m.EventsQuery())
    ann[0].leave()
    await feed.follow(key("one", "bob"), m.EventsQuery())
    feed.close()
    small = Feed(cast(Store, store), max_followers=1)
    with await small.follow(key("one", "ann"), m.EventsQuery()):
        assert len(small) == 1
    small.close()


async def test_only_so_many_follow_and_who_leaves_makes_room(feed: Feed, store: FakeStore) -> None:
    with await feed.follow(OPERATOR, m.EventsQuery()):
        followers = [await feed.follow(OPERATOR, m.EventsQuery()) for _ in range(2)]
        with pytest.raises(Overloaded, match="AGENTMEM_MAX_STREAMS") as refused:
            await feed.follow(OPERATOR, m.EventsQuery())
        assert refused.value.retry_after == 5
    assert len(feed) == 2
    store.failure = Unavailable("the disk is gone")
    with pytest.raises(Unavailable, match="the disk"):
        await feed.follow(OPERATOR, m.EventsQuery())
    assert len(feed) == 2
    for follower in followers:
        follower.leave()
    assert len(feed) == 0


async def test_a_store_that_fails_ends_it(feed: Feed, store: FakeStore) -> None:
    with await feed.follow(OPERATOR, m.EventsQuery(after=0)) as follower:
        store.failure = Unavailable("the disk is gone")
        with pytest.raises(Unavailable, match="the disk"):
            await anext(follower)


async def test_a_bound_key_follows_its_user_alone(feed: Feed, store: FakeStore) -> None:
    with pytest.raises(Forbidden):
        await feed.follow(BOUND, m.EventsQuery(user_id="bob"))
    assert len(feed) == 0
    store.commit("ann", "bob", "ann")
    with await feed.follow(BOUND, m.EventsQuery(after=0)) as follower:
        assert await told(follower, 2) == [1, 3]
