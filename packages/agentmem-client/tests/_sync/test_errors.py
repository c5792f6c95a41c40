# Generated from tests/_async/test_errors.py by scripts/generate_sync.py: do not edit.
"""Which error is raised for which answer, or for none."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    AgentMemClient,
    AgentMemError,
    APIError,
    Conflict,
    ConnectionFailed,
    DimensionMismatch,
    EmbedderMismatch,
    ExtractionFailed,
    Forbidden,
    InternalError,
    InvalidCursor,
    InvalidFilter,
    InvalidRequest,
    InvalidResponse,
    LLMNotConfigured,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestTimedOut,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    VersionConflict,
    errors,
)

ErrorJson = Callable[..., dict[str, Any]]

URL = "http://agentmem.test/api/v1/memories/m1"

BY_CODE = [
    (MalformedRequest, 400, "malformed_request"),
    (Unauthorized, 401, "unauthorized"),
    (Forbidden, 403, "forbidden"),
    (NotFound, 404, "not_found"),
    (MethodNotAllowed, 405, "method_not_allowed"),
    (Conflict, 409, "conflict"),
    (LLMNotConfigured, 409, "llm_not_configured"),
    (ExtractionFailed, 502, "extraction_failed"),
    (VersionConflict, 412, "version_conflict"),
    (PayloadTooLarge, 413, "payload_too_large"),
    (UnsupportedMediaType, 415, "unsupported_media_type"),
    (InvalidRequest, 422, "invalid_request"),
    (InvalidFilter, 422, "invalid_filter"),
    (InvalidCursor, 422, "invalid_cursor"),
    (DimensionMismatch, 422, "dimension_mismatch"),
    (EmbedderMismatch, 422, "embedder_mismatch"),
    (RateLimited, 429, "rate_limited"),
    (InternalError, 500, "internal_error"),
    (Unavailable, 503, "unavailable"),
    (Overloaded, 503, "overloaded"),
]

BY_STATUS = [
    (400, MalformedRequest),
    (401, Unauthorized),
    (402, InvalidRequest),
    (403, Forbidden),
    (404, NotFound),
    (405, MethodNotAllowed),
    (409, Conflict),
    (412, VersionConflict),
    (413, PayloadTooLarge),
    (415, UnsupportedMediaType),
    (418, InvalidRequest),
    (422, InvalidRequest),
    (429, RateLimited),
    (500, InternalError),
    (501, InternalError),
    (502, Unavailable),
    (503, Unavailable),
    (504, Unavailable),
    (507, InternalError),
]


@pytest.fixture
def once() -> AgentMemClient:
    """A client that tries once, so that each answer is the last one."""
    return AgentMemClient("http://agentmem.test", "am_secret-key", max_retries=0)


def test_the_table_below_has_every_class() -> None:
    assert {code for _, _, code in BY_CODE} == set(errors.BY_CODE)


@pytest.mark.parametrize(("error_class", "status", "code"), BY_CODE)
def test_each_code_has_its_class(
    once: AgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: ErrorJson,
    error_class: type[APIError],
    status: int,
    code: str,
) -> None:
    answer = error_json(code, "what to do", field="x")
    respx_mock.get(URL).respond(status, json=answer)
    with pytest.raises(APIError) as caught:
        once.get("m1")
    error = caught.value
    assert type(error) is error_class
    assert (error.status, error.code) == (status, code)
    assert (error.message, error.details) == ("what to do", {"field": "x"})
    assert (error.request_id, error.retry_after) == ("req-1", None)
    assert str(error) == "what to do (request req-1)"


def test_the_request_id_may_be_in_the_header_alone(
    once: AgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    answer = error_json("internal_error") | {"request_id": None}
    respx_mock.get(URL).respond(500, json=answer, headers={"X-Request-ID": "req-2"})
    with pytest.raises(InternalError) as caught:
        once.get("m1")
    assert caught.value.request_id == "req-2"


@pytest.mark.parametrize(("status", "error_class"), BY_STATUS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'{"error": "no"}',
        b'{"detail": "Not Found"}',
        b"[]",
        b"\xff",
    ],
)
def test_a_foreign_answer_is_judged_by_its_status(
    once: AgentMemClient,
    respx_mock: respx.MockRouter,
    status: int,
    error_class: type[APIError],
    content: bytes,
) -> None:
    headers = {"Content-Type": "text/html; charset=utf-8", "X-Request-ID": "proxy-1"}
    respx_mock.get(URL).respond(status, content=content, headers=headers)
    with pytest.raises(APIError) as caught:
        once.get("m1")
    assert type(caught.value) is error_class
    assert f"HTTP {status} from agentmem.test (text/html, {len(content)} bytes)" in str(
        caught.value
    )
    assert caught.value.details == {"status": status}
    assert caught.value.request_id == "proxy-1"


@pytest.mark.parametrize(("status", "error_class"), BY_STATUS)
def test_an_unknown_code_is_judged_by_the_status(
    once: AgentMemClient,
    respx_mock: respx.MockRouter,
    error_json: ErrorJson,
    status: int,
    error_class: type[APIError],
) -> None:
    answer = error_json("from_the_future", "use the other door")
    respx_mock.get(URL).respond(status, json=answer)
    with pytest.raises(APIError, match="use the other door") as caught:
        once.get("m1")
    assert type(caught.value) is error_class


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Welcome</html>",
        b"{}",
        b"[]",
        b'{"id": "m1", "collection": "default", "con',
        b'{"id": 1, "collection": "default", "content": "x"}',
        b'\xff\xfe{"id"}',
    ],
)
def test_a_good_status_with_a_foreign_body_is_an_invalid_response(
    client: AgentMemClient, respx_mock: respx.MockRouter, content: bytes
) -> None:
    route = respx_mock.get(URL).respond(200, content=content)
    with pytest.raises(InvalidResponse, match=r"HTTP 200 from agentmem\.test .* get_memory"):
        client.get("m1")
    assert route.call_count == 1


@pytest.mark.respx(assert_all_called=False)
def test_a_redirect_is_not_followed(
    respx_mock: respx.MockRouter, memory_json: Callable[..., dict[str, Any]]
) -> None:
    respx_mock.get(URL).respond(307, headers={"Location": "http://elsewhere.test/"})
    elsewhere = respx_mock.get("http://elsewhere.test/").respond(json=memory_json())
    with httpx.Client(follow_redirects=True) as http_client:
        client = AgentMemClient("http://agentmem.test", "am_k", http_client=http_client)
        with pytest.raises(InvalidResponse, match="redirects"):
            client.get("m1")
    assert not elsewhere.called


@pytest.mark.parametrize("status", [500, 503])
def test_a_foreign_health_answer_is_an_error(
    once: AgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson, status: int
) -> None:
    respx_mock.get("http://agentmem.test/health").respond(status, json=error_json("internal_error"))
    with pytest.raises(InternalError):
        once.health()


TRANSPORT = [
    (httpx.ConnectError("[Errno 111] Connection refused"), ConnectionFailed),
    (httpx.ReadError(""), ConnectionFailed),
    (httpx.WriteError("broken pipe"), ConnectionFailed),
    (httpx.CloseError("closed"), ConnectionFailed),
    (httpx.ProxyError("403 Forbidden"), ConnectionFailed),
    (httpx.RemoteProtocolError("peer closed connection"), ConnectionFailed),
    (httpx.ConnectTimeout(""), RequestTimedOut),
    (httpx.ReadTimeout("The read operation timed out"), RequestTimedOut),
    (httpx.WriteTimeout(""), RequestTimedOut),
    (httpx.PoolTimeout(""), RequestTimedOut),
    (httpx.DecodingError("bad gzip"), InvalidResponse),
    (httpx.LocalProtocolError("too much data"), AgentMemError),
    (httpx.UnsupportedProtocol("no ftp"), AgentMemError),
]


@pytest.mark.parametrize(("cause", "error_class"), TRANSPORT, ids=lambda value: repr(value)[:40])
def test_no_answer(
    once: AgentMemClient,
    respx_mock: respx.MockRouter,
    cause: httpx.TransportError,
    error_class: type[AgentMemError],
) -> None:
    respx_mock.get(URL).mock(side_effect=cause)
    with pytest.raises(AgentMemError, match=r"agentmem\.test") as caught:
        once.get("m1")
    assert type(caught.value) is error_class
    assert isinstance(caught.value.__cause__, type(cause))


def test_a_mistake_outside_of_http_is_not_hidden(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(URL).mock(side_effect=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        client.get("m1")
    assert route.call_count == 1
