"""One question to the LLM: sent within the budget, and repeated where that may help.

Needs the extra `openai`, whose client sends the requests; it repeats none itself, as each
repetition waits for its turn, counts against the rate and is told to who watches.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import openai
from agentmem_client.errors import ExtractionFailed, Unavailable
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from ..telemetry.watch import Watch
from . import Spent
from .answers import Reading
from .budget import Bounds, Budget
from .dialect import Dialect
from .failures import Failed, NotTaken, refusal, refused_by
from .prompt import Prompt

ATTEMPTS = 3
LONGEST_RETRY_AFTER = 20.0
"""Seconds that an attempt waits where the LLM says for how long; for longer the caller shall."""

LONGEST_TOKEN = 64
"""Bytes of a token in an answer's JSON, on average at most; it may be there twice, as a thought."""
LONGEST_BESIDE = 100_000
"""Bytes of an answer beside its tokens, at most."""

_BROKEN: type[Exception] = import_module(
    openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
).HTTPError
"""What ends the reading of an answer: httpx's error, or httpx2's, whichever the client sends by."""

_backoff = wait_random_exponential(multiplier=0.5, max=8.0)
_MOST_TOKENS = 1_000_000_000
_NOT_JSON = "json_validate_failed"
"""Groq's, where the model did not write the JSON that it was held to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the LLM answered, as it is and as it is understood, and what that cost."""

    text: str
    reading: Reading
    spent: Spent


@dataclass(frozen=True, slots=True)
class _Completion:
    text: str
    finish: str | None
    is_refusal: bool
    input_tokens: int
    output_tokens: int


