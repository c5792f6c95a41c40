"""Jobs through the API, on each engine, with an extractor that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest
from agentmem_client.errors import ExtractionFailed, InvalidRequest, Unavailable
from agentmem_server.extraction import Found, FoundFact, Problem, Spent

if TYPE_CHECKING:
    from tests.conftest import FakeExtractor

OpenApi: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Json = dict[str, Any]

EXTRACT = "/api/v1/memories/extract"
JOBS = "/api/v1/jobs"


@pytest.fixture
async def api(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(extractor=told, database_url=database_url, job_attempts=2) as client:
        yield client


async def queue(api: httpx.AsyncClient, id: str, *contents: str, **fields: Any) -> Json:
    body = {"id": id, "messages": [{"content": one} for one in contents], "background": True}
    answer = await api.post(EXTRACT, json={**body, **fields})
    assert answer.status_code == 202, answer.text
    queued: Json = answer.json()
    return queued


async def ask(api: httpx.AsyncClient, method: str, path: str = "", **options: Any) -> Json:
    answer = await api.request(method, f"{JOBS}{path}", **options)
    assert answer.is_success, answer.text
    found: Json = answer.json()
    return found


async def until(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What an async function answers, once that is true."""
    async with asyncio.timeout(20):
        while not (answer := await holds()):  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.01)
    return answer


async def ended(api: httpx.AsyncClient, id: str) -> Json:
    async def look() -> Json | None:
        job = await ask(api, "GET", f"/{id}")
        return job if job["status"] in ("done", "failed") else None

    job: Json = await until(look)
    return job


async def counted(api: httpx.AsyncClient, outcome: str) -> None:
    """Wait until an attempt came to this."""

    async def look() -> bool:
        text = (await api.get("/metrics")).text
        return f'agentmem_job_attempts_total{{outcome="{outcome}"}} 1.0' in text

    await until(look)


async def begun(told: "FakeExtractor") -> None:
    async def look() -> bool:
        return bool(told.calls)

    await until(look)


pytestmark = pytest.mark.every_engine


async def test_facts_are_learnt_in_the_background(api: httpx.AsyncClient) -> None:
    queued = await queue(api, "a", "FACT: Ann has a cat.", user_id="ann", session_id="s")
    assert (queued["id"], queued["status"], queued["facts"], queued["usage"]) == (
        "a",
        "queued",
        [],
        None,
    )
    assert queued["job"]["id"] == "a"
    assert queued["job"]["attempts"] == 0
    job = await ended(api, "a")
    assert (job["status"], job["attempts"], job["max_attempts"]) == ("done", 1, 2)
    assert (job["user_id"], job["session_id"], job["error"]) == ("ann", "s", None)
    assert job["result"]["usage"] == {"calls": 1, "input_tokens": 100, "output_tokens": 10}
    (fact,) = job["result"]["facts"]
    assert (fact["status"], fact["content"]) == ("stored", "Ann has a cat.")
    memory = (await api.get(f"/api/v1/memories/{fact['id']}")).json()
    assert (memory["content"], memory["user_id"]) == ("Ann has a cat.", "ann")


async def test_sent_again_it_is_the_same_job(api: httpx.AsyncClient, told: "FakeExtractor") -> None:
    await queue(api, "a", "FACT: Ann has a cat.")
    await ended(api, "a")
    assert (await queue(api, "a", "FACT: Ann has a cat."))["job"]["status"] == "done"
    assert len(told.calls) == 1


