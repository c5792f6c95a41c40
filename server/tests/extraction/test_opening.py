"""How an extractor is opened, and the key that it sends."""

import sys
from dataclasses import replace
from typing import Any

import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_server.access.windows import Windows
from agentmem_server.extraction import open_extractor
from agentmem_server.extraction.extractor import LLMExtractor

from server.tests.extraction.extractors import BOUNDS, CAT
from tests.llm_server import LLM


def opening(**options: Any) -> LLMExtractor:
    return open_extractor(
        **{
            "url": "http://127.0.0.1/v1",
            "key": None,
            "model": "m",
            "bounds": BOUNDS,
            "windows": Windows(),
            **options,
        }
    )


async def test_without_a_key_nobody_elses_is_sent(
    llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    extractor = opening(url=llm.url)
    await extractor.extract(CAT, None)
    await extractor.close()
    assert llm.keys == ["Bearer none"]


@pytest.mark.parametrize("url", [None, ""])
def test_a_model_without_a_url_is_refused(url: str | None) -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_URL"):
        opening(url=url)


def test_settings_that_can_not_work_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_MODEL is empty"):
        opening(model="")
    with pytest.raises(InvalidRequest, match=r"AGENTMEM_LLM_MAX_INPUT_TOKENS is 500.*thousand"):
        opening(bounds=replace(BOUNDS, max_input_tokens=500))


async def test_an_empty_key_is_none(llm: LLM) -> None:
    extractor = opening(url=llm.url, key="")
    await extractor.extract(CAT, None)
    await extractor.close()
    assert llm.keys == ["Bearer none"]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith("agentmem_server.extraction.extractor"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InvalidRequest, match=r"agentmem-server\[openai\]"):
        opening()
