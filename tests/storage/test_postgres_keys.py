"""API keys in a database, beside its servers and without one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from agentmem_client.errors import Conflict, NotFound, Unavailable
from agentmem_server.storage import ApiKey, open_keys, open_store
from agentmem_server.storage.postgres import schema
from agentmem_server.storage.postgres.connections import Address, connect

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import Notes

KEY = ApiKey("k", bytes(range(32)), "tenant", "name", frozenset({"read", "write"}), None, None, 5)


@pytest.fixture
def url(postgres: "Postgres") -> str:
    """Of a schema, for whatever stores the other tests are."""
    return postgres.url()


async def run(url: str, *statements: str) -> None:
    """Run SQL in a schema, be it there or not."""
    address = Address.parse(url)
    connection = await connect(address)
    await connection.execute(f"SET search_path = {schema.quoted(address.schema)}")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def test_the_first_key_makes_the_schema(url: str) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            open_keys(url, make=False)
    with open_keys(url) as keys:
        keys.put(KEY)
        with pytest.raises(Conflict):
            keys.put(KEY)
        assert keys.revoke("none", None, 1) is None
        assert keys.revoke("k", "another", 1) is None
        assert keys.revoke("k", "tenant", 7) == replace(KEY, revoked_at=7)
    for make in (False, True):
        with open_keys(url, make=make) as keys:
            assert keys.revoke("k", None, 8) == replace(KEY, revoked_at=7)
            assert keys.listed(None) == [replace(KEY, revoked_at=7)]

    async def serve() -> list[ApiKey]:
        store = await open_store(url)
        found = await store.keys(None)
        await store.close()
        return found

    assert len(asyncio.run(serve())) == 1


def test_several_may_make_the_schema_at_once(url: str) -> None:
    def put(number: int) -> None:
        with open_keys(url) as keys:
            keys.put(replace(KEY, id=f"k{number}"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put, range(4)))
    with open_keys(url, make=False) as keys:
        assert len(keys.listed("tenant")) == 4


async def test_keys_may_be_opened_where_a_loop_runs(notes: "Notes") -> None:
    with open_keys(notes.url, make=False) as keys:
        keys.put(KEY)
    assert await notes.store.key("k") == KEY


async def test_what_is_not_ours_is_refused_and_left_as_it_is(url: str) -> None:
    await run(url, f"CREATE SCHEMA {Address.parse(url).schema}", "CREATE TABLE theirs ()")
    for make in (False, True):
        with pytest.raises(Unavailable, match="another program"):
            open_keys(url, make=make)
    await run(url, "DROP TABLE theirs")
    with pytest.raises(NotFound):
        open_keys(url, make=False)


async def test_tables_of_another_version_are_left_to_it(notes: "Notes") -> None:
    for version in (schema.VERSION + 1, schema.VERSION - 1):
        await run(notes.url, f"UPDATE schema_version SET version = {version}")
        for make in (False, True):
            with pytest.raises(Unavailable, match="AgentMem"):
                open_keys(notes.url, make=make)
    await run(notes.url, f"UPDATE schema_version SET version = {schema.VERSION}")


async def test_a_key_that_may_not_be_read_is_told(notes: "Notes") -> None:
    with open_keys(notes.url) as keys:
        await run(notes.url, "ALTER TABLE api_key RENAME TO hidden")
        with pytest.raises(Unavailable, match="could not be read"):
            keys.listed(None)
        await run(notes.url, "ALTER TABLE hidden RENAME TO api_key")
        assert keys.listed(None) == []
