"""The tables of a PostgreSQL schema, made and brought up to date by whoever comes first."""

from collections.abc import Mapping

from agentmem_client.errors import Unavailable

from .connections import Connection

VERSION = 2

# pgvector's release notes: before it, an insert into an HNSW index beside a VACUUM could break it.
_SAFE_PGVECTOR = (0, 8, 4)

_TABLES = """
-- One row. Whoever writes locks it first, on whatever server, so that commits come one after the
-- other, and takes its numbers from it: each counts up, and none is given twice.
CREATE TABLE clock (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    cid bigint NOT NULL DEFAULT 0,
    rid bigint NOT NULL DEFAULT 0,
    eid bigint NOT NULL DEFAULT 0,
    commits bigint NOT NULL DEFAULT 0,
    -- The last event that is no longer kept.
    forgotten bigint NOT NULL DEFAULT 0
);
INSERT INTO clock DEFAULT VALUES;

CREATE TABLE collection (
    cid bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    embedder text NOT NULL,
    model text,
    dimension integer NOT NULL,
    metric text NOT NULL,
    created_at bigint NOT NULL,
    default_ttl bigint,
    -- The last commit that wrote to it.
    version bigint NOT NULL,
    -- What BM25 asks of the table `keyword`: how many rows, and their words together.
    documents bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0,
    -- Whether its vectors have an index of their own (see hnsw.py).
    is_indexed boolean NOT NULL DEFAULT false,
    -- As UNIQUE, but for names that together are longer than a row of a B-tree.
    CONSTRAINT collection_by_name EXCLUDE USING hash ((ARRAY[tenant, name]) WITH =)
) WITH (fillfactor = 50);
CREATE INDEX collection_by_tenant ON collection (tenant);

CREATE TABLE memory (
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    content text COLLATE "C" NOT NULL,
    metadata text NOT NULL,
    user_id text COLLATE "C",
    agent_id text COLLATE "C",
    session_id text COLLATE "C",
    type text COLLATE "C",
    importance double precision,
    event_at bigint,
    expires_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    payload text,
    namespace text COLLATE "C",
    ttl bigint,
    archived boolean NOT NULL,
    index_texts text,
    version bigint NOT NULL,
    PRIMARY KEY (cid, rid),
    UNIQUE (cid, id)
)/*memory*/;
CREATE INDEX memory_by_created ON memory (cid, created_at, rid);
CREATE INDEX memory_by_updated ON memory (cid, updated_at, rid);
CREATE INDEX memory_by_user ON memory (cid, user_id, rid) WHERE user_id IS NOT NULL;
CREATE INDEX memory_by_agent ON memory (cid, agent_id, rid) WHERE agent_id IS NOT NULL;
CREATE INDEX memory_by_session ON memory (cid, session_id, rid) WHERE session_id IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (cid, expires_at) WHERE expires_at IS NOT NULL;
-- A whole namespace may be longer than a row of an index.
CREATE INDEX memory_by_namespace ON memory (cid, left(namespace, 128)) WHERE namespace IS NOT NULL;

-- A record's vectors, numbered from 0; perhaps of one that is deleted (see the table `image`).
-- (A table `vector` would hide the type of that name.)
-- `data` is what searches compare: of the metric cosine, scaled to length 1. `given` is the vector
-- as it was given, little-endian float32, where that is not `data` bit by bit.
CREATE TABLE embedding (
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    place integer NOT NULL,
    data vector NOT NULL,
    given bytea,
    PRIMARY KEY (cid, rid, place)
)/*embedding*/;

-- See tags.py: `path` is `tags.short_path`, `value` is `tags.as_text`.
CREATE TABLE tag (
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    path text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    value text COLLATE "C" NOT NULL,
    "full" text COLLATE "C" NOT NULL
)/*tag*/;
CREATE INDEX tag_by_value ON tag (cid, path, kind, value, rid);
CREATE INDEX tag_by_rid ON tag (cid, rid);

-- The keyword text of each memory that is found by words: how often each of its terms comes, and
-- how many words and scopes there are together. A term stands after its collection's key and a
-- blank, so that the index keeps collections apart. JSON, for a count is found by bisection: of
-- 1,000 memories in a scope, 3.7 ms by JSON and 6.2 by an array of terms beside one of counts; and
-- as it is, for unpacking takes longer than reading.
CREATE TABLE keyword (
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    counts jsonb NOT NULL,
    length integer NOT NULL,
    PRIMARY KEY (cid, rid)
)/*keyword*/;
-- Searches read all that is pending in it: 42 ms with the 4 MB of the default, where 9 will do.
CREATE INDEX keyword_by_term ON keyword USING gin (counts) WITH (gin_pending_list_limit = 512);

-- How many rows of `keyword` have a term.
CREATE TABLE term (
    cid bigint NOT NULL,
    term text COLLATE "C" NOT NULL,
    documents bigint NOT NULL,
    PRIMARY KEY (cid, term)
)/*term*/;

-- What happened to each memory, one after the other. A memory that changes its scope is deleted in
-- one and added in the other, so that an event has one scope. An `erased` one is of a user alone.
CREATE TABLE event (
    eid bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    cid bigint,
    collection text COLLATE "C",
    id text COLLATE "C",
    version bigint,
    action text NOT NULL,
    at bigint NOT NULL,
    user_id text COLLATE "C",
    agent_id text COLLATE "C",
    session_id text COLLATE "C",
    namespace text COLLATE "C",
    idempotency_key text
);
CREATE INDEX event_by_memory ON event (cid, id, eid);
CREATE INDEX event_by_tenant ON event (tenant, eid);
CREATE INDEX event_by_erasure ON event (eid) WHERE action = 'erased';

-- What a memory was before an event, its id and scope being the event's, its version one less.
-- `vectors` are those that the event replaced, one after the other as they were given; NULL where
-- they stayed: then they are those of the next image with the same `rid` that has some, or in the
-- table `embedding`, where those of a deleted memory stay for as long as its last image needs them.
CREATE TABLE image (
    eid bigint PRIMARY KEY,
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    content text COLLATE "C" NOT NULL,
    metadata text NOT NULL,
    type text COLLATE "C",
    importance double precision,
    event_at bigint,
    expires_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    payload text,
    ttl bigint,
    archived boolean NOT NULL,
    index_texts text,
    vectors bytea
);
CREATE INDEX image_by_rid ON image (rid, eid);
CREATE INDEX image_by_expiry ON image (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE api_key (
    id text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL,
    user_id text COLLATE "C",
    rate_limit double precision,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);
CREATE INDEX api_key_by_tenant ON api_key (tenant);

-- One row where `agentmem migrate` fills the tables, or has filled them.
CREATE TABLE migration (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    -- A digest of what the source was when it began.
    source text NOT NULL,
    -- The only commit there is until it is finished; a later one is a server's.
    commits bigint NOT NULL,
    -- The row ids of the source up to which memories, and vectors of deleted ones, are there; and
    -- the id up to which events are.
    memory bigint NOT NULL DEFAULT 0,
    vector bigint NOT NULL DEFAULT 0,
    event bigint NOT NULL DEFAULT 0,
    started_at bigint NOT NULL,
    finished_at bigint
);
"""

