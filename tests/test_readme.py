"""The README's code does what it says, on a real server."""

import re
from pathlib import Path
from typing import Any

import pytest
from agentmem_client import AgentMemClient

from tests.llm_server import LLM, Reply

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_code_that_learns(make_server: Any, llm: LLM) -> None:
    _, code = blocks()
    fact = {"content": "Mia eats no chicken.", "type": "semantic", "messages": [0]}
    llm.answer = lambda _: Reply(facts=[fact])
    environment = {"AGENTMEM_LLM_URL": llm.url, "AGENTMEM_LLM_MODEL": "m"}
    with AgentMemClient(make_server(environment=environment).start().url) as memory:
        said: dict[str, Any] = {"memory": memory}
        exec(compile(code, str(README), "exec"), said)
        (hit,) = memory.search("chicken", user_id="ann")
    assert said["done"].facts[0].message_ids == ["m1"]
    assert hit.content == "Mia eats no chicken."
    assert [source.message_ids for source in hit.sources or ()] == [["m1"]]


def test_the_first_code_that_a_newcomer_copies(
    running_server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = blocks()
    pointed = code.replace("AgentMemClient()", f"AgentMemClient({running_server.url!r})")
    assert pointed != code
    exec(compile(pointed, str(README), "exec"), {})
    assert "The cat is called Mia." in capsys.readouterr().out
    with AgentMemClient(running_server.url) as memory:
        assert memory.list(user_id="ann").total == 1
