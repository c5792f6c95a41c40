"""The engine that each test has to itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import FakeEmbedder, WatchedStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    opened = await WatchedStore.open(str(tmp_path / "memory.db"), readers=2)
    assert isinstance(opened, WatchedStore)
    yield opened
    await opened.close()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def engine(store: WatchedStore, embedder: FakeEmbedder) -> AsyncIterator[Engine]:
    made = Engine(store, embedder)
    yield made
    await made.close()
