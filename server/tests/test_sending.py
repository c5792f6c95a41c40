"""The head and the body of an answer leave together, and nothing is held for long."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from agentmem_server.cli.sending import Gathering


class Wire:
    """A transport that notes down what it sends, each call in an entry."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent.append(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def gathering() -> tuple[Gathering, Wire]:
    wire = Wire()
    return Gathering(cast("asyncio.Transport", wire)), wire


async def test_two_writes_go_out_together_and_at_once() -> None:
    transport, wire = gathering()
    for part in (b"head", b"body", b"next head", b"next body"):
        transport.write(part)
    assert wire.sent == [b"headbody", b"next headnext body"]
    await asyncio.sleep(0)
    assert len(wire.sent) == 2


async def test_what_nothing_follows_goes_out_when_the_event_loop_goes_on() -> None:
    transport, wire = gathering()
    transport.write(b"head")
    assert not wire.sent
    await asyncio.sleep(0)
    assert wire.sent == [b"head"]


async def test_closing_sends_what_is_held() -> None:
    transport, wire = gathering()
    transport.write(b"head")
    transport.close()
    assert (wire.sent, transport.is_closing()) == ([b"head"], True)
    await asyncio.sleep(0)
    assert wire.sent == [b"head"]


async def test_what_is_held_when_the_connection_is_lost_is_dropped() -> None:
    transport, wire = gathering()
    transport.write(b"head")
    wire.closed = True  # a write would raise
    await asyncio.sleep(0)
    assert not wire.sent


async def test_what_is_written_when_the_connection_is_lost_is_dropped() -> None:
    transport, wire = gathering()
    wire.closed = True
    for part in (b"head", b"body", b"next head"):
        transport.write(part)
    await asyncio.sleep(0)
    assert not wire.sent


async def test_all_else_is_the_transport_s() -> None:
    transport: Any = gathering()[0]
    assert transport.get_extra_info("peername") == "the peername"
