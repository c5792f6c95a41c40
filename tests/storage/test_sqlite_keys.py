"""API keys in a file, beside its server and without one."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from agentmem_client.errors import Conflict, NotFound, Unavailable
from agentmem_server.storage import ApiKey, open_keys, open_store
from agentmem_server.storage.sqlite import schema

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

KEY = ApiKey("k", bytes(range(32)), "tenant", "name", frozenset({"read", "write"}), None, None, 5)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a file, for whatever stores the other tests are."""
    return f"sqlite:///{tmp_path}/memory.db"


def test_the_first_key_makes_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/memory.db"
    with pytest.raises(NotFound):
        open_keys(url, make=False)
    assert list(tmp_path.iterdir()) == []
    with open_keys(url) as keys:
        keys.put(KEY)
        with pytest.raises(Conflict):
            keys.put(KEY)
        assert keys.revoke("none", None, 1) is None
        assert keys.revoke("k", "another", 1) is None
    with open_keys(url, make=False) as keys:
        assert keys.listed(None) == [KEY]

    async def serve() -> list[ApiKey]:
        store = await open_store(url, readers=1)
        found = await store.keys(None)
        await store.close()
        return found

    assert asyncio.run(serve()) == [KEY]


def test_what_is_no_database_of_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "memory.db"
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(Unavailable, match="another program"):
        open_keys(f"sqlite:///{file}")
    assert file.read_bytes() == before
    file.write_text("Dear diary, " * 100)
    with pytest.raises(Unavailable, match="can't be opened"):
        open_keys(f"sqlite:///{file}")


async def test_a_file_that_an_older_server_has_open_is_left_to_it(notes: "Notes") -> None:
    path = Path(notes.url.removeprefix("sqlite:///"))
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", schema.VERSION - 1)
    for _ in range(2):
        with pytest.raises(Unavailable, match="of another version has"):
            await asyncio.to_thread(open_keys, notes.url)
    assert connection.pragma("user_version") == schema.VERSION - 1
    connection.pragma("user_version", schema.VERSION)
    connection.close()
    await notes.put("a")
