"""PostgreSQL is there in part, or not at all: whoever can't be served is told so in time."""

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.outages import (
    API,
    QUICK,
    Json,
    administrator,
    check_log,
    check_refusal,
    follow,
    memory,
    opened,
    until,
)

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server


@pytest.fixture
async def server(make_server: "MakeServer", own_postgres: "Postgres") -> "Server":
    """A server on a schema of its own, in a PostgreSQL that may be killed."""
    made = make_server(database_url=own_postgres.url(), environment=QUICK)
    return await asyncio.to_thread(made.start)


async def test_connections_that_the_administrator_ends_are_made_again(server: "Server") -> None:
    told: list[Json] = []
    async with opened(server) as client, administrator(server) as connection:
        following = asyncio.create_task(follow(client, told))
        for round_ in range(3):
            for number in range(20):
                answer = await client.post(API, json=memory(f"m{round_}-{number}"))
                assert answer.status_code == 201
            ended = await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'agentmem'"
            )
            assert ended > 2
            asked = await asyncio.gather(*(client.get(API) for _ in range(20)))
            for answer in asked:
                if not answer.is_success:
                    check_refusal(answer)
        assert (await client.get(API)).json()["total"] == 60
        assert (await client.get("/health")).status_code == 200
        await until(lambda: len(told) >= 60)
        following.cancel()
        ids = [event["id"] for event in told]
        assert ids == sorted(set(ids))
    check_log(server)


async def test_a_writer_elsewhere_that_holds_the_lock_delays_writes_alone(
    server: "Server",
) -> None:
    async with opened(server) as client, administrator(server) as connection:
        assert (await client.post(API, json=memory("before"))).status_code == 201
        async with connection.transaction():
            await connection.execute("SELECT FROM clock FOR UPDATE")
            writing = asyncio.create_task(client.post(API, json=memory("brief")))
            await asyncio.sleep(0.3)
            assert not writing.done()
        assert (await writing).status_code == 201
        async with connection.transaction():
            await connection.execute("SELECT FROM clock FOR UPDATE")
            writing = asyncio.create_task(client.post(API, json=memory("long")))
            while not writing.done():
                assert (await client.get(API)).json()["total"] == 2
                body = {"embedding": [1.0, 1.0]}
                found = await client.post(f"{API}/search", json=body)
                assert len(found.json()["hits"]) == 2
                assert (await client.get("/health")).status_code == 200
                await asyncio.sleep(0.05)
            check_refusal(await writing)
        assert (await client.post(API, json=memory("after"))).status_code == 201
        assert (await client.get(f"{API}/long")).status_code == 404
    check_log(server)


async def test_a_pool_that_is_used_up_refuses_in_time_and_others_go_on(
    make_server: "MakeServer", own_postgres: "Postgres"
) -> None:
    settings = {
        "AGENTMEM_POOL_MIN": "1",
        "AGENTMEM_POOL_MAX": "1",
        "AGENTMEM_POOL_TIMEOUT": "0.5",
    }
    server = make_server(database_url=own_postgres.url(), environment=settings)
    await asyncio.to_thread(server.start)
    async with opened(server) as client, administrator(server) as connection:
        assert (await client.post(API, json=memory("m"))).status_code == 201
        found = await client.post(f"{API}/search", json={"query": "m", "mode": "sparse"})
        assert len(found.json()["hits"]) == 1
        async with connection.transaction():
            await connection.execute("LOCK TABLE memory IN ACCESS EXCLUSIVE MODE")
            slow = asyncio.create_task(client.get(API))
            await asyncio.sleep(0.2)
            refused = await asyncio.gather(
                client.post(API, json=memory("refused")),
                client.get("/api/v1/collections"),
                client.post(f"{API}/search", json={"query": "m", "mode": "sparse"}),
            )
            for answer in refused:
                check_refusal(answer)
                assert "AGENTMEM_POOL_MAX" in answer.json()["error"]["message"]
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503
            assert not slow.done()
        assert (await slow).json()["total"] == 1
        answers = await asyncio.gather(
            *(client.post(API, json=memory(f"{number}")) for number in range(20)),
            *(client.get(API) for _ in range(20)),
        )
        assert all(answer.is_success for answer in answers)
    check_log(server)


async def test_a_server_ends_in_time_without_its_database(
    server: "Server", own_postgres: "Postgres"
) -> None:
    """Also when it hangs in the middle of requests."""
    async with opened(server) as client:
        assert (await client.post(API, json=memory("m"))).status_code == 201
        await asyncio.to_thread(own_postgres.pause)
        try:
            asking = [
                asyncio.create_task(client.get(API)),
                asyncio.create_task(client.post(API, json=memory("n"))),
            ]
            await asyncio.sleep(0.3)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            for answer in await asyncio.gather(*asking):
                check_refusal(answer)
            assert await asyncio.to_thread(server.process.wait, 25) == 0
        finally:
            await asyncio.to_thread(own_postgres.resume)
    check_log(server)


async def test_it_does_not_start_without_its_database(
    make_server: "MakeServer", own_postgres: "Postgres"
) -> None:
    server = make_server(database_url=own_postgres.url(), environment=QUICK)
    await asyncio.to_thread(own_postgres.pause)
    try:
        assert await asyncio.to_thread(server.launch().wait, 30) != 0
    finally:
        await asyncio.to_thread(own_postgres.resume)
    assert "database" in server.log_text()
    assert "Traceback" not in server.log_text()
