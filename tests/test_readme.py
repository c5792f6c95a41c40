"""The README's code does what it says, on a real server."""

import re
from pathlib import Path
from typing import Any

import pytest
from agentmem_client import AgentMemClient

README = Path(__file__).parent.parent / "README.md"


def test_the_first_code_that_a_newcomer_copies(
    running_server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    pointed = code.replace("AgentMemClient()", f"AgentMemClient({running_server.url!r})")
    assert pointed != code
    exec(compile(pointed, str(README), "exec"), {})
    assert "The cat is called Mia." in capsys.readouterr().out
    with AgentMemClient(running_server.url) as memory:
        assert memory.list(user_id="ann").total == 1
