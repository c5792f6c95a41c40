"""Each example runs, as a newcomer runs it, and says that what it shows held."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SECONDS = 240
"""Beside other tests, all of them together take a while."""
pytestmark = pytest.mark.timeout(SECONDS + 60)


def run(name: str) -> subprocess.CompletedProcess[str]:
    # Without a model or a server from the environment: the examples bring their own.
    ours = ("AGENTMEM_", "OPENAI_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    command = [sys.executable, str(EXAMPLES / name)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            told = process.communicate(timeout=SECONDS)
        except BaseException:
            process.send_signal(signal.SIGINT)  # so that it ends the server that it started
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, *told)


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("sdk.py", "cleaned up"),
        ("history.py", "nothing is left of them"),
        ("learning.py", "Everything was learnt once."),
        ("team.py", "Everybody saw their own, and nothing else."),
        ("chat_memory.py", "It still knows."),
        ("agent.py", "It recalls, and tells nobody else."),
        ("rag.py", "cleaned up"),
        ("demo.py", "all held"),
    ],
)
def test_the_example_runs(name: str, shows: str) -> None:
    finished = run(name)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert shows in finished.stdout
    assert "Traceback" not in finished.stderr


def test_every_example_is_run() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    shown = {"sdk.py", "history.py", "learning.py", "team.py"}
    shown |= {"chat_memory.py", "agent.py", "rag.py"}
    assert names == shown | {"demo.py"}
