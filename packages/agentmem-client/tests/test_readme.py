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


@pytest.fixture
def server(
    respx_mock: respx.MockRouter,
    memory_json: Callable[..., dict[str, Any]],
    error_json: Callable[..., dict[str, Any]],
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


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block: str, respx_mock: respx.MockRouter) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert respx_mock.calls.call_count > 0


def test_there_is_code() -> None:
    assert len(BLOCKS) >= 5
