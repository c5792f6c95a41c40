"""Extractors: what finds facts in a conversation, and how one is opened."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentmem_client.errors import InvalidRequest
from agentmem_client.models import FactType, Message
from limits.aio.storage import Storage

from ..telemetry.watch import NOBODY, Watch
from .budget import Bounds

if TYPE_CHECKING:  # it needs an extra
    from .extractor import LLMExtractor

__all__ = ["Bounds", "Extractor", "Found", "FoundFact", "Problem", "Spent", "open_extractor"]


@dataclass(frozen=True, slots=True)
class FoundFact:
    """A fact in a conversation.

    Attributes:
        content: one sentence that is understood alone.
        type: what kind of fact it is.
        event_at: when it happened, in microseconds since the Unix epoch, UTC.
        importance: 0 to 1.
        messages: the places of the messages that say it, ascending, each once; at least one.
        known: the place, in what is known, of what says the same in other words.
    """

    content: str
    type: FactType
    messages: tuple[int, ...]
    event_at: int | None = None
    importance: float | None = None
    known: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What it cost: calls of the LLM, and tokens as its API counts them."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an answer, or with one of its facts.

    Attributes:
        text: for who answered, and for people.
        content: the fact's sentence, where it has one.
    """

    text: str
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The facts in a conversation, in its order; none is an answer too.

    Attributes:
        facts: those that can be used.
        problems: of each of the others.
        repair: asks the LLM to put these right, which costs one more call, and answers with the
            facts of both calls; it can be tried again where it fails, as `Extractor.extract` does.
            None: there are none, or the LLM was asked to.
    """

    facts: Sequence[FoundFact]
    spent: Spent = field(default_factory=Spent)
    problems: Sequence[Problem] = ()
    repair: Callable[[], Awaitable["Found"]] | None = None


class Extractor(Protocol):
    """Finds facts. Any number of calls at the same time; it bounds those of the LLM itself."""

    def check(self, messages: Sequence[Message], instructions: str | None = None) -> None:
        """Refuse a conversation that is longer than one call may be.

        Raises:
            InvalidRequest: it is.
        """

    async def extract(
        self,
        messages: Sequence[Message],
        instructions: str | None = None,
        known: Sequence[str] = (),
    ) -> Found:
        """The facts in a conversation, the known ones too.

        ``known`` are memories about the same things. Whether a fact says what one of them does is a
        question of meaning, and the LLM that reads both can tell.

        Of an answer that is usable in part, that part is answered, and the rest can be repaired
        (`Found.repair`); one that isn't usable at all is repaired at once.

        Raises:
            InvalidRequest: the conversation is longer than one call may be.
            ExtractionFailed: the LLM refuses, or its answer can't be used; repeating may not help.
            Unavailable: the LLM can't be reached, or has no time; ``retry_after`` says for how
                long.
            Overloaded: too many conversations wait for it.
        """

    async def close(self) -> None:
        """Close the connections to the LLM."""


def open_extractor(
    *,
    url: str | None,
    key: str | None,
    model: str,
    bounds: Bounds,
    windows: Storage,
    clock: Callable[[], float] = time.monotonic,
    watch: Watch = NOBODY,
) -> "LLMExtractor":
    """Open an extractor by an LLM; the LLM is not asked yet.

    Args:
        url: the root of an OpenAI-compatible API, such as ``http://localhost:11434/v1``.
        key: its key, where it needs one.
        model: its name there.
        bounds: what may be spent.
        windows: counts the calls of a minute, of this server or of several.
        clock: that of ``windows``.
        watch: is told of each call.

    Raises:
        InvalidRequest: there is no URL or no model, the bounds leave no room for a conversation, or
            an extra isn't there.
    """
    if not model:
        raise InvalidRequest(
            "AGENTMEM_LLM_MODEL is empty: set it to a model of the API, or leave it out"
        )
    if not url:
        raise InvalidRequest(
            "AGENTMEM_LLM_MODEL is set and AGENTMEM_LLM_URL is not: set it to the root of an "
            "OpenAI-compatible API, such as https://api.openai.com/v1, or leave both out"
        )
    try:
        from .extractor import open_llm_extractor
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        raise InvalidRequest(
            'AGENTMEM_LLM_MODEL needs an extra: pip install "agentmem-server[openai]"'
        ) from None
    return open_llm_extractor(url, key, model, bounds, windows, clock, watch)
