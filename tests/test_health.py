"""Health tells what works and what doesn't, and never waits long to tell it."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import agentmem_server
import apsw
import httpx
import pytest
from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest
from agentmem_server.routes import health as health_routes
from agentmem_server.routes.health import HealthRoutes
from starlette.applications import Starlette

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi

Check = Callable[[], Awaitable[None]]


async def fine() -> None:
    pass


async def hanging() -> None:
    await asyncio.Event().wait()


def failing(error: BaseException) -> Check:
    async def check() -> None:
        raise error

    return check


def client(
    checks: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    known: Mapping[str, Check] | None = None,
) -> httpx.AsyncClient:
    app = Starlette(routes=HealthRoutes(checks, optional, known).routes())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://agentmem")


async def ask(api: httpx.AsyncClient) -> tuple[int, m.Health, int, str]:
    """The statuses of /health and /health/ready, and what they say."""
    health, ready = await asyncio.gather(api.get("/health"), api.get("/health/ready"))
    live = await api.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    described = m.Health.model_validate_json(health.content)
    return health.status_code, described, ready.status_code, ready.json()["status"]


async def test_all_is_well(api: httpx.AsyncClient) -> None:
    status, health, ready, said = await ask(api)
    assert (status, health.status, ready, said) == (200, "healthy", 200, "ready")
    assert health.version == agentmem_server.__version__
    assert health.uptime_seconds >= 0
    assert health.checks.keys() == {"database", "vector_store"}
    for check in health.checks.values():
        assert (check.status, check.error) == ("ok", None)
        assert check.latency_ms >= 0


@pytest.mark.parametrize(
    "error",
    [
        OSError("the disk is gone"),
        TimeoutError("it took too long"),
        TimeoutError(),
        RuntimeError(""),  # an error with nothing to say is an error still
        AssertionError(),
        KeyError("x"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["database", "vector_store"])
async def test_a_part_that_fails(error: Exception, name: str) -> None:
    checks = {"database": fine, "vector_store": fine, name: failing(error)}
    async with client(checks) as api:
        status, health, ready, said = await ask(api)
    assert (status, health.status, ready, said) == (503, "unhealthy", 503, "not_ready")
    assert {part for part, check in health.checks.items() if check.status == "failed"} == {name}
    told = health.checks[name].error
    assert told
    if str(error) and not isinstance(error, TimeoutError):
        assert str(error) in told


async def test_a_part_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_routes, "_TIMEOUT", 0.05)
    checks = {"database": hanging, "vector_store": hanging, "third": fine}
    async with client(checks) as api, asyncio.timeout(10):
        status, health, ready, _ = await ask(api)
    assert (status, health.status, ready) == (503, "unhealthy", 503)
    assert {name: check.status for name, check in health.checks.items()} == {
        "database": "failed",
        "vector_store": "failed",
        "third": "ok",
    }
    assert "0.05 s" in str(health.checks["database"].error)


async def test_the_time_that_is_waited_is_what_a_probe_bears() -> None:
    assert 0 < health_routes._TIMEOUT <= 5


async def test_checks_run_side_by_side() -> None:
    """Each waits for the other to have started."""
    barrier = asyncio.Barrier(3)

    async def meets() -> None:
        await barrier.wait()

    async with client({"a": meets, "b": meets, "c": meets}) as api:
        answer = await api.get("/health")
    assert answer.json()["status"] == "healthy"


async def test_many_probes_at_once_of_a_part_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_routes, "_TIMEOUT", 0.1)
    async with client({"database": hanging}) as api, asyncio.timeout(10):
        answers = await asyncio.gather(*(api.get("/health/ready") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await api.get("/health/live")).status_code == 200


async def test_a_real_database_that_is_locked(
    open_api: "OpenApi", tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else holds the write lock: writes can't be, reads can, and health says so."""
    monkeypatch.setattr(health_routes, "_TIMEOUT", 0.2)
    path = tmp_path / "locked.db"
    async with open_api(database_url=f"sqlite:///{path}") as api:
        assert (await api.post("/api/v1/memories", json={"content": "a"})).status_code == 201
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        status, health, ready, _ = await ask(api)
        assert (status, ready) == (503, 503)
        assert health.checks["database"].status == "failed"
        assert health.checks["vector_store"].status == "ok"
        assert (await api.get("/api/v1/memories")).json()["total"] == 1
        other.execute("ROLLBACK")
        other.close()
        await wait_for_health(api)
        assert (await api.post("/api/v1/memories", json={"content": "b"})).status_code == 201


