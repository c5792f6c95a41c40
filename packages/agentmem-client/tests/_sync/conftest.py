# Generated from tests/_async/conftest.py by scripts/generate_sync.py: do not edit.
from collections.abc import Iterator

import pytest
from agentmem_client import AgentMemClient


@pytest.fixture
def client() -> Iterator[AgentMemClient]:
    with AgentMemClient("http://agentmem.test", "am_secret-key") as client:
        yield client
