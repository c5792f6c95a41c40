"""What an attempt to ask the LLM came to where it came to nothing."""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import openai
from agentmem_client.errors import APIError, ExtractionFailed, Unavailable

_PASSING = frozenset({408, 409, 425, 429})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_QUOTA = "insufficient_quota"
_LONGEST_QUOTE = 300
_SHORTEST_SECRET = 8


class Failed(Exception):
    """An attempt that came to nothing.

    Attributes:
        outcome: what is counted.
        error: what the caller is told.
        may_pass: whether another attempt may come to more.
    """

    def __init__(self, outcome: str, error: APIError, *, may_pass: bool = False) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.error = error
        self.may_pass = may_pass


class NotTaken(Failed):
    """The API refuses the request as it is: the text that says so, and its code."""

    def __init__(self, error: APIError, text: str, code: str | None) -> None:
        super().__init__("rejected", error)
        self.text = text
        self.code = code


def refusal() -> ExtractionFailed:
    """What the caller is told where the model, or a filter before it, won't answer."""
    return ExtractionFailed(
        "the LLM refuses to answer for this conversation", details={"reason": "refused"}
    )


def refused_by(refused: openai.APIStatusError, key: str) -> Failed:
    """What a status of 400 or more means; ``key`` is not quoted."""
    status = refused.status_code
    if status in _PASSING or status >= 500:
        return _busy(refused)
    if refused.code in _FILTERED:
        return Failed("refused", refusal())
    if status in (401, 403):
        return _rejected(f"the LLM refuses the key ({status}): set AGENTMEM_LLM_KEY")
    if status == 404:
        return _rejected("the LLM isn't there (404): set AGENTMEM_LLM_URL and AGENTMEM_LLM_MODEL")
    quote = _message(refused)
    if len(key) >= _SHORTEST_SECRET:
        quote = quote.replace(key, "…")
    if len(quote) > _LONGEST_QUOTE:
        quote = quote[:_LONGEST_QUOTE] + "…"
    failed = _rejected(f"the LLM takes no such request ({status}): {quote}")
    if status in (400, 422):
        return NotTaken(failed.error, refused.response.text, refused.code)
    return failed


def _busy(refused: openai.APIStatusError) -> Failed:
    status = refused.status_code
    outcome = "rate_limited" if status == 429 else "unavailable"
    if refused.code == _QUOTA:
        return Failed(outcome, Unavailable("the LLM's quota is used up"))
    error = Unavailable(
        f"the LLM answers with status {status}", retry_after=_retry_after(refused.response.headers)
    )
    return Failed(outcome, error, may_pass=True)


def _rejected(message: str) -> Failed:
    return Failed("rejected", ExtractionFailed(message, details={"reason": "rejected"}))


def _message(refused: openai.APIStatusError) -> str:
    body = refused.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body) if body else "no reason given"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: in milliseconds, in seconds, or until a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, until.timestamp() - time.time())
