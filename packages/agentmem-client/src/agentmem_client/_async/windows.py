"""What a client does with the first or last of many memories, of a conversation say."""

from collections.abc import Sequence

from .. import endpoints
from .._base import Filters, changed_ones, ids_of, make
from ..errors import InvalidRequest
from ..filters import F, joined
from ..models import (
    DEFAULT_COLLECTION,
    MAX_IDS,
    MAX_LIMIT,
    ArchiveRequest,
    DeleteRequest,
    Memory,
    Order,
)
from .reading import AsyncReading


class AsyncWindows(AsyncReading):
    """Shortens what has an order, from either end."""

    async def pop(
        self,
        limit: int = 1,
        *,
        order: Order = "asc",
        offset: int = 0,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> list[Memory]:
        """Delete the first or last memories, of a conversation say, and answer them.

        It reads which they are and then deletes these, in one transaction, so that a request that
        has to be repeated never deletes more. Of several callers at once, each memory goes to one.

        Args:
            limit: how many, at most 10,000.
            order: ``"asc"``: the first ones stored; ``"desc"``: the last ones.
            offset: so many of them are left out first.
            filters: as in `search`; likewise the rest.
            user_id: only this user's; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.

        Returns:
            What was deleted, in the order that was asked for.
        """
        found = await self._window(
            limit, order, offset, filters, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "include_memories": True}
        body = make(DeleteRequest, fields)
        answer, tries = await self._call_counted(endpoints.DELETE_MEMORIES, body=body)
        return changed_ones(found, answer.memories or [], tries)

    async def archive(
        self,
        limit: int = 1,
        *,
        archived: bool = True,
        order: Order = "asc",
        offset: int = 0,
        filters: Filters | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> list[Memory]:
        """Set the first or last memories aside, of a conversation say, or take them back.

        An archived memory is kept, and found like any other; the filter ``{"@archived": false}``
        leaves it out. So a conversation can be shortened without being forgotten.

        Args:
            limit: how many, at most 10,000.
            archived: True: of those that are not archived; False: take back those that are.
            order: as in `pop`; likewise the rest.
            offset: so many of them are left out first.
            filters: as in `search`.
            user_id: only this user's; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only those in it or below it.
            collection: which one.

        Returns:
            What changed, in the order that was asked for.
        """
        others = joined(F("@archived") == (not archived), filters)
        found = await self._window(
            limit, order, offset, others, user_id, agent_id, session_id, namespace, collection
        )
        if not found:
            return []
        fields = {"ids": ids_of(found), "collection": collection, "archived": archived}
        body = make(ArchiveRequest, fields)
        answer, tries = await self._call_counted(endpoints.ARCHIVE_MEMORIES, body=body)
        return changed_ones(found, answer.memories, tries)

    async def _window(
        self,
        limit: int,
        order: Order,
        offset: int,
        filters: Filters | None,
        user_id: str | None,
        agent_id: str | None,
        session_id: str | None,
        namespace: Sequence[str] | None,
        collection: str,
    ) -> list[Memory]:
        """So many memories from either end."""
        # A fraction would never be reached: it would mean all of them.
        whole = isinstance(limit, int) and isinstance(offset, int)
        if not (whole and 0 < limit <= MAX_IDS and offset >= 0):
            raise InvalidRequest(f"give a limit of 1 to {MAX_IDS} and an offset of 0 or more")
        found: list[Memory] = []
        memories = self.iterate(
            page_size=min(limit + offset, MAX_LIMIT),
            filters=filters,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            order=order,
            collection=collection,
        )
        async for memory in memories:
            found.append(memory)
            if len(found) == offset + limit:
                break
        return found[offset:]
