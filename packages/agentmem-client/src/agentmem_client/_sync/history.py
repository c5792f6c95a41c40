# Generated from src/agentmem_client/_async/history.py by scripts/generate_sync.py: do not edit.
"""What became of memories: their history, all changes as they come, and the end of it."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from httpx_sse import EventSource

from .. import endpoints
from .._base import given, make
from .._feed import SILENCE, Feed
from ..errors import AgentMemError
from ..models import (
    DEFAULT_COLLECTION,
    CollectionQuery,
    ErasedAnswer,
    Event,
    EventsQuery,
    HistoryQuery,
    Memory,
    RestoreRequest,
)
from .connection import Connection


class History(Connection):
    """Looks back, follows what happens, takes back, and erases."""

    def history(
        self, id: str, *, page_size: int = 100, collection: str = DEFAULT_COLLECTION
    ) -> Iterator[Event]:
        """What became of a memory, the oldest event first, fetched as it is consumed.

        A deleted memory has its history for as long as the server keeps it.

        Args:
            id: the memory's.
            page_size: how many events to fetch at a time, up to 1,000.
            collection: which one it is in.

        Raises:
            NotFound: there is no memory with this id, and nothing is kept of one.
        """
        after: int | None = None
        while True:
            fields = given(limit=page_size, after=after, collection=collection)
            query = make(HistoryQuery, fields)
            answer = self._call(endpoints.MEMORY_HISTORY, {"id": id}, query=query)
            for event in answer.events:
                yield event
            after = answer.next_after
            if after is None:
                return

    def restore(self, id: str, version: int, *, collection: str = DEFAULT_COLLECTION) -> Memory:
        """Take a memory back to one of its versions, also one that was deleted.

        Args:
            id: the memory's.
            version: one of its history's, in which it was there.
            collection: which one it is in.

        Returns:
            The memory as it is now: of a new version, unless it was like that already.

        Raises:
            NotFound: the history has no such version, or no longer keeps it.
        """
        body = make(RestoreRequest, {"version": version})
        query = make(CollectionQuery, given(collection=collection))
        return self._call(endpoints.RESTORE_MEMORY, {"id": id}, query=query, body=body)

    def events(
        self,
        *,
        after: int | None = None,
        collection: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
    ) -> Generator[Event, None, None]:
        """All changes as they happen, in their order, for as long as they are asked for.

        None is missed and none comes twice: where the connection is lost, or nothing was heard of
        the server for 60 seconds, it connects again and goes on after the last event, as it does
        after 429, 502, 503 and 504; with another server, where there are several. The waits are
        those of other calls; ``max_retries`` and ``max_retry_seconds`` are for failures in a row,
        without an event or a sign of life (there is one every 15 seconds) between them.

        It takes a connection of its own for as long as it runs, and none of the turns of other
        calls. Leaving the loop ends it; to have the connection closed at once, write
        ``with closing(client.events()) as events:``.

        Args:
            after: the id of the last event that you know: what came after it and is still kept
                comes first. 0: all that are kept. Left out: what happens once it is connected.
            collection: only what happens in this one; all where left out.
            user_id: only to this user's memories; likewise the next two.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: only to those in it or below it.

        Raises:
            EventsForgotten: some of what should come is no longer kept.
            Unauthorized: the key was revoked, or has expired.
        """
        query = make(
            EventsQuery,
            given(
                after=after,
                collection=collection,
                user_id=user_id,
                agent_id=agent_id,
                session_id=session_id,
                namespace=namespace,
            ),
        )
        tries = self._tries()
        feed = Feed(tries)
        while True:
            failure: AgentMemError | None = None
            try:
                with self._opened(
                    endpoints.EVENTS, tries, query=query, headers=feed.headers(), silence=SILENCE
                ) as response:
                    feed.opened(response)
                    messages = EventSource(response).iter_sse()
                    assert isinstance(messages, Generator)  # declared as less in sync
                    with closing(messages):
                        for message in messages:
                            if (event := feed.read(message)) is not None:
                                yield event
            except AgentMemError as error:
                failure = error
            time.sleep(feed.lost(failure))

    def erase_user(self, user_id: str) -> ErasedAnswer:
        """Delete all memories of a user, in all collections, with all their history.

        Sent again because an answer was lost, it answers what was left for it: nothing.

        Returns:
            A receipt: how many memories and events are gone, and when.
        """
        return self._call(endpoints.ERASE_USER, {"id": user_id})
