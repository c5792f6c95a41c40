"""Tables in partitions hold and find what whole ones do."""

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_server import times
from agentmem_server.storage import DropCollection, Erase, Forget, Sweep, open_store

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import EAST, Clock, Notes

    NewNotes = type[Notes]
else:
    EAST = b"\0\0\x80\x3f\0\0\0\0"
    NewNotes = type

GROWING = ["memory", "embedding", "tag", "keyword", "term", "token"]


@pytest.fixture
def url(postgres: "Postgres") -> str:
    """Of tables in partitions, for whatever stores the other tests are."""
    return f"{postgres.url()}&partitions=3"


async def rows(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(
        url.replace("&partitions=3", "").replace("&schema=", "&search_path=")
    )
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_each_table_that_grows_is_in_parts(notes: "Notes") -> None:
    await notes.put("a", "word", metadata={"n": 1}, tokens=b"\x01")
    kinds = await rows(
        notes.url,
        "SELECT c.relname::text, count(i.inhrelid) FROM pg_class c "
        "LEFT JOIN pg_inherits i ON i.inhparent = c.oid "
        "WHERE c.relkind = 'p' AND c.relnamespace = current_schema()::regnamespace GROUP BY 1",
    )
    assert sorted(kinds) == sorted((name, 3) for name in GROWING)
    for name in GROWING:
        assert await rows(notes.url, f"SELECT count(*) FROM {name}") == [(1,)]


async def test_what_is_in_parts_is_written_and_found(notes: "Notes", clock: "Clock") -> None:
    await notes.put("a", "alpha", user_id="u", session_id="s")
    await notes.put("b", "beta", user_id="v", session_id="s", metadata={"n": 1})
    await notes.put("c", "gamma", expires_at=clock.now + 1)
    await notes.change("a", content="delta")
    assert await notes.saying("delta") == ["a"]
    assert set(await notes.near(EAST)) == {"a", "b", "c"}
    await notes.delete("b")
    await notes.restore("b", 1)
    clock.advance(1)
    assert await notes.write(Sweep(clock.now, 10)) == 1
    assert set(await notes.near(EAST)) == {"a", "b"}
    assert (await notes.write(Erase("tenant", "u", times.now()))).records == 1
    assert await notes.ids() == ["b"]
    await notes.reopen()
    assert await notes.write(DropCollection("tenant", "notes")) == 1
    await notes.write(Forget(clock.now + 1, clock.now, 1_000))
    for name in GROWING:
        assert await rows(notes.url, f"SELECT count(*) FROM {name}") == [(0,)]


async def test_tables_that_are_there_stay_as_they_are(postgres: "Postgres") -> None:
    whole = postgres.url()
    await (await open_store(whole)).close()
    await (await open_store(f"{whole}&partitions=3")).close()
    parts = (
        "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent "
        "WHERE c.relnamespace = current_schema()::regnamespace"
    )
    assert await rows(whole, parts) == [(0,)]


@pytest.mark.parametrize("partitions", ["-1", "x", "257", "1.5"])
async def test_a_number_that_is_none_is_refused(postgres: "Postgres", partitions: str) -> None:
    with pytest.raises(InvalidRequest, match="partitions"):
        await open_store(f"{postgres.url()}&partitions={partitions}")
