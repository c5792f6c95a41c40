"""Extractors on a real HTTP server that answers as LLMs do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from agentmem_server.access.windows import Windows
from agentmem_server.extraction import chat, open_extractor
from agentmem_server.extraction.extractor import LLMExtractor
from tenacity import wait_none

from server.tests.extraction.extractors import BOUNDS, KEY, Opening, Told
from tests.llm_server import LLM


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_backoff", wait_none())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def opened(llm: LLM, told: Told) -> Opening:
    @asynccontextmanager
    async def opening(
        windows: Windows | None = None, url: str = llm.url, **bounds: Any
    ) -> AsyncIterator[LLMExtractor]:
        windows = Windows() if windows is None else windows
        extractor = open_extractor(
            url=url,
            key=KEY,
            model="m",
            bounds=replace(BOUNDS, **bounds),
            windows=windows,
            clock=windows.clock,
            watch=told.watch,
        )
        try:
            yield extractor
        finally:
            await extractor.close()

    return opening
