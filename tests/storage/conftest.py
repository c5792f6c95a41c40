"""Where the contract suite finds its stores: one parameter a backend."""

from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest
from agentmem_server import times
from agentmem_server.storage import Store, open_store


@pytest.fixture(scope="session", params=["sqlite"])
def new_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Each call gives the URL of a store that is not there yet. A new backend is one more case."""
    numbers = count()
    match request.param:
        case "sqlite":
            folder = tmp_path_factory.mktemp("sqlite")
            return lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        case other:
            raise ValueError(other)


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of the test's own store."""
    return new_url()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await open_store(url, readers=3)
    yield opened
    await opened.close()


class Clock:
    """The time as the store is told it, in microseconds."""

    def __init__(self) -> None:
        self.now = times.now()

    def advance(self, microseconds: int) -> int:
        self.now += microseconds
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until it is advanced."""
    stopped = Clock()
    monkeypatch.setattr(times, "now", lambda: stopped.now)
    return stopped
