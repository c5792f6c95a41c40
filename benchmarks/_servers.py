"""A server as a process that can be killed as hard as a crash, and started again on its files."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

_START_SECONDS = 60.0


class ServerProcess:
    """One server on a free port of the loopback interface.

    Args:
        command: starts it; ``{port}`` stands for the port.
        alive: the path that answers 200 when it can take requests.
        log: the file that its output is added to.
        environment: variables for it, beside those of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        alive: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [part.replace("{port}", str(port)) for part in command]
        self._alive = alive
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: when it ends or doesn't, with the end of its log.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}{self._alive}", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # it doesn't listen yet
            time.sleep(0.05)
        self.kill()
        end = self._log.read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"the server did not start:\n{end}")

    def cpu(self) -> float:
        """Seconds that it has spent on the processor; 0 where the system doesn't tell."""
        status = Path(f"/proc/{self._process.pid}/stat") if self._process else None
        if status is None or not status.exists():
            return 0.0
        fields = status.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it at once, with no time to write anything more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