class Chat:
    """Asks one model of one API.

    Args:
        client: the API's.
        model: its name there.
        bounds: of an answer's tokens and of a call's time.
        budget: whose turn it is.
        watch: is told of each call.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, model: str, bounds: Bounds, budget: Budget, watch: Watch
    ) -> None:
        self._client = client
        self._model = model
        self._bounds = bounds
        self._budget = budget
        self._watch = watch
        self._dialect = Dialect()
        self._longest = LONGEST_BESIDE + bounds.max_tokens * LONGEST_TOKEN

    async def ask(self, prompt: Prompt, read: Callable[[str], Reading]) -> Answer:
        """The answer to a prompt.

        Raises:
            ExtractionFailed: it is refused, cut off, or the API takes no such request.
            Unavailable: the LLM can't be reached, or has no time.
        """
        spent: list[Spent] = []
        attempts = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(_may_pass_soon),
            reraise=True,
        )
        try:
            answer: tuple[str, Reading] = await attempts(self._turn, prompt, read, spent)
        except Failed as failed:
            raise failed.error from None
        return Answer(*answer, sum(spent, Spent()))

    async def _turn(
        self, prompt: Prompt, read: Callable[[str], Reading], spent: list[Spent]
    ) -> tuple[str, Reading]:
        """One turn: a call, and again in other words where the API doesn't take it.

        They are all in one turn, or those who wait for theirs would all be refused before the first
        has learnt what is taken.
        """
        async with self._budget.turn():
            first = dialect = self._dialect
            is_learnt = True
            while True:
                try:
                    answer = await self._call(prompt, dialect, read, spent)
                except NotTaken as refused:
                    weaker = dialect.weaker(refused.text, refused.code)
                    if weaker is None:
                        raise
                    dialect = weaker
                    is_learnt = is_learnt and refused.code != _NOT_JSON
                else:
                    if is_learnt and dialect != first:
                        self._dialect = dialect
                    return answer

    async def _call(
        self,
        prompt: Prompt,
        dialect: Dialect,
        read: Callable[[str], Reading],
        spent: list[Spent],
    ) -> tuple[str, Reading]:
        """One call, which costs, counts against the rate and is told, whatever becomes of it."""
        await self._budget.allow()
        started = time.perf_counter()
        outcome = "cancelled"
        cost = Spent(calls=1)
        try:
            completion = await self._send(prompt, dialect)
            cost = Spent(1, completion.input_tokens, completion.output_tokens)
            self._check(completion)
            reading = read(completion.text)
            outcome = "malformed" if reading.problems else "answered"
        except Failed as failed:
            outcome = failed.outcome
            raise
        finally:
            spent.append(cost)
            seconds = time.perf_counter() - started
            self._watch.llm(outcome, seconds, cost.input_tokens, cost.output_tokens)
        return completion.text, reading

    async def _send(self, prompt: Prompt, dialect: Dialect) -> _Completion:
        try:
            # The client's timeout is for each step, so that a slow body could take for ever.
            async with asyncio.timeout(self._bounds.timeout):
                # The raw answer, as some APIs answer what the client's types don't allow for.
                asking = self._client.chat.completions.with_streaming_response.create(
                    model=self._model,
                    messages=dialect.messages(prompt),  # type: ignore[arg-type]  # dicts, not its types
                    **dialect.options(self._bounds.max_tokens),
                )
                async with asking as answer:
                    body = await _bounded(answer.iter_bytes(), self._longest)
        except (TimeoutError, openai.APITimeoutError):
            error = Unavailable(
                f"the LLM did not answer within {self._bounds.timeout:g} s (AGENTMEM_LLM_TIMEOUT)"
            )
            raise Failed("timeout", error, may_pass=True) from None
        except openai.APIStatusError as refused:
            raise refused_by(refused, self._client.api_key) from None
        except (openai.APIError, _BROKEN) as broken:
            kind = type(broken.__cause__ or broken).__name__
            error = Unavailable(f"the LLM can't be reached ({kind})")
            raise Failed("unavailable", error, may_pass=True) from None
        try:
            return _completion(body)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            nonsense = ExtractionFailed(
                "what AGENTMEM_LLM_URL leads to does not answer as OpenAI's chat API does: is it "
                "the API's root, such as http://localhost:11434/v1?",
                details={"reason": "malformed"},
            )
            raise Failed("malformed", nonsense) from None

    def _check(self, completion: _Completion) -> None:
        if completion.is_refusal or completion.finish == "content_filter":
            raise Failed("refused", refusal())
        if completion.finish == "length":
            error = ExtractionFailed(
                f"the LLM's answer is longer than {self._bounds.max_tokens} tokens, thoughts "
                "included: send fewer messages at a time, or raise AGENTMEM_LLM_MAX_TOKENS",
                details={"reason": "cut_off"},
            )
            raise Failed("cut_off", error)


async def _bounded(chunks: AsyncIterator[bytes], longest: int) -> bytes:
    """A body that an LLM answers, unless it is longer than one that keeps to its bound can be."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > longest:
            error = ExtractionFailed(
                f"the LLM's answer has more than {longest} bytes, although AGENTMEM_LLM_MAX_TOKENS "
                "bounds it: send fewer messages at a time, or use an API that keeps to max_tokens",
                details={"reason": "cut_off"},
            )
            raise Failed("cut_off", error)
    return bytes(body)


def _may_pass_soon(error: BaseException) -> bool:
    if not isinstance(error, Failed) or not error.may_pass:
        return False
    return (error.error.retry_after or 0.0) <= LONGEST_RETRY_AFTER


def _wait(state: RetryCallState) -> float:
    """Seconds before the next attempt, on top of what the LLM asks for."""
    failed = state.outcome.exception() if state.outcome else None
    asked = failed.error.retry_after if isinstance(failed, Failed) else None
    return (asked or 0.0) + (_backoff(state) if asked is None else 0.1 * _backoff(state))


def _completion(body: bytes) -> _Completion:
    """The first choice of an answer. Raises one of many errors where it isn't one."""
    answer = json.loads(body)
    choice = answer["choices"][0]
    message = choice["message"]
    usage = answer.get("usage") or {}
    return _Completion(
        text=_text(message.get("content")),
        finish=choice.get("finish_reason"),
        is_refusal=bool(message.get("refusal")),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(told: Any) -> int:
    """How many tokens an API tells of; what it says of its costs spoils no answer."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < _MOST_TOKENS:
        return 0
    return int(told)


def _text(content: Any) -> str:
    # Half of a character, as one that was cut off, can't be sent back.
    return _joined(content).encode(errors="replace").decode()


def _joined(content: Any) -> str:
    # Mistral's reasoning models answer with parts, of which the thoughts are others.
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return "" if content is None else str(content)
