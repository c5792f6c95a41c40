"""What the tests share: a server made of canned answers, and a clock that only tests move."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeAlias

import httpx
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
    """The waits between tries, which take no real time but move the retries' clock.

    Threads that other tests of this process have left running, such as a server's, really wait.
    """
    asked_for: list[float] = []
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    really_sleep, really_async_sleep = time.sleep, asyncio.sleep

    def sleep(seconds: float) -> None:
        if threading.get_ident() in others:
            really_sleep(seconds)
        else:
            asked_for.append(seconds)

    async def async_sleep(seconds: float) -> None:
        if threading.get_ident() in others:
            await really_async_sleep(seconds)
        else:
            asked_for.append(seconds)

    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(time, "sleep", sleep)
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


@pytest.fixture
def event_json(memory_json: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Makes an event as the server answers it."""

    def make(id: int, **fields: Any) -> dict[str, Any]:
        return {
            "id": id,
            "action": "added",
            "at": "2026-01-31T09:30:00Z",
            "collection": "default",
            "memory_id": "m1",
            "version": 1,
            "after": memory_json(),
        } | fields

    return make


class FeedStream(httpx.AsyncByteStream, httpx.SyncByteStream):
    """The body of a feed, piece by piece; an exception among the pieces breaks it."""

    def __init__(self, pieces: tuple[str | Exception, ...]) -> None:
        self._pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece.encode()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


FeedAnswer: TypeAlias = Callable[..., httpx.Response]


@pytest.fixture
def feed() -> FeedAnswer:
    """Makes the answer of a feed: a number is a position, a dict an event, a text itself."""

    def make(*pieces: int | dict[str, Any] | str | Exception) -> httpx.Response:
        def written(piece: int | dict[str, Any] | str | Exception) -> str | Exception:
            match piece:
                case int():
                    return f"id: {piece}\n\n"
                case dict():
                    text = json.dumps(piece)
                    return f"event: {piece['action']}\ndata: {text}\nid: {piece['id']}\n\n"
            return piece

        stream = FeedStream(tuple(written(piece) for piece in pieces))
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=stream)

    return make
