"""What a file to import says, entry by entry, whatever its format."""

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ValidationError

from ..storage import Embedding, Record

_MAX_FIELD = 80


@dataclass(frozen=True, slots=True)
class Incoming:
    """A memory as the file has it.

    ``source`` is how its vectors were made, None where the file doesn't say. Where it is not
    ``dated``, the file doesn't say when it was made and changed, and its times are of the import.
    """

    place: str
    collection: str
    record: Record
    source: Embedding | None = None
    dated: bool = True


@dataclass(frozen=True, slots=True)
class NewCollection:
    """A collection as the file has it, before its memories."""

    place: str
    name: str
    embedding: Embedding
    created_at: int
    default_ttl: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place in the file that can't be imported, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """What whoever imports should know, so many times."""

    text: str
    count: int = 1


Entry: TypeAlias = Incoming | NewCollection | Unreadable | Note


def reason(error: ValidationError) -> str:
    """The first of what is wrong, for a line of text; never with the input."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"])[:_MAX_FIELD]
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{field}: {message}{more}" if field else f"{message}{more}"
