"""Whatever stands in the head of a request, it is answered, and never by a failure."""

import errno
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from agentmem_client import endpoints as e
from agentmem_client.errors import BY_CODE
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Server

if TYPE_CHECKING:
    from tests.conftest import OpenApi

in_one_loop = pytest.mark.asyncio(loop_scope="module")

Pairs = list[tuple[bytes, bytes]]

ADMIN_KEY = "an-operator-for-tests-of-many-characters"
SECRET = "somebody-s-secret-that-is-no-key"
SOCKET = f"{e.EVENTS.path}/ws"
LONG = b"u" * 5_000

# --- What heads are made of ------------------------------------------------------------------

KEYS = [
    ADMIN_KEY.encode(),
    SECRET.encode(),
    f"am_0123456789abcdef_{'0' * 64}".encode(),
    f"am_{'0' * 16}_{'g' * 64}".encode(),
    b"am_",
    b"",
    b" ",
    b"\xff\xfe",
    "\u00e9".encode(),
    LONG,
]
AUTHORIZATIONS = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"bearer  " + KEYS[0],
    b"Bearer\t" + KEYS[0],
    b"Basic dXNlcjpwYXNz",
    b"Basic \xff",
    b"Digest username=x",
    b"Bearer a b",
    b"Bearer " + LONG,
    *(b"Bearer " + key for key in KEYS),
]
VALUES: dict[bytes, list[bytes]] = {
    b"X-API-Key": KEYS,
    b"Authorization": AUTHORIZATIONS,
    b"If-Match": [b"*", b'"1"', b"1", b'W/"1"', b'"1", "2"', b"9" * 30, b"\xb2", b"", LONG],
    b"Last-Event-ID": [b"0", b"1", b"-1", b"x", b"9" * 19, b"9" * 30, b"\xb2", b"", LONG],
    b"Content-Type": [
        b"application/json",
        b"application/json; charset=utf-16",
        b"text/plain",
        b"application/\xff",
        b"",
        LONG,
    ],
    b"Content-Encoding": [b"gzip", b"x"],
    b"Accept": [b"*/*", b"text/html", b"\xff", b""],
    b"Accept-Encoding": [b"gzip, br", b"*;q=0", b"x"],
    b"Host": [b"localhost", b"[", b"]:1", b"a b", b"\xff", b"", b"evil.example", b"x@y", LONG],
    b"Origin": [b"http://localhost", b"https://evil.example", b"null", b"[", b"\xff", b""],
    b"Forwarded": [b"for=1.2.3.4", b"for=\xff"],
    b"X-Forwarded-For": [b"1.2.3.4", b"1.2.3.4, x", b"::1%eth0", b"\xff", b"", LONG],
    b"X-Forwarded-Proto": [b"https", b"x", b"\xff"],
    b"X-Request-ID": [b"a", b"a" * 64, b"a" * 65, b"a b", b"\xff", b"", LONG],
    b"traceparent": [
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-0-0-0",
        b"\xff",
        LONG,
    ],
    b"tracestate": [b"a=b", b"\xff", b"=" * 600],
    b"Cookie": [b"a=b", b"\xff=\xff", LONG],
    b"Range": [b"bytes=0-1", b"bytes=-1", b"bytes=x", b"bytes=0-1,5-6"],
    b"If-None-Match": [b"*", b'"1"'],
    b"If-Modified-Since": [b"Thu, 01 Jan 1970 00:00:00 GMT", b"x"],
    b"Expect": [b"100-continue", b"x"],
    b"Connection": [b"close", b"keep-alive", b"x, y"],
    b"TE": [b"trailers"],
    b"X-HTTP-Method-Override": [b"DELETE"],
}
token = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
value = st.binary(max_size=24).map(lambda text: re.sub(rb"[\r\n\0]", b"", text).strip())


