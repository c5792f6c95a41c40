"""Erasures by another server of the same database: each is told to those that keep copies."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from agentmem_client.errors import Unavailable
from agentmem_server import times
from agentmem_server.storage import Erase, Store, open_store
from agentmem_server.storage.postgres import erasures, events
from agentmem_server.storage.postgres.connections import Connection

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import Notes


@pytest.fixture
def url(postgres: "Postgres") -> str:
    """Of a schema, for whatever stores the other tests are."""
    return postgres.url()


class Told:
    """Another server, and whose erasures it was told of."""

    def __init__(self, store: Store) -> None:
        self.users: list[str] = []
        self.commits = 0
        self._changed = asyncio.Event()
        store.on_erase(self._on_erase)
        store.on_commit(self._on_commit)

    def _on_erase(self, _tenant: str, user_id: str) -> None:
        self.users.append(user_id)
        self._changed.set()

    def _on_commit(self) -> None:
        self.commits += 1
        self._changed.set()

    async def until(self, *users: str) -> None:
        async with asyncio.timeout(20):
            while self.users != list(users):
                self._changed.clear()
                await self._changed.wait()

    async def until_commits(self, number: int) -> None:
        async with asyncio.timeout(20):
            while self.commits < number:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def told(notes: "Notes") -> AsyncIterator[Told]:
    other = await open_store(notes.url)
    yield Told(other)
    await other.close()


async def erase(notes: "Notes", user: str) -> None:
    await notes.write(Erase("tenant", user, times.now()))


async def test_others_are_told_and_who_erased_is_not(notes: "Notes", told: Told) -> None:
    itself = Told(notes.store)
    await notes.put("a", user_id="u")
    await erase(notes, "u")
    await told.until("u")
    await erase(notes, "v")
    await told.until("u", "v")
    assert itself.users == []


async def test_an_erasure_beside_the_telling_of_another_is_told(
    notes: "Notes", told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, has_read = asyncio.Event(), asyncio.Event()
    read = events.erased

    async def erased(connection: Connection, after: int) -> list[tuple[int, str, str]]:
        found = await read(connection, after)
        has_read.set()
        await may_go_on.wait()
        return found

    monkeypatch.setattr(events, "erased", erased)
    await erase(notes, "u")
    await has_read.wait()
    await erase(notes, "v")
    await told.until_commits(2)
    await asyncio.sleep(0.05)  # both parts of the message have come
    may_go_on.set()
    await told.until("u", "v")


async def test_what_could_not_be_read_is_asked_for_again(
    notes: "Notes", told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_RETRY", 0.01)
    read, tries = events.erased, 0

    async def erased(connection: Connection, after: int) -> list[tuple[int, str, str]]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("no connection to the database was free")
        return await read(connection, after)

    monkeypatch.setattr(events, "erased", erased)
    await erase(notes, "u")
    await told.until("u")
    assert tries == 3