async def test_a_long_write_is_no_illness(
    open_api: "OpenApi", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes much must not have the server taken out of service: it works, and reads go on."""
    async with open_api() as api:
        items = [
            {
                "content": f"{number} words to be taken out again",
                "embedding": [1.0],
                "session_id": "s",
            }
            for number in range(2_000)
        ]
        for _ in range(4):
            await api.post("/api/v1/memories/batch", json={"memories": items})
        monkeypatch.setattr(health_routes, "_TIMEOUT", 0.2)
        body = {"session_id": "s"}
        deleting = asyncio.create_task(api.post("/api/v1/memories/delete", json=body))
        await asyncio.sleep(0.05)
        answers = []
        while not deleting.done():
            answers.append(await api.get("/health/ready"))
            await asyncio.sleep(0.01)
        assert (await deleting).json()["deleted"] == 8_000
        assert answers, "it was too quick for this test"
        assert [answer.status_code for answer in answers] == [200] * len(answers)


async def test_a_real_database_that_is_broken(open_api: "OpenApi", tmp_path: Any) -> None:
    """All pages that it grew by are garbage: 503 and what it is, never a 500."""
    path = tmp_path / "broken.db"
    async with open_api(database_url=f"sqlite:///{path}") as api:
        await api.put("/api/v1/collections/default", json={})
    empty = path.stat().st_size
    async with open_api(database_url=f"sqlite:///{path}") as api:
        items = [{"content": f"{number} " * 300} for number in range(200)]
        await api.post("/api/v1/memories/batch", json={"memories": items})
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(empty)
        file.write(b"\xa5" * (size - empty))
    async with open_api(database_url=f"sqlite:///{path}") as api:
        listed = await api.get("/api/v1/memories")
        added = await api.post("/api/v1/memories", json={"content": "a"})
        for answer in (listed, added):
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "unavailable"
            assert "malformed" in answer.json()["error"]["message"]
        status, health, ready, _ = await ask(api)
        assert (status, health.status, ready) == (503, "unhealthy", 503)


async def wait_for_health(api: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 30
    while (await api.get("/health")).status_code != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_probes_are_json_and_small(api: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        answer = await api.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
        assert len(json.dumps(answer.json())) < 1_000
        head = await api.head(path)
        assert (head.status_code, head.content) == (200, b"")


async def test_what_is_optional_degrades_and_stays_ready() -> None:
    checks = {"database": fine, "vector_store": fine}
    async with client(checks, {"llm": failing(OSError("it is gone"))}) as api:
        status, health, ready, said = await ask(api)
    assert (status, health.status, ready, said) == (200, "degraded", 200, "ready")
    assert health.checks.keys() == {"database", "vector_store", "llm"}
    assert (health.checks["llm"].status, health.checks["llm"].error) == ("failed", "it is gone")


async def test_what_is_needed_outweighs_what_is_optional() -> None:
    checks = {"database": failing(OSError("gone")), "vector_store": fine}
    for llm in (fine, failing(OSError("gone too"))):
        async with client(checks, {"llm": llm}) as api:
            status, health, ready, said = await ask(api)
        assert (status, health.status, ready, said) == (503, "unhealthy", 503, "not_ready")


async def test_whether_it_is_ready_asks_nobody_else() -> None:
    asked = 0

    async def llm() -> None:
        nonlocal asked
        asked += 1

    async with client({"database": fine}, {"llm": llm}) as api:
        for path in ("/health/ready", "/health/live"):
            assert (await api.get(path)).status_code == 200
        assert asked == 0


async def test_a_flood_of_probes_is_no_flood_of_other_services() -> None:
    asked = 0

    async def llm() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        raise OSError("it is gone")

    async with client({"database": fine}, {"llm": llm}) as api:
        for _ in range(3):
            answers = await asyncio.gather(*(api.get("/health") for _ in range(30)))
            assert {answer.json()["status"] for answer in answers} == {"degraded"}
            assert {answer.json()["checks"]["llm"]["error"] for answer in answers} == {"it is gone"}
    assert asked == 1


async def test_an_outcome_is_asked_for_again_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_routes, "_KEPT_SECONDS", 0.01)
    outcomes = iter([failing(OSError("it is gone")), fine])

    async def llm() -> None:
        await next(outcomes)()

    async with client({"database": fine}, {"llm": llm}) as api:
        assert (await api.get("/health")).json()["status"] == "degraded"
        await asyncio.sleep(0.02)
        assert (await api.get("/health")).json()["status"] == "healthy"


async def test_what_is_known_is_told_as_it_is_and_degrades_alike() -> None:
    outcomes = iter([failing(OSError("it is gone")), fine, failing(OSError("again"))])

    async def redis() -> None:
        await next(outcomes)()

    async with client({"database": fine}, {"llm": fine}, {"redis": redis}) as api:
        for expected in ("degraded", "healthy", "degraded"):
            status, health, ready, said = await ask(api)
            assert (status, health.status, ready, said) == (200, expected, 200, "ready")
            assert health.checks.keys() == {"database", "llm", "redis"}
            assert health.checks["llm"].status == "ok"
    assert health.checks["redis"].error == "again"


class LLM(ThreadingHTTPServer):
    """An OpenAI-compatible API, as far as health is concerned.

    Attributes:
        status: that it answers with; None: it never answers.
        requests: the path and the Authorization header of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _LLMHandler)
        self.status: int | None = 200
        self.requests: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _LLMHandler(BaseHTTPRequestHandler):
    server: LLM

    def do_GET(self) -> None:  # the base class's name
        self.server.requests.append((self.path, self.headers.get("authorization")))
        if self.server.status is None:
            self.server.ended.wait(30)
            return
        body = b'{"error": "SecretKey is no key of ours"}'
        self.send_response(self.server.status)
        self.send_header("location", "/v1/SecretPlace")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def llm() -> Iterator[LLM]:
    service = LLM()
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield service
    service.ended.set()
    service.shutdown()
    thread.join()
    service.server_close()


