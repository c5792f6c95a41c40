"""How servers hear of each other's commits: by one connection, which may be lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
import structlog
from agentmem_client.errors import Unavailable
from agentmem_server.storage.postgres import listener as listening
from agentmem_server.storage.postgres.connections import Address, Connection, connect
from agentmem_server.storage.postgres.listener import Listener, channel

if TYPE_CHECKING:
    from tests.conftest import Postgres

DATABASE = "listening"


class Heard:
    """A listener, and how often it was told of what."""

    def __init__(self, address: Address) -> None:
        self.events = self.erased = 0
        self._told = asyncio.Event()
        self.listener = Listener(address, "me", self._on_events, self._on_erased)

    def _on_events(self) -> None:
        self.events += 1
        self._told.set()

    def _on_erased(self) -> None:
        self.erased += 1
        self._told.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._told.clear()
                await self._told.wait()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_RETRY", 0.05)
    monkeypatch.setattr(listening, "_PROBE", 0.5)


@pytest.fixture
async def operator(postgres: "Postgres") -> AsyncIterator[Connection]:
    """Who may end others' connections."""
    connection = await connect(Address.parse(postgres.url("any")))
    yield connection
    await connection.close()


@pytest.fixture
async def address(postgres: "Postgres", operator: Connection) -> AsyncIterator[Address]:
    """Of a database to which nobody else connects."""
    await operator.execute(f"CREATE DATABASE {DATABASE}")
    there = Address.parse(postgres.url("heard of"))
    yield Address(there.dsn.replace("/postgres?", f"/{DATABASE}?"), there.schema)
    await operator.execute(f"DROP DATABASE {DATABASE} (FORCE)")


@pytest.fixture
async def heard(address: Address) -> AsyncIterator[Heard]:
    """One that listens."""
    heard = Heard(address)
    await heard.listener.start()
    yield heard
    await heard.listener.close()


async def notify(address: Address, *payloads: str) -> None:
    connection = await connect(address)
    for payload in payloads:
        await connection.execute("SELECT pg_notify($1, $2)", channel(address.schema), payload)
    await connection.close()


async def pids(operator: Connection) -> list[int]:
    found = await operator.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1", DATABASE)
    return [pid for (pid,) in found]


async def cut(operator: Connection) -> None:
    await operator.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", DATABASE
    )


def test_each_schema_has_a_channel_whose_name_postgresql_takes() -> None:
    schemas = ["agentmem", "Agent mem", "x" * 54, "x" * 55, "x" * 63, "ä" * 31, 'a"b']
    names = [channel(schema) for schema in schemas]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 63 for name in names)
    assert names == [channel(schema) for schema in schemas]


async def test_others_are_heard_and_one_is_not_told_of_oneself(
    heard: Heard, address: Address
) -> None:
    await notify(address, "me events", "me erased", "you events", "you events", "you erased")
    await heard.until(lambda: heard.erased == 1)
    assert heard.events == 2
    await notify(Address(address.dsn, "another schema"), "you events")
    await notify(address, "you erased")
    await heard.until(lambda: heard.erased == 2)
    assert heard.events == 2


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_asked_for(
    heard: Heard, address: Address, operator: Connection
) -> None:
    with structlog.testing.capture_logs() as logs:
        for number in range(1, 3):
            before = heard.events
            await cut(operator)
            await heard.until(lambda number=number: heard.erased == number)  # type: ignore[misc]  # a default
            assert heard.events > before
    assert [line["log_level"] for line in logs] == ["warning", "info"] * 2
    seen = heard.events
    await notify(address, "you events")
    await heard.until(lambda: heard.events == seen + 1)


async def test_without_a_connection_events_are_asked_for_again_and_again(
    heard: Heard, operator: Connection, address: Address
) -> None:
    with structlog.testing.capture_logs() as logs:
        await operator.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
        await cut(operator)
        await heard.until(lambda: heard.events >= 3)
        assert heard.erased == 0
        assert len(logs) == 1
        await operator.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")
        await heard.until(lambda: heard.erased == 1)
        seen = heard.events
        await notify(address, "you events")
        await heard.until(lambda: heard.events == seen + 1)
    assert len(logs) == 2


async def test_a_connection_that_is_lost_in_silence_is_made_again(
    heard: Heard, operator: Connection
) -> None:
    (pid,) = await pids(operator)
    os.kill(pid, signal.SIGSTOP)
    try:
        await heard.until(lambda: heard.erased == 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await pids(operator) != [pid]


async def test_it_ends_at_any_moment(
    address: Address, operator: Connection, recwarn: pytest.WarningsRecorder
) -> None:
    never = Heard(address)
    await never.listener.close()
    at_once = Heard(address)
    await at_once.listener.start()
    await at_once.listener.close()
    lost = Heard(address)
    await lost.listener.start()
    await operator.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
    await cut(operator)
    await lost.until(lambda: lost.events >= 1)
    await lost.listener.close()
    seen = lost.events
    with pytest.raises(Unavailable, match="not currently accepting connections"):
        await Heard(address).listener.start()
    assert await pids(operator) == []
    assert lost.events == seen
    assert len(recwarn) == 0