@st.composite
def header(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A header of ours with one of its values or any, or one of any name."""
    name = draw(st.sampled_from([*VALUES]))
    if draw(st.integers(0, 5)) == 0:
        return draw(token), draw(value)
    known = draw(st.sampled_from(VALUES[name]) if draw(st.booleans()) else value)
    return name, known


headers = st.lists(header(), max_size=5)
rows = st.sampled_from([row for row in e.ENDPOINTS if row is not e.EVENTS])
paths = rows.map(lambda row: row.url(id="x", name="x")) | st.sampled_from(
    ["/metrics", "/docs", "/openapi.json", "/", "/nope", SOCKET, f"{e.EVENTS.path}?after=x"]
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
bodies = st.sampled_from(
    [b"", b"{}", b'{"content": "a"}', b'{"query": "a"}', b'{"ids": ["x"]}', b"{", b"\xff"]
)

quick = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def check_refusal(status: int, body: bytes, request_id: str) -> None:
    """It is in the one shape that all refusals have, and tells nothing that it was given."""
    answer = json.loads(body)
    assert answer.keys() == {"error", "request_id"}
    assert answer["request_id"] == request_id
    error = answer["error"]
    assert error.keys() == {"code", "message", "details"}
    assert BY_CODE[error["code"]].status == status
    for secret in (ADMIN_KEY, SECRET, "u" * 300):
        assert secret.encode() not in body


# --- In this process -------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def open_application(open_api: "OpenApi") -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(trusted_proxies="127.0.0.1") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def keyed_application(open_api: "OpenApi") -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=1_000) as client:
        yield client


async def check_head(
    api: httpx.AsyncClient, method: str, path: str, pairs: Pairs, body: bytes
) -> httpx.Response:
    request = httpx.Request(method, f"http://localhost{path}", headers=pairs, content=body)
    answer = await api.send(request)
    assert answer.status_code < 500, answer.text
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_id)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json"
    if answer.status_code >= 400 and method != "HEAD":
        check_refusal(answer.status_code, answer.content, request_id)
    return answer


@in_one_loop
@given(methods, paths, headers, bodies)
@settings(quick, max_examples=300)
async def test_heads_without_keys(
    open_application: httpx.AsyncClient, method: str, path: str, pairs: Pairs, body: bytes
) -> None:
    if (method, path) == (e.CREATE_KEY.method, e.CREATE_KEY.path):
        body = b"{}"  # a good one would make a key, and all requests after it need one
    answer = await check_head(open_application, method, path, pairs, body)
    event(f"{answer.status_code}")


@in_one_loop
@given(methods, paths, headers, bodies)
@settings(quick, max_examples=300)
async def test_heads_where_keys_are_asked_for(
    keyed_application: httpx.AsyncClient, method: str, path: str, pairs: Pairs, body: bytes
) -> None:
    answer = await check_head(keyed_application, method, path, pairs, body)
    event(f"{answer.status_code}")
    if answer.is_success and path.startswith((e.API, "/metrics")):
        shown = {*(text for name, text in pairs if name == b"X-API-Key")}
        tokens = {text for name, text in pairs if name == b"Authorization"}
        assert any(ADMIN_KEY.encode() in text for text in shown | tokens)


@in_one_loop
@pytest.mark.parametrize("second", [key for key in KEYS[1:] if key.strip()], ids=repr)
@pytest.mark.parametrize("name", [b"X-API-Key", b"x-api-key", b"Authorization"])
async def test_two_keys_are_none(
    keyed_application: httpx.AsyncClient, name: bytes, second: bytes
) -> None:
    """Which of them counts must not be a matter of who reads first: a proxy, or this server."""
    first = (b"X-API-Key", ADMIN_KEY.encode())
    other = (name, b"Bearer " + second if name == b"Authorization" else second)
    for pairs in ([first, other], [other, first]):
        answer = await check_head(keyed_application, "GET", e.LIST_KEYS.path, pairs, b"")
        assert answer.status_code == 401


# --- By a connection -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("keyed"),
        environment={"AGENTMEM_ADMIN_KEY": ADMIN_KEY, "AGENTMEM_RATE_LIMIT": "0"},
    ).start()
    yield server
    server.stop()


@dataclass(frozen=True)
class Answer:
    """The first answer on a connection, as far as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


def talk(server: Server, raw: bytes, *, hang_up: bool = True) -> Answer | None:
    """Send bytes, and read one answer: its body as far as it is declared. None: it hung up."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while (answer := parsed(received)) is None or not is_whole(answer):
                piece = connection.recv(65_536)
                if not piece:
                    break
                received += piece
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise
            # It has heard enough.
    return parsed(received)


def parsed(received: bytes) -> Answer | None:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    matched = re.match(r"HTTP/1\.1 (\d{3}) ", status_line)
    assert matched, status_line
    pairs = (line.split(": ", 1) for line in lines)
    return Answer(int(matched[1]), {name.lower(): text for name, text in pairs}, body)


def is_whole(answer: Answer) -> bool:
    if answer.status == 101 or "text/event-stream" in answer.headers.get("content-type", ""):
        return True  # it has no end
    return len(answer.body) >= int(answer.headers.get("content-length", 2**60))


def check_answer(answer: Answer | None, *, has_body: bool = True) -> None:
    if answer is None:
        return  # what is not HTTP, or breaks off, may be left without an answer
    assert answer.status < 500, answer
    if answer.status < 400:
        return
    if "x-request-id" not in answer.headers:
        # The server below the application found that it is no HTTP, or no WebSocket's beginning.
        assert answer.status in (400, 405, 426)
        assert answer.headers["content-type"].startswith("text/plain")
    elif has_body:
        assert answer.headers["content-type"] == "application/json"
        check_refusal(answer.status, answer.body, answer.headers["x-request-id"])


def head_of(method: bytes, path: bytes, *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([method + b" " + path + b" " + version, *lines, b"", b""])


HOST = b"Host: localhost"
CLOSE = b"Connection: close"
KEY = b"X-API-Key: " + ADMIN_KEY.encode()
UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
junk = st.binary(max_size=30)
line = st.one_of(
    header().map(lambda pair: pair[0] + b": " + pair[1]),
    st.tuples(token, junk).map(lambda pair: pair[0] + b":" + pair[1]),
    st.sampled_from(
        [
            *(b"Content-Length: " + text for text in (b"0", b"5", b"-1", b"x", b"", b"9" * 30)),
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, chunked",
            b" folded",
            b"no colon",
            b": no name",
            b"with space : x",
            b"\xff: x",
            b"Host: b",
            b"Upgrade: h2c",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: x",
            b"Sec-WebSocket-Version: 99",
        ]
    ),
)


@st.composite
def raw_request(draw: st.DrawFn) -> bytes:
    method = draw(methods.map(str.encode) | token | st.just(b"PRI") | junk)
    path = draw(paths.map(str.encode) | junk | st.just(b"*") | st.just(b"http://localhost/health"))
    version = draw(
        st.sampled_from(
            [b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b""]
        )
    )
    lines = draw(st.lists(line, max_size=6))
    if draw(st.integers(0, 3)):
        lines = [HOST, *lines]
    return head_of(method, path, *lines, version=version) + draw(bodies)


@given(raw_request())
@example(head_of(b"GET", b"/health", version=b"HTTP/1.0"))
@example(head_of(b"GET", b"/api/v1/memories", version=b"HTTP/1.0"))
@example(head_of(b"GET", b"/health", HOST, *UPGRADE, b"Upgrade: h2c"))
@settings(quick, max_examples=200)
def test_any_bytes_without_keys(running_server: Server, raw: bytes) -> None:
    check_answer(talk(running_server, raw), has_body=not raw.startswith(b"HEAD"))


@given(raw_request(), st.booleans())
@settings(quick, max_examples=200)
def test_any_bytes_where_keys_are_asked_for(
    keyed_server: Server, raw: bytes, has_key: bool
) -> None:
    if has_key:
        raw = raw.replace(b"\r\n", b"\r\n" + KEY + b"\r\n", 1)
    check_answer(talk(keyed_server, raw), has_body=not raw.startswith(b"HEAD"))


@pytest.mark.parametrize("path", sorted({row.url(id="x", name="x") for row in e.ENDPOINTS}))
@pytest.mark.parametrize("has_key", [True, False])
def test_a_websocket_where_there_is_none(keyed_server: Server, path: str, has_key: bool) -> None:
    lines = [HOST, *UPGRADE, *([KEY] if has_key else [])]
    answer = talk(keyed_server, head_of(b"GET", path.encode(), *lines), hang_up=False)
    assert answer is not None
    # Also where a request needs no key.
    assert answer.status == (404 if has_key else 401)
    assert answer.headers["x-request-id"]
    check_answer(answer)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"X-API-Key: " + SECRET.encode(),),
        (KEY, b"X-API-Key: " + SECRET.encode()),
        (KEY, b"Last-Event-ID: x"),
        (b"Authorization: Basic " + KEYS[0],),
    ],
    ids=["none", "wrong", "two", "no position", "basic"],
)
def test_a_websocket_that_is_refused(keyed_server: Server, lines: tuple[bytes, ...]) -> None:
    answer = talk(
        keyed_server, head_of(b"GET", SOCKET.encode(), HOST, *UPGRADE, *lines), hang_up=False
    )
    assert answer is not None
    assert answer.status == (422 if b"Last-Event-ID: x" in lines else 401)
    check_answer(answer)


@pytest.mark.parametrize("position", VALUES[b"Last-Event-ID"], ids=lambda text: repr(text)[:12])
def test_a_position_in_the_feed(keyed_server: Server, position: bytes) -> None:
    head = head_of(b"GET", e.EVENTS.path.encode(), HOST, KEY, b"Last-Event-ID: " + position)
    answer = talk(keyed_server, head, hang_up=False)
    assert answer is not None
    assert answer.status == (200 if position in (b"0", b"1") else 422)
    check_answer(answer)


@pytest.mark.parametrize("count", [100, 1_000, 20_000])
def test_many_headers(keyed_server: Server, count: int) -> None:
    lines = [b"X-%d: %d" % (number, number) for number in range(count)]
    check_answer(talk(keyed_server, head_of(b"GET", b"/health", HOST, CLOSE, *lines)))


@pytest.mark.parametrize("name", [b"X-API-Key", b"X-Request-ID", b"Cookie", b"If-Match", b"Host"])
@pytest.mark.parametrize("size", [10_000, 60_000, 1_000_000])
def test_a_very_long_header(keyed_server: Server, name: bytes, size: int) -> None:
    head = head_of(b"DELETE", b"/api/v1/memories/x", CLOSE, KEY, name + b": " + b"u" * size)
    check_answer(talk(keyed_server, head))


def test_the_servers_are_well_afterwards(running_server: Server, keyed_server: Server) -> None:
    for server in (running_server, keyed_server):
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert "Traceback" not in server.log_text()
