"""API keys: kept by a store, and by another process beside it."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from agentmem_client.errors import Conflict, InvalidRequest
from agentmem_server.storage import ApiKey, PutKey, RevokeKey, open_keys

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

KEY = ApiKey("k", bytes(range(32)), "tenant", "name", frozenset({"read", "write"}), None, None, 5)
FULL = ApiKey("f", b"d" * 32, "another", "n", frozenset({"metrics", "admin"}), "u", 0.5, 6, 70, 80)


async def test_keys_come_back_as_they_were_put(notes: "Notes") -> None:
    assert await notes.store.key("k") is None
    assert await notes.store.keys(None) == []
    assert not await notes.store.has_keys()
    early = replace(KEY, id="z", created_at=1)
    for key in (KEY, FULL, early):
        assert await notes.write(PutKey(key)) is None
    for _ in range(2):
        assert await notes.store.key("k") == KEY
        assert await notes.store.key("f") == FULL
        assert await notes.store.keys(None) == [early, KEY, FULL]
        assert await notes.store.keys("tenant") == [early, KEY]
        assert await notes.store.keys("none") == []
        assert await notes.store.has_keys()
        await notes.reopen()
    await notes.put("a")
    with pytest.raises(Conflict):
        await notes.write(PutKey(replace(KEY, tenant="another")))
    assert await notes.store.key("k") == KEY


async def test_a_key_is_revoked_once_and_by_its_tenant(notes: "Notes") -> None:
    await notes.write(PutKey(KEY))
    assert await notes.write(RevokeKey("none", None, 7)) is None
    assert await notes.write(RevokeKey("k", "another", 7)) is None
    assert await notes.store.key("k") == KEY
    revoked = replace(KEY, revoked_at=8)
    assert await notes.write(RevokeKey("k", "tenant", 8)) == revoked
    assert await notes.write(RevokeKey("k", None, 9)) == revoked
    assert await notes.store.keys(None) == [revoked]
    assert await notes.store.has_keys()
    assert not revoked.is_valid(0)


async def test_keys_are_no_write_to_a_collection(notes: "Notes") -> None:
    await notes.put("a")
    version = await notes.store.version("tenant", "notes")
    await notes.write(PutKey(KEY))
    await notes.write(RevokeKey("k", None, 8))
    assert await notes.store.version("tenant", "notes") == version


async def test_a_server_sees_the_keys_that_another_process_makes(notes: "Notes") -> None:
    def beside() -> None:
        with open_keys(notes.url) as keys:
            keys.put(KEY)
            assert keys.listed("tenant") == [KEY]

    await asyncio.to_thread(beside)
    assert await notes.store.key("k") == KEY
    script = (
        "import sys; from agentmem_server.storage import open_keys\n"
        "with open_keys(sys.argv[1]) as keys: print(keys.revoke('k', None, 9).revoked_at)"
    )
    command = [sys.executable, "-c", script, notes.url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert done.stdout.split() == [b"9"]
    found = await notes.store.key("k")
    assert found is not None
    assert found.revoked_at == 9
    await notes.put("a")  # and the file is none the worse for it
    assert await notes.ids() == ["a"]


async def test_keys_are_made_while_a_server_writes(notes: "Notes") -> None:
    async def write(number: int) -> None:
        for step in range(20):
            await notes.put(f"{number}-{step}")

    def beside(number: int) -> None:
        with open_keys(notes.url) as keys:
            for step in range(20):
                keys.put(replace(KEY, id=f"{number}-{step}"))
                keys.revoke(f"{number}-{step}", "tenant", step)

    await asyncio.gather(
        *(write(number) for number in range(4)),
        *(asyncio.to_thread(beside, number) for number in range(2)),
    )
    assert len(await notes.ids()) == 80
    keys = await notes.store.keys("tenant")
    assert len(keys) == 40
    assert all(key.revoked_at is not None for key in keys)


def test_another_url_is_refused() -> None:
    for url in ("", "mysql://x", "memory.db", "sqlite:///"):
        with pytest.raises(InvalidRequest):
            open_keys(url)
