"""``agentmem migrate`` as people run it: killed, interrupted, refused, on what has changed."""

import asyncio
import contextlib
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
import time
import tracemalloc
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import asyncpg
import numpy as np
import pytest
from agentmem_client.errors import APIError, Conflict, Unavailable
from agentmem_server import times
from agentmem_server.cli import main
from agentmem_server.storage import (
    ClaimJobs,
    Delete,
    DeleteJob,
    Embedding,
    FinishJob,
    Job,
    Put,
    PutCollection,
    PutJob,
    PutKey,
    Record,
    Scope,
    Selection,
    Update,
    Write,
    open_keys,
    open_snapshot,
    open_store,
)
from agentmem_server.storage.keys import ApiKey
from agentmem_server.storage.postgres.connections import Address
from agentmem_server.transfer.migration import moving, target
from agentmem_server.transfer.migration.chunks import chunks
from agentmem_server.transfer.migration.source import open_source
from agentmem_server.transfer.migration.target import open_target

if TYPE_CHECKING:
    from tests.conftest import Postgres, Server

SECONDS = 60
EMBEDDING = Embedding("client", None, 8, "cosine")
TENANT, NOTES = "tenant", "notes"
DAY = 86_400_000_000
TABLES = (
    *("clock", "collection", "memory", "embedding", "tag", "keyword", "term", "event", "image"),
    *("api_key", "job", "job_seq_seq", "migration"),
)
OWN = {"identity", "started_at", "finished_at"}
"""Columns that are each migration's own."""

WRONG_COUNTS = """
SELECT * FROM collection c, LATERAL (
    SELECT count(*) AS documents, coalesce(sum(length), 0) AS words FROM keyword WHERE cid = c.cid
) AS k WHERE (c.documents, c.words) <> (k.documents, k.words) OR c.documents = 0
"""
"""Collections whose index of words is not what BM25 is told."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("AGENTMEM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def record(number: int, **fields: Any) -> Record:
    vector = np.random.default_rng(number).standard_normal(8).astype("<f4")
    now = 1_700_000_000_000_000 + number
    scope = (f"u{number % 7}", None, f"s{number % 11}")
    text = f"memory {number} of the {number % 13}th kind"
    made = Record(f"m{number}", text, {"n": number}, *scope, None, None, None, None, now, now)
    made.vectors = vector.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def key(id: str) -> ApiKey:
    return ApiKey(id, b"\1" * 32, TENANT, "a key", frozenset(["read"]), None, 2.5, 1)


def job(id: str) -> Job:
    scope = Scope("u1", namespace=("a", "b"))
    return Job(id, TENANT, "extract", NOTES, scope, "u1", "queued", b'{"id": 1}', 5, 5, 5, 6)


async def write(url: str, *writes: Write) -> None:
    store = await open_store(url)
    try:
        for outcome in await store.write(writes):
            if isinstance(outcome, APIError):
                raise outcome
    finally:
        await store.close()


def writes(count: int) -> Iterator[Write]:
    """Memories, of which some change and some go."""
    for start in range(0, count, 500):
        made = [record(number) for number in range(start, min(count, start + 500))]
        yield Put(TENANT, NOTES, EMBEDDING, made)
    for number in range(0, count, 3):
        changes = {"content": f"changed {number}"}
        vectors = record(number + 1).vectors if number % 2 else None
        embedding = None if vectors is None else EMBEDDING
        now = times.now()
        yield Update(TENANT, NOTES, f"m{number}", changes, now, embedding, vectors)
    yield Delete(TENANT, NOTES, Selection(ids=[f"m{number}" for number in range(0, count, 5)]))
    yield Put(TENANT, "other", EMBEDDING, [record(1), record(2, expires_at=times.now() + DAY)])
    yield PutKey(key("1"))
    for id in ("done", "running", "queued", "gone"):
        yield PutJob(job(id))
    yield ClaimJobs(7, times.now() + DAY, 2, b"{}")
    yield FinishJob(1, 1, 8, "done", result=b'{"id": "done", "status": "done"}')
    yield DeleteJob(TENANT, "gone")


def made(path: Path, count: int = 30) -> Path:
    """A file with so many memories and their past."""
    asyncio.run(write(f"sqlite:///{path}", *writes(count)))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "memories.db")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that takes a while: leave it as it is."""
    return made(tmp_path_factory.mktemp("large") / "memories.db", 4_000)


