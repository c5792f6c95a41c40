"""Health tells what works and what doesn't, and never waits long to tell it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import agentmem_server
import apsw
import httpx
import pytest
from agentmem_client import models as m
from agentmem_server.routes import health as health_routes
from agentmem_server.routes.health import HealthRoutes
from starlette.applications import Starlette

if TYPE_CHECKING:
    from tests.conftest import OpenApi

Check = Callable[[], Awaitable[None]]


async def fine() -> None:
    pass


async def hanging() -> None:
    await asyncio.Event().wait()


def failing(error: BaseException) -> Check:
    async def check() -> None:
        raise error

    return check


def client(checks: Mapping[str, Check]) -> httpx.AsyncClient:
    app = Starlette(routes=HealthRoutes(checks).routes())
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
    """Its pages are garbage: 503 and what it is, never a 500."""
    path = tmp_path / "broken.db"
    async with open_api(database_url=f"sqlite:///{path}") as api:
        items = [{"content": f"{number} " * 300} for number in range(200)]
        await api.post("/api/v1/memories/batch", json={"memories": items})
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xa5" * (size - 8_192))
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
