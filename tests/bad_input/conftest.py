"""The application that the tests of bad input speak to."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from tests.conftest import FakeExtractor

if TYPE_CHECKING:
    from tests.conftest import OpenApi

pytest.register_assert_rewrite("tests.bad_input.sending")

ADMIN_KEY = "the-operators-key-of-these-tests"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def api(open_api: "OpenApi") -> AsyncIterator[httpx.AsyncClient]:
    # With a key: some of what is sent makes keys, and from the first on every request needs one.
    settings = {"max_body": 4_000_000, "admin_key": ADMIN_KEY, "rate_limit": 0}
    async with open_api(extractor=FakeExtractor(), **settings) as client:
        client.headers["x-api-key"] = ADMIN_KEY
        await client.post("/api/v1/memories", json={"id": "x", "content": "there before"})
        yield client
