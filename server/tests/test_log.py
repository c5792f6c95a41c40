"""Lines of requests are those that structlog would write, in their place among all others."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from agentmem_server.telemetry.log import RequestLog, configure_logging, request_log
from structlog.testing import capture_logs

FIELDS: dict[str, Any] = {
    "request_id": "a-1",
    "method": "GET",
    "route": "/api/v1/memories/{id}",
    "key": "0123456789abcdef",
    "status": 200,
    "ms": 0.25,
}

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def written(capfdbinary: pytest.CaptureFixture[bytes]) -> Written:
    """What stands on standard error since it was last asked."""
    return lambda: [json.loads(line) for line in capfdbinary.readouterr().err.splitlines()]


def configured(level: str = "info") -> RequestLog:
    configure_logging(level)
    return request_log()


async def test_a_line_is_the_one_that_structlog_would_write(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    configured()("info", **FIELDS)
    configured()("info", **(FIELDS | {"route": None, "key": None, "ms": 1_234.5}))
    await asyncio.sleep(0)
    ours = capfdbinary.readouterr().err.splitlines()
    log = structlog.get_logger()
    log.info("request", **FIELDS)
    log.info("request", **(FIELDS | {"route": None, "key": None, "ms": 1_234.5}))
    theirs = capfdbinary.readouterr().err.splitlines()
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        cut = one.index(b'"timestamp"')
        assert one[:cut] == other[:cut]
        stamp, reference = (json.loads(line)["timestamp"] for line in (one, other))
        assert len(stamp) == len("2026-01-31T09:30:00.000000Z")
        assert stamp <= reference
        assert stamp[:15] == reference[:15] or stamp[:13] != reference[:13]


async def test_lines_are_held_until_the_event_loop_goes_on(written: Written) -> None:
    tell = configured()
    for status in (200, 201):
        tell("info", **(FIELDS | {"status": status}))
    assert written() == []
    await asyncio.sleep(0)
    assert [line["status"] for line in written()] == [200, 201]
    tell("info", **FIELDS)
    await asyncio.sleep(0)
    assert len(written()) == 1


async def test_what_is_logged_otherwise_keeps_its_place(written: Written) -> None:
    tell = configured()
    tell("info", **FIELDS)
    structlog.get_logger().warning("ours")
    tell("info", **FIELDS)
    logging.getLogger("theirs").warning("theirs")
    tell("info", **FIELDS)
    assert [line["event"] for line in written()] == ["request", "ours", "request", "theirs"]
    await asyncio.sleep(0)
    assert [line["event"] for line in written()] == ["request"]


async def test_no_more_lines_are_held_than_a_pipe_takes_whole(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """And no reader sees a part of one, whoever else writes into the pipe."""
    tell = configured()
    longest = FIELDS | {
        "request_id": "a" * 64,
        "method": "OPTIONS",
        "route": f"/docs/{'0' * 16}/swagger-ui-bundle.js",
        "ms": 123_456_789.12,
    }
    written, told = b"", 0
    while not written:
        tell("info", **longest)
        told += 1
        written = capfdbinary.readouterr().err
    assert (written.count(b"\n"), written[-1:]) == (told, b"\n")
    assert told > 1
    assert len(written) <= 4_096
    tell("info", **FIELDS)
    await asyncio.sleep(0)
    assert len(capfdbinary.readouterr().err.splitlines()) == 1


class Noisy(str):
    """Logs something when a line is made of it, as what the collector finds may at any moment."""

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        logging.getLogger("theirs").warning("theirs")
        return str(self)


async def test_what_is_logged_while_lines_are_written_holds_up_nothing(written: Written) -> None:
    tell = configured()
    for _ in range(3):
        tell("info", **(FIELDS | {"route": Noisy("/a")}))
    await asyncio.sleep(0)
    lines = written()
    assert [line["event"] for line in lines].count("theirs") == 3
    assert [line["route"] for line in lines if line["event"] == "request"] == ["/a"] * 3


@pytest.mark.parametrize(
    ("level", "expected"), [("debug", ["debug", "info"]), ("info", ["info"]), ("warning", [])]
)
async def test_levels_below_the_configured_one_are_left_out(
    written: Written, level: str, expected: list[str]
) -> None:
    tell = configured(level)
    tell("debug", **FIELDS)
    tell("info", **FIELDS)
    await asyncio.sleep(0)
    assert [line["level"] for line in written()] == expected


COLLECTING = """
import asyncio, faulthandler, logging
from agentmem_server.telemetry.log import configure_logging, request_log

class Found:
    def __format__(self, _):
        logging.getLogger().warning("found")
        return "a"

async def main():
    configure_logging("info")
    for id in (Found(), "b"):
        request_log()("info", request_id=id, method="GET", route=None, key=None, status=200, ms=1.0)
    logging.getLogger().warning("warned")

faulthandler.dump_traceback_later(20, exit=True)
asyncio.run(main())
"""


def test_what_is_logged_while_lines_are_made_hangs_nothing_and_is_written() -> None:
    """The garbage collector may find a task at any moment that failed, and log it."""
    ended = subprocess.run([sys.executable, "-c", COLLECTING], capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert events == ["found", "request", "request", "warned"]


def test_where_nothing_is_configured_structlog_is_told() -> None:
    with capture_logs() as logs:
        request_log()("info", **FIELDS)
        request_log()("debug", **FIELDS)
    assert logs == [FIELDS | {"event": "request", "log_level": it} for it in ("info", "debug")]


ENDING = """
import asyncio
from agentmem_server.telemetry.log import configure_logging, request_log

async def main():
    configure_logging("info")
    request_log()("info", request_id="a", method="GET", route=None, key=None, status=200, ms=1.0)
    raise SystemExit(3)

asyncio.new_event_loop().run_until_complete(main())
"""


def test_what_is_held_when_the_process_ends_is_written() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, timeout=60)
    assert ended.returncode == 3
    assert json.loads(ended.stderr)["event"] == "request"
