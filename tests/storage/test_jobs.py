"""Jobs in a store: kept until they are done, each with one server at a time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client.errors import Conflict
from agentmem_server.storage import (
    ClaimJobs,
    DeleteJob,
    DropCollection,
    Erase,
    FinishJob,
    ForgetJobs,
    Job,
    JobsRequest,
    PutJob,
    RenewJobs,
    RetryJob,
    Scope,
    open_snapshot,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

TENANT = "tenant"
LOST = b'{"code":"lost"}'
NEW = Job(
    "a",
    TENANT,
    "extract",
    "notes",
    Scope("u", "agent", "s", ("n", 'm"')),
    "u",
    "queued",
    b'{"messages":[]}',
    max_attempts=3,
    created_at=5,
    updated_at=5,
    run_at=10,
)
PLAIN = replace(NEW, scope=Scope(), caller=None)


async def put(notes: "Notes", job: Job = NEW, **changes: Any) -> Job:
    kept: Job = await notes.write(PutJob(replace(job, **changes)))
    return kept


async def claim(
    notes: "Notes", now: int = 10, *, limit: int = 10, lease_until: int = 100
) -> list[Job]:
    claimed: list[Job] = await notes.write(ClaimJobs(now, lease_until, limit, LOST))
    return claimed


async def finish(notes: "Notes", job: Job, status: Any = "done", **fields: Any) -> bool:
    finish = FinishJob(job.seq, job.attempts, **{"at": 50, "status": status, **fields})
    counted: bool = await notes.write(finish)
    return counted


async def get(notes: "Notes", id: str = "a", tenant: str = TENANT) -> Job:
    found = await notes.store.job(tenant, id)
    assert found is not None
    return found


async def listed(notes: "Notes", tenant: str = TENANT, **asked: Any) -> list[str]:
    return _ids(await notes.store.jobs(tenant, JobsRequest(**{"limit": 10, **asked})))


def _ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


async def test_a_job_comes_back_as_it_was_put(notes: "Notes") -> None:
    assert await notes.store.job(TENANT, "a") is None
    assert await notes.store.next_job() is None
    assert await notes.store.job_counts() == {}
    first = await put(notes)
    assert first == replace(NEW, seq=first.seq)
    second = await put(notes, PLAIN, id="b", request=b"x" * 3_000_000)
    assert second.seq > first.seq > 0
    for _ in range(2):
        assert await get(notes) == first
        assert await get(notes, "b") == second
        assert await notes.store.jobs(TENANT, JobsRequest(limit=10)) == [
            replace(second, request=None),
            replace(first, request=None),
        ]
        assert await notes.store.job_counts() == {"queued": 2}
        await notes.reopen()


async def test_a_job_that_is_put_again_stays_as_it_is(notes: "Notes") -> None:
    first = await put(notes)
    assert await put(notes, request=b"another", run_at=1) == first
    (running,) = await claim(notes)
    assert await put(notes) == running
    await finish(notes, running, result=b"result")
    assert (await put(notes)).status == "done"
    assert await notes.store.job_counts() == {"done": 1}
    for caller in (None, "v"):
        with pytest.raises(Conflict):
            await put(notes, caller=caller)
    assert await claim(notes) == []


async def test_a_refused_job_leaves_what_is_written_beside_it(notes: "Notes") -> None:
    await put(notes)
    outcomes = await notes.store.write(
        [PutJob(replace(NEW, id="b")), PutJob(PLAIN), notes.putting(notes.record("x"))]
    )
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [False, True, False]
    assert await listed(notes) == ["b", "a"]
    assert await notes.ids() == ["x"]


async def test_jobs_are_taken_up_when_they_are_due_the_first_due_first(notes: "Notes") -> None:
    for id, run_at in (("late", 12), ("b", 10), ("c", 10), ("early", 9), ("later", 13)):
        await put(notes, id=id, run_at=run_at)
    assert await notes.store.next_job() == 9
    assert await claim(notes, 8) == []
    assert _ids(await claim(notes, 10, limit=2)) == ["early", "b"]
    assert await notes.store.next_job() == 10
    assert _ids(await claim(notes, 12, limit=5)) == ["c", "late"]
    assert await notes.store.next_job() == 13
    assert await notes.store.job_counts() == {"running": 4, "queued": 1}
    running = await get(notes, "late")
    assert running == replace(
        NEW,
        id="late",
        status="running",
        attempts=1,
        run_at=None,
        lease_until=100,
        updated_at=12,
        seq=running.seq,
    )


async def test_a_job_is_taken_over_when_its_lease_is_over(notes: "Notes") -> None:
    await put(notes)
    (first,) = await claim(notes, lease_until=20)
    assert first.request == NEW.request
    assert await notes.store.next_job() == 20
    assert await claim(notes, 19) == []
    (second,) = await claim(notes, 20, lease_until=30)
    assert (second.attempts, second.lease_until) == (2, 30)
    # Who is late doesn't count, be it with a result or with an error.
    assert not await finish(notes, first, result=b"late")
    assert not await finish(notes, first, "queued", run_at=21, error=b"late")
    assert await notes.write(RenewJobs([(first.seq, first.attempts)], 99)) == []
    assert await get(notes) == second
    assert await finish(notes, second, result=b"result")
    assert not await finish(notes, second, result=b"twice")
    assert (await get(notes)).result == b"result"


async def test_a_lease_is_renewed(notes: "Notes") -> None:
    await put(notes)
    await put(notes, id="b")
    await put(notes, id="deleted")
    jobs = await claim(notes, lease_until=20)
    assert await finish(notes, jobs[1])
    await notes.write(DeleteJob(TENANT, "deleted"))
    held = [(job.seq, job.attempts) for job in jobs]
    assert await notes.write(RenewJobs(held, 40)) == [jobs[0].seq]
    assert await notes.write(RenewJobs([], 40)) == []
    assert await notes.store.next_job() == 40
    assert await claim(notes, 39) == []
    assert _ids(await claim(notes, 40)) == ["a"]


@pytest.mark.parametrize("left", [None, b"digest"])
async def test_what_is_done_keeps_its_result_and_what_is_left_of_its_request(
    notes: "Notes", left: bytes | None
) -> None:
    await put(notes)
    (running,) = await claim(notes)
    assert await finish(notes, running, result=b"result", request=left)
    done = await get(notes)
    assert done == replace(
        running, status="done", request=left, lease_until=None, updated_at=50, result=b"result"
    )
    assert await notes.store.next_job() is None
    assert await claim(notes, 1_000) == []
    (in_list,) = await notes.store.jobs(TENANT, JobsRequest(limit=10))
    assert in_list == replace(done, result=None, request=None)


async def test_a_failed_attempt_is_tried_again_at_its_time(notes: "Notes") -> None:
    await put(notes)
    (running,) = await claim(notes)
    assert await finish(notes, running, "queued", run_at=60, error=b"why")
    queued = await get(notes)
    assert (queued.status, queued.run_at, queued.attempts, queued.error) == (
        "queued",
        60,
        1,
        b"why",
    )
    assert queued.request == NEW.request
    assert await claim(notes, 59) == []
    (again,) = await claim(notes, 60)
    assert (again.attempts, again.error) == (2, b"why")
    assert await finish(notes, again, result=b"result")
    assert (await get(notes)).error is None


async def test_an_attempt_that_was_released_is_taken_back(notes: "Notes") -> None:
    await put(notes)
    (running,) = await claim(notes)
    assert await finish(notes, running, "queued", run_at=20, error=b"why")
    (again,) = await claim(notes, 20)
    assert await finish(notes, again, "queued", run_at=30, released=True)
    released = await get(notes)
    assert (released.status, released.attempts, released.run_at) == ("queued", 1, 30)
    assert released.error == b"why"
    assert (await claim(notes, 30))[0].attempts == 2


async def test_a_job_whose_last_attempt_is_lost_has_failed(notes: "Notes") -> None:
    await put(notes, max_attempts=2)
    await put(notes, id="b", max_attempts=2, run_at=30)
    await claim(notes, 10, lease_until=20)
    (second,) = await claim(notes, 20, lease_until=30)
    assert second.attempts == 2
    assert _ids(await claim(notes, 30, limit=1)) == ["b"]
    lost = await get(notes)
    assert (lost.status, lost.error, lost.attempts, lost.updated_at) == ("failed", LOST, 2, 30)
    assert lost.lease_until is None
    assert lost.request == NEW.request
    assert not await finish(notes, second, result=b"late")


async def test_a_failed_job_is_tried_anew(notes: "Notes") -> None:
    await put(notes)
    assert await notes.write(RetryJob(TENANT, "none", 60)) is None
    with pytest.raises(Conflict, match="queued"):
        await notes.write(RetryJob(TENANT, "a", 60))
    (running,) = await claim(notes)
    assert await finish(notes, running, "failed", error=b"why")
    assert (await get(notes)).error == b"why"
    assert await notes.store.next_job() is None
    assert await notes.write(RetryJob(TENANT, "a", 60, caller="v")) is None
    assert await notes.write(RetryJob("another", "a", 60)) is None
    anew = await notes.write(RetryJob(TENANT, "a", 60, caller="u"))
    assert anew == await get(notes) == replace(NEW, run_at=60, updated_at=60, seq=running.seq)
    (again,) = await claim(notes, 60)
    assert again.attempts == 1
    assert again.request == NEW.request


async def test_a_job_is_deleted_whatever_its_status(notes: "Notes") -> None:
    await put(notes)
    await put(notes, id="b")
    assert await notes.write(DeleteJob("another", "a")) == 0
    assert await notes.write(DeleteJob(TENANT, "a", caller="v")) == 0
    (running, _) = await claim(notes)
    assert await notes.write(DeleteJob(TENANT, "a", caller="u")) == 1
    assert await notes.write(DeleteJob(TENANT, "a")) == 0
    assert await notes.store.job(TENANT, "a") is None
    assert await notes.write(DeleteJob(TENANT, "b")) == 1
    # The same id again is another job: what comes of the first one is not its result.
    await put(notes)
    (second,) = await claim(notes)
    assert (second.attempts, second.seq > running.seq) == (running.attempts, True)
    assert not await finish(notes, running, result=b"of the first")
    assert await notes.write(RenewJobs([(running.seq, 1)], 1_000)) == []
    assert await finish(notes, second, result=b"of the second")


async def test_what_ended_long_ago_is_forgotten(notes: "Notes") -> None:
    for id, at in (("a", 52), ("b", 51), ("c", 53)):
        await put(notes, id=id)
        (running,) = await claim(notes)
        assert await finish(notes, running, "failed" if id == "a" else "done", at=at)
    await put(notes, id="queued")
    await put(notes, id="running", run_at=1)
    await claim(notes, 1)
    assert await notes.write(ForgetJobs(51, 10)) == 0
    assert await notes.write(ForgetJobs(53, 1)) == 1
    assert await listed(notes) == ["running", "queued", "c", "a"]
    assert await notes.write(ForgetJobs(1_000, 10)) == 2
    assert await listed(notes) == ["running", "queued"]


async def test_lists_are_narrowed_and_paged(notes: "Notes") -> None:
    await put(notes, PLAIN, id="p")
    await put(notes)
    await put(notes, PLAIN, id="b", scope=Scope("u"))
    await put(notes, id="c", scope=Scope("v"), caller="v")
    await put(notes, tenant="another")
    await finish(notes, (await claim(notes, limit=1))[0])
    assert await listed(notes) == ["c", "b", "a", "p"]
    assert await listed(notes, limit=2) == ["c", "b"]
    before = (await get(notes, "b")).seq
    assert await listed(notes, limit=2, before=before) == ["a", "p"]
    assert await listed(notes, user_id="u") == ["b", "a"]
    assert await listed(notes, caller="u") == ["a"]
    assert await listed(notes, caller="v", user_id="u") == []
    assert await listed(notes, status="done") == ["p"]
    assert await listed(notes, status="queued", user_id="v") == ["c"]
    assert await listed(notes, "another") == ["a"]
    assert await listed(notes, "nobody") == []


async def test_tenants_have_their_own_jobs(notes: "Notes") -> None:
    mine = await put(notes)
    theirs = await put(notes, tenant="another", request=b"theirs")
    assert mine.seq != theirs.seq
    assert (await get(notes, tenant="another")).request == b"theirs"
    assert {job.tenant for job in await claim(notes)} == {TENANT, "another"}
    assert await notes.write(DeleteJob(TENANT, "a")) == 1
    assert await get(notes, tenant="another")


async def test_an_erasure_takes_the_jobs_of_the_user_with_it(notes: "Notes") -> None:
    await put(notes, id="done")
    (done,) = await claim(notes)
    await finish(notes, done, result=b"what is known of u", request=b"digest")
    await put(notes, PLAIN, id="done about", scope=Scope("u"))
    (about,) = await claim(notes)
    await finish(notes, about, result=b"likewise", request=b"digest")
    await put(notes)
    await put(notes, PLAIN, id="about", scope=Scope("u"))
    await put(notes, id="asked", scope=Scope("v"))
    await put(notes, PLAIN, id="plain")
    await put(notes, id="v", scope=Scope("v"), caller="v")
    await put(notes, tenant="another")
    (running,) = await claim(notes, limit=1)
    await notes.write(Erase(TENANT, "u", 60))
    assert await listed(notes) == ["v", "plain"]
    assert await listed(notes, "another") == ["a"]
    assert not await finish(notes, running, result=b"late")
    assert await notes.store.job(TENANT, "a") is None


async def test_a_snapshot_counts_those_that_are_not_done(notes: "Notes") -> None:
    for id, status in (("done", "done"), ("failed", "failed"), ("later", "queued")):
        await put(notes, id=id)
        (running,) = await claim(notes)
        await finish(notes, running, status, run_at=1_000)
    await put(notes, id="queued")
    await put(notes, tenant="another", id="a")

    def count(tenant: str) -> int:
        with open_snapshot(notes.url) as snapshot:
            return snapshot.undone_jobs(tenant)

    found = [await asyncio.to_thread(count, tenant) for tenant in (TENANT, "another", "nobody")]
    assert found == [3, 1, 0]


async def test_jobs_outlive_their_collection(notes: "Notes") -> None:
    await notes.put("x")
    await put(notes)
    await notes.write(DropCollection(TENANT, "notes"))
    assert _ids(await claim(notes)) == ["a"]


async def test_jobs_are_no_write_to_a_collection(notes: "Notes") -> None:
    await notes.put("x")
    version, event = await notes.store.version(TENANT, "notes"), await notes.store.last_event()
    await put(notes)
    await finish(notes, (await claim(notes))[0])
    assert await notes.store.version(TENANT, "notes") == version
    assert await notes.store.last_event() == event


async def test_names_may_be_as_long_as_names_are(notes: "Notes") -> None:
    long = "\N{GRINNING FACE}" * 512
    scope = Scope(long, long, long, (long,) * 10)
    job = await put(notes, id=long, tenant=long, collection=long, caller=long, scope=scope)
    assert await notes.store.job(long, long) == job
    assert await listed(notes, long, user_id=long, caller=long, status="queued") == [long]
    await notes.write(Erase(long, long, 60))
    assert await listed(notes, long) == []