_GROWING = {
    "memory": "",
    "embedding": " WITH (toast_tuple_target = 8160)",
    "tag": "",
    "keyword": " WITH (toast_tuple_target = 8160)",
    "term": " WITH (fillfactor = 70)",
    "token": " WITH (toast_tuple_target = 8160)",
}
"""The tables that may be made in parts, by their collections, and how each part is stored."""

_SOURCES = """
-- A JSON array of [message ids, content, at]: see `records.Source`.
ALTER TABLE memory ADD COLUMN sources text;
ALTER TABLE image ADD COLUMN sources text;
"""
"""What came with version 2."""

_JOB_TABLES = """
-- See job_rows.py. `seq` grows with each commit, for who writes has the clock's row.
CREATE TABLE job (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    collection text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    agent_id text COLLATE "C",
    session_id text COLLATE "C",
    namespace text COLLATE "C",
    caller text COLLATE "C",
    status text NOT NULL,
    attempts bigint NOT NULL,
    max_attempts bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    due_at bigint,
    error bytea,
    result bytea,
    request bytea,
    -- As UNIQUE, but for names that together are longer than a row of a B-tree.
    CONSTRAINT job_by_id EXCLUDE USING hash ((ARRAY[tenant, id]) WITH =)
);
CREATE INDEX job_by_tenant ON job (tenant, seq);
CREATE INDEX job_by_tenant_status ON job (tenant, status, seq);
CREATE INDEX job_by_status ON job (status);
CREATE INDEX job_by_due ON job (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX job_by_end ON job (updated_at) WHERE due_at IS NULL;
CREATE INDEX job_by_user ON job (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX job_by_caller ON job (caller) WHERE caller IS NOT NULL;
"""
"""Likewise."""

_TOKENS = """
-- The signs of the token vectors of a memory's texts: see `embedding.signs`. Derived, for what is
-- found by its vectors; a memory may lack them.
CREATE TABLE token (
    cid bigint NOT NULL,
    rid bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (cid, rid)
)/*token*/;
"""
"""Likewise."""

