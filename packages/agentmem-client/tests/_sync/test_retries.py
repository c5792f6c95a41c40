# Generated from tests/_async/test_retries.py by scripts/generate_sync.py: do not edit.
"""Which failures are tried again, when, and for how long."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    AgentMemClient,
    AgentMemError,
    ConnectionFailed,
    RateLimited,
    RequestTimedOut,
    Unavailable,
)

MemoryJson = Callable[..., dict[str, Any]]
ErrorJson = Callable[..., dict[str, Any]]

URL = "http://agentmem.test/api/v1/memories"

TRANSIENT: list[httpx.Response | Exception] = [
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("disconnected"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadTimeout("slow"),
    httpx.Response(429),
    httpx.Response(502),
    httpx.Response(503),
    httpx.Response(504),
]
LASTING: list[httpx.Response | Exception] = [
    httpx.Response(200, text="not json"),
    httpx.Response(302),
    *(httpx.Response(status) for status in (400, 401, 403, 404, 405, 409, 413, 415, 422)),
    httpx.Response(500),
    httpx.Response(501),
    httpx.LocalProtocolError("bad header"),
    httpx.DecodingError("bad gzip"),
]


def name(failure: httpx.Response | Exception) -> str:
    if isinstance(failure, httpx.Response):
        return str(failure.status_code)
    return type(failure).__name__


@pytest.mark.parametrize("failure", TRANSIENT, ids=name)
def test_what_may_pass_is_tried_again(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
    failure: httpx.Response | Exception,
) -> None:
    good = httpx.Response(201, json=memory_json())
    route = respx_mock.post(URL).mock(side_effect=[failure, failure, good])
    memory = client.add("text")
    assert memory.id == "m1"
    assert route.call_count == 3
    assert len(waits) == 2


@pytest.mark.parametrize("failure", LASTING, ids=name)
def test_what_will_not_pass_is_raised_at_once(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    waits: list[float],
    failure: httpx.Response | Exception,
) -> None:
    route = respx_mock.post(URL).mock(side_effect=[failure])
    with pytest.raises(AgentMemError):
        client.add("text")
    assert route.call_count == 1
    assert waits == []


def test_every_try_is_the_same_request(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    good = httpx.Response(201, json=memory_json())
    route = respx_mock.post(URL).mock(
        side_effect=[
            httpx.ReadTimeout("slow"),
            httpx.Response(503),
            httpx.ReadError("reset"),
            good,
        ]
    )
    client.add("text", metadata={"a": 1})
    bodies = {call.request.content for call in route.calls}
    assert len(bodies) == 1
    assert b'"id":"' in bodies.pop()
    assert {call.request.headers["X-API-Key"] for call in route.calls} == {"am_secret-key"}


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_the_last_error_is_raised_when_the_tries_are_used_up(
    respx_mock: respx.MockRouter, error_json: ErrorJson, max_retries: int
) -> None:
    first: list[httpx.Response | Exception] = [httpx.ConnectError("refused")] * max_retries
    last = httpx.Response(503, json=error_json("overloaded", "the last one"))
    route = respx_mock.post(URL).mock(side_effect=[*first, last])
    with AgentMemClient("http://agentmem.test", max_retries=max_retries) as client:
        with pytest.raises(Unavailable, match="the last one"):
            client.add("text")
    assert route.call_count == max_retries + 1


@pytest.mark.usefixtures("longest_waits")
def test_the_waits_double_up_to_eight_seconds(
    respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    respx_mock.post(URL).mock(side_effect=httpx.ConnectError("refused"))
    with AgentMemClient("http://agentmem.test", max_retries=7) as client:
        with pytest.raises(ConnectionFailed):
            client.add("text")
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_the_waits_are_random(
    client: AgentMemClient, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    respx_mock.post(URL).mock(side_effect=httpx.ConnectError("refused"))
    for _ in range(30):
        with pytest.raises(ConnectionFailed):
            client.add("text")
        # The tries' clock goes on from one add to the next, as it does outside of tests.
    first, second, third = waits[0::3], waits[1::3], waits[2::3]
    for drawn, bound in ((first, 0.5), (second, 1), (third, 2)):
        assert len(set(drawn)) > 20
        assert 0 <= min(drawn) < bound / 3
        assert bound * 2 / 3 < max(drawn) <= bound


@pytest.mark.parametrize("status", [429, 503])
def test_no_try_comes_before_retry_after(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    error_json: ErrorJson,
    waits: list[float],
    status: int,
) -> None:
    code = "rate_limited" if status == 429 else "overloaded"
    refusal = httpx.Response(status, json=error_json(code), headers={"Retry-After": "7"})
    good = httpx.Response(201, json=memory_json())
    respx_mock.post(URL).mock(side_effect=[refusal, refusal, good])
    client.add("text")
    assert 7 <= waits[0] <= 7.5
    assert 7 <= waits[1] <= 8
    assert waits[0] != 7  # turned away together, not back together


def test_retry_after_may_be_a_date(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    refusal = httpx.Response(503, headers={"Retry-After": date})
    respx_mock.post(URL).mock(side_effect=[refusal, httpx.Response(201, json=memory_json())])
    client.add("text")
    assert 18 < waits[0] <= 20.5


def test_a_wait_past_the_time_cap_is_not_begun(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: ErrorJson,
    waits: list[float],
) -> None:
    refusal = error_json("rate_limited", "come back tomorrow")
    headers = {"Retry-After": "61"}
    route = respx_mock.post(URL).respond(429, json=refusal, headers=headers)
    with pytest.raises(RateLimited, match="come back tomorrow") as caught:
        client.add("text")
    assert caught.value.retry_after == 61
    assert (route.call_count, waits) == (1, [])


@pytest.mark.usefixtures("longest_waits")
def test_the_time_cap_counts_from_the_first_try(
    respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    route = respx_mock.post(URL).mock(side_effect=httpx.ReadTimeout("slow"))
    with AgentMemClient("http://agentmem.test", max_retries=100, max_retry_seconds=20) as client:
        with pytest.raises(RequestTimedOut):
            client.add("text")
    assert waits == [0.5, 1, 2, 4, 8]  # 15.5 seconds; 8 more would be past the 20
    assert route.call_count == 6


def test_reads_and_deletes_are_tried_again_too(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    failure = httpx.Response(503)
    respx_mock.get(f"{URL}/m1").mock(side_effect=[failure, httpx.Response(200, json=memory_json())])
    respx_mock.delete(f"{URL}/m1").mock(
        side_effect=[failure, httpx.Response(200, json={"deleted": 1})]
    )
    assert (client.get("m1")).id == "m1"
    assert client.delete("m1")


def test_to_be_told_when_to_come_back_takes_no_try(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
) -> None:
    full = httpx.Response(429, headers={"Retry-After": "1"})
    lost, down = httpx.ReadError("reset"), httpx.Response(503)
    good = httpx.Response(201, json=memory_json())
    route = respx_mock.post(URL).mock(side_effect=[full, full, lost, full, down, full, full, good])
    assert (client.add("text")).id == "m1"
    assert route.call_count == 8
    assert [wait >= 1 for wait in waits].count(True) >= 5


def test_a_client_without_retries_waits_for_nothing(
    respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    refusal = httpx.Response(429, headers={"Retry-After": "1"})
    route = respx_mock.post(URL).mock(return_value=refusal)
    with AgentMemClient("http://agentmem.test", max_retries=0) as client:
        with pytest.raises(RateLimited):
            client.add("text")
    assert (route.call_count, waits) == (1, [])
