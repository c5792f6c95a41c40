"""What makes two facts the same, and how a memory is told that it was said again."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from typing import TypeGuard
from uuid import UUID

from agentmem_client.models import MAX_SOURCES
from pydantic_core import to_json

from .. import times
from .records import Record, Scope, Source

_BEFORE = " \"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_AFTER = f"{_BEFORE}.!?\u2026"


def normalised(content: str) -> str:
    """A text without what changes nothing of what it says.

    That is case, the kind and number of blanks, and quotes and full stops around it. What is inside
    stays: "C++" is not "C".
    """
    folded = unicodedata.normalize("NFKC", content).casefold()
    # No pattern for what is at the end: on a megabyte of full stops it would take hours.
    return " ".join(folded.split()).lstrip(_BEFORE).rstrip(_AFTER)


def fact_id(scope: Scope, content: str, number: int = 0) -> str:
    """The id of the memory that says this in a scope: for equal facts the same, a UUID.

    ``number`` is for another one, where the memory with this id says something else by now.
    """
    place = [scope.user_id, scope.agent_id, scope.session_id, scope.namespace]
    digest = blake2b(to_json([place, normalised(content), number]), digest_size=16).digest()
    return str(UUID(int=(int.from_bytes(digest) & ~(0xF << 76 | 3 << 62)) | 8 << 76 | 2 << 62))


def ids(record: Record) -> Iterator[str]:
    """The ids under which a memory may say what a record does, the first one first."""
    return (fact_id(record.scope, record.content, number) for number in count())


def is_known(there: Record, fact: Record) -> bool:
    """Whether a record that is there says what a fact does, in the same scope, and of that day."""
    return (
        there.scope == fact.scope
        and says(there, fact.content)
        and not on_other_days(there.event_at, fact.event_at)
    )


def on_other_days(one: int | None, other: int | None) -> bool:
    """Whether two things happened on other days: who runs twice has run twice."""
    return one is not None and other is not None and day(one) != day(other)


def day(at: int | None) -> int | None:
    """The number of a time's day, in UTC."""
    return None if at is None else at // times.DAY


def is_still(there: Record | None, fact: Record, content: str) -> TypeGuard[Record]:
    """Whether a record is as it was found to say the same as a fact in other words."""
    return (
        there is not None
        and not there.is_expired(fact.updated_at)
        and there.scope == fact.scope
        and there.content == content
    )


def says(record: Record, content: str) -> bool:
    """Whether a record says what a text does."""
    return normalised(record.content) == normalised(content)


def linked(known: Record, fact: Record) -> Record | None:
    """A known record with the sources of a fact that says the same; None where it has them.

    There may be so many that the later ones make room: the first, which it was stored for, stays.
    """
    sources = list(known.sources or ())
    new: list[Source] = []
    for source in fact.sources or ():
        content = source.content or fact.content
        said = Source(source.message_ids, None if says(known, content) else content, source.at)
        if not any(_is_same(said, one) for one in [*sources, *new]):
            new.append(said)
    if not new:
        return None
    everything = sources + new
    if len(everything) > MAX_SOURCES:
        everything = everything[:1] + everything[1 - MAX_SOURCES :]
    return replace(known, sources=everything, updated_at=fact.updated_at, vectors=None)


def _is_same(one: Source, other: Source) -> bool:
    return (one.message_ids, one.content) == (other.message_ids, other.content)
