"""The README's code, run in its order on a real server process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListChatModel

if TYPE_CHECKING:
    from conftest import Server

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning",
    "ignore:RunnableWithMessageHistory is deprecated",
)
def test_the_code_of_the_readme_runs(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", server.url)
    names: dict[str, Any] = {"model": FakeListChatModel(responses=["Hello!"])}
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "Ann's cat is called Mia. {'topic': 'pets', 'year': 2026}" in capsys.readouterr().out
    assert len(names["history"].messages) == 8
    names["client"].close()
