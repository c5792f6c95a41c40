"""The SQLite file: how it is opened, and the tables in it."""

from pathlib import Path
from typing import cast

import apsw
from agentmem_client.errors import Unavailable
from filelock import FileLock

APPLICATION_ID = 0x41474D4D  # "AGMM": tells our files from other SQLite files
VERSION = 4

# Until 3.51.3 a WAL reset could lose committed writes (SQLite's release notes of that version).
_SAFE_SQLITE = (3, 51, 3)

PAGE_SIZE = 8_192
"""Bytes of a new file's pages. Five vectors of 384 numbers fit into one, where two fit into 4 kB: a
file is an eighth smaller, and a batch is written in fewer pieces. Older files keep theirs."""

WAL_SIZE = 64 << 20
"""Bytes of the WAL from which on a commit takes it over into the file. What several commits wrote
to the same page is taken over once: among a million memories a batch touches more pages for its
users and sessions than its rows fill. Who starts after a server was killed reads all of it, 15 ms.
"""

BUSY_TIMEOUT = 5_000
"""Milliseconds that a connection waits for another process's."""

# No mmap_size: after each commit a connection that reads gives up its mapping, and faults in anew
# all that it needs. A search beside writes took half as long again; without writes, a tenth less.
_PRAGMAS = f"""
PRAGMA synchronous=FULL;
PRAGMA busy_timeout={BUSY_TIMEOUT};
PRAGMA cache_size=-65536;
PRAGMA temp_store=MEMORY;
PRAGMA secure_delete=ON;
"""

_READER_CACHE = -16_384
"""Of a connection that reads, in KiB and negative; the writer's is four times that. There are
several of these, and the operating system has the pages too: searches of a million memories, scoped
ones and by words, are as quick as with 64 MB each."""

_LATER_TABLES = """
-- What happened to each memory, one after the other. A memory that changes its scope is deleted in
-- one and added in the other, so that an event has one scope. An `erased` one is of a user alone.
CREATE TABLE event (
    eid INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    cid INTEGER,
    collection TEXT,
    id TEXT,
    version INTEGER,
    action TEXT NOT NULL,
    at INTEGER NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    session_id TEXT,
    namespace TEXT,
    idempotency_key TEXT
) STRICT;
CREATE INDEX event_by_memory ON event (cid, id);
CREATE INDEX event_by_tenant ON event (tenant);

-- What a memory was before an event, its id and scope being the event's, its version one less.
-- `vectors` are those that the event replaced; NULL where they stayed: then they are those of the
-- next image with the same `rid` that has some, or in the table `vector`, where those of a deleted
-- memory stay for as long as its last image needs them.
CREATE TABLE image (
    eid INTEGER PRIMARY KEY,
    rid INTEGER NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    type TEXT,
    importance REAL,
    event_at INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    payload TEXT,
    ttl INTEGER,
    archived INTEGER NOT NULL,
    index_texts TEXT,
    vectors BLOB
) STRICT;
CREATE INDEX image_by_rid ON image (rid);
CREATE INDEX image_by_expiry ON image (expires_at) WHERE expires_at IS NOT NULL;

-- The last event that is no longer kept: one row.
CREATE TABLE forgotten (eid INTEGER NOT NULL) STRICT;
INSERT INTO forgotten VALUES (0);

-- Collections whose keyword index still has words of what was erased; see `keyword_index.purge`.
CREATE TABLE worded (cid INTEGER PRIMARY KEY) STRICT;

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    user_id TEXT,
    rate_limit REAL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_key_by_tenant ON api_key (tenant);
"""
"""What came with version 3."""

_SOURCES = """
-- A JSON array of [message ids, content, at]: see `records.Source`.
ALTER TABLE memory ADD COLUMN sources TEXT;
ALTER TABLE image ADD COLUMN sources TEXT;
"""
"""What came with version 4."""

_JOB_TABLES = """
-- See job_rows.py. AUTOINCREMENT: who is late with an attempt must not meet another job.
CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    collection TEXT NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    session_id TEXT,
    namespace TEXT,
    caller TEXT,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    due_at INTEGER,
    error BLOB,
    result BLOB,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX job_by_tenant ON job (tenant);
CREATE INDEX job_by_tenant_status ON job (tenant, status);
CREATE INDEX job_by_status ON job (status);
CREATE INDEX job_by_due ON job (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX job_by_end ON job (updated_at) WHERE due_at IS NULL;
CREATE INDEX job_by_user ON job (tenant, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX job_by_caller ON job (tenant, caller) WHERE caller IS NOT NULL;

-- Apart: a row is written anew with each change, and a request may have megabytes.
CREATE TABLE job_request (
    seq INTEGER PRIMARY KEY,
    request BLOB NOT NULL
) STRICT;
"""
"""Likewise."""

_TOKENS = """
-- The signs of the token vectors of a memory's texts: see `embedding.signs`. Derived, for what is
-- found by its vectors; a memory may lack them.
CREATE TABLE token (
    rid INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
"""
"""Likewise."""