def arguments(path: Path, url: str, *more: str) -> list[str]:
    return ["migrate", "--from", f"sqlite:///{path}", "--to", url, *more]


def command(path: Path, url: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "agentmem_server.cli", *arguments(path, url, *more)]


def query(url: str, sql: str) -> list[Any]:
    """What a statement answers in a schema, or all statements do."""

    async def ask() -> list[Any]:
        address = Address.parse(url)
        settings = {"search_path": f'"{address.schema}", public'}
        connection = await asyncpg.connect(address.dsn, server_settings=settings)
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def content(url: str) -> dict[str, list[str]]:
    """All rows of all tables, but for what is each migration's own."""
    rows = {table: query(url, f"SELECT * FROM {table}") for table in TABLES}
    return {
        table: sorted(
            repr([(name, value) for name, value in row.items() if name not in OWN]) for row in found
        )
        for table, found in rows.items()
    }


def is_finished(url: str) -> bool:
    ((finished_at,),) = query(url, "SELECT finished_at FROM migration")
    return finished_at is not None


def position(url: str) -> tuple[int, ...]:
    """How far a migration is; nowhere where there is none yet."""
    try:
        found = query(url, "SELECT memory, vector, event FROM migration")
    except asyncpg.UndefinedTableError:
        return ()
    return tuple(found[0]) if found else ()


def test_what_is_killed_goes_on_and_ends_as_what_is_not(large: Path, postgres: "Postgres") -> None:
    before = sha256(large.read_bytes()).digest()
    straight, killed = postgres.url(), postgres.url()
    assert main(arguments(large, straight)) == 0
    chance, kills = random.Random(5), 0
    while kills < 4:
        was = position(killed)
        process = subprocess.Popen(command(large, killed), stderr=subprocess.PIPE)
        try:
            while position(killed) == was and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.05)
        finally:
            process.kill()
            _, told = process.communicate()
        if process.returncode == 0:  # it was too quick
            break
        kills += 1
        assert process.returncode == -signal.SIGKILL, told
        with pytest.raises(Unavailable, match="is not finished: run the same `agentmem migrate`"):
            asyncio.run(open_store(killed))
    assert kills >= 2
    assert main(arguments(large, killed)) == 0
    assert is_finished(killed)
    assert content(killed) == content(straight)
    assert query(killed, WRONG_COUNTS) == []
    assert sha256(large.read_bytes()).digest() == before


def test_what_is_interrupted_says_so(large: Path, postgres: "Postgres") -> None:
    url = postgres.url()
    # What is started in the background ignores this signal, and so does what it starts.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from agentmem_server.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    given = [sys.executable, "-c", script, *arguments(large, url)]
    process = subprocess.Popen(given, stderr=subprocess.PIPE)

    async def interrupt() -> bytes:
        """In the middle: nobody goes on who can't lock the clock."""
        address = Address.parse(url)
        settings = {"search_path": f'"{address.schema}", public'}
        connection = await asyncpg.connect(address.dsn, server_settings=settings)
        try:
            async with connection.transaction():
                await connection.fetchrow("SELECT FROM clock FOR UPDATE")
                assert await connection.fetchval("SELECT finished_at IS NULL FROM migration")
                process.send_signal(signal.SIGINT)
                _, told = await asyncio.to_thread(process.communicate, timeout=SECONDS)
                return told
        finally:
            await connection.close()

    try:
        deadline = time.monotonic() + SECONDS
        while not any(position(url)) and time.monotonic() < deadline:
            time.sleep(0.02)
        told = asyncio.run(interrupt())
    finally:
        process.kill()
        process.wait()
    assert told == (
        b"agentmem: interrupted: what was moved stays, and the same command goes on there\n"
    )
    assert process.returncode == 130
    assert any(position(url))
    assert not is_finished(url)