KEY = "SecretKey"


@pytest.mark.parametrize("root", ["/v1", "/v1/"])
async def test_an_llm_that_answers(open_api: "OpenApi", llm: LLM, root: str) -> None:
    async with open_api(llm_url=f"http://{llm.address}{root}", llm_key=KEY) as api:
        status, health, ready, _ = await ask(api)
    assert (status, health.status, ready) == (200, "healthy", 200)
    assert health.checks["llm"].error is None
    assert health.checks["llm"].latency_ms > 0
    assert llm.requests == [("/v1/models", f"Bearer {KEY}")]


@pytest.mark.parametrize("status", [204, 301, 401, 404, 429, 500])
async def test_an_llm_that_answers_something_else(
    open_api: "OpenApi", llm: LLM, status: int
) -> None:
    """A redirect is not followed: the key would go along."""
    llm.status = status
    async with open_api(llm_url=f"http://{llm.address}/v1", llm_key=KEY) as api:
        answered, health, ready, _ = await ask(api)
    assert (answered, ready) == (200, 200)
    if status == 204:
        assert health.status == "healthy"
    else:
        assert health.status == "degraded"
        assert str(status) in str(health.checks["llm"].error)
    assert len(llm.requests) == 1


async def test_an_llm_that_hangs(
    open_api: "OpenApi", llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_routes, "_TIMEOUT", 0.5)
    llm.status = None
    async with open_api(llm_url=f"http://{llm.address}/v1") as api, asyncio.timeout(20):
        for _ in range(3):
            status, health, ready, _ = await ask(api)
            assert (status, health.status, ready) == (200, "degraded", 200)
    assert health.checks["llm"].error == "no answer within 0.5 s"
    assert llm.requests == [("/v1/models", None)]


async def test_an_llm_that_is_not_there_and_an_address_with_a_password(
    open_api: "OpenApi",
) -> None:
    url = "http://SecretUser:SecretPassword@127.0.0.1:9/SecretPath?key=SecretQuery"
    async with open_api(llm_url=url, llm_key=KEY) as api:
        answer = await api.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "reached" in answer.json()["checks"]["llm"]["error"]
    assert "Secret" not in answer.text


async def test_a_password_in_the_llm_s_address_is_told_nowhere(
    make_server: "MakeServer", llm: LLM
) -> None:
    llm.status = 401
    url = f"http://SecretUser:SecretPassword@{llm.address}/v1?key=SecretQuery"
    settings = {"LLM_URL": url, "LLM_KEY": KEY, "LOG_LEVEL": "debug"}
    server = make_server(environment={f"AGENTMEM_{name}": it for name, it in settings.items()})
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/health")
        assert answer.json()["status"] == "degraded"
        assert llm.requests
        assert "Secret" not in answer.text
        assert "Secret" not in (await client.get("/metrics")).text
    assert await asyncio.to_thread(server.stop) == 0
    assert "Secret" not in server.log_text()


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:11434/v1", None),
        ("ftp://SecretHost/v1", None),
        ("http://", None),
        ("http://[::Secret", None),
        ("", None),
        ("http://localhost/v1", "Secret\nKey"),
        ("http://localhost/v1", "SecretKey\xfc"),
    ],
)
async def test_settings_of_an_llm_that_can_not_work_are_refused_at_the_start(
    open_api: "OpenApi", url: str, key: str | None
) -> None:
    with pytest.raises(InvalidRequest, match="AGENTMEM_LLM_") as refused:
        async with open_api(llm_url=url, llm_key=key):
            pass
    assert "Secret" not in str(refused.value)