_MIGRATIONS: Mapping[int, str] = {1: _SOURCES + _JOB_TABLES + _TOKENS}
"""What makes tables of one version tables of the next."""


async def prepare(connection: Connection, schema: str, partitions: int = 0) -> None:
    """Make the tables in a new schema, bring older ones up to date, refuse any other.

    One server at a time does it, in one transaction; all others wait for it. New tables that grow
    are made in so many partitions, if any.

    Raises:
        Unavailable: with what is missing, or what the schema is; or a migration into it is not
            finished.
    """
    await prepare_tables(connection, schema, partitions)
    await check_whole(connection, schema)


async def check_whole(connection: Connection, schema: str) -> None:
    """Refuse tables that a migration has yet to fill.

    Raises:
        Unavailable: it is not finished.
    """
    if await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM {quoted(schema)}.migration WHERE finished_at IS NULL)"
    ):
        raise Unavailable(
            f"the migration into the schema {schema!r} is not finished: run the same `agentmem "
            "migrate` again, which goes on where it was"
        )


async def prepare_tables(connection: Connection, schema: str, partitions: int = 0) -> None:
    """As `prepare`, be a migration finished or not."""
    if await version(connection, schema) == VERSION:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", schema)
        found = await version(connection, schema)
        if found is None:
            await _make(connection, schema, partitions)
            return
        if found > VERSION:
            raise Unavailable(
                f"the schema {schema!r} was written by a newer AgentMem (version {found}, this one "
                f"knows {VERSION}): upgrade agentmem-server"
            )
        for step in range(found, VERSION):
            await connection.execute(_MIGRATIONS[step].replace("/*token*/", _GROWING["token"]))
        await connection.execute("UPDATE schema_version SET version = $1", VERSION)


async def version(connection: Connection, schema: str) -> int | None:
    """Of which version the tables are; None where there are none.

    Raises:
        Unavailable: the tables in the schema are not ours.
    """
    name = f"{quoted(schema)}.schema_version"
    # In one statement: between two of them another server may make the tables.
    seen = await connection.fetchrow(
        "SELECT to_regclass($1) IS NOT NULL, EXISTS (SELECT FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = $2 AND c.relkind IN ('r', 'p'))",
        name,
        schema,
    )
    assert seen is not None
    is_ours, has_tables = seen
    if is_ours:
        found: int | None = await connection.fetchval(f"SELECT version FROM {name}")
        return found
    if has_tables:
        raise Unavailable(
            f"the schema {schema!r} has tables of another program: name another with ?schema="
        )
    return None


async def check_extension(connection: Connection, *, make: bool) -> str:
    """The schema that pgvector is in; it is made where it can be and ``make`` says so.

    Raises:
        Unavailable: there is none, or one that is too old; the message says what to do.
    """
    found = await connection.fetchrow(
        "SELECT extversion, nspname FROM pg_extension e JOIN pg_namespace n "
        "ON n.oid = e.extnamespace WHERE extname = 'vector'"
    )
    if found is None:
        available = await connection.fetchval(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        )
        if available is None or not make:
            raise Unavailable(
                "this PostgreSQL has no pgvector: install it, 0.8.4 or later, and run "
                "CREATE EXTENSION vector"
            )
        check_pgvector(available)
        async with connection.transaction():  # two who make it at once would fail
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('vector', 0))")
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        return "public"
    check_pgvector(found["extversion"])
    schema: str = found["nspname"]
    return schema


def check_pgvector(version: str) -> None:
    """Refuse a pgvector whose indexes can break.

    Raises:
        Unavailable: for a version before 0.8.4.
    """
    if tuple(int(part) for part in version.split(".")) < _SAFE_PGVECTOR:
        raise Unavailable(
            f"pgvector {version} can break an HNSW index that is written to beside a VACUUM: "
            "install 0.8.4 or later, and run ALTER EXTENSION vector UPDATE"
        )


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def tables(partitions: int) -> str:
    """The statements that make the tables."""
    text, parts = _TABLES + "".join(_MIGRATIONS.values()), ""
    for name, storage in _GROWING.items():
        made = " PARTITION BY HASH (cid)" if partitions else storage
        text = text.replace(f"/*{name}*/", made)
        for number in range(partitions):
            parts += (
                f"CREATE TABLE {name}_{number} PARTITION OF {name} "
                f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number}){storage};\n"
            )
    return text + parts


async def _make(connection: Connection, schema: str, partitions: int) -> None:
    # IF NOT EXISTS asks for the right to make schemas even where there is this one.
    if await connection.fetchval("SELECT to_regnamespace($1)", quoted(schema)) is None:
        await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
    await connection.execute(tables(partitions))
    await connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
    await connection.execute("INSERT INTO schema_version VALUES ($1)", VERSION)
