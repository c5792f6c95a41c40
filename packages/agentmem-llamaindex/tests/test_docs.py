"""The code of the README and of each page, run in its order on a real server process."""

import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document

PACKAGE = Path(__file__).parent.parent
PAGES = [PACKAGE / "README.md", *sorted(PACKAGE.glob("docs/*.md"))]
SERVER = "http://localhost:8080"

PRINTED = {
    "README.md": ["user: My name is Ann."],
    "chat_store.md": [
        "['trip-to-bergen', 'trip-to-oslo']",
        "trip-to-bergen User: My cat is called Mia.",
        "user: My name is Ann.",
    ],
    "memory_block.md": [
        "<memory>\n<RecalledMemories>\n- (20",
        ") Ann's cat is called Mia.\n",
        ") User: I sail on cold lakes.\n",
    ],
    "vectorstore.md": ["Everybody has 30 days of leave.", "['leave'"],
}
"""What the code of a page prints, among other things."""


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("event_loop_of_sync_code")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(
    page: Path, server: Any, embed_model: BaseEmbedding, capsys: pytest.CaptureFixture[str]
) -> None:
    leave = {"year": 2025, "tags": ["hr"]}
    names: dict[str, Any] = {
        "__name__": page.stem,
        "llm": MockLLM(),
        "embed_model": embed_model,
        "documents": [
            Document(id_="leave", text="Everybody has 30 days of leave.", metadata=leave),
            Document(id_="lunch", text="Lunch is at noon.", metadata={"year": 2020}),
        ],
        "document": Document(id_="parking", text="Parking is free.", metadata={"year": 2021}),
    }
    for block in blocks(page):
        exec(compile(block.replace(SERVER, server.url), page.name, "exec"), names)
    printed = capsys.readouterr().out
    assert [words for words in PRINTED[page.name] if words not in printed] == []
    assert blocks(page)


def test_the_pages_have_one_order() -> None:
    assert set(PRINTED) == {page.name for page in PAGES}
    for page in PAGES[1:]:
        headings = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)
        assert headings == [
            "Install",
            "Instantiate",
            "Add",
            "Search",
            "Filter",
            "Async",
            "Good to know",
        ]


def test_links_between_the_pages() -> None:
    for page in PAGES:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8"))
        assert [link for link in links if not (page.parent / link).is_file()] == []
