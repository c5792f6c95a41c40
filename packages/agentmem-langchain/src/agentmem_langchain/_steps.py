"""What is done with a client, written once for both of its kinds.

A function that yields `Call`s, each sent back its answer, is driven by `run` or `arun`.
"""

import asyncio
from collections.abc import Awaitable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from agentmem_client import AgentMemClient, AsyncAgentMemClient

AT_ONCE = 64
"""Calls under way together. httpx has 100 connections, and thousands that wait for one are slow."""

T = TypeVar("T")


class Call(NamedTuple):
    """A call of a client's method."""

    method: str
    arguments: Mapping[str, Any]


Steps: TypeAlias = Generator[Call, Any, T]
"""Calls, one after the other, and what comes of them."""


class Turns:
    """Who may call at the moment: a semaphore for each event loop."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )

    def in_running_loop(self) -> asyncio.Semaphore:
        """The semaphore of the loop that is running."""
        return self._by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))


def run(client: AgentMemClient, steps: Steps[T]) -> T:
    """Do the steps, and answer what comes of them."""
    try:
        call = next(steps)
        while True:
            call = steps.send(getattr(client, call.method)(**call.arguments))
    except StopIteration as done:
        result: T = done.value
        return result


async def arun(client: AsyncAgentMemClient, turns: asyncio.Semaphore, steps: Steps[T]) -> T:
    """As `run`, each call in its turn."""
    try:
        call = next(steps)
        while True:
            async with turns:
                answer = await getattr(client, call.method)(**call.arguments)
            call = steps.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """The results of several, side by side, in their order.

    Raises:
        BaseException: of the first that failed, when all have ended.
    """
    ended = await asyncio.gather(*awaitables, return_exceptions=True)
    results: list[T] = []
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
