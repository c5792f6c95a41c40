"""Jobs: what is sent, and what becomes of the answer."""

from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    AsyncAgentMemClient,
    Conflict,
    InvalidRequest,
    NotFound,
    RequestTimedOut,
)

API = "http://agentmem.test/api/v1"


def job_json(id: str = "j", **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "seq": 7,
        "kind": "extract",
        "status": "queued",
        "attempts": 0,
        "max_attempts": 5,
        "collection": "default",
        "created_at": "2026-01-31T09:30:00Z",
        "updated_at": "2026-01-31T09:30:00Z",
        **fields,
    }


def refusal(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "said so", "details": {}}, "request_id": "r"}


async def test_jobs_go_through_all_pages(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    pages = [
        {"jobs": [job_json("c"), job_json("b", seq=6)], "next_before": 6},
        {"jobs": [job_json("a", seq=2)], "next_before": None},
    ]
    route = respx_mock.get(url__startswith=f"{API}/jobs").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    found = [job.id async for job in client.jobs(status="queued", user_id="ann", page_size=2)]
    assert found == ["c", "b", "a"]
    first, second = (dict(call.request.url.params) for call in route.calls)
    assert first == {"status": "queued", "user_id": "ann", "limit": "2"}
    assert second == {**first, "before": "6"}


async def test_jobs_are_fetched_as_they_are_consumed(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(url__startswith=f"{API}/jobs").respond(
        json={"jobs": [job_json("c")], "next_before": 7}
    )
    async for job in client.jobs():
        assert job.id == "c"
        break
    assert route.call_count == 1
    assert dict(route.calls.last.request.url.params) == {"limit": "100"}


async def test_what_is_no_status_is_refused_unsent(client: AsyncAgentMemClient) -> None:
    wrong: Any = "waiting"
    with pytest.raises(InvalidRequest, match="status: "):
        _ = [job async for job in client.jobs(status=wrong)]


async def test_a_job_has_what_came_of_it(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    result = {"id": "a/b", "status": "done", "facts": [], "usage": {"calls": 1}}
    respx_mock.get(f"{API}/jobs/a%2Fb").respond(
        json=job_json("a/b", status="done", attempts=2, result=result)
    )
    job = await client.job("a/b")
    assert (job.status, job.attempts, job.error) == ("done", 2, None)
    assert job.result is not None
    assert job.result.usage is not None
    assert job.result.usage.calls == 1
    respx_mock.get(f"{API}/jobs/none").respond(404, json=refusal("not_found"))
    with pytest.raises(NotFound):
        await client.job("none")


async def test_a_failed_job_is_tried_again(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{API}/jobs/j/retry").respond(json=job_json())
    assert (await client.retry_job("j")).status == "queued"
    assert route.calls.last.request.content == b""
    respx_mock.post(f"{API}/jobs/done/retry").respond(409, json=refusal("conflict"))
    with pytest.raises(Conflict):
        await client.retry_job("done")


async def test_a_job_is_deleted(client: AsyncAgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.delete(f"{API}/jobs/j").respond(json={"deleted": 1})
    assert await client.delete_job("j")
    route.respond(json={"deleted": 0})
    assert not await client.delete_job("j")


@pytest.mark.parametrize("end", ["done", "failed"])
async def test_a_job_is_waited_for_until_it_has_ended(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, waits: list[float], end: str
) -> None:
    states = ["queued", "running", end]
    route = respx_mock.get(f"{API}/jobs/j").mock(
        side_effect=[httpx.Response(200, json=job_json(status=one)) for one in states]
    )
    assert (await client.wait_for_job("j", poll=2.5)).status == end
    assert route.call_count == 3
    assert waits == [2.5, 2.5]


async def test_the_wait_for_a_job_has_an_end(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    route = respx_mock.get(f"{API}/jobs/j").respond(json=job_json(status="running"))
    with pytest.raises(RequestTimedOut, match="'j' is still running after 0 s"):
        await client.wait_for_job("j", timeout=0)
    assert (route.call_count, waits) == (1, [])
    with pytest.raises(RequestTimedOut):
        await client.wait_for_job("j", timeout=0.02, poll=10)
    assert 0 < max(waits) < 0.021  # what is left of it, as floats can say


@pytest.mark.parametrize("wrong", [{"poll": 0}, {"poll": float("nan")}, {"timeout": -1}])
async def test_a_wait_that_can_not_be_is_refused_unsent(
    client: AsyncAgentMemClient, wrong: dict[str, float]
) -> None:
    with pytest.raises(InvalidRequest):
        await client.wait_for_job("j", **wrong)