def test_what_is_finished_is_compared_again(
    path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0
    receipt, told = capfd.readouterr()
    assert told == ""
    assert f"{path} and postgresql:///postgres?schema={Address.parse(url).schema} hold" in receipt
    for line in (
        "2 collections",
        "26 memories",
        "6 vectors of deleted memories",
        "1 API keys",
        "3 jobs",
    ):
        assert f" {line}\n" in receipt
    before = content(url)
    assert main(arguments(path, url)) == 0
    again, told = capfd.readouterr()
    assert again == receipt
    assert "agentmem: this was finished on 20" in told
    assert content(url) == before
    assert main(arguments(path, url, "--quiet")) == 0
    assert capfd.readouterr() == ("", "")
    asyncio.run(write(url, Put(TENANT, "other", EMBEDDING, [record(3)])))
    assert main(arguments(path, url)) == 0
    receipt, told = capfd.readouterr()
    assert receipt == ""
    assert "a server has written to the database since" in told


def test_jobs_go_on_where_they_are_moved_to(path: Path, postgres: "Postgres") -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0

    async def go_on() -> None:
        store = await open_store(url)
        try:
            later = times.now() + 2 * DAY
            claimed, kept = await store.write(
                [ClaimJobs(later, later + DAY, 10, b"{}"), PutJob(job("new"))]
            )
            jobs: Any = claimed
            assert [(one.id, one.attempts, one.request) for one in jobs] == [
                ("queued", 1, b'{"id": 1}'),
                ("running", 2, b'{"id": 1}'),
            ]
            new: Any = kept
            assert new.seq == 5  # that of the one that is gone is not given again
            done = await store.job(TENANT, "done")
            assert done is not None
            assert (done.status, done.seq, done.scope) == ("done", 1, job("done").scope)
        finally:
            await store.close()

    asyncio.run(go_on())


def test_a_job_that_changed_makes_it_another_file(path: Path, postgres: "Postgres") -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0
    asyncio.run(write(f"sqlite:///{path}", DeleteJob(TENANT, "queued")))
    assert main(arguments(path, url)) == 1


def test_an_empty_file(tmp_path: Path, postgres: "Postgres") -> None:
    path, url = tmp_path / "memories.db", postgres.url()
    asyncio.run(write(f"sqlite:///{path}"))
    assert main(arguments(path, url)) == 0
    asyncio.run(write(url, Put(TENANT, NOTES, EMBEDDING, [record(1)])))


def test_into_partitions(path: Path, postgres: "Postgres") -> None:
    plain, parted = postgres.url(), f"{postgres.url()}&partitions=3"
    for url in (plain, parted, parted):
        assert main(arguments(path, url)) == 0
    assert content(parted) == content(plain)
    ((kind,),) = query(parted, "SELECT relkind FROM pg_class WHERE oid = 'memory'::regclass")
    assert kind == b"p"


DAMAGE = {
    "a text": "UPDATE memory SET content = content || ' ' WHERE id = 'm1' AND cid = 1",
    "a time": "UPDATE memory SET updated_at = updated_at + 1 WHERE id = 'm1' AND cid = 1",
    "an archived one": "UPDATE memory SET archived = true WHERE id = 'm1' AND cid = 1",
    "a lost memory": "DELETE FROM memory WHERE id = 'm1' AND cid = 1",
    "a given vector": "UPDATE embedding SET given = set_byte(given, 5, 7) WHERE given IS NOT NULL",
    "a compared vector": "UPDATE embedding SET data = data + data WHERE given IS NOT NULL",
    "a lost vector": "DELETE FROM embedding WHERE rid = 2",
    "a deleted one's vector": (
        "DELETE FROM embedding e WHERE NOT EXISTS (SELECT FROM memory m WHERE m.rid = e.rid)"
    ),
    "an event": "UPDATE event SET idempotency_key = 'x' WHERE eid = 3",
    "a lost event": "DELETE FROM event WHERE eid = 3",
    "an earlier state": "UPDATE image SET metadata = '{}' WHERE eid = (SELECT max(eid) FROM image)",
    "its vectors": "UPDATE image SET vectors = '' WHERE vectors IS NOT NULL",
    "a tag": "DELETE FROM tag WHERE rid = 2",
    "settings": "UPDATE collection SET default_ttl = 5 WHERE cid = 1",
}
ELSEWHERE = {
    "a key": "UPDATE api_key SET revoked_at = 5",
    "a counter": "UPDATE clock SET eid = eid - 1",
    "what is forgotten": "UPDATE clock SET forgotten = 7",
    "a job": "UPDATE job SET attempts = attempts + 1 WHERE id = 'running'",
    "what a job is about": "UPDATE job SET request = '{}' WHERE id = 'queued'",
    "a lost job": "DELETE FROM job WHERE id = 'done'",
    "the number of jobs": "SELECT setval('job_seq_seq', 3)",
}


@pytest.mark.parametrize("damage", [*DAMAGE, *ELSEWHERE])
def test_what_is_not_the_same_is_found(
    damage: str, path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0
    query(url, {**DAMAGE, **ELSEWHERE}[damage])
    unfinished = "UPDATE migration SET finished_at = NULL"
    query(url, unfinished)
    before = content(url)
    capfd.readouterr()
    assert main(arguments(path, url)) == 1
    receipt, told = capfd.readouterr()
    assert receipt == ""
    where = "the collection 'notes' of the tenant 'tenant'" if damage in DAMAGE else "no collection"
    assert f"agentmem: in {where}: " in told
    assert "agentmem: the file and the database are not the same: begin anew" in told
    assert not is_finished(url)
    assert content(url) == before


async def test_a_finished_one_that_is_not_the_same_stays_finished(
    path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert await asyncio.to_thread(main, arguments(path, url)) == 0
    await asyncio.to_thread(query, url, DAMAGE["a text"])
    assert await asyncio.to_thread(main, arguments(path, url)) == 1
    assert "memories: 24 on both sides, but not the same" in capfd.readouterr().err
    await (await open_store(url)).close()


def refused(path: Path, url: str, capfd: pytest.CaptureFixture[str], status: int = 1) -> str:
    """What is said where it is refused."""
    capfd.readouterr()
    assert main(arguments(path, url)) == status
    receipt, told = capfd.readouterr()
    assert receipt == ""
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize(
    "write_one",
    [
        PutKey(key("1")),
        PutCollection(TENANT, NOTES, EMBEDDING, 1, {}),
        Put(TENANT, NOTES, EMBEDDING, [record(1)]),
    ],
    ids=["a key", "a collection", "a memory"],
)
def test_a_schema_that_is_not_empty(
    write_one: Write, path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    asyncio.run(write(url, write_one))
    before = content(url)
    assert "holds memories, keys or jobs already: name a new one with ?schema=" in refused(
        path, url, capfd
    )
    assert content(url) == before


def test_a_schema_that_a_server_has_only_opened(path: Path, postgres: "Postgres") -> None:
    url = postgres.url()
    asyncio.run(write(url))
    assert main(arguments(path, url)) == 0


def test_a_schema_of_another_program(
    path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    query(postgres.url("public"), "CREATE SCHEMA theirs")
    query(postgres.url("theirs"), "CREATE TABLE theirs.something (n integer)")
    told = refused(path, postgres.url("theirs"), capfd)
    assert "the schema 'theirs' has tables of another program" in told


def test_an_unfinished_one_is_nobody_else_s(
    path: Path, tmp_path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0
    other = made(tmp_path / "other.db", 31)
    assert "was filled from another file, or from this one before" in refused(other, url, capfd)
    query(url, "UPDATE migration SET finished_at = NULL")
    assert "unfinished migration of another file" in refused(other, url, capfd)
    opened: list[Callable[[], object]] = [
        lambda: asyncio.run(open_store(url)),
        lambda: open_keys(url),
        lambda: open_snapshot(url).__enter__(),
    ]
    for opening in opened:
        with pytest.raises(Unavailable, match="is not finished"):
            opening()
    assert main(arguments(path, url)) == 0
    asyncio.run(write(url))


CHANGES: dict[str, str] = {
    "a memory": "",
    "a key": "UPDATE api_key SET revoked_at = 7",
    "an expiry": "UPDATE memory SET expires_at = expires_at + 1 WHERE expires_at IS NOT NULL",
    "settings": "UPDATE collection SET default_ttl = 7",
    "the history": "UPDATE forgotten SET eid = 1",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_has_changed_meanwhile(
    change: str, path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert main(arguments(path, url)) == 0
    query(url, "UPDATE migration SET finished_at = NULL")
    if CHANGES[change]:
        connection = apsw.Connection(str(path))
        connection.execute(CHANGES[change]).fetchall()
        connection.close()
    else:
        update = Update(TENANT, NOTES, "m1", {"content": "x"}, times.now())
        asyncio.run(write(f"sqlite:///{path}", update))
    before = content(url)
    told = refused(path, url, capfd)
    schema = Address.parse(url).schema
    assert "or of this one before it changed" in told
    assert f'begin anew after DROP SCHEMA "{schema}" CASCADE' in told
    assert content(url) == before


async def test_a_server_that_writes_to_the_schema_meanwhile(
    path: Path, postgres: "Postgres"
) -> None:
    url = postgres.url()
    server = await open_store(url)  # while the schema is empty still
    with open_source(path) as source:
        async with open_target(Address.parse(url)) as opened:
            state = await opened.begin(source)
            first, *others = chunks(source, state.positions)
            await opened.add(first, state)
            await server.write([Put(TENANT, NOTES, EMBEDDING, [record(1)])])
            for step in (*(opened.add(other, state) for other in others), opened.finish(state)):
                with pytest.raises(Conflict, match="a server has written to the schema"):
                    await step
    await server.close()


async def test_two_at_once(postgres: "Postgres", monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.url()
    monkeypatch.setattr(target, "PATIENCE", "50ms")
    async with open_target(Address.parse(url)):
        with pytest.raises(Unavailable, match="another migration into the schema"):
            async with open_target(Address.parse(url)):
                pass


def test_a_server_on_the_file(
    running_server: "Server", postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(running_server.database, postgres.url(), capfd)
    assert f"an AgentMem server has {running_server.database} open: stop it first" in told


def test_files_that_are_none(
    tmp_path: Path, path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url()
    assert "there is no database" in refused(tmp_path / "none.db", url, capfd)
    (tmp_path / "notes").write_text("no database, but long enough to be taken for one" * 50)
    assert "not a database" in refused(tmp_path / "notes", url, capfd)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 2)
    connection.close()
    assert "older AgentMem (schema 2" in refused(path, url, capfd)
    assert query(url, f"SELECT to_regnamespace('{Address.parse(url).schema}')") == [(None,)]


def test_vectors_that_postgresql_can_not_hold(
    tmp_path: Path, postgres: "Postgres", capfd: pytest.CaptureFixture[str]
) -> None:
    path, url = tmp_path / "memories.db", postgres.url()
    long = PutCollection(TENANT, "long", Embedding("client", None, 16_001, "dot"), 1, {})
    asyncio.run(write(f"sqlite:///{path}", long))
    told = refused(path, url, capfd)
    assert "the collection 'long' of the tenant 'tenant' can't be moved: vectors have at" in told
    assert query(url, f"SELECT to_regnamespace('{Address.parse(url).schema}')") == [(None,)]


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("postgresql://u:secret@h/d", "postgresql://u:secret@h/d", "--from must be a file"),
        ("memories.db", "postgresql://u:secret@h/d", "--from must be a file"),
        ("sqlite:///memories.db", "sqlite:///secret.db", "--to must be a database"),
        ("sqlite:///memories.db", "postgresql://u:secret@[::1/d", "no database URL"),
        ("sqlite:///memories.db", "postgresql://u:secret@127.0.0.1:1/d", "could not be reached"),
        ("sqlite:///memories.db", "postgresql://u:secret@127.0.0.1:x/d", "can't be used"),
    ],
)
def test_urls_that_lead_nowhere(
    source: str, target: str, says: str, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert path.name == "memories.db"
    assert main(["migrate", "--from", source, "--to", target]) in (1, 2)
    told = capfd.readouterr().err
    assert says in told
    assert "secret" not in told
    assert told.count("\n") == 1


def test_a_terminal_shows_how_far_it_is(path: Path, postgres: "Postgres") -> None:
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    try:
        process = subprocess.Popen(
            command(path, postgres.url()), stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the last one has let go of the terminal
            while part := os.read(terminal, 65_536):
                shown += part
        assert process.wait(SECONDS) == 0, shown
    finally:
        os.close(terminal)
    rows = 26 + 6 + 48
    for doing, total in (("moving", rows), ("indexing", 2), ("comparing", 2 * rows)):
        assert re.search(rf"{doing}: 100%\|█+\| {total}/{total} ", shown.decode())


async def test_the_memory_it_needs_is_bounded(tmp_path: Path, postgres: "Postgres") -> None:
    """40 MB of memories, and as much of their past."""
    path = tmp_path / "memories.db"
    payload, count = "x" * 200_000, 200
    store = await open_store(f"sqlite:///{path}")
    for number in range(count):
        one = record(number, payload=payload)
        update = Update(TENANT, NOTES, one.id, {"type": "x"}, times.now())
        outcomes = await store.write([Put(TENANT, NOTES, EMBEDDING, [one]), update])
        assert not any(isinstance(outcome, APIError) for outcome in outcomes)
    await store.close()

    class Silence:
        def begin(self, doing: str, total: int, done: int) -> None:
            pass

        def advance(self, rows: int = 1) -> None:
            pass

    with open_source(path) as source:
        tracemalloc.start()
        try:
            await moving.migrate(source, Address.parse(postgres.url()), Silence())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 25_000_000
