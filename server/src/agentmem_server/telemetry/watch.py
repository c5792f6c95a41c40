"""Whom the parts tell what they do: metrics and traces, or nobody."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What is told of a request's method; any other is a word of the caller's."""

_NOTHING = nullcontext()


def _untold(*_: object) -> None:
    """Nobody wants to know."""


def _untraced(_name: str) -> AbstractContextManager[object]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Watch:
    """What is called while the parts work; none of it raises or waits.

    Attributes:
        batch: a queue's name, how many items its batch had, the seconds that they took.
        store: what the store did, the seconds it took on its thread. Called from any thread.
        llm: what became of a call of the LLM, the seconds it took, tokens of input and of output.
        span: entered, with a name, around what a request waits for.
    """

    batch: Callable[[str, int, float], None] = _untold
    store: Callable[[str, float], None] = _untold
    llm: Callable[[str, float, int, int], None] = _untold
    span: Callable[[str], AbstractContextManager[object]] = _untraced


NOBODY = Watch()
