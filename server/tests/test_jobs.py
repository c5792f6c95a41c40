"""Jobs as their callers see them, over a real store."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import Conflict, Forbidden, NotFound
from agentmem_server import times
from agentmem_server.access.callers import Caller
from agentmem_server.batcher import Batcher
from agentmem_server.engine.jobs import Jobs
from agentmem_server.storage import ClaimJobs, FinishJob, Outcome, Write
from agentmem_server.storage.sqlite import SqliteStore

TENANT, ANN, BOB = Caller("tenant"), Caller("tenant", "ann"), Caller("tenant", "bob")


def asked(id: str = "a", **fields: Any) -> m.ExtractRequest:
    return m.ExtractRequest(id=id, messages=[m.Message(content="I moved to Rome")], **fields)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(str(tmp_path / "memory.db"), readers=2)
    yield opened
    await opened.close()


@pytest.fixture
def jobs(store: SqliteStore) -> Jobs:
    writes: Batcher[Write, Outcome] = Batcher(store.write, max_batch=100, max_pending=1_000)
    return Jobs(store, writes, 2)


async def ids(jobs: Jobs, caller: Caller, **query: Any) -> list[str]:
    return [job.id for job in (await jobs.page(caller, m.JobsQuery(**query))).jobs]


async def fail(store: SqliteStore, at: int | None = None) -> None:
    """Take up what is due, and let it fail."""
    now = times.now()
    outcomes = await store.write([ClaimJobs(now, now + 1, 10, b"{}")])
    claimed: Sequence[Any] = outcomes[0]  # type: ignore[assignment]  # what it answers
    error = m.ErrorBody(code="unavailable", message="away").model_dump_json().encode()
    when = now if at is None else at
    for job in claimed:
        await store.write([FinishJob(job.seq, job.attempts, when, "failed", error=error)])


async def test_a_job_is_told_as_it_was_handed_in(jobs: Jobs) -> None:
    request = asked(collection="c", agent_id="ag", session_id="s", namespace=["x", "y"])
    job = await jobs.submit(ANN, request)
    assert job == await jobs.get(ANN, "a")
    assert job == m.Job(
        id="a",
        seq=1,
        kind="extract",
        status="queued",
        attempts=0,
        max_attempts=2,
        collection="c",
        user_id="ann",
        agent_id="ag",
        session_id="s",
        namespace=["x", "y"],
        created_at=job.created_at,
        updated_at=job.created_at,
        next_attempt_at=job.created_at,
    )
    assert await jobs.submit(ANN, request) == job  # sent again


async def test_a_user_sees_what_it_handed_in_and_a_tenant_everything(jobs: Jobs) -> None:
    await jobs.submit(ANN, asked("ann's"))
    await jobs.submit(BOB, asked("bob's"))
    await jobs.submit(TENANT, asked("tenant's", user_id="ann"))
    await jobs.submit(Caller("another"), asked("another's"))
    assert await ids(jobs, TENANT) == ["tenant's", "bob's", "ann's"]
    assert await ids(jobs, TENANT, user_id="ann") == ["tenant's", "ann's"]
    assert await ids(jobs, ANN) == await ids(jobs, ANN, user_id="ann") == ["ann's"]
    assert await ids(jobs, BOB) == ["bob's"]
    assert (await jobs.get(TENANT, "ann's")).user_id == "ann"
    for caller, id in ((BOB, "ann's"), (ANN, "tenant's"), (TENANT, "another's")):
        with pytest.raises(NotFound):
            await jobs.get(caller, id)
        with pytest.raises(NotFound):
            await jobs.retry(caller, id)
        assert (await jobs.delete(caller, id)).deleted == 0
    assert (await jobs.delete(TENANT, "ann's")).deleted == 1


async def test_a_user_asks_for_itself_alone(jobs: Jobs) -> None:
    with pytest.raises(Forbidden):
        await jobs.submit(ANN, asked(user_id="bob"))
    with pytest.raises(Forbidden):
        await jobs.page(ANN, m.JobsQuery(user_id="bob"))
    await jobs.submit(ANN, asked())
    for caller in (BOB, TENANT):
        with pytest.raises(Conflict) as refused:
            await jobs.submit(caller, asked())
        assert "ann" not in refused.value.message


async def test_pages_follow_one_another(jobs: Jobs) -> None:
    for number in range(5):
        await jobs.submit(TENANT, asked(str(number)))
    before, pages = None, []
    while True:
        page = await jobs.page(TENANT, m.JobsQuery(limit=2, before=before))
        pages.append([job.id for job in page.jobs])
        before = page.next_before
        if before is None:
            break
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    assert (await jobs.page(TENANT, m.JobsQuery(limit=5))).next_before is None


async def test_a_failed_job_is_tried_anew_and_no_other(jobs: Jobs, store: SqliteStore) -> None:
    await jobs.submit(TENANT, asked())
    with pytest.raises(Conflict, match="queued"):
        await jobs.retry(TENANT, "a")
    await fail(store)
    failed = await jobs.get(TENANT, "a")
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.next_attempt_at) == (
        "failed",
        "unavailable",
        None,
    )
    assert await ids(jobs, TENANT, status="failed") == ["a"]
    anew = await jobs.retry(TENANT, "a")
    assert (anew.status, anew.attempts, anew.error) == ("queued", 0, None)
    assert await ids(jobs, TENANT, status="failed") == []


async def test_what_ended_long_ago_is_forgotten(jobs: Jobs, store: SqliteStore) -> None:
    for number in range(3):
        await jobs.submit(TENANT, asked(str(number)))
    await fail(store, at=times.now() - times.from_seconds(100))
    await jobs.submit(TENANT, asked("queued"))
    assert await jobs.forget(200) == 0
    assert await jobs.forget(50) == 3
    assert await ids(jobs, TENANT) == ["queued"]


async def test_they_are_counted_now_and_then(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert await jobs.counts() == {}
    await jobs.submit(TENANT, asked())
    assert await jobs.counts() == {}
    now += 5.0
    assert await jobs.counts() == {"queued": 1}
