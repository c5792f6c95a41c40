"""What the tests share: a server made of canned answers, and a clock that only tests move."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
import tenacity.nap

API_URL = "http://agentmem.test"
API_KEY = "am_secret-key"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run the same whatever the developer's shell has set."""
    for name in ("API_URL", "API_KEY", "TIMEOUT", "MAX_RETRIES", "MAX_RETRY_SECONDS"):
        monkeypatch.delenv(f"AGENTMEM_{name}", raising=False)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which take no real time but move the retries' clock."""
    asked_for: list[float] = []

    def sleep(seconds: float) -> None:
        asked_for.append(seconds)

    async def async_sleep(seconds: float) -> None:
        asked_for.append(seconds)

    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(asyncio, "sleep", async_sleep)
    monkeypatch.setattr(tenacity, "time", SimpleNamespace(monotonic=lambda: sum(asked_for)))
    return asked_for


@pytest.fixture
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter that always draws its upper bound."""
    monkeypatch.setattr("random.uniform", lambda _low, high: high)


@pytest.fixture
def memory_json() -> Callable[..., dict[str, Any]]:
    """Makes a memory as the server answers it."""

    def make(**fields: Any) -> dict[str, Any]:
        return {
            "id": "m1",
            "collection": "default",
            "content": "The cat is called Mia.",
            "metadata": {},
            "created_at": "2026-01-31T09:30:00Z",
            "updated_at": "2026-01-31T09:30:00Z",
        } | fields

    return make


@pytest.fixture
def error_json() -> Callable[..., dict[str, Any]]:
    """Makes an error as the server answers it."""

    def make(code: str, message: str = "no", **details: Any) -> dict[str, Any]:
        error = {"code": code, "message": message, "details": details}
        return {"error": error, "request_id": "req-1"}

    return make
