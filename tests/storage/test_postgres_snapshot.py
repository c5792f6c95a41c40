"""One state of a schema, read beside its servers by code that blocks."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from agentmem_client.errors import InvalidRequest, NotFound, Unavailable
from agentmem_server.storage import Record, open_snapshot, shown_url
from agentmem_server.storage.postgres import schema
from agentmem_server.storage.postgres.connections import Address, connect

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES = "tenant", "notes"


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


async def schemas(url: str) -> list[str]:
    connection = await connect(Address.parse(url))
    found = await connection.fetch("SELECT nspname FROM pg_namespace")
    await connection.close()
    return [name for (name,) in found]


async def test_a_snapshot_is_one_state_read_beside_writes(notes: "Notes", clock: "Clock") -> None:
    first = await notes.put("a", "one", user_id="u", metadata={"x": [1, None]})
    await notes.put("bare", vectors=None)
    await notes.put("brief", expires_at=clock.now + 10)
    await notes.write(notes.putting(notes.record("c"), collection="another"))
    clock.advance(10)
    # This blocks the loop's thread, as the command that only tries an import out does.
    with open_snapshot(notes.url) as snapshot:
        collections = snapshot.collections(TENANT)
        await notes.put("a", "two")
        await notes.put("b")
        await notes.delete("bare")
        assert [one.name for one in collections] == ["another", NOTES]
        assert snapshot.collections("none") == []
        assert snapshot.count(collections[1]) == 2
        everything = snapshot.records(collections[1], with_vectors=True)
        assert next(everything) == first
        assert [one.id for one in snapshot.get(collections[1], ["b", "bare", "a"])] == ["bare", "a"]
        assert [one.vectors for one in everything] == [None]
        (plain, _) = snapshot.records(collections[1], with_vectors=False)
        assert (plain.content, plain.vectors) == ("one", None)
    assert await notes.ids() == ["a", "b"]


async def test_many_records_and_large_ones_come_in_order(notes: "Notes") -> None:
    small = [notes.record(f"s{number}") for number in range(1_100)]
    large = [notes.record(f"l{number}", "x" * 3_000_000) for number in range(4)]
    expected = [*small[:700], *large, *small[700:]]
    await notes.write(notes.putting(*expected))
    collection = await notes.collection()

    def read() -> list[Record]:
        with open_snapshot(notes.url) as snapshot:
            return list(snapshot.records(collection, with_vectors=False))

    found = await asyncio.to_thread(read)
    assert [one.id for one in found] == [one.id for one in expected]
    assert [len(one.content) for one in found] == [len(one.content) for one in expected]


async def test_where_there_is_nothing_nothing_is_made(url: str) -> None:
    before = await schemas(url)
    for _ in range(2):
        with pytest.raises(NotFound), open_snapshot(url):
            pass
    assert await schemas(url) == before
    name = Address.parse(url).schema
    await run(url, f"CREATE SCHEMA {name}")
    with pytest.raises(NotFound), open_snapshot(url):
        pass


async def test_what_is_not_ours_is_refused(url: str) -> None:
    await run(url, f"CREATE SCHEMA {Address.parse(url).schema}", "CREATE TABLE theirs ()")
    with pytest.raises(Unavailable, match="another program"), open_snapshot(url):
        pass


@pytest.mark.parametrize(
    ("version", "told"), [(schema.VERSION + 1, "newer AgentMem"), (schema.VERSION - 1, "older")]
)
async def test_another_version_is_refused(notes: "Notes", version: int, told: str) -> None:
    await run(notes.url, f"UPDATE schema_version SET version = {version}")
    with pytest.raises(Unavailable, match=told), open_snapshot(notes.url):
        pass
    await run(notes.url, f"UPDATE schema_version SET version = {schema.VERSION}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:1/x",
        "postgresql://me:secret/more@127.0.0.1/x",
        "postgresql://me:secret?more=1@127.0.0.1/x",
        "postgresql://me:secret#more@127.0.0.1/x",
        "postgresql://me:[secret@127.0.0.1/x",
        "postgresql://me:secret@127.0.0.1:port/x",
        "postgresql://127.0.0.1:1/x?user=me&password=secret",
        "postgresql://me:more@127.0.0.1:1/x?sslmode=secret",
        "postgresql://me:more@127.0.0.1:1/x?secret",
    ],
)
def test_no_message_has_a_password(url: str) -> None:
    with pytest.raises((Unavailable, InvalidRequest)) as refused, open_snapshot(url):
        pass
    assert "secret" not in str(refused.value)
    assert "secret" not in shown_url(url)


def test_a_url_is_shown_with_what_names_the_store() -> None:
    for url, told in (
        ("sqlite:///some/file@home.db", "sqlite:///some/file@home.db"),
        ("postgresql://host/base", "postgresql://host/base"),
        (
            "postgres://me:x@host:5/base?schema=a%26b&sslkey=y",
            "postgresql://host:5/base?schema=a%26b",
        ),
    ):
        assert shown_url(url) == told


async def test_the_readers_own_failures_are_its_own(notes: "Notes") -> None:
    with pytest.raises(OSError, match="disk full"), open_snapshot(notes.url):
        raise OSError("disk full")


async def test_a_lost_connection_is_told(notes: "Notes") -> None:
    await notes.put("a")
    collection = await notes.collection()
    with open_snapshot(notes.url) as snapshot:
        assert snapshot.count(collection) == 1
        await run(
            notes.url,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'AccessShareLock' "
            "AND relation = 'schema_version'::regclass AND pid <> pg_backend_pid()",
        )
        with pytest.raises(Unavailable):
            snapshot.count(collection)
