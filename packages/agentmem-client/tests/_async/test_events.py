"""The feed: each event once, in order, over as many connections as it takes."""

import json
from collections.abc import Callable
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
    EventsForgotten,
    InvalidRequest,
    InvalidResponse,
    RateLimited,
    RequestTimedOut,
    Unauthorized,
    Unavailable,
)

EventJson = Callable[..., dict[str, Any]]
FeedAnswer = Callable[..., httpx.Response]

URL = "http://agentmem.test/api/v1/events"
HEARTBEAT = ": still here\n"


async def follow(client: AsyncAgentMemClient, wanted: int, **arguments: Any) -> list[Event]:
    """So many events, and the connection closed after them."""
    found: list[Event] = []
    async with aclosing(client.events(**arguments)) as events:
        async for event in events:
            found.append(event)
            if len(found) == wanted:
                break
    return found


def resumed(route: respx.Route) -> list[str | None]:
    """Where each connection said that the last one got to."""
    return [call.request.headers.get("Last-Event-ID") for call in route.calls]


async def test_events_come_as_they_are_told(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    gone = event_json(9, action="erased", memory_id=None, after=None, user_id="ann")
    route = respx_mock.get(url__startswith=URL).mock(return_value=feed(4, event_json(7), gone))
    added, erased = await follow(
        client,
        2,
        after=4,
        collection="c",
        user_id="u",
        agent_id="a",
        session_id="s",
        namespace=("n",),
    )
    assert (added.id, added.action, added.memory_id, added.version) == (7, "added", "m1", 1)
    assert added.after is not None
    assert added.after.content == "The cat is called Mia."
    assert (erased.action, erased.user_id, erased.after) == ("erased", "ann", None)
    request = route.calls.last.request
    assert dict(request.url.params) == {
        "after": "4",
        "collection": "c",
        "user_id": "u",
        "agent_id": "a",
        "session_id": "s",
        "namespace": '["n"]',
    }
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["X-API-Key"] == "am_secret-key"
    assert request.extensions["timeout"]["read"] == 60
    assert resumed(route) == [None]


@pytest.mark.parametrize(
    "broken",
    [
        httpx.ReadError("reset"),
        httpx.ReadTimeout("silence"),
        httpx.RemoteProtocolError("cut off"),
        "event: added\ndata: {half",
        'event: end\ndata: {"error": {"code": "unavailable", "message": "shutting down"}}\n\n',
        "event: end\ndata: what a proxy says\n\n",
        "",
    ],
    ids=repr,
)
async def test_a_lost_connection_is_taken_up_after_the_last_event(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
    waits: list[float],
    broken: str | Exception,
) -> None:
    route = respx_mock.get(url__startswith=URL).mock(
        side_effect=[
            feed(0, event_json(1), event_json(2), broken),
            feed(2, event_json(3), broken),
            feed(3, event_json(4)),
        ]
    )
    assert [event.id for event in await follow(client, 4, after=0)] == [1, 2, 3, 4]
    assert resumed(route) == [None, "2", "3"]
    assert len(waits) == 2
    assert max(waits) <= 0.5


async def test_what_happens_before_the_first_event_is_not_missed(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    lost = httpx.ReadError("reset")
    route = respx_mock.get(url__startswith=URL).mock(
        side_effect=[
            httpx.ConnectError("refused"),
            feed(40, lost),
            feed(40, HEARTBEAT, 45, lost),
            feed(45, event_json(46)),
        ]
    )
    assert [event.id for event in await follow(client, 1)] == [46]
    assert resumed(route) == [None, None, "40", "45"]
    assert "after" not in route.calls.last.request.url.params


async def test_the_position_may_be_in_the_head_alone(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    cut_off = feed(httpx.ReadError("reset"))
    cut_off.headers["X-Last-Event-ID"] = "40"
    route = respx_mock.get(url__startswith=URL).mock(side_effect=[cut_off, feed(event_json(41))])
    assert [event.id for event in await follow(client, 1)] == [41]
    assert resumed(route) == [None, "40"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_refused_connection_is_tried_again_when_the_server_says(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
    waits: list[float],
    status: int,
) -> None:
    refusal = httpx.Response(status, headers={"Retry-After": "7"})
    route = respx_mock.get(url__startswith=URL).mock(
        side_effect=[
            refusal,
            feed(0, event_json(1), httpx.ReadError("reset")),
            refusal,
            refusal,
            feed(1, event_json(2)),
        ]
    )
    assert [event.id for event in await follow(client, 2)] == [1, 2]
    assert resumed(route) == [None, None, "1", "1", "1"]
    assert [7 <= wait <= 9 for wait in waits] == [True, False, True, True]


async def test_a_sign_of_life_makes_the_count_of_failures_start_anew(
    respx_mock: respx.MockRouter, feed: FeedAnswer, event_json: EventJson
) -> None:
    lost = httpx.ReadError("reset")
    alive = [answer for _ in range(9) for answer in (feed(3, HEARTBEAT, 3, lost), lost)]
    respx_mock.get(url__startswith=URL).mock(side_effect=[*alive, feed(3, event_json(4))])
    async with AsyncAgentMemClient("http://agentmem.test", max_retries=2) as client:
        assert [event.id for event in await follow(client, 1)] == [4]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx.ConnectError("refused"), ConnectionFailed),
        (httpx.ConnectTimeout("slow"), RequestTimedOut),
        (httpx.Response(503), Unavailable),
        (httpx.Response(429), RateLimited),
    ],
)
async def test_failures_in_a_row_are_raised_in_the_end(
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
    failure: httpx.Response | Exception,
    error: type[AgentMemError],
) -> None:
    first = feed(0, event_json(1), httpx.ReadError("reset"))
    route = respx_mock.get(url__startswith=URL).mock(side_effect=[first, *[failure] * 3])
    async with AsyncAgentMemClient("http://agentmem.test", max_retries=3) as client:
        with pytest.raises(error):
            await follow(client, 2)
    assert route.call_count == 4


async def test_a_server_that_only_says_where_it_is_gives_no_sign_of_life(
    respx_mock: respx.MockRouter, feed: FeedAnswer
) -> None:
    ending = 'event: end\ndata: {"error": {"code": "unavailable", "message": "no disk"}}\n\n'
    route = respx_mock.get(url__startswith=URL).mock(side_effect=lambda _request: feed(5, ending))
    async with AsyncAgentMemClient("http://agentmem.test", max_retries=4) as client:
        with pytest.raises(Unavailable, match="no disk"):
            await follow(client, 1)
    assert resumed(route) == [None, *["5"] * 4]


async def test_it_goes_on_for_no_longer_than_the_time_allows(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    refusal = httpx.Response(429, headers={"Retry-After": "25"})
    respx_mock.get(url__startswith=URL).mock(return_value=refusal)
    with pytest.raises(RateLimited):
        await follow(client, 1)
    assert len(waits) == 2  # a third one would end after 75 seconds


async def test_events_that_are_no_longer_kept_are_an_error(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    reset = 'event: reset\ndata: {"oldest": 91}\nid: 90\n\n'
    respx_mock.get(url__startswith=URL).mock(return_value=feed(3, reset, event_json(91)))
    with pytest.raises(EventsForgotten, match="after=90") as caught:
        await follow(client, 1, after=3)
    assert caught.value.oldest == 91


async def test_a_key_that_no_longer_opens_is_an_error(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    error_json: Callable[..., dict[str, Any]],
    waits: list[float],
) -> None:
    revoked = error_json("unauthorized", "this key was revoked")
    told = f"event: end\ndata: {json.dumps(revoked)}\n\n"
    route = respx_mock.get(url__startswith=URL).mock(return_value=feed(3, told))
    with pytest.raises(Unauthorized, match="revoked"):
        await follow(client, 1)
    route.respond(401, json=revoked)
    with pytest.raises(Unauthorized, match="revoked"):
        await follow(client, 1)
    assert (route.call_count, waits) == (2, [])


@pytest.mark.parametrize(
    "pieces",
    [
        ("event: added\ndata: {}\nid: 1\n\n",),
        ("event: added\ndata: hunter2\nid: 1\n\n",),
        ("event: reset\ndata: hunter2\nid: 1\n\n",),
        ("event: reset\ndata: []\nid: 1\n\n",),
        ("event: reset\ndata: {}\nid: 1\n\n",),
        (": no position\n\n", "data: x\n\n"),
        ("id: é\n\n",),
    ],
)
async def test_what_is_no_feed_of_ours_is_refused(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    pieces: tuple[str, ...],
) -> None:
    respx_mock.get(url__startswith=URL).mock(return_value=feed(*pieces))
    with pytest.raises(InvalidResponse) as caught:
        await follow(client, 1)
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"id": 1})]
)
async def test_an_answer_that_is_no_feed_is_refused(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, answer: httpx.Response
) -> None:
    route = respx_mock.get(url__startswith=URL).mock(return_value=answer)
    with pytest.raises(InvalidResponse, match="not a feed"):
        await follow(client, 1)
    assert route.call_count == 1


