"""Each example runs, as a newcomer runs it, and says that what it shows held.

The demo runs them all, each by its ``main``, on one server. What is left are the lines that start
one by itself, with a server of its own: two of them are run so.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWS = {
    "sdk.py": "cleaned up",
    "history.py": "nothing is left of them",
    "learning.py": "Everything was learnt once.",
    "team.py": "Everybody saw their own, and nothing else.",
    "chat_memory.py": "It still knows.",
    "agent.py": "It recalls, and tells nobody else.",
    "rag.py": "cleaned up",
}
"""What each says when all of it held."""
SECONDS = 240
"""Beside other tests, all of them together take a while."""
pytestmark = pytest.mark.timeout(SECONDS + 60)


def run(name: str) -> str:
    """Run one; answers what it said."""
    # Without a model or a server from the environment: the examples bring their own.
    ours = ("AGENTMEM_", "OPENAI_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    command = [sys.executable, str(EXAMPLES / name)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said, warned = process.communicate(timeout=SECONDS)
        except BaseException:
            process.send_signal(signal.SIGINT)  # so that it ends the server that it started
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            raise
    assert process.returncode == 0, said + warned
    assert "Traceback" not in warned
    return said


def test_the_demo_runs_every_example() -> None:
    said = run("demo.py")
    assert "all held" in said.splitlines()[-1]
    _, *parts = re.split(r"^.* \(examples/(\w+\.py)\)\n=+$", said, flags=re.MULTILINE)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    assert told.keys() == SHOWS.keys()
    assert [name for name, shows in SHOWS.items() if shows not in told[name]] == [], said
    names = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    assert names == SHOWS.keys() | {"demo.py"}


@pytest.mark.parametrize("name", ["sdk.py", "chat_memory.py"])
def test_the_example_runs_by_itself(name: str) -> None:
    assert SHOWS[name] in run(name)


@pytest.mark.parametrize("name", SHOWS)
def test_each_can_be_started_by_itself(name: str) -> None:
    code = (EXAMPLES / name).read_text("utf-8")
    assert re.search(r"\bmain\(", code.partition('\nif __name__ == "__main__":\n')[2])
