"""A real server process, and the application in this process with an embedder that is quick."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import pytest
from agentmem_server.app import open_app
from agentmem_server.settings import Settings
from numpy.typing import NDArray

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class Server:
    """One server process on one file and one port; it can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.database = folder / "memories.db"
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
        command += ["--database", f"sqlite:///{self.database}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> "Server":
        """Start it, and return when it can take traffic."""
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


OpenApi: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def open_api(tmp_path_factory: pytest.TempPathFactory) -> OpenApi:
    """Opens an application in this process, with settings, as a client that talks to it.

    ``async with open_api(max_body=1_000) as api: await api.get("/health")``; an ``embedder`` other
    than `FakeEmbedder` and a ``database_url`` other than a new file can be given too.
    """

    @asynccontextmanager
    async def open_client(
        *, embedder: Any = None, database_url: str | None = None, **settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        url = database_url or f"sqlite:///{tmp_path_factory.mktemp('api') / 'memories.db'}"
        async with (
            open_app(
                Settings(database_url=url, **settings), embedder=embedder or FakeEmbedder()
            ) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://localhost",
            ) as client,
        ):
            yield client

    return open_client


@pytest.fixture
async def api(open_api: OpenApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an empty application of the test's own."""
    async with open_api() as client:
        yield client