async def test_messages_that_only_a_newer_client_knows_are_passed_over(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    news = "retry: 10\nevent: news\ndata: {}\nid: 8\n\n"
    route = respx_mock.get(url__startswith=URL).mock(
        side_effect=[feed(0, news), feed(8, event_json(9))]
    )
    assert [event.id for event in await follow(client, 1)] == [9]
    assert resumed(route) == [None, "8"]


async def test_the_connection_is_closed_when_the_loop_is_left(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    feed: FeedAnswer,
    event_json: EventJson,
) -> None:
    answer = feed(0, event_json(1), event_json(2))
    stream: Any = answer.stream
    respx_mock.get(url__startswith=URL).mock(return_value=answer)
    events = client.events()
    async for event in events:
        assert event.id == 1
        break
    assert not stream.closed
    await events.aclose()
    assert stream.closed


async def test_a_closed_client_follows_nothing() -> None:
    async with AsyncAgentMemClient("http://agentmem.test") as client:
        pass
    with pytest.raises(AgentMemError, match="closed"):
        await follow(client, 1)


@pytest.mark.parametrize(
    "arguments", [{"after": -1}, {"after": "5"}, {"collection": ""}, {"namespace": "a"}]
)
async def test_impossible_arguments_are_refused_unsent(
    client: AsyncAgentMemClient, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(arguments))):
        await follow(client, 1, **arguments)
