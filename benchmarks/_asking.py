"""Asking a server as fast as it answers, with a client that does next to nothing."""

import asyncio
import json
import math
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import httpx

Asked: TypeAlias = tuple[str, str, Any]
"""A method, a path, and what becomes the JSON body."""


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1, for one request at a time; of an answer it reads the length."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, int]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what requests go out by."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of this class

    def data_received(self, data: bytes) -> None:
        """Answer when the whole body is there."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        head = bytes(self._buffer[:end]).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if end >= 0 and len(self._buffer) == end + 4 + size and self._answer is not None:
            self._answer.set_result((int(head[9:12]), size))
            self._buffer.clear()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the request that waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed before the answer"))

    async def ask(self, request: bytes) -> tuple[int, int]:
        """The status of an answer, and the bytes of its body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


@dataclass
class Figures:
    """What became of the requests of one round: the seconds of each, of all, the server's own."""

    seconds: list[float] = field(default_factory=list)
    took: float = 0.0
    cpu: float = 0.0
    busy: float = 0.0
    """The share of the time that this client was on the processor: near 1, it is the limit."""
    size: int = 0
    """The bytes of the last answer."""


@dataclass
class Target:
    """A server that is asked, with a key if it needs one.

    Attributes:
        operator: the key that its metrics are read with.
        size: for the bare server alone: the bytes that it answers to anything.
    """

    name: str
    url: str
    key: str = ""
    operator: str = ""
    size: int | None = None

    def metric(self, name: str) -> float:
        """A number among its metrics; 0 where it isn't there, as the processor's off Linux."""
        lines = self._metrics()
        found = (float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
        return next(found, 0.0)

    def histogram(self, name: str) -> dict[str, float]:
        """What a histogram without labels has counted up to each of its bounds."""
        start = f'{name}_bucket{{le="'
        found = (line.split() for line in self._metrics() if line.startswith(start))
        return {bucket.removeprefix(start)[:-2]: float(value) for bucket, value in found}

    def _metrics(self) -> list[str]:
        answer = httpx.get(f"{self.url}/metrics", headers={"X-API-Key": self.operator})
        return answer.raise_for_status().text.splitlines()

    def cpu(self) -> float:
        """Seconds that it has spent on the processor."""
        return self.metric("process_cpu_seconds_total")

    def request(self, method: str, path: str, content: Any) -> bytes:
        """A request as it is sent."""
        body = b"" if content is None else json.dumps(content).encode()
        path = path if self.size is None else f"/{self.size}"
        headers = "Host: localhost\r\nContent-Type: application/json\r\n"
        if self.key:
            headers += f"X-API-Key: {self.key}\r\n"
        return (
            f"{method} {path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def ask(
        self, requests: Iterable[Asked], callers: int = 1, limit: float = math.inf
    ) -> Figures:
        """Send requests, each caller one after the other, until so many seconds have passed.

        Raises:
            RuntimeError: when one is refused.
        """
        loop, url = asyncio.get_running_loop(), httpx.URL(self.url)
        ready = iter([self.request(*request) for request in requests])
        opened = [
            await loop.create_connection(Connection, url.host, url.port or 80)
            for _ in range(callers)
        ]
        figures, cpu = Figures(), self.cpu()
        started, own = time.perf_counter(), time.process_time()

        async def call(connection: Connection) -> None:
            while (begun := time.perf_counter()) - started < limit:
                request = next(ready, None)
                if request is None:
                    break
                figures.size = await self._answered(connection, request)
                figures.seconds.append(time.perf_counter() - begun)

        await asyncio.gather(*(call(connection) for _, connection in opened))
        figures.took = time.perf_counter() - started
        figures.busy = (time.process_time() - own) / figures.took
        figures.cpu = self.cpu() - cpu
        for transport, _ in opened:
            transport.close()
        return figures

    async def arrive(self, requests: Sequence[Asked], rate: float, connections: int) -> list[float]:
        """Send requests when they are due, so many a second at random, whatever is under way.

        Returns:
            The seconds of each from when it was due, the wait for a free connection among them.

        Raises:
            RuntimeError: when one is refused.
        """
        loop, url = asyncio.get_running_loop(), httpx.URL(self.url)
        opened = [
            await loop.create_connection(Connection, url.host, url.port or 80)
            for _ in range(connections)
        ]
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        seconds: list[float] = []

        async def call(connection: Connection) -> None:
            while True:
                due, request = await waiting.get()
                await self._answered(connection, request)
                seconds.append(time.perf_counter() - due)
                waiting.task_done()

        ready = [self.request(*request) for request in requests]
        chance = random.Random(0)
        callers = [loop.create_task(call(connection)) for _, connection in opened]
        due = time.perf_counter()
        for request in ready:
            due += chance.expovariate(rate)
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            waiting.put_nowait((due, request))
        everything = loop.create_task(waiting.join())
        await asyncio.wait([everything, *callers], return_when=asyncio.FIRST_COMPLETED)
        for task in (everything, *callers):
            if task.done() and not task.cancelled():
                task.result()
            task.cancel()
        for transport, _ in opened:
            transport.close()
        return seconds

    async def _answered(self, connection: Connection, request: bytes) -> int:
        """Ask, and answer how many bytes came back."""
        status, size = await connection.ask(request)
        if status not in (200, 201):
            raise RuntimeError(f"{self.name} answered {status} to {request[:200]!r}")
        return size
