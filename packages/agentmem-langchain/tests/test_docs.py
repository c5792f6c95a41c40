"""The code of each page in docs, run in its order on a real server process.

A page has a namespace of its own, in which `model` and `embeddings` stand for the user's. A text
block right after a Python block is what that prints.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

if TYPE_CHECKING:
    from conftest import Server

PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


class Model(FakeListChatModel):
    """Says hello; where it has tools, it searches its memory first."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tool_names=[tool.name for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if "search_memory" in kwargs.get("tool_names", []) and messages[-1].type == "human":
            call = {"name": "search_memory", "args": {"query": str(messages[-1].text)}, "id": "1"}
            reply = AIMessage("", tool_calls=[call])
            return ChatResult(generations=[ChatGeneration(message=reply)])
        return super()._generate(messages, *args, **kwargs)


@pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning",
    "ignore:RunnableWithMessageHistory is deprecated",
    "ignore:Importing Send from langgraph.constants",  # by trustcall, which langmem needs
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", server.url)
    text = page.read_text()
    names: dict[str, Any] = {
        "model": Model(responses=["Hello!"]),
        "embeddings": DeterministicFakeEmbedding(size=6),
    }
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python\n") > 0
    assert sum(block["printed"] is not None for block in blocks) == text.count("```text\n")
    for block in blocks:
        line = text.count("\n", 0, block.start("code"))
        # The blank lines before it make a traceback say the line of the page.
        exec(compile("\n" * line + block["code"], str(page), "exec"), names)
        printed = capsys.readouterr().out
        if block["printed"] is not None:
            assert printed == block["printed"], f"{page.name}:{line}"


def test_there_are_pages() -> None:
    assert {"vectorstore", "retriever", "tools"} <= {page.stem for page in PAGES}
