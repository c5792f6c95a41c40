"""Facts by an LLM."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import openai
from agentmem_client.errors import ExtractionFailed, InvalidRequest
from agentmem_client.models import Message
from limits.aio.storage import Storage

from ..telemetry.watch import Watch
from . import Found, FoundFact
from .answers import Reading, read_answer
from .budget import Bounds, Budget
from .chat import Answer, Chat
from .prompt import (
    Prompt,
    estimated_tokens,
    estimated_tokens_at_least,
    first_prompt,
    fitting,
    repair_prompt,
)


class LLMExtractor:
    """A model of an OpenAI-compatible API; `open_extractor` makes it.

    Attributes:
        budget: tells how many conversations are ``pending``.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        model: str,
        bounds: Bounds,
        windows: Storage,
        clock: Callable[[], float],
        watch: Watch,
    ) -> None:
        self._client = client
        self._bounds = bounds
        self.budget = Budget(bounds, windows, clock)
        self._chat = Chat(client, model, bounds, self.budget, watch)

    @property
    def pending(self) -> int:
        """How many conversations were accepted and not yet answered."""
        return self.budget.pending

    def check(self, messages: Sequence[Message], instructions: str | None = None) -> None:
        """Refuse a conversation that is longer than one call may be; see `Extractor`."""
        self._prompt(messages, instructions)

    def _prompt(self, messages: Sequence[Message], instructions: str | None) -> tuple[Prompt, int]:
        """What is asked of a conversation, and how many tokens that has.

        Raises:
            InvalidRequest: too many.
        """
        # Many megabytes are not made a prompt of to see that they are too much.
        tokens = estimated_tokens_at_least(messages)
        if tokens <= self._bounds.max_input_tokens:
            prompt = first_prompt(messages, instructions, {})
            tokens = estimated_tokens(prompt)
        if tokens > self._bounds.max_input_tokens:
            raise InvalidRequest(
                f"the conversation has about {tokens} tokens with its prompt, of at most "
                f"{self._bounds.max_input_tokens}: send fewer messages at a time, or raise "
                "AGENTMEM_LLM_MAX_INPUT_TOKENS"
            )
        return prompt, tokens

    async def extract(
        self,
        messages: Sequence[Message],
        instructions: str | None = None,
        known: Sequence[str] = (),
    ) -> Found:
        """The facts in a conversation; see `Extractor`.

        Of what is known, as much goes to the LLM as there is room for, the first first.
        """
        prompt, tokens = self._prompt(messages, instructions)
        shown = fitting(known, self._bounds.max_input_tokens - tokens)
        if shown:
            prompt = first_prompt(messages, instructions, shown)
        read = partial(read_answer, messages=messages, known=shown)
        async with self.budget.conversation():
            answer = await self._chat.ask(prompt, read)
            if answer.reading.problems and not answer.reading.facts:
                repaired = await self._repaired(prompt, read, answer)
                return replace(repaired, spent=answer.spent + repaired.spent)

        async def repair() -> Found:
            async with self.budget.conversation():
                return await self._repaired(prompt, read, answer)

        facts, problems = _in_order(answer.reading.facts), answer.reading.problems
        return Found(facts, answer.spent, problems, repair if problems else None)

    async def _repaired(
        self, prompt: Prompt, read: Callable[[str], Reading], first: Answer
    ) -> Found:
        """What comes of asking for the problems of an answer to be put right, and what that cost.

        Raises:
            ExtractionFailed: nothing can be used.
        """
        good, problems = first.reading.facts, first.reading.problems
        again = repair_prompt(
            prompt,
            first.text,
            problems,
            some_are_good=bool(good),
            max_tokens=self._bounds.max_tokens,
        )
        second = await self._chat.ask(again, read)
        facts = good + second.reading.facts
        if second.reading.is_json or not good:
            problems = second.reading.problems
        if problems and not facts:
            raise ExtractionFailed(
                "the LLM's answer can't be used, nor what it made of it when asked again: "
                f"{problems[0].text}",
                details={"reason": "malformed"},
            )
        return Found(_in_order(facts), second.spent, problems)

    async def close(self) -> None:
        """Close the connections to the LLM."""
        await self._client.close()


def _in_order(facts: Iterable[FoundFact]) -> list[FoundFact]:
    """Facts in the order in which the conversation says them."""
    return sorted(facts, key=lambda fact: fact.messages)


def open_llm_extractor(
    url: str,
    key: str | None,
    model: str,
    bounds: Bounds,
    windows: Storage,
    clock: Callable[[], float],
    watch: Watch,
) -> LLMExtractor:
    """Make one; nothing is asked yet. See `open_extractor`."""
    alone = estimated_tokens(first_prompt([], None, {}))
    if bounds.max_input_tokens <= alone:
        raise InvalidRequest(
            f"AGENTMEM_LLM_MAX_INPUT_TOKENS is {bounds.max_input_tokens}, and the prompt alone has "
            f"about {alone}: set it to some thousands more"
        )
    client = openai.AsyncOpenAI(
        base_url=url,
        # Services at home need none, but the client insists on one, and looking for it in the
        # environment it would send OpenAI's key to another's address.
        api_key=key or "none",
        timeout=bounds.timeout,
        max_retries=0,
    )
    return LLMExtractor(client, model, bounds, windows, clock, watch)
