"""The README's code runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
API = "http://localhost:8080/api/v1"
NOW = "2026-01-31T09:30:00Z"
NEW_KEY = {
    "id": "k1", "name": "n", "tenant": "acme", "scopes": ["read"], "created_at": NOW, "key": "am_1",
}  # fmt: skip
STATS = {
    "memories": 1, "added_today": 1, "growth": [], "searches": {"count": 0}, "users": [],
    "agents": [], "since": NOW,
}  # fmt: skip
RECEIPT = {"user_id": "ann", "memories": 1, "events": 1, "collections": 1, "erased_at": NOW}

JOB = {
    "id": "chat-7", "seq": 1, "kind": "extract", "status": "failed", "attempts": 5,
    "max_attempts": 5, "collection": "default", "created_at": NOW, "updated_at": NOW,
}  # fmt: skip


@pytest.fixture
def server(
    respx_mock: respx.MockRouter,
    memory_json: Callable[..., dict[str, Any]],
    error_json: Callable[..., dict[str, Any]],
    event_json: Callable[..., dict[str, Any]],
    feed: Callable[..., httpx.Response],
) -> None:
    def batch(request: httpx.Request) -> httpx.Response:
        memories = json.loads(request.content)["memories"]
        results = [{"id": memory["id"], "status": "stored"} for memory in memories]
        return httpx.Response(200, json={"results": results})

    respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    respx_mock.post(f"{API}/memories/batch").mock(side_effect=batch)
    respx_mock.get(f"{API}/memories").respond(json={"memories": [memory_json()]})
    respx_mock.post(f"{API}/memories/search").respond(json={"hits": [memory_json(score=1)]})
    gone = {"deleted": 1, "memories": [memory_json()]}
    respx_mock.post(f"{API}/memories/delete").respond(json=gone)
    respx_mock.post(f"{API}/memories/archive").respond(json={"memories": [memory_json()]})
    respx_mock.get(f"{API}/sessions").respond(json={"sessions": []})
    respx_mock.get(f"{API}/namespaces").respond(json={"namespaces": [["users", "ann"]]})
    respx_mock.patch(f"{API}/memories/no-such-id").respond(404, json=error_json("not_found"))
    respx_mock.patch(f"{API}/memories/cat").respond(json=memory_json(version=2))
    respx_mock.get(f"{API}/memories/cat/history").respond(json={"events": [event_json(1)]})
    respx_mock.post(f"{API}/memories/cat/restore").respond(json=memory_json(version=3))
    erased = event_json(2, action="erased", memory_id=None, user_id="ann", after=None)
    respx_mock.get(f"{API}/events").mock(return_value=feed(0, event_json(1), erased))
    queued = {"id": "chat-7", "status": "queued", "job": JOB}
    respx_mock.post(f"{API}/memories/extract").respond(202, json=queued)
    respx_mock.get(f"{API}/jobs/chat-7").respond(json=JOB)
    respx_mock.post(f"{API}/jobs/chat-7/retry").respond(json={**JOB, "status": "queued"})
    respx_mock.get(f"{API}/jobs").respond(json={"jobs": [JOB]})
    respx_mock.post(f"{API}/keys").respond(201, json=NEW_KEY)
    respx_mock.get(f"{API}/keys").respond(json={"keys": [NEW_KEY]})
    respx_mock.delete(f"{API}/keys/k1").respond(json=NEW_KEY)
    respx_mock.get(f"{API}/stats").respond(json=STATS)
    respx_mock.delete(f"{API}/users/ann").respond(json=RECEIPT)


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block: str, respx_mock: respx.MockRouter) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert respx_mock.calls.call_count > 0


def test_there_is_code() -> None:
    assert len(BLOCKS) >= 5
