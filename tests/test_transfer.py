"""``agentmem export`` and ``agentmem import`` on real files, beside real servers.

They run in a process of their own where that is what matters: its pipes, its signals, its end.
"""

import asyncio
import base64
import contextlib
import io
import json
import logging
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from unittest import mock

import apsw
import httpx
import numpy as np
import pytest
import structlog
from agentmem_client.errors import APIError
from agentmem_client.vectors import pack, to_base64, unpack
from agentmem_server.cli import main
from agentmem_server.cli import transfer as commands
from agentmem_server.storage import Job, PutJob, Scope, open_snapshot, open_store

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi, Server

API = "/api/v1/memories"
SECONDS = 60
DIMENSION = 8


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("AGENTMEM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command configures the logs for its process; here others' tests run after it."""
    configure, root = structlog.configure, logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(
        structlog,
        "configure",
        lambda **options: configure(**{**options, "cache_logger_on_first_use": False}),
    )
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def command(*arguments: str, database: str | Path | None = None) -> list[str]:
    place = [] if database is None else ["--database", f"sqlite:///{database}"]
    return [sys.executable, "-m", "agentmem_server.cli", *arguments, *place]


def run(
    *arguments: str, database: str | Path | None = None, input: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in this process."""
    given = command(*arguments, database=database)
    out, err = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
    with (
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(input))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main(given[given.index("agentmem_server.cli") + 1 :])
        out.flush()
        err.flush()
    told = (stream.buffer.getvalue() for stream in (out, err))
    return subprocess.CompletedProcess(given, status, *told)


def run_process(
    *arguments: str, database: str | Path | None = None, **options: Any
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a process of its own."""
    return subprocess.run(
        command(*arguments, database=database),
        stdout=subprocess.PIPE if "stdout" not in options else options.pop("stdout"),
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
        **options,
    )


def lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def memories(data: bytes) -> list[dict[str, Any]]:
    return [line["memory"] for line in lines(data) if "memory" in line]


def numbers(embedding: str) -> list[float]:
    return unpack(base64.b64decode(embedding))


def large_export(count: int) -> bytes:
    """An export of a collection whose vectors come from its callers."""
    header = {"agentmem_export": 1, "tenant": "t", "exported_at": "2026-01-01T00:00:00Z"}
    collection = {"name": "large", "embedder": "client", "dimension": DIMENSION, "metric": "dot"}
    made = [
        header | {"vectors": True, "server": "0"},
        {"collection": collection | {"created_at": "2026-01-01T00:00:00Z"}},
        *({"memory": large_memory(number)} for number in range(count)),
        {"end": {"collections": 1, "memories": count}},
    ]
    return b"".join(json.dumps(one).encode() + b"\n" for one in made)


def large_memory(number: int) -> dict[str, Any]:
    generator = np.random.default_rng(number)
    vector = generator.standard_normal(DIMENSION).astype(np.float32).tolist()
    return {
        "id": f"m{number}",
        "collection": "large",
        "content": f"memory {number} " + "word " * 20,
        "metadata": {"number": number, "tags": ["a", "b"]},
        "session_id": f"s{number % 7}",
        "created_at": f"2026-01-01T00:00:{number % 60:02}Z",
        "updated_at": "2026-01-02T00:00:00Z",
        "embedding": to_base64(pack(vector)),
    }


def test_from_a_running_server_to_another_and_its_search(make_server: "MakeServer") -> None:
    """With the built-in embedder: with vectors nothing is embedded, without them everything is."""
    server = make_server().start()
    texts = ["The cat is called Mia.", "Bread needs an hour.", "Oslo is cold in winter."]
    with httpx.Client(base_url=server.url) as client:
        for text in texts:
            made = {"content": text, "user_id": "ann", "metadata": {"n": 2**70, "f": 0.1}}
            assert client.post(API, json=made).status_code == 201
        with_vectors = run_process("export", "--vectors", database=server.database)
        without = run_process("export", database=server.database)
        assert with_vectors.returncode == without.returncode == 0, without.stderr
        assert b"agentmem: exported 3 memories of 1 collections\n" in without.stderr
        listed = client.get(API, params={"include_embeddings": "true"}).json()["memories"]
    exported = memories(with_vectors.stdout)
    vectors = [one.pop("embedding") for one in exported]
    assert vectors == [to_base64(pack(one.pop("embedding"))) for one in listed]
    for one in listed:
        del one["embeddings"]
    assert exported == listed == memories(without.stdout)
    for number, (export, embedded) in enumerate(((with_vectors, 0), (without, 3))):
        other = make_server()
        ended = run_process("import", database=other.database, input=export.stdout)
        assert ended.returncode == 0, ended.stderr
        assert b"stored 3, updated 0, unchanged 0" in ended.stderr
        assert f"; embedded {embedded}\n".encode() in ended.stderr
        assert ended.stdout == b""
        other.start()
        search = {"query": "What is the cat's name?", "limit": 1}
        hits = httpx.post(f"{other.url}{API}/search", json=search).json()["hits"]
        assert [hit["content"] for hit in hits] == texts[:1], number
        (found,) = httpx.get(f"{other.url}{API}", params={"limit": 1}).json()["memories"]
        assert {**listed[0], "embedding": None, "embeddings": None} == found
        copied = memories(run("export", "--vectors", database=other.database).stdout)
        there = [one["embedding"] for one in copied]
        if embedded:  # a batch of others moves the last bits
            assert np.allclose(list(map(numbers, there)), list(map(numbers, vectors)), atol=0.02)
        else:
            assert there == vectors


class Writers:
    """Clients that write, each one memory after the other, and count what was answered."""

    def __init__(self, url: str, count: int) -> None:
        self.answered = [0] * count
        self._ends = threading.Event()
        self._url = url
        self._threads = [threading.Thread(target=self._write, args=(i,)) for i in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        with httpx.Client(base_url=self._url) as client:
            while not self._ends.is_set():
                number = self.answered[writer]
                # A pair in one step, and one memory that says how far it is.
                batch = [
                    self._memory(f"w{writer}-{number}-a", number),
                    self._memory(f"w{writer}-{number}-b", number),
                    self._memory(f"w{writer}-last", number),
                ]
                sent = {"memories": batch, "atomic": True}
                answer = client.post(f"{API}/batch", json=sent, timeout=30)
                assert answer.status_code == 200, answer.text
                self.answered[writer] += 1

    @staticmethod
    def _memory(identity: str, number: int) -> dict[str, Any]:
        made = {"id": identity, "content": "some text", "metadata": {"number": number}}
        return made | {"collection": "c", "embedding": [1.0, number]}


def test_an_export_while_a_server_writes(make_server: "MakeServer") -> None:
    server = make_server().start()
    with Writers(server.url, 3) as writers:
        while min(writers.answered) < 20:
            time.sleep(0.01)
        for _ in range(3):
            before = list(writers.answered)
            ended = run("export", "--vectors", database=server.database)
            assert ended.returncode == 0, ended.stderr
            exported = {one["id"]: one for one in memories(ended.stdout)}
            assert lines(ended.stdout)[-1] == {"end": {"collections": 1, "memories": len(exported)}}
            for writer, acknowledged in enumerate(before):
                last = exported[f"w{writer}-last"]["metadata"]["number"]
                assert last + 1 >= acknowledged
                mine = {one for one in exported if one.startswith(f"w{writer}-")}
                assert mine == {f"w{writer}-last"} | {
                    f"w{writer}-{number}-{which}" for number in range(last + 1) for which in "ab"
                }
    assert server.stop() == 0
    server.start()
    total = httpx.get(f"{server.url}{API}", params={"collection": "c"}).json()["total"]
    assert total == 2 * sum(writers.answered) + 3


def stored(database: Path) -> int:
    """How many memories are there, as far as is committed."""
    try:
        with open_snapshot(f"sqlite:///{database}") as snapshot:
            return sum(map(snapshot.count, snapshot.collections("default")))
    except APIError:  # it isn't made yet
        return 0


def feed(pipe: IO[bytes], source: Path, count: int) -> None:
    """Write the first lines of a file, until nobody reads them; leaves the pipe open."""
    with source.open("rb") as file, contextlib.suppress(BrokenPipeError):
        pipe.writelines(islice(file, count))
        pipe.flush()


def test_an_import_that_is_killed_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    count = 2_000
    source = tmp_path / "large.jsonl"
    source.write_bytes(large_export(count))
    whole = run("import", str(source), database=tmp_path / "whole.db")
    assert whole.returncode == 0, whole.stderr
    database, counts = tmp_path / "killed.db", []
    for part in (count // 2, count - 1):  # never all of it, so that it can't come to its end
        before = stored(database)
        process = subprocess.Popen(
            command("import", database=database), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin is not None
        feeding = threading.Thread(target=feed, args=(process.stdin, source, part))
        feeding.start()
        try:
            deadline = time.monotonic() + SECONDS
            while stored(database) <= before and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            process.kill()
            feeding.join()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        counts.append(stored(database))
    assert 0 < counts[0] < counts[1] < count
    ended = run("import", str(source), database=database)
    assert ended.returncode == 0, ended.stderr
    told = f"stored {count - counts[1]}, updated 0, unchanged {counts[1]},"
    assert told.encode() in ended.stderr
    exports = [
        run("export", "--vectors", database=one).stdout.splitlines()
        for one in (tmp_path / "whole.db", database)
    ]
    assert exports[0][1:] == exports[1][1:]  # the first line has the time
    assert len(exports[0]) == count + 3
    again = run("import", str(source), database=database)
    assert f"stored 0, updated 0, unchanged {count},".encode() in again.stderr


def test_a_server_keeps_imports_out_and_lets_exports_read(running_server: "Server") -> None:
    export = large_export(2)
    ended = run("import", database=running_server.database, input=export)
    assert ended.returncode == 1
    assert ended.stderr.decode() == (
        f"agentmem: another AgentMem server has {running_server.database} open: stop that one, or "
        "name another file\n"
    )
    rehearsed = run("import", "--dry-run", database=running_server.database, input=export)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert b"nothing is stored" in rehearsed.stderr
    assert b"stored 2," in rehearsed.stderr
    names = httpx.get(f"{running_server.url}/api/v1/collections").json()["collections"]
    assert "large" not in [one["name"] for one in names]
    assert run("export", database=running_server.database).returncode == 0


def test_broken_lines_are_told_and_the_others_are_stored(tmp_path: Path) -> None:
    broken = [b'{"memory": {"id": %d, "content": "secret"}}' % n for n in range(30)]
    good = large_export(3).splitlines()
    source = tmp_path / "some.jsonl"
    source.write_bytes(b"\n".join([*good[:3], *broken, *good[3:]]))
    ended = run("import", "--tenant", "acme", str(source), database="a.db")
    assert ended.returncode == 1
    told = ended.stderr.decode().splitlines()
    assert told[0].startswith("agentmem: line 4: memory.id: Input should be a valid string")
    assert [one.split(":")[1] for one in told[:20]] == [f" line {4 + n}" for n in range(20)]
    assert "12 more" not in told[20]
    assert told[20] == "agentmem: and 11 more that failed"  # the last line misses 30
    assert "stored 3," in told[21]
    assert "failed 31" in told[21]
    assert "secret" not in ended.stderr.decode()
    assert len(memories(run("export", "--tenant", "acme", database="a.db").stdout)) == 3
    assert memories(run("export", database="a.db").stdout) == []


MEM0 = {
    "results": [
        {"id": "a", "memory": "Likes tea", "user_id": "ann", "created_at": "2025-01-01T00:00:00"},
        {"id": "b", "user_id": "ann"},
    ],
    "relations": [{"source": "ann", "relationship": "likes", "target": "tea"}],
}
REDIS = {"memories": [{"text": "Likes tea", "user_id": "ann", "topics": ["tea"]}], "total": 1}


def test_files_of_other_systems(tmp_path: Path) -> None:
    (tmp_path / "mem0.json").write_text(json.dumps(MEM0, indent=2))
    first = ("import", "--format", "mem0", "mem0.json")
    redis = ("import", "--format", "redis", "--collection", "notes", "-")
    for stored, unchanged in ((1, 0), (0, 1)):
        ended = run(*first, database="a.db")
        assert ended.returncode == 1
        told = ended.stderr.decode().splitlines()
        assert told[0] == ("agentmem: line 1, results[1]: must be an object with the field memory")
        assert f"stored {stored}, updated 0, unchanged {unchanged}," in told[1]
        assert told[3:] == [
            "agentmem: 1 times without a UTC offset, which were taken as UTC",
            "agentmem: 1 relations of mem0's graph, which are not imported",
        ]
        ended = run(*redis, database="a.db", input=json.dumps(REDIS).encode())
        assert ended.returncode == 0, ended.stderr
        assert f"stored {stored}, updated 0, unchanged {unchanged},".encode() in ended.stderr
    default, notes = memories(run("export", database="a.db").stdout)
    assert (default["content"], default["collection"]) == ("Likes tea", "default")
    assert (notes["metadata"], notes["collection"]) == ({"topics": ["tea"]}, "notes")


def test_chosen_collections(tmp_path: Path) -> None:
    (tmp_path / "large.jsonl").write_bytes(large_export(2))
    assert run("import", "large.jsonl", database="a.db").returncode == 0
    run("import", "--format", "redis", database="a.db", input=json.dumps(REDIS).encode())
    ended = run("export", "--collection", "large", "-o", "one.jsonl", database="a.db")
    assert ended.returncode == 0
    chosen = (tmp_path / "one.jsonl").read_bytes()
    assert {one["collection"] for one in memories(chosen)} == {"large"}
    assert b"export with --vectors" in ended.stderr
    everything = run("export", "--vectors", "--quiet", database="a.db")
    assert everything.stderr == b""
    ended = run("import", "--collection", "default", database="b.db", input=everything.stdout)
    assert ended.returncode == 0, ended.stderr
    assert [one["collection"] for one in memories(run("export", database="b.db").stdout)] == [
        "default"
    ]


def test_an_export_says_that_jobs_are_not_in_it(database: Path) -> None:
    async def queue(*tenants: str) -> None:
        store = await open_store(f"sqlite:///{database}")
        for tenant in tenants:
            job = Job("a", tenant, "extract", "x", Scope(), None, "queued", b"{}", 3, 1, 1, 1)
            await store.write([PutJob(job)])
        await store.close()

    asyncio.run(queue("another"))
    assert b"jobs" not in run("export", database=database).stderr
    asyncio.run(queue("default"))
    ended = run("export", "--quiet", database=database)
    assert b"agentmem: 1 jobs are not done, and not in the export: " in ended.stderr
    assert ended.returncode == 0


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    ended = run("import", "--dry-run", database="sub/a.db", input=large_export(3))
    assert ended.returncode == 0, ended.stderr
    assert b"stored 3," in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_export_makes_no_database(tmp_path: Path) -> None:
    for data, says in ((b"", b"nothing in it"), (b'{"results": []}', b"say --format")):
        ended = run("import", database="a.db", input=data)
        assert ended.returncode == 1
        assert says in ended.stderr
        assert ended.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "some.db"
    ended = run("import", "--quiet", database=path, input=large_export(500))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert {path.name} <= names(path.parent) <= {path.name, f"{path.name}.lock"}  # no WAL is left
    return path


@pytest.fixture
def database(filled: Path, tmp_path: Path) -> Path:
    """A file with some memories, of the tenant ``default``."""
    return Path(shutil.copy(filled, tmp_path))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_output_that_stops_reading(database: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = run_process("export", database=database, stdout=writer)
    os.close(writer)
    assert ended.returncode == 1
    assert ended.stderr == (
        b"agentmem: the export is not whole: whatever read it has stopped reading\n"
    )


def test_an_output_on_a_full_disk(database: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = run_process("export", database=database, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr == (
        b"agentmem: the export is not whole: it can't be written: No space left on device\n"
    )


def test_a_file_is_there_when_it_is_whole(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("what was there before")
    before = names(tmp_path)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))

    ended = run_process("export", "-o", str(target), database=database, preexec_fn=small_files)
    assert ended.returncode == 1
    assert ended.stderr == f"agentmem: {target} can't be written: File too large\n".encode()
    assert target.read_text() == "what was there before"
    assert names(tmp_path) - before <= {"some.db-shm", "some.db-wal"}
    link = tmp_path / "link.jsonl"
    link.symlink_to(target)
    ended = run("export", "-o", str(link), database=database)
    assert ended.returncode == 0, ended.stderr
    assert link.is_symlink()
    assert len(memories(target.read_bytes())) == 500
    assert not [name for name in names(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_an_export_into_a_file_that_is_told_to_end(
    number: signal.Signals, ends: type[BaseException], tmp_path: Path
) -> None:
    def half() -> Iterator[bytes]:
        yield b"half"
        os.kill(os.getpid(), number)
        yield b"an export"

    with pytest.raises(ends):
        commands._write_file(tmp_path / "a.jsonl", half())
    assert list(tmp_path.iterdir()) == []


def test_an_import_that_is_interrupted(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    process = subprocess.Popen(
        command("import", database=database), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        process.stdin.write(b"".join(large_export(600).splitlines(keepends=True)[:-2]))
        process.stdin.flush()
        deadline = time.monotonic() + SECONDS
        while stored(database) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130  # while its standard input is open
        _, told = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert told.decode().splitlines()[-1].startswith("agentmem: interrupted: what was stored stays")
    assert b"Traceback" not in told
    assert 0 < stored(database) < 600


def test_an_export_that_is_interrupted(database: Path) -> None:
    process = subprocess.Popen(
        command("export", database=database), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.read(1)  # and no more: it waits for its reader
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        told = process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert told == b"agentmem: interrupted: the export is not whole\n"


def through_terminal(arguments: Sequence[str]) -> str:
    """What a command shows on a terminal."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    try:
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=theirs, stdin=subprocess.DEVNULL
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the last one has let go of the terminal
            while part := os.read(terminal, 65_536):
                shown += part
        assert process.wait(SECONDS) == 0, shown
        return shown.decode()
    finally:
        os.close(terminal)


def test_a_terminal_shows_how_far_it_is(database: Path, tmp_path: Path) -> None:
    source = tmp_path / "large.jsonl"
    source.write_bytes(large_export(500))
    export, into = command("export", database=database), command("import", str(source))
    assert "500/500" in through_terminal(export)
    assert "100%" in through_terminal(into)
    assert through_terminal([*export, "--quiet"]).count("\r\n") == 1  # what it warns of
    assert through_terminal([*into, "--quiet"]) == ""
    assert b"%" not in run("export", database=database).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", "--database", "mysql://x"], "use sqlite:///path/to/file.db"),
        (["export", "--database", "sqlite:///none.db"], "there is no database none.db"),
        (["export", "--database", "sqlite:///some.db", "--collection", "x"], "no collection 'x'"),
        (["export", "--database", "sqlite:///some.db", "-o", "/dev/null"], "use > to write"),
        (["export", "--database", "sqlite:///some.db", "-o", "no/a"], "No such file"),
        (["import", "none.jsonl"], "none.jsonl can't be read: No such file"),
        (["import", "."], "can't be read: Is a directory"),
        (["import", "--format", "mem0", "--collection", "a", "--collection", "b", __file__], "one"),
    ],
)
def test_what_can_not_be(
    arguments: list[str], says: str, database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = names(database.parent)
    assert main(arguments) in (1, 2)
    told = capfd.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert names(database.parent) - before <= {"some.db-shm", "some.db-wal"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--tenant", ""],
        ["export", "--collection", "a" * 600],
        ["export", "--collection", "a\udcff"],
        ["import", "--format", "csv"],
        ["import", "--vectors"],
        ["import", "a", "b"],
    ],
)
def test_arguments_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: agentmem" in capsys.readouterr().err


async def test_files_that_an_export_refuses(
    open_api: "OpenApi", tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.db").write_text("This is not a database. " * 100)
    apsw.Connection(str(tmp_path / "other.db")).execute("CREATE TABLE a (b)")
    apsw.Connection(str(tmp_path / "empty.db")).close()
    for version in (1, 1_000):
        path = tmp_path / f"{version}.db"
        async with open_api(database_url=f"sqlite:///{path}"):
            pass
        connection = apsw.Connection(str(path))
        connection.pragma("user_version", version)
        connection.close()
    for name, says in (
        ("notes", "not a database"),
        ("other", "no database of AgentMem"),
        ("empty", "no database of AgentMem"),
        ("1", "older AgentMem (schema 1"),
        ("1000", "newer AgentMem (schema 1000"),
    ):
        before = (tmp_path / f"{name}.db").read_bytes()
        assert main(["export", "--database", f"sqlite:///{name}.db"]) == 1
        captured = capfd.readouterr()
        assert says in captured.err
        assert captured.out == ""
        assert (tmp_path / f"{name}.db").read_bytes() == before
