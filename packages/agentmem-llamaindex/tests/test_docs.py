"""The code of the README and of each page in docs, run in its order on a real server process.

A page has a namespace of its own, in which `llm` and `embed_model` stand for the user's. A text
block right after a Python block is what that prints, on 8 May 2026.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM

PACKAGE = Path(__file__).parent.parent
PAGES = sorted((PACKAGE / "docs").glob("*.md"))
SERVER = "http://localhost:8080"
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.usefixtures("event_loop_of_sync_code")
@pytest.mark.parametrize("page", [PACKAGE / "README.md", *PAGES], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path, server: Any, embed_model: BaseEmbedding, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"llm": MockLLM(), "embed_model": embed_model}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python\n") > 0
    assert sum(block["printed"] is not None for block in blocks) == text.count("```text\n")
    for block in blocks:
        line = text.count("\n", 0, block.start("code"))
        # The blank lines before it make a traceback say the line of the page.
        code = "\n" * line + block["code"].replace(SERVER, server.url)
        exec(compile(code, str(page), "exec"), names)
        printed = re.sub(r"\(\d{4}-\d\d-\d\d\)", "(2026-05-08)", capsys.readouterr().out)
        if block["printed"] is not None:
            assert printed == block["printed"], f"{page.name}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_have_one_order(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)
    order = ["Install", "Instantiate", "Add", "Search", "Filter", "Async", "Good to know"]
    assert headings == order


def test_each_class_has_a_page() -> None:
    assert [page.stem for page in PAGES] == ["chat_store", "memory_block", "vectorstore"]


@pytest.mark.parametrize("page", [PACKAGE / "README.md", *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).is_file()] == []
