"""What is shared, without a Redis: its URL, when it is asked, and what goes on without it."""

import asyncio
import builtins
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest, Unavailable
from agentmem_server import times
from agentmem_server.access.callers import Caller
from agentmem_server.access.shared_windows import SharedWindows
from agentmem_server.engine.known_searches import digest_of
from agentmem_server.engine.results import Results
from agentmem_server.engine.search import Found
from agentmem_server.sharing import NO_COPIES, Kind, Tally, open_sharing
from agentmem_server.sharing import link as links
from agentmem_server.sharing.link import PLACES, Link
from agentmem_server.sharing.redis_copies import RedisCopies
from redis.asyncio import ConnectionPool
from redis.asyncio import Redis as Client
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError
from structlog.testing import capture_logs

# --- URLs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://user:Secret@localhost",
        "redis",
        "redis://localhost:port/Secret",
        "redis://:Secret@localhost:99999/0",
        "redis://localhost/Secret",
        "redis://localhost/-1",
        "redis://localhost/0/1",
        "redis://localhost?db=Secret",
        "redis://:Secret@[::1",
        "unix://",
        "unix://?db=0",
        "redis+cluster://localhost:7000",
        # What it is not for a URL to decide.
        "redis://localhost?decode_responses=Secret",
        "redis://localhost?socket_timeout=60",
        "redis://localhost?max_connections=1",
        "redis://localhost?encoding=Secret",
        "redis://localhost?Secret",
        "redis://localhost?ssl_ca_certs=Secret",
        "rediss://localhost?ssl_there_is_no_such=Secret",
    ],
)
async def test_what_is_no_url_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_REDIS_URL") as refused:
        async with open_sharing(url, "store"):
            pass
    assert "Secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:9",
        "redis://127.0.0.1:9/",
        "redis://127.0.0.1:9/3",
        "redis://user:p%40ss@127.0.0.1:9/0",
        "redis://:pass@127.0.0.1:9?db=3",
        "rediss://127.0.0.1:9/0?ssl_cert_reqs=none",
        "unix:///nowhere/redis.sock",
        "unix:///nowhere/redis.sock?db=1&password=pass",
    ],
)
async def test_a_redis_that_is_away_at_the_start_is_no_error(url: str) -> None:
    async with open_sharing(url, "store") as sharing:
        assert not sharing.is_up
        with pytest.raises(Unavailable, match="can't be reached"):
            await sharing.check()
        assert await sharing.copies.get("result", [b"a", b"b"]) == [None, None]
        await sharing.copies.put("result", {b"a": b"1"}, 60, since=0)
        await sharing.copies.forget()
        assert await sharing.counters.acquire("a", 1, 1, 1) is None
        assert await sharing.counters.window("a", 1, 1) is None
        assert sharing.tallies["result"].misses == 2
        assert sharing.tallies["result"].failures == 0  # it was not asked


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_redis(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "redis":
            raise ModuleNotFoundError(f"No module named {name!r}", name="redis")
        return real(name, *arguments, **options)

    for name in [name for name in sys.modules if name.startswith("agentmem_server.sharing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(InvalidRequest, match=r"agentmem-server\[redis\]"):
        async with open_sharing("redis://localhost", "store"):
            pass


# --- When Redis is asked ---------------------------------------------------------------------


class Operations:
    """Operations that answer, fail or hang, and count."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self) -> int:
        self.asked += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.asked

    async def rehearse(self) -> None:
        if self.failure is not None:
            raise self.failure


async def opened(operations: Operations) -> Link:
    link = Link(ConnectionPool(), operations.rehearse)
    assert await link.probe()
    return link


LOST = [
    (ConnectionError("Secret"), "can't be reached"),
    (OSError("Secret"), "can't be reached"),
    (TimeoutError("Secret"), "does not answer within"),
    (AuthenticationError("Secret"), "refuses the user or the password"),
]


@pytest.mark.parametrize(("failure", "reason"), LOST)
async def test_after_a_failure_nothing_is_asked_until_a_probe_went_well(
    failure: Exception, reason: str
) -> None:
    operations = Operations()
    with capture_logs() as logs:
        link = await opened(operations)
        assert await link.ask("limit", operations.run) == 1
        operations.failure = failure
        for _ in range(5):
            assert await link.ask("limit", operations.run) is None
        assert operations.asked == 2
        assert link.tallies["limit"].failures == 1
        for _ in range(3):
            assert not await link.probe()
        assert await link.ask("limit", operations.run) is None
        assert operations.asked == 2
        assert reason in link.reason
        operations.failure = None
        for _ in range(3):
            assert await link.probe()
        assert await link.ask("limit", operations.run) == 3
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("Redis is away", "warning"),
        ("Redis is back", "info"),
    ]
    assert "Secret" not in str(logs) + link.reason


async def test_an_error_that_is_an_answer_is_of_one_operation_alone() -> None:
    operations = Operations()
    link = await opened(operations)
    operations.failure = ResponseError("WRONGTYPE Secret")
    for _ in range(3):
        assert await link.ask("limit", operations.run) is None
    assert link.is_up
    assert operations.asked == link.tallies["limit"].failures == 3
    assert not await link.probe()  # where it is the answer to all
    assert not link.is_up
    assert "Secret" not in link.reason


async def test_who_asks_at_once_of_what_hangs_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "TIMEOUT", 0.05)
    operations = Operations()
    link = await opened(operations)
    operations.gate.clear()
    answers = await asyncio.gather(*(link.ask("limit", operations.run) for _ in range(500)))
    assert answers == [None] * 500
    assert operations.asked == PLACES  # all others saw that it is away when their turn came
    assert not link.is_up


async def test_a_defect_is_no_failure_of_redis() -> None:
    operations = Operations()
    link = await opened(operations)
    operations.failure = KeyError("ours")
    with pytest.raises(KeyError):
        await link.ask("limit", operations.run)
    assert link.is_up


# --- What is erased while it is written ------------------------------------------------------


class Erasing:
    """A link by which nothing goes; with the first write a user is erased, and swept at once."""

    def __init__(self) -> None:
        self.tallies = {"result": Tally()}
        self.asked: list[str] = []
        self.copies: RedisCopies | None = None

    async def ask(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        assert self.copies is not None
        self.asked.append(name)
        if self.asked == ["result"]:
            await self.copies.forget()
        return 0 if name == "erasure" else True


async def test_what_was_written_around_an_erasure_is_removed_and_no_more_written() -> None:
    link, woken = Erasing(), asyncio.Event()
    copies = RedisCopies(cast("Link", link), Client(), "prefix:", woken.set)
    link.copies = copies
    await copies.put("result", {b"%d" % n: b"" for n in range(250)}, 60, since=0)
    assert link.asked == ["result", "erasure"]  # of three parts the first, and the sweep meanwhile
    assert woken.is_set()
    await copies.settle()
    assert link.asked == ["result", "erasure", "erasure"]
    await copies.settle()  # nothing is owed any more
    assert len(link.asked) == 3


async def test_what_was_computed_before_an_erasure_is_not_written() -> None:
    link, woken = Erasing(), asyncio.Event()
    copies = RedisCopies(cast("Link", link), Client(), "prefix:", woken.set)
    copies.forget_soon()
    await copies.put("result", {b"a": b""}, 60, since=0)
    assert link.asked == []


# --- Results ---------------------------------------------------------------------------------


class Shelf:
    """Copies in a dict."""

    def __init__(self) -> None:
        self.erasures = 0
        self.kept: dict[bytes, bytes] = {}
        self.ttls: list[float] = []

    async def get(self, kind: Kind, keys: Sequence[bytes]) -> list[bytes | None]:
        assert kind == "result"
        return [self.kept.get(key) for key in keys]

    async def put(
        self, kind: Kind, values: Mapping[bytes, bytes], ttl: float, *, since: int
    ) -> None:
        assert kind == "result"
        if since == self.erasures:
            self.kept.update(values)
            self.ttls.append(ttl)

    async def forget(self) -> None:
        raise AssertionError

    def forget_soon(self) -> None:
        raise AssertionError


def computing(found: Found, calls: list[int]) -> Callable[[], Awaitable[Found]]:
    async def compute() -> Found:
        calls.append(1)
        return found

    return compute


def results(shelf: Shelf, max_entries: int = 10) -> Results:
    return Results(shelf, max_entries=max_entries, ttl=60)


REQUEST = m.SearchRequest(query="cat")


async def ask(
    of: Results,
    calls: list[int],
    found: Found,
    caller: Caller,
    request: m.SearchRequest = REQUEST,
    version: int = 1,
) -> Found:
    key = (caller, request.collection, version, digest_of(request))
    return of.kept(key) or await of.get_or_compute(key, computing(found, calls))


@pytest.mark.parametrize("seconds", [None, 20, 3_600])
async def test_a_result_comes_back_as_it_was(seconds: int | None) -> None:
    shelf, calls = Shelf(), list[int]()
    expires_at = None if seconds is None else times.now() + seconds * 1_000_000
    found = Found(b'{"hits":[]}', expires_at, refreshed=False)
    assert await ask(results(shelf), calls, found, Caller("t")) == found
    assert await ask(results(shelf), calls, found, Caller("t")) == found
    assert len(calls) == 1
    assert shelf.ttls == [pytest.approx(20 if seconds == 20 else 60, abs=1)]


@pytest.mark.parametrize(
    "found",
    [
        Found(b"{}", None, refreshed=True),
        Found(b"x" * 1_000_001, None, refreshed=False),
        Found(b"{}", 1, refreshed=False),
    ],
    ids=["refreshed", "large", "expired"],
)
async def test_what_is_not_kept_here_is_not_shared(found: Found) -> None:
    shelf = Shelf()
    await ask(results(shelf), [], found, Caller("t"))
    assert shelf.kept == {}


async def test_where_none_is_kept_none_is_shared() -> None:
    shelf = Shelf()
    await ask(results(shelf, max_entries=0), [], Found(b"{}", None, False), Caller("t"))
    assert shelf.kept == {}


async def test_a_result_that_expired_in_the_shelf_is_computed() -> None:
    shelf, calls = Shelf(), list[int]()
    at = times.now() + 100_000
    await ask(results(shelf), calls, Found(b"old", at, False), Caller("t"))
    assert len(shelf.kept) == 1
    await asyncio.sleep(0.11)
    found = await ask(results(shelf), calls, Found(b"new", None, False), Caller("t"))
    assert found.body == b"new"


async def test_what_is_too_short_to_be_a_result_is_none() -> None:
    shelf = Shelf()
    found = Found(b"good", None, False)
    await ask(results(shelf), [], found, Caller("t"))
    shelf.kept = dict.fromkeys(shelf.kept, b"short")
    assert await ask(results(shelf), [], found, Caller("t")) == found


async def test_each_caller_collection_version_and_request_has_a_result_of_its_own() -> None:
    shelf = Shelf()
    callers = [Caller("t"), Caller("t", "u"), Caller("t", "null"), Caller("u"), Caller("t,u")]
    callers += [Caller('t"'), Caller("t", '"'), Caller("", "t"), Caller("t", "")]
    requests = [
        REQUEST,
        m.SearchRequest(query="dog"),
        m.SearchRequest(query="cat", limit=3),
        m.SearchRequest(query="cat", collection="other"),
        m.SearchRequest(query="cat", user_id="u"),
    ]
    cases = [
        (caller, request, version)
        for caller in callers
        for request in requests
        for version in (1, 2)
    ]
    for _ in range(2):
        for number, (caller, request, version) in enumerate(cases):
            found = Found(b"%d" % number, None, False)
            assert await ask(results(shelf), [], found, caller, request, version) == found
    assert len(shelf.kept) == len(cases)


async def test_those_who_ask_at_once_compute_once() -> None:
    shelf, calls = Shelf(), list[int]()
    of = results(shelf)
    found = Found(b"{}", None, False)
    await asyncio.gather(*(ask(of, calls, found, Caller("t")) for _ in range(20)))
    assert len(calls) == 1


async def test_nothing_is_shared_with_nobody() -> None:
    await NO_COPIES.put("result", {b"a": b"1"}, 60, since=NO_COPIES.erasures)
    assert await NO_COPIES.get("result", [b"a"]) == [None]


# --- Windows ---------------------------------------------------------------------------------


class Counting:
    """Shared windows, as far as these tests need them; away when told to."""

    def __init__(self) -> None:
        self.is_away = False
        self.taken = 0
        self.age = 0.0

    async def acquire(self, key: str, limit: int, expiry: int, amount: int) -> bool | None:
        if self.is_away:
            return None
        if self.taken + amount > limit:
            return False
        self.taken += amount
        return True

    async def window(self, key: str, limit: int, expiry: int) -> tuple[float, int] | None:
        return None if self.is_away else (self.age, self.taken)


async def test_shared_windows_decide_while_they_can() -> None:
    counters = Counting()
    counters.taken = 1  # by another server
    windows = SharedWindows(counters, clock=lambda: 1_000.0)
    assert await windows.acquire_entry("a", 2, 10)
    assert not await windows.acquire_entry("a", 2, 10)
    counters.age = 7.5
    assert await windows.get_moving_window("a", 2, 10) == (992.5, 2)


async def test_a_limit_goes_on_from_what_this_server_let_through() -> None:
    counters = Counting()
    windows = SharedWindows(counters, clock=lambda: 1_000.0)
    assert await windows.acquire_entry("a", 3, 10)
    assert await windows.acquire_entry("a", 3, 10)
    counters.is_away = True
    assert await windows.acquire_entry("a", 3, 10)
    assert not await windows.acquire_entry("a", 3, 10)
    assert await windows.get_moving_window("a", 3, 10) == (1_000.0, 3)
    counters.is_away = False
    assert await windows.get_moving_window("a", 3, 10) == (1_000.0, 2)
    assert await windows.acquire_entry("a", 3, 10)  # though here it is full: the shared one decides
