"""Several servers of one database: the client goes on with another one when one fails."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    AgentMemError,
    AsyncAgentMemClient,
    ConnectionFailed,
    Event,
    InternalError,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
)

MemoryJson = Callable[..., dict[str, Any]]
EventJson = Callable[..., dict[str, Any]]
ErrorJson = Callable[..., dict[str, Any]]
FeedAnswer = Callable[..., httpx.Response]

A, B, C = "http://a.test:8080", "http://b.test:8080", "http://c.test:8080"
PATH = "/api/v1/memories"

pytestmark = pytest.mark.respx(assert_all_called=False)


@pytest.fixture
async def client() -> AsyncIterator[AsyncAgentMemClient]:
    async with AsyncAgentMemClient([A, B], "am_secret-key") as client:
        yield client


def asked(respx_mock: respx.MockRouter) -> str:
    """The servers in the order in which they were asked, by their letters."""
    return "".join(call.request.url.host[0] for call in respx_mock.calls)


def answer(respx_mock: respx.MockRouter, server: str, *answers: httpx.Response | Exception) -> None:
    """A server's answers, the last one for ever."""

    def next_one(_request: httpx.Request) -> httpx.Response:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    left = list(answers)
    respx_mock.route(url__startswith=server).mock(side_effect=next_one)


FAILURES: list[httpx.Response | Exception] = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("disconnected"),
    httpx.Response(502),
    httpx.Response(503),
    httpx.Response(503, headers={"Retry-After": "30"}),
    httpx.Response(504),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_another_server_is_asked_at_once_and_stayed_with(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
    failure: httpx.Response | Exception,
) -> None:
    answer(respx_mock, A, failure)
    answer(respx_mock, B, httpx.Response(201, json=memory_json()))
    for _ in range(3):
        assert (await client.add("text")).id == "m1"
    assert asked(respx_mock) == "abbb"
    assert not any(waits)
    first, second, *_ = (call.request for call in respx_mock.calls)
    assert first.content == second.content  # with its id: it is one memory, wherever it is stored
    assert str(second.url) == f"{B}{PATH}"
    assert second.headers["Host"] == "b.test:8080"
    assert second.headers["X-API-Key"] == "am_secret-key"