_TABLES = (
    """
-- AUTOINCREMENT: a key is never used twice, so that what was derived from a deleted row or
-- collection can't be mistaken for a new one's. A memory belongs to its collection, and that to
-- one tenant: whoever can't name the tenant's collection has no way to a row.
CREATE TABLE collection (
    cid INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    embedder TEXT NOT NULL,
    model TEXT,
    dimension INTEGER NOT NULL,
    metric TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    default_ttl INTEGER,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE memory (
    rid INTEGER PRIMARY KEY AUTOINCREMENT,
    cid INTEGER NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    session_id TEXT,
    type TEXT,
    importance REAL,
    event_at INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    payload TEXT,
    namespace TEXT,
    ttl INTEGER,
    archived INTEGER NOT NULL DEFAULT 0,
    index_texts TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    UNIQUE (cid, id)
) STRICT;
CREATE INDEX memory_by_seq ON memory (cid);
CREATE INDEX memory_by_created ON memory (cid, created_at);
CREATE INDEX memory_by_updated ON memory (cid, updated_at);
CREATE INDEX memory_by_user ON memory (cid, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX memory_by_agent ON memory (cid, agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX memory_by_session ON memory (cid, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (cid, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memory_by_namespace ON memory (cid, namespace) WHERE namespace IS NOT NULL;

-- A record's vectors, one after the other; perhaps of one that is deleted (see the table `image`).
CREATE TABLE vector (
    rid INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

-- See tags.py. The key holds all that a look-up needs, so the index is the table.
CREATE TABLE tag (
    cid INTEGER NOT NULL,
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,
    value ANY NOT NULL,
    rid INTEGER NOT NULL,
    full TEXT NOT NULL,
    PRIMARY KEY (cid, path, kind, value, rid, full)
) STRICT, WITHOUT ROWID;
"""
    + _LATER_TABLES
    + _SOURCES
    + _JOB_TABLES
    + _TOKENS
)

_MIGRATIONS = {
    1: """
ALTER TABLE memory ADD COLUMN payload TEXT;
ALTER TABLE memory ADD COLUMN namespace TEXT;
ALTER TABLE memory ADD COLUMN ttl INTEGER;
ALTER TABLE memory ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE memory ADD COLUMN index_texts TEXT;
CREATE INDEX memory_by_namespace ON memory (cid, namespace) WHERE namespace IS NOT NULL;
""",
    2: """
ALTER TABLE collection ADD COLUMN default_ttl INTEGER;
ALTER TABLE memory ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
"""
    + _LATER_TABLES,
    3: _SOURCES + _JOB_TABLES + _TOKENS,
}
"""What makes a file of one version a file of the next."""


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    """A connection with the settings that every one of ours has."""
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if readonly
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
    connection.execute(
        _PRAGMAS
    ).fetchall()  # to the end: a pragma that answers stops before the next
    # Plans by the statement alone: those that a partial index might serve would be planned anew for
    # each value, which took a quarter of a write's time.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if readonly:
        connection.execute(f"PRAGMA cache_size={_READER_CACHE}")
    else:
        _size_wal(connection)
    connection.create_scalar_function("agentmem_lower", _lower, 1, deterministic=True)
    return connection


def _size_wal(connection: apsw.Connection) -> None:
    connection.wal_autocheckpoint(WAL_SIZE // cast("int", connection.pragma("page_size")))
    # What a large transaction, or a long read, has made of its file is given back.
    connection.pragma("journal_size_limit", 2 * WAL_SIZE)


def server_lock(path: Path) -> FileLock:
    """What the one server that has a file open holds; any thread may let go of it."""
    return FileLock(f"{path}.lock", thread_local=False)


def _lower(*arguments: "apsw.SQLiteValue") -> str:
    # SQLite's own lower() knows ASCII only.
    return str(arguments[0]).lower()


def check_sqlite(version: str) -> None:
    """Refuse a SQLite that can lose committed writes.

    Raises:
        Unavailable: for a version before 3.51.3.
    """
    if tuple(int(part) for part in version.split(".")) < _SAFE_SQLITE:
        raise Unavailable(
            f"SQLite {version} can lose committed writes when its WAL is reset: "
            "upgrade apsw, which brings its own SQLite, to 3.51.3 or later"
        )


def is_current(connection: apsw.Connection) -> bool:
    """Whether the file is ours and needs nothing done to it."""
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    return (application, version) == (APPLICATION_ID, VERSION)


def prepare(connection: apsw.Connection, path: Path) -> None:
    """Make the tables in a new file, bring an older one up to date, refuse any other.

    Raises:
        Unavailable: with what the file is.
    """
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if empty and application == 0:
        connection.pragma("page_size", PAGE_SIZE)
        _size_wal(connection)
        connection.pragma("journal_mode", "wal")  # kept in the file
        with connection:
            connection.execute(_TABLES)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", VERSION)
        return
    if application != APPLICATION_ID:
        raise Unavailable(f"{path} is a SQLite file of another program: name another file")
    if version > VERSION:
        raise Unavailable(
            f"{path} was written by a newer AgentMem (schema {version}, this one knows {VERSION}): "
            "upgrade agentmem-server"
        )
    connection.pragma("journal_mode", "wal")  # what VACUUM INTO copied has lost it
    with connection:  # one transaction: a file is of one version or of another
        for step in range(version, VERSION):
            connection.execute(_MIGRATIONS[step])
            connection.pragma("user_version", step + 1)
