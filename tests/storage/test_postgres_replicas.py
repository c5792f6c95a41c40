"""Several stores on one PostgreSQL, as several servers have them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from agentmem_client.errors import Unavailable
from agentmem_server import times
from agentmem_server.storage import Erase, Pool, Store, open_store
from agentmem_server.storage.postgres import events

if TYPE_CHECKING:
    from tests.conftest import Postgres

SMALL = Pool(min_size=1, max_size=2)
TENANT = "tenant"
Told = list[tuple[str, str]]


@asynccontextmanager
async def opened(url: str, count: int) -> AsyncIterator[list[Store]]:
    """Opened at the same moment."""
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(open_store(url, pool=SMALL) for _ in range(count)))
        for store in stores:
            stack.push_async_callback(store.close)
        yield list(stores)


def dsn(url: str) -> str:
    return url.rpartition("&schema=")[0]


def listen(store: Store, told: Told) -> None:
    store.on_erase(lambda tenant, user_id: told.append((tenant, user_id)))


async def until_told(told: Told, *users: str) -> None:
    """Until all of these have been told; no one comes twice."""
    for _ in range(1_000):
        if {(TENANT, user) for user in users} <= set(told):
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)  # would more come, now is the time
    assert {(TENANT, user) for user in users} <= set(told)
    assert len(told) == len(set(told))


async def erase(store: Store, user_id: str) -> None:
    (outcome,) = await store.write([Erase(TENANT, user_id, times.now())])
    assert not isinstance(outcome, Exception)


async def test_stores_opened_at_once_on_a_new_schema_share_its_tables(
    postgres: "Postgres",
) -> None:
    for _ in range(5):
        async with opened(postgres.url(), 6) as stores:
            assert len({store.identity for store in stores}) == 1
            assert await asyncio.gather(*(store.last_event() for store in stores)) == [0] * 6


async def test_a_schema_of_another_program_is_refused(postgres: "Postgres") -> None:
    url = postgres.url()
    schema = url.rpartition("schema=")[2]
    connection = await asyncpg.connect(dsn(url))
    await connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs (id integer)")
    await connection.close()
    with pytest.raises(Unavailable, match="another program"):
        await open_store(url, pool=SMALL)


async def test_all_others_are_told_of_an_erasure(postgres: "Postgres") -> None:
    async with opened(postgres.url(), 3) as stores:
        told: list[Told] = [[] for _ in stores]
        for store, mine in zip(stores, told, strict=True):
            listen(store, mine)
        for number in range(6):
            await erase(stores[number % 3], f"u{number}")
        for place in range(3):
            others = [f"u{number}" for number in range(6) if number % 3 != place]
            await until_told(told[place], *others)


async def test_it_is_told_after_a_lost_connection_too(postgres: "Postgres") -> None:
    url = postgres.url()
    connection = await asyncpg.connect(dsn(url))
    async with opened(url, 2) as (one, other):
        told: Told = []
        listen(other, told)
        for number in range(3):
            # Those that listen never do anything else.
            ended = await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%'"
            )
            assert ended >= 2
            await erase(one, f"u{number}")
            await until_told(told, *(f"u{each}" for each in range(number + 1)))
    await connection.close()


async def test_it_is_told_also_where_all_connections_are_in_use(postgres: "Postgres") -> None:
    url = postgres.url()
    connection = await asyncpg.connect(dsn(url))
    one = await open_store(url, pool=SMALL)
    other = await open_store(url, pool=Pool(min_size=1, max_size=1, timeout=0.2))
    told: Told = []
    listen(other, told)
    async with connection.transaction():
        schema = url.rpartition("schema=")[2]
        await connection.execute(f"LOCK TABLE {schema}.api_key IN ACCESS EXCLUSIVE MODE")
        slow = asyncio.create_task(other.keys(None))
        await erase(one, "u")
        await asyncio.sleep(0.5)
    assert await slow == []
    await until_told(told, "u")
    for store in (one, other):
        await store.close()
    await connection.close()


async def test_it_is_told_also_where_another_one_is_being_told(
    postgres: "Postgres", monkeypatch: pytest.MonkeyPatch
) -> None:
    read = events.erased
    reading, erased_again = asyncio.Event(), asyncio.Event()

    async def read_slowly(connection: Any, after: int) -> list[tuple[int, str, str]]:
        found = await read(connection, after)
        reading.set()
        await erased_again.wait()
        return found

    async with opened(postgres.url(), 2) as (one, other):
        told: Told = []
        listen(other, told)
        monkeypatch.setattr(events, "erased", read_slowly)
        await erase(one, "u0")
        await reading.wait()
        await erase(one, "u1")
        await asyncio.sleep(0.3)  # it has been heard of
        erased_again.set()
        await until_told(told, "u0", "u1")
