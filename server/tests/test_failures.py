"""What is raised is answered in one shape, where there is no answer yet."""

import json
from typing import Any

import pytest
from agentmem_client.errors import Unauthorized, Unavailable
from agentmem_server.middleware.failures import Failures
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

Messages = list[dict[str, Any]]
DENIAL: dict[str, Any] = {"websocket.http.response": {}}


async def endpoint(_request: Request) -> Response:
    return Response()


ROUTES = [Route("/a", endpoint, methods=["POST"]), Route("/{b}", endpoint, methods=["GET"])]


async def answered(
    error: Exception, kind: str = "http", method: str = "PUT", **scope: Any
) -> tuple[Messages, list[tuple[bytes, bytes]]]:
    """What is sent when that is raised, and the headers that are put to it."""
    sent: Messages = []

    async def behind(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    state: dict[str, Any] = {"request_id": "r", "headers": [], **scope.pop("state", {})}
    scope = {"type": kind, "path": "/a", "state": state, "extensions": {}, **scope}
    if kind == "http":
        scope["method"] = method
    await Failures(behind, ROUTES)(scope, receive, send)
    return sent, state["headers"]


def read(sent: Messages) -> tuple[int, str]:
    start, body = sent
    answer = json.loads(body["body"])
    assert answer["request_id"] == "r"
    return start["status"], answer["error"]["code"]


async def test_an_error_of_ours_is_answered_and_gathers_no_frames() -> None:
    error = Unavailable("the database is away")
    for _ in range(3):
        sent, _ = await answered(error)
        assert read(sent) == (503, "unavailable")
        assert (b"retry-after", b"1") in sent[0]["headers"]
        assert error.__traceback__ is None


async def test_what_nobody_foresaw_is_logged_and_not_told() -> None:
    with capture_logs() as logs:
        sent, _ = await answered(ValueError("somebody's secret"))
    assert read(sent) == (500, "internal_error")
    assert "secret" not in str(sent)
    assert [(line["event"], line["request_id"]) for line in logs] == [("failed", "r")]


async def test_a_method_that_a_path_has_not_is_told_those_that_it_has() -> None:
    sent, headers = await answered(HTTPException(405))
    assert read(sent) == (405, "method_not_allowed")
    assert headers == [(b"allow", b"GET, HEAD, POST")]


async def test_a_path_that_is_not_there() -> None:
    sent, headers = await answered(HTTPException(404))
    assert (read(sent), headers) == ((404, "not_found"), [])


async def test_who_has_left_is_no_failure_and_gets_no_answer() -> None:
    with capture_logs() as logs:
        sent, _ = await answered(ClientDisconnect())
    assert (sent, logs) == ([], [])


@pytest.mark.parametrize("error", [Unauthorized("no"), HTTPException(404), ValueError("x")])
async def test_a_websocket_is_refused_as_far_as_the_server_can(error: Exception) -> None:
    (start, body), _ = await answered(error, "websocket", extensions=DENIAL)
    assert start["type"] == "websocket.http.response.start"
    code = json.loads(body["body"])["error"]["code"]
    (closed,), _ = await answered(error, "websocket")
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 1008, code)


@pytest.mark.parametrize("error", [Unauthorized("no"), HTTPException(404), ValueError("x")])
async def test_what_fails_when_the_answer_has_begun_ends_the_connection(error: Exception) -> None:
    with pytest.raises(type(error)):
        await answered(error, state={"status": 200})
