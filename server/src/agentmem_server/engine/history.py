"""What became of memories: their past told, brought back, erased, and in time forgotten."""

from collections.abc import Awaitable, Callable

from agentmem_client import models as m
from agentmem_client.errors import NotFound, shown

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..storage import (
    Erase,
    Erased,
    EventPage,
    Forget,
    Outcome,
    Purge,
    Record,
    Restore,
    Store,
    Write,
)
from . import records
from .preparing import no_memory

_FORGOTTEN_AT_ONCE = 500
"""Events that one write removes: others wait for it some 10 ms."""


class History:
    """Tells what became of memories, takes them back to what they were, and erases users.

    Every method of a caller takes that one first, and sees nothing beyond what that one sees.

    Args:
        store: where the memories and their events are.
        writes: the queue that all writes to the store go through.
        forget_copies: lets go of all that is kept of a tenant's user outside of the store: copies
            of memories, of their texts and vectors, and counts.
    """

    def __init__(
        self,
        store: Store,
        writes: Batcher[Write, Outcome],
        forget_copies: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._writes = writes
        self._forget_copies = forget_copies

    async def events(
        self, caller: Caller, memory_id: str, query: m.HistoryQuery
    ) -> m.HistoryAnswer:
        """One page of a memory's events, the oldest first.

        Raises:
            NotFound: when there is neither such a memory nor an event of one.
        """
        page = await self._events(caller, memory_id, query.collection, query.after, query.limit)
        found = page.events
        if not found and not await self._is_known(caller, memory_id, query.collection):
            raise no_memory(memory_id, query.collection)
        return m.HistoryAnswer.model_construct(
            events=[records.to_event(event) for event in found],
            next_after=found[-1].id if page.more else None,
        )

    async def restore(
        self, caller: Caller, collection: str, memory_id: str, version: int
    ) -> m.Memory:
        """Take a memory back to one of its versions, and answer it as it is stored.

        Raises:
            NotFound: when its history has no such version, or no longer keeps it.
            InvalidRequest: when the memory was not there in it.
        """
        restored: Record = await self._writes.submit(
            Restore(
                caller.tenant, collection, memory_id, version, times.now(), user_id=caller.user_id
            )
        )
        return records.to_memory(restored, collection)

    async def erase(self, caller: Caller, user_id: str) -> m.ErasedAnswer:
        """Delete all memories of a user with their history, here and in the caches.

        What others add of the user meanwhile, and is written after it, is new.

        Raises:
            NotFound: when the caller is another user.
        """
        if caller.user_id not in (None, user_id):
            raise NotFound(f"there is no user {shown(user_id)}")
        at = times.now()
        erased: Erased = await self._writes.submit(Erase(caller.tenant, user_id, at))
        await self._forget_copies(caller.tenant, user_id)
        return m.ErasedAnswer(
            user_id=user_id,
            memories=erased.records,
            events=erased.events,
            collections=erased.collections,
            erased_at=times.to_datetime(at),
        )

    async def forget(self, ttl: float) -> int:
        """Remove the events of all tenants that are older than so many seconds; answers how many.

        What is left of memories that have expired goes too, whenever that was.
        """
        forgotten = 0
        while True:
            now = times.now()
            before = now - times.from_seconds(ttl)
            part: int = await self._writes.submit(Forget(before, now, _FORGOTTEN_AT_ONCE))
            forgotten += part
            if not part:
                return forgotten

    async def purge(self) -> int:
        """Take the words of what was erased out of the indexes; answers of how many.

        Not with each erasure: somebody who stores and erases all day would keep all others waiting.
        """
        purged = 0
        while await self._writes.submit(Purge()):
            purged += 1
        return purged

    async def _events(
        self, caller: Caller, memory_id: str, collection_name: str, after: int, limit: int
    ) -> EventPage:
        collection = await self._store.collection(caller.tenant, collection_name)
        if collection is None:
            return EventPage([])
        return await self._store.history(
            collection, memory_id, user_id=caller.user_id, after=after, limit=limit
        )

    async def _is_known(self, caller: Caller, memory_id: str, collection_name: str) -> bool:
        collection = await self._store.collection(caller.tenant, collection_name)
        if collection is None:
            return False
        if (await self._events(caller, memory_id, collection_name, 0, 1)).events:
            return True
        return bool(await self._store.get(collection, [memory_id], scope=caller.scope()))
