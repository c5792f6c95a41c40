"""A server for an example: the one of AGENTMEM_API_URL, or one of its own while it runs."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 60.0
STOP_SECONDS = 15.0

_own: dict[str, "_Server"] = {}
"""The servers that `running_server` started and has not stopped yet, by their URLs."""


@contextmanager
def running_server(database: Path | None = None) -> Iterator[str]:
    """The URL of a server that is ready, for as long as the block runs.

    Where AGENTMEM_API_URL names a server, that one is used and left alone. Otherwise one is
    started on a free port of the loopback interface and stopped at the end::

        with running_server() as api_url:
            client = AgentMemClient(api_url)

    Args:
        database: the file it works on; left out, a temporary one that is deleted at the end.

    Raises:
        RuntimeError: when the server does not become ready, with the end of its log.
    """
    if given := os.environ.get("AGENTMEM_API_URL"):
        yield given.rstrip("/")
        return
    with private_server(database=database) as api_url:
        yield api_url


@contextmanager
def private_server(
    environment: Mapping[str, str] | None = None, *, database: Path | str | None = None
) -> Iterator[str]:
    """The URL of a server of the caller's own, whatever AGENTMEM_API_URL says.

    Args:
        environment: variables for it, beside those of this process.
        database: as for `running_server`; or the URL of a database.

    Raises:
        RuntimeError: as `running_server`.
    """
    with tempfile.TemporaryDirectory(prefix="agentmem-") as directory:
        folder = Path(directory)
        server = _Server(
            database or folder / "memories.db",
            log=folder / "server.log",
            environment=environment or {},
        )
        server.start()
        _own[server.url] = server
        try:
            yield server.url
        finally:
            del _own[server.url]
            server.stop()


def restart(api_url: str) -> bool:
    """Stop the server of this URL and start it again, on the same port and the same file.

    Returns:
        False when it isn't ours to restart (AGENTMEM_API_URL named it): nothing was done.
    """
    server = _own.get(api_url)
    if server is None:
        return False
    server.stop()
    server.start()
    return True


def process_id(api_url: str) -> int | None:
    """The id of the process of this URL's server; None when it isn't ours."""
    server = _own.get(api_url)
    return None if server is None else server.process_id


class _Server:
    """One server process, stopped by the id under which it was started."""

    def __init__(self, database: Path | str, *, log: Path, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        if isinstance(database, Path):
            database = f"sqlite:///{database.resolve().as_posix()}"
        self._database = database
        self._log = log
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it can take traffic."""
        command = [sys.executable, "-m", "agentmem_server.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--database", self._database]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._await_ready(self._process)
        except BaseException:  # an interrupt too: nothing that was started may stay behind
            self.stop()
            raise

    @property
    def process_id(self) -> int | None:
        """The process' id while it runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Ask it to end, so that what is in flight is answered; insist if it doesn't."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(base_url=self.url, timeout=2) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended at its start:\n{self._log_end()}")
                try:
                    if client.get("/health/ready").status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # it doesn't listen yet
                time.sleep(0.05)
        raise RuntimeError(f"the server was not ready in {START_SECONDS:g} s:\n{self._log_end()}")

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
