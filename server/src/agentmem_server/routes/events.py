"""The routes of the feed: server-sent events, and a WebSocket of the same."""

import asyncio
import re
from collections.abc import AsyncIterator

import structlog
from agentmem_client import endpoints as e
from agentmem_client import models as m
from agentmem_client.errors import APIError, InvalidRequest
from pydantic_core import to_json
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..engine.feed import Feed, Follower
from .http import access, read_query, route

_log = structlog.get_logger()

SOCKET_PATH = f"{e.EVENTS.path}/ws"
POSITION_HEADER = "X-Last-Event-ID"
"""Of an answer: the id of the event that it starts after."""
_ID = re.compile(r"[0-9]{1,19}")
_SLOWEST = 60.0
"""Seconds that a follower may take to read what it is told."""
_GAP = 0.1
"""Seconds between two messages of a WebSocket's client that are read, and ignored."""
_CLOSE_CODES = {401: 4401, 503: 1012}
"""With which a WebSocket is closed, by the error's status; 1012: connect again."""
_HEAD = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx would hold events back until it has some kilobytes
}


class EventRoutes:
    """Tells followers what changes."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def routes(self) -> list[BaseRoute]:
        """The stream, and the WebSocket."""
        return [
            route(e.EVENTS, self.stream),
            WebSocketRoute(SOCKET_PATH, self.socket, name="events_socket"),
        ]

    async def stream(self, request: Request) -> Response:
        query = _read(request)
        await request.body()  # has none; a client that sends one for ever is refused like others
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=_HEAD)
        return _Stream(await self._feed.follow(access(request), query))

    async def socket(self, websocket: WebSocket) -> None:
        access(websocket).require(*e.EVENTS.scopes)
        with await self._feed.follow(access(websocket), _read(websocket)) as follower:
            position = (POSITION_HEADER.lower().encode(), b"%d" % follower.position)
            await websocket.accept(headers=[position])
            telling = asyncio.create_task(_tell(websocket, follower))
            listening = asyncio.create_task(_listen(websocket))
            try:
                await asyncio.wait({telling, listening}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                telling.cancel()
                listening.cancel()
                await asyncio.wait({telling, listening})
        for task in (telling, listening):
            if not task.cancelled():
                task.result()


def _read(connection: HTTPConnection) -> m.EventsQuery:
    """What is to be followed, from where on.

    Raises:
        InvalidRequest: when the query or the header ``Last-Event-ID`` is wrong.
    """
    query = read_query(connection, m.EventsQuery)
    given = connection.headers.get("last-event-id")
    if given is not None:
        if _ID.fullmatch(given) is None or int(given) > m.MAX_EVENT:
            raise InvalidRequest(
                "Last-Event-ID must be the id of an event, a whole number: leave it out to follow "
                "from now on"
            )
        query.after = int(given)
    return query


class _Stream(StreamingResponse):
    """Tells a follower by server-sent events, until one of both ends it."""

    def __init__(self, follower: Follower) -> None:
        headers = {POSITION_HEADER: str(follower.position), **_HEAD}
        super().__init__(_messages(follower), media_type="text/event-stream", headers=headers)
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; afterwards there is room for another follower."""
        with self._follower:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the messages, as long as somebody reads them."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(_SLOWEST):
                await send(message)

        try:
            await super().stream_response(in_time)
        except TimeoutError:
            _log.info("a follower of the feed reads nothing any more: it was left")


async def _messages(follower: Follower) -> AsyncIterator[bytes]:
    """Server-sent events; ids without data tell where to go on when there was no event."""
    yield _position(follower.position)
    try:
        async for news in follower:
            if news.lost is not None:
                yield _message("reset", to_json(_reset(news.lost)), news.lost)
            if news.events:
                yield b"".join(
                    _message(event.action, event.data, event.id) for event in news.events
                )
                if news.is_large:
                    yield b":\n"  # is sent when all before it is: only then go on
            elif news.lost is None:
                yield b": still here\n" + _position(news.position)
    except APIError as error:
        yield _message("end", to_json(_ending(error)))


def _position(position: int) -> bytes:
    return b"id: %d\n\n" % position


def _message(name: str, data: bytes, id: int | None = None) -> bytes:
    lines = [b"event: " + name.encode(), b"data: " + data]  # JSON of ours has no line breaks
    if id is not None:
        lines.append(b"id: %d" % id)
    return b"\n".join([*lines, b"", b""])


def _reset(lost: int) -> dict[str, int]:
    """Tells from which event on all are kept."""
    return {"oldest": lost + 1}


def _ending(error: APIError) -> dict[str, object]:
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}


async def _tell(websocket: WebSocket, follower: Follower) -> None:
    """Send each event as a message, until that is no longer possible."""
    try:
        async for news in follower:
            async with asyncio.timeout(_SLOWEST):
                if news.lost is not None:
                    await websocket.send_text(to_json({"reset": _reset(news.lost)}).decode())
                for event in news.events:
                    await websocket.send_text(event.data.decode())
    except APIError as error:
        await websocket.close(_CLOSE_CODES.get(error.status, 1011), error.message[:100])
    except WebSocketDisconnect:
        pass  # it left meanwhile
    except TimeoutError:
        _log.info("a follower of the feed reads nothing any more: it was left")


async def _listen(websocket: WebSocket) -> None:
    """Return when the client has left; whatever it says, it says slowly, and to nobody."""
    message = await websocket.receive()
    while message["type"] != "websocket.disconnect":
        await asyncio.sleep(_GAP)
        message = await websocket.receive()
