"""Tables of an older version are brought up to date once, by whoever comes first."""

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest
from agentmem_client.errors import Unavailable
from agentmem_server.storage import Source, open_store
from agentmem_server.storage.postgres import schema
from agentmem_server.storage.postgres.connections import Address

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import Notes

    NewNotes = type[Notes]
else:
    NewNotes = type

NOW, NEWER = schema.VERSION, schema.VERSION + 2
# Twice, each of them would fail.
STEPS = {
    NOW: "ALTER TABLE memory ADD COLUMN colour text; CREATE TABLE shade (n integer)",
    NOW + 1: "ALTER TABLE memory RENAME COLUMN colour TO tint; INSERT INTO shade VALUES (1)",
}


async def ask(url: str, query: str) -> object:
    address = Address.parse(url)
    connection = await asyncpg.connect(
        address.dsn, server_settings={"search_path": f'"{address.schema}"'}
    )
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.fixture
async def old(postgres: "Postgres", new_notes: NewNotes) -> str:
    """The URL of a store of this version with something in it."""
    url = postgres.url()
    notes = new_notes(url, await open_store(url))
    await notes.put("a", "word")
    await notes.store.close()
    return url


_TABLES = """
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT concat_ws(' ', table_name, column_name, data_type, collation_name, is_nullable,
        column_default, is_identity) AS line
    FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL SELECT replace(indexdef, current_schema(), '') FROM pg_indexes
    WHERE schemaname = current_schema()
) AS lines
"""


async def test_servers_that_start_at_once_bring_it_up_to_date_once(
    old: str, new_notes: NewNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_MIGRATIONS", STEPS)
    monkeypatch.setattr(schema, "VERSION", NEWER)
    stores = await asyncio.gather(*(open_store(old) for _ in range(4)))
    assert await ask(old, "SELECT version FROM schema_version") == NEWER
    assert await ask(old, "SELECT count(*) FROM shade") == 1
    assert await ask(old, "SELECT count(*) FROM memory WHERE tint IS NULL") == 1
    for store in stores:
        assert await new_notes(old, store).ids() == ["a"]
        await store.close()


async def test_a_schema_of_the_first_version_is_brought_up_to_date(
    postgres: "Postgres", old: str, new_notes: NewNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as first:
        first.setattr(schema, "_MIGRATIONS", {})
        first.setattr(schema, "VERSION", 1)
        url = postgres.url()
        await (await open_store(url)).close()
        assert await ask(url, "SELECT version FROM schema_version") == 1
    notes = new_notes(url, await open_store(url))
    assert await ask(url, "SELECT version FROM schema_version") == NOW
    assert await ask(url, _TABLES) == await ask(old, _TABLES)
    assert await notes.store.job_counts() == {}
    stored = await notes.put("a", "word", sources=[Source(["m"], "said", 1)])
    await notes.change("a", content="other")
    assert (await notes.get_there("a")).sources == stored.sources
    (_, event) = await notes.history("a")
    assert event.before is not None
    assert event.before.sources == stored.sources
    await notes.store.close()


async def test_a_step_that_fails_leaves_it_as_it_was(
    old: str, new_notes: NewNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(
            schema, "_MIGRATIONS", {**STEPS, NOW + 1: "ALTER TABLE memory DROP COLUMN none"}
        )
        broken.setattr(schema, "VERSION", NEWER)
        with pytest.raises(Unavailable, match="none"):
            await open_store(old)
    assert await ask(old, "SELECT version FROM schema_version") == NOW
    assert await ask(old, "SELECT to_regclass('shade')::text") is None
    notes = new_notes(old, await open_store(old))
    assert await notes.ids() == ["a"]
    await notes.store.close()


async def test_tables_of_a_newer_version_are_refused_and_left_as_they_are(old: str) -> None:
    await ask(old, f"UPDATE schema_version SET version = {schema.VERSION + 1}")
    for _ in range(2):
        with pytest.raises(Unavailable, match="newer AgentMem"):
            await open_store(old)
    assert await ask(old, "SELECT version FROM schema_version") == schema.VERSION + 1
    assert await ask(old, "SELECT count(*) FROM memory") == 1


@pytest.mark.parametrize("version", ["0.8.3", "0.5.1", "0.8"])
def test_a_pgvector_whose_indexes_break_is_refused(version: str) -> None:
    with pytest.raises(Unavailable, match=version):
        schema.check_pgvector(version)


@pytest.mark.parametrize("version", ["0.8.4", "0.8.5", "0.9.0", "1.0"])
def test_a_pgvector_whose_indexes_hold_is_accepted(version: str) -> None:
    schema.check_pgvector(version)