async def test_there_is_no_return_to_the_first_one_until_the_second_fails(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    good, down = httpx.Response(200, json=memory_json()), httpx.ConnectError("refused")
    answer(respx_mock, A, down, good)
    answer(respx_mock, B, good, good, down)
    for _ in range(4):
        await client.get("m1")
    assert asked(respx_mock) == "abb" + "ba" + "a"


@pytest.mark.usefixtures("longest_waits")
async def test_the_waits_come_when_all_have_failed(
    respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    for server in (A, B, C):
        answer(respx_mock, server, httpx.ConnectError("refused"))
    async with AsyncAgentMemClient((A, B, C), max_retries=2) as client:
        with pytest.raises(ConnectionFailed):
            await client.add("text")
    assert asked(respx_mock) == "abc" * 3
    assert waits == [0, 0, 0.5, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(("settings", "wanted"), [({}, "ab"), ({"max_retry_seconds": 0}, "a")])
async def test_without_retries_each_server_is_asked_once(
    respx_mock: respx.MockRouter, waits: list[float], settings: dict[str, Any], wanted: str
) -> None:
    for server in (A, B):
        answer(respx_mock, server, httpx.ReadTimeout("slow"))
    async with AsyncAgentMemClient([A, B], max_retries=0, **settings) as client:
        with pytest.raises(AgentMemError):
            await client.add("text")
    assert asked(respx_mock) == wanted
    assert not any(waits)


@pytest.mark.usefixtures("longest_waits")
async def test_the_others_are_asked_before_retry_after_is_waited_for(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
) -> None:
    good, full = httpx.Response(201, json=memory_json()), {"Retry-After": "7"}
    answer(respx_mock, A, httpx.Response(503, headers=full), good)
    answer(respx_mock, B, httpx.ConnectError("refused"))
    await client.add("text")
    assert (asked(respx_mock), waits) == ("aba", [0, 7.5])
    await client.add("text")
    assert asked(respx_mock) == "abaa"  # it was never left for the dead one


@pytest.mark.usefixtures("longest_waits")
async def test_a_limit_of_the_key_is_waited_for_and_not_gone_round(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    waits: list[float],
) -> None:
    limited = httpx.Response(429, headers={"Retry-After": "1"})
    answer(respx_mock, A, limited, limited, httpx.Response(201, json=memory_json()))
    await client.add("text")
    assert (asked(respx_mock), waits) == ("aaa", [1.5, 2])
    answer(respx_mock, A, limited)
    async with AsyncAgentMemClient([A, B], max_retries=0) as hasty:
        with pytest.raises(RateLimited):
            await hasty.add("text")
    assert asked(respx_mock) == "aaaa"


@pytest.mark.parametrize(
    ("status", "error"), [(401, Unauthorized), (404, NotFound), (500, InternalError)]
)
async def test_what_will_not_pass_is_not_tried_elsewhere(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    status: int,
    error: type[AgentMemError],
) -> None:
    answer(respx_mock, A, httpx.Response(status))
    with pytest.raises(error) as caught:
        await client.add("text")
    assert asked(respx_mock) == "a"
    assert "b.test" not in str(caught.value)


async def test_an_error_names_each_server_and_no_key(
    respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    answer(respx_mock, A, httpx.ConnectError("[Errno 111] Connection refused"))
    away = error_json("unavailable", "the database is away")
    answer(respx_mock, B, httpx.Response(503, json=away, headers={"Retry-After": "1"}))
    async with AsyncAgentMemClient([A, B], "am_secret-key", max_retries=0) as client:
        with pytest.raises(Unavailable) as caught:
            await client.add("text")
    error = caught.value
    assert str(error) == (
        f"{A}: no answer from a.test:8080: [Errno 111] Connection refused; "
        f"{B}: the database is away (request req-1)"
    )
    assert (error.retry_after, error.request_id) == (1, "req-1")
    assert "secret" not in repr(error) + repr(vars(error))


async def test_a_read_after_a_lost_answer_counts_as_repeated(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    # The first server deleted it, and its answer was lost; the second finds nothing to delete.
    page = httpx.Response(200, json={"memories": [memory_json()]})
    answer(respx_mock, A, page, httpx.ReadError("reset"))
    answer(respx_mock, B, httpx.Response(200, json={"deleted": 0, "memories": []}))
    assert [memory.id for memory in await client.pop(1)] == ["m1"]
    assert asked(respx_mock) == "aab"


async def test_health_is_that_of_the_server_in_use(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    health = {"version": "1", "uptime_seconds": 1}
    answer(respx_mock, A, httpx.Response(503, json={"status": "unhealthy"} | health))
    assert (await client.health()).status == "unhealthy"
    answer(respx_mock, A, httpx.ConnectError("refused"))
    answer(respx_mock, B, httpx.Response(200, json={"status": "healthy"} | health))
    assert (await client.health()).status == "healthy"
    assert asked(respx_mock) == "aab"


async def follow(client: AsyncAgentMemClient, wanted: int) -> list[Event]:
    found: list[Event] = []
    async with aclosing(client.events(after=0)) as events:
        async for event in events:
            found.append(event)
            if len(found) == wanted:
                break
    return found


@pytest.mark.parametrize(
    "ending",
    [
        httpx.ReadError("reset"),
        'event: end\ndata: {"error": {"code": "unavailable", "message": "shutting down"}}\n\n',
        "",
    ],
    ids=repr,
)
async def test_the_feed_goes_on_at_another_server_after_its_last_event(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
    memory_json: MemoryJson,
    waits: list[float],
    ending: str | Exception,
) -> None:
    respx_mock.get(f"{A}/api/v1/events").mock(
        side_effect=[
            feed(0, event_json(1), event_json(2), ending),
            httpx.ConnectError("refused"),
            feed(3, event_json(4)),
        ]
    )
    respx_mock.get(f"{B}/api/v1/events").mock(
        side_effect=[feed(2, event_json(3), ending), httpx.ConnectError("refused")]
    )
    assert [event.id for event in await follow(client, 4)] == [1, 2, 3, 4]
    resumed = [call.request.headers.get("Last-Event-ID") for call in respx_mock.calls]
    assert (asked(respx_mock), resumed) == ("ababa", [None, "2", "3", "3", "3"])
    # Only when both had failed: the second one after its event, the first one, the second again.
    assert [wait > 0 for wait in waits] == [False, False, True, False]


async def test_a_feed_that_no_server_gives_is_an_error_that_names_them(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    for server in (A, B):
        answer(respx_mock, server, httpx.ConnectError("refused"))
    with pytest.raises(ConnectionFailed, match=f"{A}: .*; {B}: "):
        await follow(client, 1)
    assert asked(respx_mock) == "ab" * 4
    assert len([wait for wait in waits if wait]) == 3
