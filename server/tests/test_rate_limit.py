"""The limit holds for each key and each address, and tells all what is left."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from agentmem_client.errors import APIError, Unauthorized
from agentmem_server.access.access import OPERATOR, Access
from agentmem_server.access.callers import Caller
from agentmem_server.access.keyring import Keyring
from agentmem_server.access.windows import Windows
from agentmem_server.addresses import client_network, is_loopback, parse_networks
from agentmem_server.middleware.failures import Failures
from agentmem_server.middleware.rate_limit import RateLimit
from agentmem_server.middleware.request_report import RequestReport
from agentmem_server.storage import ApiKey, Outcome, Write
from agentmem_server.telemetry.metrics import Metrics

Message = dict[str, Any]
NO_KEY = Unauthorized("send a key")


class NoKeys:
    """A store that is never asked."""

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        raise AssertionError

    async def key(self, id: str) -> ApiKey | None:
        raise AssertionError

    async def keys(self, tenant: str | None) -> list[ApiKey]:
        raise AssertionError

    async def has_keys(self) -> bool:
        raise AssertionError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Asker:
    """Sends requests through the limit; what is behind it answers 200.

    What is in front of it answers refusals, and puts into each answer what is told in its headers.
    """

    def __init__(self, *, rate: float = 2.0, open_rate: float = 0.0, has_keys: bool = True) -> None:
        self.clock = Clock()
        self.reached = 0
        keyring = Keyring(NoKeys(), "k" * 32 if has_keys else None, rate)
        limit = RateLimit(self._behind, keyring, open_rate, Windows(clock=self.clock))
        self.app = RequestReport(Failures(limit, routes=[]), Metrics("1"))

    async def _behind(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.reached += 1
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": []})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(
        self,
        access: Access | APIError,
        client: str | None = "203.0.113.7",
        *,
        path: str = "/api/v1/memories",
        kind: str = "http",
        extensions: dict[str, Any] | None = None,
    ) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Any:
            raise AssertionError("the body is not the limit's to read")

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": kind,
            "path": path,
            "headers": [],
            **({"method": "GET"} if kind == "http" else {}),
            "client": None if client is None else (client, 1),
            "state": {"access": access},
            "extensions": extensions or {},
        }
        await self.app(scope, receive, send)
        return sent

    async def ask(self, *arguments: Any, **options: Any) -> tuple[int, dict[str, str]]:
        start = (await self.send(*arguments, **options))[0]
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers

    async def statuses(self, times: int, *arguments: Any, **options: Any) -> list[int]:
        return [(await self.ask(*arguments, **options))[0] for _ in range(times)]


def of_key(id: str = "a" * 16, rate: float | None = None) -> Access:
    return Access(Caller("t"), frozenset({"read"}), id, rate)


async def test_a_key_has_so_many_a_second() -> None:
    asker = Asker()
    assert await asker.statuses(4, of_key()) == [200, 200, 429, 429]
    asker.clock.now += 1
    assert await asker.statuses(3, of_key()) == [200, 200, 429]
    assert asker.reached == 4


async def test_every_answer_tells_what_is_left() -> None:
    asker = Asker()
    told = []
    for _ in range(3):
        status, headers = await asker.ask(of_key())
        told.append(
            (status, *(headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")))
        )
        asker.clock.now += 0.25
    assert told == [(200, "2", "1", "1"), (200, "2", "0", "1"), (429, "2", "0", "1")]


async def test_a_refusal_says_when_to_come_again() -> None:
    asker = Asker(rate=0.1)
    assert (await asker.ask(of_key()))[0] == 200
    asker.clock.now += 2.5
    start, body = await asker.send(of_key())
    headers = dict(start["headers"])
    assert headers[b"retry-after"] == headers[b"ratelimit-reset"] == b"8"
    error = json.loads(body["body"])["error"]
    assert error["code"] == "rate_limited"
    assert "Retry-After" in error["message"]
    assert error["details"] == {"limit": 1, "window_seconds": 10}
    asker.clock.now += 8
    assert (await asker.ask(of_key()))[0] == 200


async def test_who_comes_when_told_is_let_through() -> None:
    asker = Asker(rate=3)
    asker.clock.now = 1_234.567
    for _ in range(20):
        status, headers = await asker.ask(of_key())
        if status == 429:
            asker.clock.now += int(headers["retry-after"])
            assert (await asker.ask(of_key()))[0] == 200
        asker.clock.now += 0.1


@pytest.mark.parametrize(
    ("rate", "at_once", "again_after"),
    [(0.5, 1, 2), (1, 1, 1), (1.5, 3, 2), (0.1, 1, 10), (0.01, 1, 100), (0.3, 3, 10), (7, 7, 1)],
)
async def test_rates_that_are_no_whole_numbers(rate: float, at_once: int, again_after: int) -> None:
    asker = Asker()
    access = of_key(rate=rate)
    for _ in range(2):
        assert await asker.statuses(at_once + 1, access) == [200] * at_once + [429]
        asker.clock.now += again_after - 0.01
        assert await asker.statuses(1, access) == [429]
        asker.clock.now += 0.02


@pytest.mark.parametrize("rate", [1e-300, 5e-324, 1e6, 1e300])
async def test_rates_beyond_all_use(rate: float) -> None:
    assert (await Asker(rate=rate).ask(of_key()))[0] == 200


async def test_each_key_has_its_own_limit_wherever_it_comes_from() -> None:
    asker = Asker()
    slow, fast, free = of_key("b" * 16, 1), of_key("c" * 16, 5), of_key("d" * 16, 0)
    assert await asker.statuses(3, of_key()) == [200, 200, 429]
    assert await asker.statuses(2, slow) == [200, 429]
    assert await asker.statuses(6, fast) == [200] * 5 + [429]
    assert await asker.statuses(50, free) == [200] * 50
    assert await asker.statuses(1, of_key(), "198.51.100.1") == [429]
    assert "ratelimit-limit" not in (await asker.ask(free))[1]


async def test_the_operators_key_is_limited_like_others() -> None:
    operator = Access(Caller("default"), frozenset({"admin"}), is_operator=True)
    assert await Asker().statuses(3, operator) == [200, 200, 429]


async def test_without_a_good_key_the_address_counts() -> None:
    asker = Asker()
    assert await asker.statuses(3, NO_KEY) == [200, 200, 429]
    assert await asker.statuses(3, NO_KEY, "198.51.100.1") == [200, 200, 429]
    assert await asker.statuses(3, NO_KEY, None) == [200, 200, 429]
    assert await asker.statuses(1, of_key()) == [200]


async def test_an_ipv6_client_is_its_network() -> None:
    asker = Asker()
    assert await asker.statuses(2, NO_KEY, "2001:db8::1") == [200, 200]
    assert await asker.statuses(1, NO_KEY, "2001:db8:0:0:ffff::7") == [429]
    assert await asker.statuses(1, NO_KEY, "2001:db8:0:1::1") == [200]


async def test_without_keys_nothing_is_limited_unless_it_is_said() -> None:
    assert await Asker(has_keys=False).statuses(500, OPERATOR) == [200] * 500
    limited = Asker(has_keys=False, open_rate=2)
    assert await limited.statuses(3, OPERATOR) == [200, 200, 429]
    assert await limited.statuses(1, OPERATOR, "127.0.0.2") == [200]


async def test_a_limit_of_0_is_none() -> None:
    asker = Asker(rate=0)
    assert await asker.statuses(500, of_key()) == [200] * 500
    assert await asker.statuses(500, NO_KEY) == [200] * 500
    assert await asker.statuses(2, of_key("b" * 16, 1)) == [200, 429]  # but for this one


async def test_whether_it_lives_may_always_be_asked() -> None:
    asker = Asker()
    assert await asker.statuses(50, NO_KEY, path="/health/live") == [200] * 50
    assert await asker.statuses(3, NO_KEY, path="/health") == [200, 200, 429]


# --- Websockets ------------------------------------------------------------------------------

DENIAL: dict[str, Any] = {"websocket.http.response": {}}


async def test_a_websocket_is_a_request() -> None:
    asker = Asker()
    for _ in range(2):
        (accepted,) = await asker.send(of_key(), kind="websocket", extensions=DENIAL)
        assert accepted["type"] == "websocket.accept"
        assert (b"ratelimit-limit", b"2") in accepted["headers"]
    start, body = await asker.send(of_key(), kind="websocket", extensions=DENIAL)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert {b"retry-after", b"ratelimit-limit"} <= {name.lower() for name, _ in start["headers"]}
    assert json.loads(body["body"])["error"]["code"] == "rate_limited"
    (closed,) = await asker.send(of_key(), kind="websocket")
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


async def test_a_websocket_without_a_good_key_is_refused() -> None:
    asker = Asker()
    start, body = await asker.send(NO_KEY, kind="websocket", extensions=DENIAL)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert json.loads(body["body"])["error"]["code"] == "unauthorized"
    (closed,) = await asker.send(NO_KEY, kind="websocket")
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    start, _ = await asker.send(NO_KEY, kind="websocket", extensions=DENIAL)
    assert start["status"] == 429
    unlimited = Asker(rate=0)
    start, _ = await unlimited.send(NO_KEY, kind="websocket", extensions=DENIAL)
    assert start["status"] == 401
    assert asker.reached == unlimited.reached == 0


# --- Addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
        ("x" * 10_000, "x" * 64),
    ],
)
def test_what_counts_as_one_client(host: str, network: str) -> None:
    assert client_network(host) == network


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.0.1", "::1"])
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "localhost.example.com", "127.0.0.1.nip.io", "0.0.0.0", "::", "10.0.0.1", "127.1"),
        *("null", "a.localhost", "::ffff:10.0.0.1"),
    ],
)
def test_names_that_may_be_another_machines(host: str) -> None:
    assert not is_loopback(host)


def test_networks() -> None:
    assert parse_networks("") == []
    assert parse_networks(" 10.0.0.1, 192.168.0.0/16,2001:db8::/32 ,") == [
        *("10.0.0.1", "192.168.0.0/16", "2001:db8::/32")
    ]
    for wrong in ("*", "proxy.local", "10.0.0.1/8", "10.0.0.1 10.0.0.2", "10.0.0.0/33"):
        with pytest.raises(ValueError, match="addresses or networks"):
            parse_networks(wrong)
