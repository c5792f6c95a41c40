"""What requests are named, and what is told of them."""

import asyncio
from itertools import chain, repeat
from typing import Any
from uuid import UUID

import pytest
from agentmem_server.middleware.request_report import RequestReport
from agentmem_server.telemetry.metrics import Metrics
from structlog.testing import capture_logs

Messages = list[dict[str, Any]]


class Requests:
    """Sends requests to a report of its own; what is behind it sends some messages."""

    def __init__(self, *messages: dict[str, Any], error: Exception | None = None) -> None:
        self.messages = messages
        self.error = error
        self.metrics = Metrics("1")
        self.told: list[tuple[str, str | None, int]] = []
        self.metrics.request = lambda *it: self.told.append(it[:3])  # type: ignore[method-assign]  # in its place
        self.report = RequestReport(self._behind, self.metrics)

    async def _behind(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.metrics.in_progress == (scope["type"] == "http")
        for message in self.messages:
            await send(dict(message))
        if self.error is not None:
            raise self.error

    async def send(self, *headers: tuple[bytes, bytes], kind: str = "http") -> Messages:
        sent: Messages = []

        async def receive() -> Any:
            raise AssertionError("the body is not the report's to read")

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": kind, "path": "/", "headers": [*headers]}
        if kind == "http":
            scope["method"] = "GET"
        await self.report(scope, receive, send)
        return sent


START = {"type": "http.response.start", "status": 204, "headers": [(b"a", b"b")]}
BODY = {"type": "http.response.body", "body": b""}


async def test_new_ids_are_different_and_in_the_order_of_the_requests() -> None:
    requests = Requests(START, BODY)
    ids = []
    for number in range(2_000):
        (start, _) = await requests.send()
        assert start["headers"][0] == (b"a", b"b")
        ids.append(dict(start["headers"])[b"x-request-id"].decode())
        if number % 500 == 0:
            await asyncio.sleep(0.002)
    assert sorted(set(ids)) == ids
    assert {UUID(id).version for id in ids} == {7}
    assert {UUID(id).variant for id in ids} == {UUID(int=2 << 62).variant}
    assert START["headers"] == [(b"a", b"b")]


async def test_ids_are_in_order_where_one_is_drawn_as_a_millisecond_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = Requests(START, BODY)
    times = chain([1_999_999, 2_000_000], repeat(2_000_001))  # in nanoseconds
    monkeypatch.setattr("time.time_ns", lambda: next(times) + 10**18)
    ids = [dict((await requests.send())[0]["headers"])[b"x-request-id"] for _ in range(20)]
    assert sorted(ids) == ids
    assert len({id[:24] for id in ids}) == 1  # drawn once


async def test_of_two_reports_each_has_its_own_ids() -> None:
    one, other = Requests(START, BODY), Requests(START, BODY)
    ids = [
        (await requests.send())[0]["headers"][1] for _ in range(100) for requests in (one, other)
    ]
    assert len(set(ids)) == 200


async def test_an_id_that_is_given_is_kept_the_last_one_if_there_are_two() -> None:
    requests = Requests(START, BODY)
    (start, _) = await requests.send((b"x-request-id", b"1"), (b"x-request-id", b"2"))
    assert dict(start["headers"])[b"x-request-id"] == b"2"
    (start, _) = await requests.send((b"x-request-id", b"1"), (b"x-request-id", b"no id"))
    assert len(dict(start["headers"])[b"x-request-id"]) == 36


@pytest.mark.parametrize(
    ("kind", "messages", "status"),
    [
        ("http", [START, BODY], 204),
        ("http", [], 499),
        ("websocket", [], 499),
        ("websocket", [{"type": "websocket.accept"}], 101),
        ("websocket", [{"type": "websocket.accept"}, {"type": "websocket.close"}], 101),
        ("websocket", [{"type": "websocket.close"}], 403),
        ("websocket", [{"type": "websocket.http.response.start", "status": 401}], 401),
    ],
)
@pytest.mark.parametrize("error", [None, KeyError("x")])
async def test_each_answer_is_told_of(
    kind: str, messages: Messages, status: int, error: Exception | None
) -> None:
    requests = Requests(*messages, error=error)
    with capture_logs() as logs:
        if error is None:
            await requests.send(kind=kind)
        else:
            with pytest.raises(KeyError):
                await requests.send(kind=kind)
    (line,) = logs
    assert (line["event"], line["status"], line["method"]) == ("request", status, "GET")
    assert requests.told == ([("GET", None, status)] if kind == "http" else [])
    assert requests.metrics.in_progress == 0


async def test_what_is_no_request_passes() -> None:
    requests = Requests()
    with capture_logs() as logs:
        assert await requests.send(kind="lifespan") == []
    assert logs == []
