"""Files of older versions: each becomes one of today's, or stays what it was."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import numpy as np
import pytest
from agentmem_client.errors import NotFound
from agentmem_server.storage import Record, open_keys, open_store
from agentmem_server.storage.sqlite import schema

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

NORTH = np.array([0, 1], dtype="<f4").tobytes()

FIRST = """
CREATE TABLE collection (
    cid INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, name TEXT NOT NULL,
    embedder TEXT NOT NULL, model TEXT, dimension INTEGER NOT NULL, metric TEXT NOT NULL,
    created_at INTEGER NOT NULL, UNIQUE (tenant, name)
) STRICT;
CREATE TABLE memory (
    rid INTEGER PRIMARY KEY AUTOINCREMENT, cid INTEGER NOT NULL, id TEXT NOT NULL,
    content TEXT NOT NULL, metadata TEXT NOT NULL, user_id TEXT, agent_id TEXT, session_id TEXT,
    type TEXT, importance REAL, event_at INTEGER, expires_at INTEGER,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, UNIQUE (cid, id)
) STRICT;
CREATE INDEX memory_by_seq ON memory (cid);
CREATE INDEX memory_by_created ON memory (cid, created_at);
CREATE INDEX memory_by_updated ON memory (cid, updated_at);
CREATE INDEX memory_by_user ON memory (cid, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX memory_by_agent ON memory (cid, agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX memory_by_session ON memory (cid, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (cid, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE vector (rid INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE tag (
    cid INTEGER NOT NULL, path TEXT NOT NULL, kind INTEGER NOT NULL, value ANY NOT NULL,
    rid INTEGER NOT NULL, full TEXT NOT NULL, PRIMARY KEY (cid, path, kind, value, rid, full)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE keyword_1 USING fts5(scope, text, content='', contentless_delete=1,
    tokenize='porter unicode61');
INSERT INTO collection VALUES (1, 'tenant', 'notes', 'client', NULL, 2, 'cosine', 1);
INSERT INTO memory VALUES (7, 1, 'old', 'word', '{"a":1}', 'u', NULL, 's', 't', 0.5, 2, NULL, 3, 4);
INSERT INTO tag VALUES (1, 'a', 2, 1, 7, '');
INSERT INTO keyword_1 (rowid, scope, text) VALUES (7, '', 'word');
INSERT INTO vector VALUES (7, x'000000000000803f');
"""
"""What the first version left behind."""

SECOND = (
    FIRST
    + """
ALTER TABLE memory ADD COLUMN payload TEXT;
ALTER TABLE memory ADD COLUMN namespace TEXT;
ALTER TABLE memory ADD COLUMN ttl INTEGER;
ALTER TABLE memory ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE memory ADD COLUMN index_texts TEXT;
CREATE INDEX memory_by_namespace ON memory (cid, namespace) WHERE namespace IS NOT NULL;
"""
)
THIRD = SECOND + schema._MIGRATIONS[2]
OLD = Record("old", "word", {"a": 1}, "u", None, "s", "t", 0.5, 2, None, 3, 4, vectors=NORTH)


def made(path: Path, version: int) -> Path:
    """A file of an older version with one record in it."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute({1: FIRST, 2: SECOND, 3: THIRD}[version])
    connection.pragma("application_id", schema.APPLICATION_ID)
    connection.pragma("user_version", version)
    connection.close()
    return path


def columns_and_indices(path: Path) -> Any:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    objects = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'keyword%' ORDER BY name"
    ).fetchall()
    columns = {
        name: connection.execute(f"PRAGMA table_xinfo({name})").fetchall()
        for kind, name, _ in objects
        if kind == "table"
    }
    indices = [(name, sql) for kind, name, sql in objects if kind == "index"]
    version = connection.pragma("user_version")
    connection.close()
    return columns, indices, version


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_an_older_file_is_brought_up_to_date(
    tmp_path: Path, new_notes: "type[Notes]", version: int
) -> None:
    path = made(tmp_path / "memory.db", version)
    url = f"sqlite:///{path}"
    notes = new_notes(url, await open_store(url, readers=1))
    for _ in range(2):  # the second time there is nothing to do
        found = await notes.get_there("old")
        assert (found, found.seq, found.version) == (OLD, 7, 1)
        assert await notes.saying("word") == await notes.near(NORTH) == ["old"]
        assert (await notes.collection()).default_ttl is None
        assert await notes.history("old") == await notes.events() == []
        assert await notes.store.last_event() == await notes.store.forgotten() == 0
        assert not await notes.store.has_keys()
        assert await notes.store.job_counts() == {}
        await notes.reopen()
    assert (await notes.change("old", content="new")).version == 2
    (event,) = await notes.history("old")  # nothing is known of how it came
    assert event.before is not None
    assert (event.action, event.before.content, event.before.version) == ("updated", "word", 1)
    assert (await notes.restore("old", 1)).version == 3
    assert (await notes.get_there("old")).content == "word"
    with pytest.raises(NotFound):
        await notes.restore("old", 9)
    await notes.store.close()
    new = f"sqlite:///{tmp_path}/new.db"
    await (await open_store(new, readers=1)).close()
    assert columns_and_indices(path) == columns_and_indices(tmp_path / "new.db")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_keys_are_made_in_an_older_file(tmp_path: Path, version: int) -> None:
    path = made(tmp_path / "memory.db", version)
    with open_keys(f"sqlite:///{path}") as keys:
        assert keys.listed(None) == []
    assert columns_and_indices(path)[-1] == schema.VERSION


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from agentmem_server.storage.sqlite import schema

def run(path, statements):
    connection = schema.connect(path)
    left = statements
    def trace(cursor, sql, bindings):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return True
    connection.exec_trace = trace
    schema.prepare(connection, path)
    connection.close()

old, status, n = Path(sys.argv[1]), signal.SIGKILL, 0
while status == signal.SIGKILL:
    path = old.with_name(f"{n}.db")
    shutil.copyfile(old, path)
    if not (child := os.fork()):
        run(path, n)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    n += 1
print(n, status)
"""
"""Prepares copies of a file, each of them in a process that is killed one statement later."""


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_file_survives_a_kill_at_any_step(
    tmp_path: Path, new_notes: "type[Notes]", version: int
) -> None:
    old = made(tmp_path / "old.db", version)
    command = [sys.executable, "-c", KILLED, str(old)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    number, status = map(int, done.stdout.split())
    assert status == 0
    assert number > 5
    for n in range(number):
        path = tmp_path / f"{n}.db"
        assert columns_and_indices(path)[-1] == (schema.VERSION if n == number - 1 else version)
        url = f"sqlite:///{path}"
        notes = new_notes(url, await open_store(url, readers=1))
        assert await notes.get_there("old") == OLD
        assert (await notes.change("old", content="new")).version == 2
        await notes.store.close()


def test_every_setting_of_a_connection_is_in_force(tmp_path: Path) -> None:
    set_ = {
        "synchronous": 2,
        "busy_timeout": schema.BUSY_TIMEOUT,
        "temp_store": 2,
        "secure_delete": 1,
    }
    writing = schema.connect(tmp_path / "memory.db")
    schema.prepare(writing, tmp_path / "memory.db")
    reading = schema.connect(tmp_path / "memory.db", readonly=True)
    for connection, cache_size in ((writing, -65_536), (reading, -16_384)):
        in_force = {**set_, "cache_size": cache_size}
        assert {name: connection.pragma(name) for name in in_force} == in_force
        connection.close()
