"""What is done with a client, written once for both of its kinds.

A function that yields `Call`s, each sent back its answer, is driven by `run` or `arun`.
"""

import asyncio
from collections.abc import Awaitable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

from agentmem_client import AgentMemClient, AsyncAgentMemClient

T = TypeVar("T")


class Call(NamedTuple):
    """A call of a client's method."""

    method: str
    arguments: Mapping[str, Any]


Steps: TypeAlias = Generator[Call, Any, T]
"""Calls, one after the other, and what comes of them."""


def run(client: AgentMemClient, steps: Steps[T]) -> T:
    """Do the steps, and answer what comes of them."""
    try:
        call = next(steps)
        while True:
            call = steps.send(getattr(client, call.method)(**call.arguments))
    except StopIteration as done:
        result: T = done.value
        return result


async def arun(client: AsyncAgentMemClient, steps: Steps[T]) -> T:
    """As `run`."""
    try:
        call = next(steps)
        while True:
            call = steps.send(await getattr(client, call.method)(**call.arguments))
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
