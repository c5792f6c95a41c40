"""An LLM's answer, read and checked; what is wrong with it is said so that the LLM can repair it.

What says clearly enough what it means is taken silently: code fences, text or thoughts around the
JSON, commas too many, an importance outside of 0 to 1 (the nearer end), one that is no number or a
time that can't be read (none), places of messages that don't exist beside some that do (dropped), a
place of something known that doesn't exist (none: the fact is stored, which does less harm than a
wrong link). A fact without content, of no type that there is, or that none of the messages says is
not.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentmem_client.errors import shown
from agentmem_client.instants import parse_instant
from agentmem_client.json_values import check_text
from agentmem_client.models import FactType, Message

from ..times import to_microseconds
from . import FoundFact, Problem
from .prompt import TYPES

MAX_CONTENT = 4_000
"""How many characters a fact may have: one sentence has fewer."""

_MAX_STARTS = 100
_AFTER_THOUGHTS = re.compile(r"</think(?:ing)?>")
# Outside of strings a backslash goes with what follows it: else each escaped quote after one that
# is never closed would be looked at as the start of another string, to the end of the text.
_COMMAS = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*"|\\.)|,(?=\s*[}\]])', re.DOTALL)
_PART_OF_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is in an answer.

    Attributes:
        facts: those that can be used.
        problems: of each of the others, what is wrong; or of the answer as a whole.
        is_json: whether there was a list of facts at all.
    """

    facts: list[FoundFact] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_json: bool = True


class _Wrong(Exception):
    """A fact that can't be used, and why."""


def read_answer(text: str, messages: Sequence[Message], known: Collection[int] = ()) -> Reading:
    """The facts in an LLM's answer to a prompt about these messages; never raises.

    ``known`` are the places of the known memories in the prompt.
    """
    found = _find_facts(text)
    if isinstance(found, str):
        return Reading(problems=[Problem(found)], is_json=False)
    reading = Reading()
    for number, raw in enumerate(found):
        try:
            reading.facts.append(_fact(raw, messages, known))
        except _Wrong as error:
            reading.problems.append(Problem(f"facts[{number}]: {error}", _sentence(raw)))
    return reading


def _find_facts(text: str) -> list[Any] | str:
    """The one list of facts in a text, or why there is none."""
    # A model's thoughts may hold drafts; what it says comes after them.
    said = _AFTER_THOUGHTS.split(text)[-1]
    for values in (
        _whole(text),
        _whole(_without_last_commas(text)),
        _embedded(said),
        _embedded(_without_last_commas(said)),
    ):
        lists = [found for value in values if (found := _list_in(value)) is not None]
        if any(one != lists[0] for one in lists):
            return 'there are several JSON objects with a list "facts"'
        if lists:
            return lists[0]
    return 'there is no JSON object with a list "facts"'


def _without_last_commas(text: str) -> str:
    return _COMMAS.sub(lambda match: match[1] or "", text)


def _list_in(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        value = value.get("facts")
    elif not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
        return None
    return value if isinstance(value, list) else None


def _whole(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
    except (ValueError, RecursionError):
        return


def _embedded(text: str) -> Iterator[Any]:
    """The JSON objects and lists in a text, the outermost of each place."""
    decoder = json.JSONDecoder(strict=False)
    end = 0
    for _, start in zip(range(_MAX_STARTS), re.finditer(r"[{\[]", text), strict=False):
        if start.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        yield value


def _fact(raw: Any, messages: Sequence[Message], known: Collection[int]) -> FoundFact:
    if not isinstance(raw, dict):
        raise _Wrong("must be an object")
    places = _places(raw.get("messages"), len(messages))
    return FoundFact(
        content=_content(raw.get("content")),
        type=_type(raw.get("type")),
        messages=places,
        event_at=_time(raw.get("event_time"), messages[places[0]].at),
        importance=_importance(raw.get("importance")),
        known=_known(raw.get("known"), known),
    )


def _content(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise _Wrong('"content" must be a sentence')
    if len(raw) > MAX_CONTENT:
        raise _Wrong(f'"content" must be one sentence, of {MAX_CONTENT} characters at most')
    try:
        return check_text(raw.strip())
    except ValueError as error:
        raise _Wrong(f'"content" {error}') from None


def _sentence(raw: Any) -> str | None:
    """What a fact that can't be used says, where at least that can be read."""
    try:
        return _content(raw.get("content")) if isinstance(raw, dict) else None
    except _Wrong:
        return None


def _type(raw: Any) -> FactType:
    wanted = raw.strip().lower() if isinstance(raw, str) else None
    for type in TYPES:
        if type == wanted:
            return type
    raise _Wrong(f'"type" must be one of {", ".join(TYPES)}, not {shown(raw)}')


def _places(raw: Any, count: int) -> tuple[int, ...]:
    given = raw if isinstance(raw, list) else [raw]
    numbers = {number for one in given if (number := _number(one)) is not None}
    # Or more of them could be written than there are messages.
    places = tuple(int(number) for number in sorted(numbers) if _is_place(number, count))
    if not places:
        raise _Wrong(
            f'"messages" must be the places, from 0 to {count - 1}, of the messages that say it, '
            f"not {shown(raw)}"
        )
    return places


def _known(raw: Any, places: Collection[int]) -> int | None:
    number = _number(raw)
    return int(number) if number is not None and number in places else None


def _is_place(number: float, count: int) -> bool:
    return 0 <= number < count and number == int(number)


def _importance(raw: Any) -> float | None:
    number = _number(raw)
    return None if number is None else min(1.0, max(0.0, number))


def _number(raw: Any) -> float | None:
    """A number, also one that is written as text."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _time(raw: Any, said_at: datetime | None) -> int | None:
    """A time in microseconds; one without an offset has that of the message, or UTC."""
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    if part := _PART_OF_DATE.fullmatch(text):
        text = f"{part[1]}-{part[2] or '01'}-01"
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            offset = UTC if said_at is None else said_at.tzinfo
            moment = moment.replace(tzinfo=offset)
        return to_microseconds(parse_instant(moment))
    except (ValueError, OverflowError):
        return None
