"""The feed of all changes: a follower is told of each event once, in order, after its commit."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from agentmem_client import models as m
from agentmem_client.errors import Overloaded, Unauthorized, Unavailable

from ..access.access import OPERATOR, Access
from ..storage import Event, EventsRequest, Store
from . import records

_BATCH = 100
"""Events told at once, at most."""
_LARGE = 1_000_000
"""Bytes of events told at once, about. One that alone is larger is told alone, and of each tenant's
followers to one at a time: what a follower doesn't read is held in memory."""
_PAUSE = 0.1
"""Seconds between two reads of one follower that knows all there is."""
_CHECK = 0.3
"""Seconds after which a follower's key is looked at again."""
_READS = 1
"""Reads for all followers at once: many that catch up leave the store's other reader to others."""

StillOpens = Callable[[Access], Awaitable[bool]]
"""Whether what a follower came with would still let it in."""


async def _always(_access: Access) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it is told: ``data`` is the JSON of a `models.Event`."""

    id: int
    action: m.Action
    data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """What a follower is told next.

    Attributes:
        events: in order; none is a sign of life.
        position: what to go on after, when all of it has been told.
        is_large: whether they are to be sent before anything else is asked for.
        lost: where events before these are not known, for they are no longer kept or the position
            was one of another database: the id after which all are told.
    """

    events: list[Told]
    position: int
    lost: int | None = None
    is_large: bool = False


class Feed:
    """Lets many follow the events of a store.

    Nothing reads the store while nothing is written to it.

    Args:
        store: where the events are.
        max_followers: how many may follow at once; half of them of one tenant, and a quarter with
            the keys of one user.
        still_opens: asked of each follower every now and then; where it says no, that one's
            following ends.
        heartbeat: seconds of silence after which there is a sign of life.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_followers: int,
        still_opens: StillOpens = _always,
        heartbeat: float = 15.0,
    ) -> None:
        self.heartbeat = heartbeat
        self.store = store
        self.still_opens = still_opens
        self.reads = asyncio.Semaphore(_READS)
        self.large: dict[str, Follower] = {}
        self.closed = False
        self._max_followers = max_followers
        self._followers: set[Follower] = set()
        store.on_commit(self._wake)

    def __len__(self) -> int:
        return len(self._followers)

    async def follow(self, access: Access, query: m.EventsQuery) -> "Follower":
        """Follow the events that a query means; leave when done, by ``with`` or `Follower.leave`.

        Every event after ``query.after`` is told, or where that is left out, every one of which
        the commit comes after this call.

        Raises:
            Forbidden: when it asks for another user's.
            Overloaded: when too many follow, or the server is shutting down.
        """
        scope = access.caller.scope(
            query.user_id, query.agent_id, query.session_id, query.namespace
        )
        if self.closed:
            raise Overloaded("the server is shutting down", retry_after=1.0)
        self._check_room(access)
        request = EventsRequest(query.after or 0, _BATCH, scope, query.collection, max_bytes=_LARGE)
        follower = Follower(self, access, request)
        self._followers.add(follower)
        if query.after is None:
            try:
                follower.position = await self.store.last_event()
            except BaseException:
                follower.leave()
                raise
        return follower

    def _check_room(self, access: Access) -> None:
        """Where there are keys, no tenant takes the places of all others, no user its tenant's."""
        most, caller = self._max_followers, access.caller
        rooms = [(len(self._followers), most, "")]
        if access is not OPERATOR:
            half = max(1, most // 2)
            callers = [follower.access.caller for follower in self._followers]
            of_tenant = sum(one.tenant == caller.tenant for one in callers)
            rooms.append((of_tenant, half, " of this tenant"))
            if caller.user_id is not None:
                rooms.append((callers.count(caller), max(1, half // 2), " of this user"))
        for taken, places, whose in rooms:
            if taken >= places:
                raise Overloaded(
                    f"{places}{whose} follow the feed already, and no more may: try again, or "
                    "raise AGENTMEM_MAX_STREAMS",
                    retry_after=5.0,
                )

    def left(self, follower: "Follower") -> None:
        """Make room for another one."""
        self._followers.discard(follower)

    def close(self) -> None:
        """End all followings at once, and let nobody follow any more."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        for follower in self._followers:
            follower.wake()


class Follower:
    """One who follows the feed, from a position on: an async iterator of `News`.

    It only ends by an error, which says why: `Unauthorized` when its key no longer opens,
    `Unavailable` when the server shuts down or the store can't be read.

    Attributes:
        access: what it came with.
        position: the id of the last event that it was told of, or that isn't for it.
    """

    def __init__(self, feed: Feed, access: Access, request: EventsRequest) -> None:
        self._feed = feed
        self.access = access
        self._request = request
        self.position = request.after
        self._news = asyncio.Event()
        self._news.set()  # of what came before it, it was told nothing yet
        self._loop = asyncio.get_running_loop()
        self._read_at = self._loop.time()
        self._check_at = self._read_at + _CHECK

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Follow no more, so that another one can."""
        self._tell_no_large()
        self._feed.left(self)

    def wake(self) -> None:
        """Something was committed, or the feed is closed."""
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> News:
        self._tell_no_large()
        silent_until = self._loop.time() + self._feed.heartbeat
        while True:
            await self._check()
            now = self._loop.time()
            if self._news.is_set() and now >= self._read_at:
                news = await self._read()
                if news.events or news.lost is not None:
                    return news
            elif now >= silent_until:
                return News([], self.position)
            else:
                await self._wait(min(silent_until, self._check_at) - now)

    async def _check(self) -> None:
        if self._feed.closed:
            raise Unavailable("the server is shutting down: follow again from here on")
        if self._loop.time() >= self._check_at:
            if not await self._feed.still_opens(self.access):
                raise Unauthorized("this API key no longer opens anything: use another one")
            self._check_at = self._loop.time() + _CHECK

    async def _read(self) -> News:
        self._news.clear()
        store, after, tenant = self._feed.store, self.position, self.access.caller.tenant
        may_be_large = self._feed.large.setdefault(tenant, self) is self
        request = replace(self._request, after=after, large=may_be_large)
        async with self._feed.reads:
            # Before the events: what isn't among them up to here, isn't for this follower.
            last = await store.last_event()
            page = await store.events(tenant, request)
            # After them: what is no longer kept now may have been missing there.
            forgotten = await store.forgotten()
        is_large = page.size > _LARGE
        if not is_large:
            self._tell_no_large()
        self._read_at = self._loop.time()
        if page.more:
            self._news.set()
        if not page.more or not page.events:  # a large one waits for another's
            self._read_at += _PAUSE
        lost = forgotten if 0 < after < forgotten else None
        if after > last:
            lost = self.position = last  # it knows another database, or this one's lost future
        if page.events:
            self.position = page.events[-1].id
        if not page.more:
            self.position = max(self.position, last)
        return News([_told(event) for event in page.events], self.position, lost, is_large)

    def _tell_no_large(self) -> None:
        tenant = self.access.caller.tenant
        if self._feed.large.get(tenant) is self:
            del self._feed.large[tenant]

    async def _wait(self, seconds: float) -> None:
        """Until there is news to be read, at most so long."""
        if self._news.is_set():
            seconds = min(seconds, self._read_at - self._loop.time())
            await asyncio.sleep(max(0.0, seconds))
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass  # time to check, or for a sign of life


def _told(event: Event) -> Told:
    data = records.to_event(event).model_dump_json().encode()
    return Told(event.id, event.action, data)