@pytest.mark.parametrize("status", ["queued", "running", "done", "failed"])
async def test_an_id_of_another_conversations_job_is_refused(
    api: httpx.AsyncClient, told: "FakeExtractor", status: str
) -> None:
    asked = {"id": "a", "messages": [{"content": "FACT: Ann has a cat."}], "background": True}

    async def again(**fields: Any) -> int:
        answer = await api.post(EXTRACT, json={**asked, **fields})
        if answer.status_code != 202:
            error = answer.json()["error"]
            assert error["code"] == "conflict"
            assert "there is a job 'a' for another conversation" in error["message"]
            return answer.status_code
        assert answer.json()["job"] == await ask(api, "GET", "/a")
        return answer.status_code

    if status == "queued":  # for its next try
        told.errors = [Unavailable("away", retry_after=100)]
    elif status == "failed":
        told.errors = [InvalidRequest("no")]
    elif status == "running":
        told.delay = 30.0
    await queue(api, "a", "FACT: Ann has a cat.")
    if status in ("queued", "running"):
        await begun(told)
    if status == "queued":
        await counted(api, "retried")
    elif status != "running":
        assert (await ended(api, "a"))["status"] == status

    assert (await ask(api, "GET", "/a"))["status"] == status
    assert await again() == 202
    assert await again(messages=[{"content": "FACT: Ann has a dog."}]) == 409
    assert await again(messages=[*asked["messages"], {"content": "and more"}]) == 409  # type: ignore[misc]  # a list
    assert await again(metadata={"of": "another"}) == 409
    assert await again(instructions="look for pets") == 409
    assert await again(user_id="ann") == 409
    assert await again(collection="other") == 409
    assert (await ask(api, "GET", "/a"))["status"] == status
    assert (await ask(api, "GET"))["jobs"][0]["attempts"] == 1
    assert len(told.calls) == 1


async def test_of_many_each_has_its_job(api: httpx.AsyncClient) -> None:
    conversations = [
        {"id": "a", "messages": [{"content": "FACT: One."}], "background": True},
        {"id": "b", "messages": [{"content": "FACT: Two."}]},
        {"id": "c", "messages": []},
    ]
    answer = await api.post(f"{EXTRACT}/batch", json={"conversations": conversations})
    results = answer.json()["results"]
    assert [(one["id"], one["status"]) for one in results] == [
        ("a", "queued"),
        ("b", "done"),
        ("c", "failed"),
    ]
    assert results[0]["job"]["id"] == "a"
    assert (await ended(api, "a"))["status"] == "done"
    assert [job["id"] for job in (await ask(api, "GET"))["jobs"]] == ["a"]


