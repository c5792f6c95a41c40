"""Each example runs, as a newcomer runs it, and says that what it shows held."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> subprocess.CompletedProcess[str]:
    # Without a model or a server from the environment: the examples bring their own.
    ours = ("AGENTMEM_", "OPENAI_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("sdk.py", "cleaned up"),
        ("history.py", "nothing is left of them"),
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
    shown = {"sdk.py", "history.py", "team.py", "chat_memory.py", "agent.py", "rag.py"}
    assert names == shown | {"demo.py"}
