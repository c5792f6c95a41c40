from collections.abc import AsyncIterator

import pytest
from agentmem_client import AsyncAgentMemClient


@pytest.fixture
async def client() -> AsyncIterator[AsyncAgentMemClient]:
    async with AsyncAgentMemClient("http://agentmem.test", "am_secret-key") as client:
        yield client