async def test_a_failed_job_keeps_its_error_and_is_tried_again(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.errors = [InvalidRequest("the conversation is too long", details={"tokens": 9})]
    await queue(api, "a", "FACT: Ann has a cat.")
    job = await ended(api, "a")
    assert (job["status"], job["attempts"], job["next_attempt_at"]) == ("failed", 1, None)
    assert job["error"] == {
        "code": "invalid_request",
        "message": "the conversation is too long",
        "details": {"tokens": 9},
    }
    assert (await ask(api, "POST", "/a/retry"))["status"] == "queued"
    assert (await ended(api, "a"))["status"] == "done"
    again = await api.post(f"{JOBS}/a/retry")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert "done" in again.json()["error"]["message"]


async def test_what_may_come_round_waits_for_its_next_try(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.errors = [ExtractionFailed("malformed", details={"reason": "malformed"})]
    await queue(api, "a", "FACT: Ann has a cat.")
    await counted(api, "retried")
    job = await ask(api, "GET", "/a")
    assert (job["status"], job["error"]["code"]) == ("queued", "extraction_failed")
    assert job["next_attempt_at"] > job["updated_at"]
    assert (await ended(api, "a"))["attempts"] == 2


async def test_a_job_has_its_llm_put_right_what_it_could_not_be_asked_about(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    mended = Found([FoundFact("Ann moved.", "episodic", (0,))], Spent(1, 200, 20))
    told.problems = [Problem("facts[1]: it is wrong", "Ann moved.")]
    told.repairs = [Unavailable("away"), Unavailable("away"), mended]
    await queue(api, "a", "FACT: Ann has a cat.")
    job = await ended(api, "a")
    assert (job["status"], job["error"]["code"]) == ("failed", "unavailable")
    assert "1 facts of the LLM's answer can't be used" in job["error"]["message"]
    stored = (await api.get("/api/v1/memories")).json()["memories"]
    assert [(one["content"], one["version"]) for one in stored] == [("Ann has a cat.", 1)]
    await ask(api, "POST", "/a/retry")
    result = (await ended(api, "a"))["result"]
    assert [fact["status"] for fact in result["facts"]] == ["duplicate", "stored"]
    assert (result["unusable"], len(told.calls)) == ([], 1)


async def test_a_job_is_done_with_what_its_llm_refuses_to_put_right(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.problems = [Problem("facts[1]: it is wrong", "Ann moved.")]
    told.repairs = [ExtractionFailed("no", details={"reason": "refused"})]
    await queue(api, "a", "FACT: Ann has a cat.")
    job = await ended(api, "a")
    assert (job["status"], job["attempts"]) == ("done", 1)
    assert [fact["status"] for fact in job["result"]["facts"]] == ["stored"]
    assert [one["details"]["content"] for one in job["result"]["unusable"]] == ["Ann moved."]


async def test_jobs_are_listed_page_by_page(api: httpx.AsyncClient) -> None:
    for id in ("a", "b", "c"):
        await queue(api, id, "FACT: x.", user_id="ann" if id == "b" else None)
        await ended(api, id)
    page = await ask(api, "GET", params={"limit": 2})
    assert [job["id"] for job in page["jobs"]] == ["c", "b"]
    assert {job["result"] for job in page["jobs"]} == {None}
    page = await ask(api, "GET", params={"limit": 2, "before": page["next_before"]})
    assert ([job["id"] for job in page["jobs"]], page["next_before"]) == (["a"], None)
    assert [job["id"] for job in (await ask(api, "GET", params={"user_id": "ann"}))["jobs"]] == [
        "b"
    ]
    assert (await ask(api, "GET", params={"status": "failed"}))["jobs"] == []


async def test_a_job_is_deleted_and_does_not_go_on(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.delay = 30.0
    await queue(api, "a", "FACT: Ann has a cat.")
    await begun(told)
    assert await ask(api, "DELETE", "/a") == {"deleted": 1}
    assert await ask(api, "DELETE", "/a") == {"deleted": 0}
    gone = await api.get(f"{JOBS}/a")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")
    assert (await api.post(f"{JOBS}/a/retry")).status_code == 404
    assert (await ask(api, "GET"))["jobs"] == []
    told.delay = 0.0
    await queue(api, "a", "FACT: Bob has a dog.")  # the id is free again
    assert (await ended(api, "a"))["result"]["facts"][0]["content"] == "Bob has a dog."
    memories = (await api.get("/api/v1/memories")).json()["memories"]
    assert [memory["content"] for memory in memories] == ["Bob has a dog."]


async def test_an_erasure_ends_the_jobs_of_the_user(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.delay = 30.0
    await queue(api, "a", "FACT: Ann has a cat.", user_id="ann")
    await begun(told)
    (await api.delete("/api/v1/users/ann")).raise_for_status()
    assert (await ask(api, "GET"))["jobs"] == []
    await counted(api, "gone")
    assert (await api.get("/api/v1/memories")).json()["memories"] == []


async def test_metrics_count_them(api: httpx.AsyncClient) -> None:
    await queue(api, "a", "FACT: Ann has a cat.")
    await ended(api, "a")
    text = (await api.get("/metrics")).text
    assert 'agentmem_jobs{status="done"} 1.0' in text
    assert 'agentmem_jobs{status="queued"} 0.0' in text
    await counted(api, "done")


async def test_jobs_wait_for_a_server_that_has_an_llm(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    async with open_api(extractor=told, database_url=database_url) as api:
        told.delay = 30.0
        await queue(api, "a", "FACT: Ann has a cat.")
    async with open_api(database_url=database_url) as api:
        await asyncio.sleep(0.1)
        job = await ask(api, "GET", "/a")
        assert (job["status"], job["attempts"]) == ("queued", 0)
        refused = await api.post(EXTRACT, json={"messages": [{"content": "x"}], "background": True})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "llm_not_configured")
    told.delay = 0.0
    async with open_api(extractor=told, database_url=database_url) as api:
        assert (await ended(api, "a"))["attempts"] == 1
