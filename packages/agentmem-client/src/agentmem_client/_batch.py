"""Many items in few requests, without the I/O: what to send next, what became of each item."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ._base import given, given_list, make, to_json
from ._unset import Unset
from .errors import (
    AgentMemError,
    APIError,
    ConnectionFailed,
    InvalidRequest,
    InvalidResponse,
    PayloadTooLarge,
    RequestTimedOut,
    error_class,
)
from .ids import new_id
from .models import MAX_BATCH, AddResult, BatchAnswer, Criteria, ErrorBody, MemoryInput

CHUNK_WORK = 500
"""How much work goes into one request: enough for the server's batching, and progress to show."""
EMBED_WORK = 5
"""The work of a text that the server has to embed; that of a memory with its vectors is 1."""
EMBED_SECONDS = 0.25
"""The patience for one text that the server has to embed: some 20 times what it should take."""
CHUNK_BYTES = 4_000_000
"""How large a request gets; one item that is larger goes alone."""
LOST_CHUNKS = 3
"""After so many chunks in a row that failed as a whole, the rest isn't sent."""

Item: TypeAlias = MemoryInput | Mapping[str, object] | str
"""A memory for `add_many`: a text, the arguments of `add` as a mapping, or a model."""
Progress: TypeAlias = Callable[[int, int | None], object]
"""Is told how many of `add_many`'s items are done, and of how many, where that is known."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An item that is ready to be sent."""

    id: str
    body: bytes
    texts: int
    """How many texts the server has to embed for it; none where it brings its vectors along."""


OutcomeT = TypeVar("OutcomeT")
"""What became of an item."""
Entry: TypeAlias = Outgoing | OutcomeT
"""An item that can be sent, or the outcome of one that can't."""


def several(items: Iterable[Item]) -> Iterable[Item]:
    """The items.

    Raises:
        InvalidRequest: when it is one item, whose characters or fields nobody means.
    """
    if isinstance(items, str | Mapping | MemoryInput):
        raise InvalidRequest("items must be several memories: put the one into a list")
    return items


def prepare(item: Item, collection: str | None) -> Outgoing:
    """An item with its id made and its fields checked.

    Raises:
        InvalidRequest: with what is wrong.
    """
    memory = make(MemoryInput, _fields(item, collection))
    has_vectors = memory.embedding is not None or memory.embeddings is not None
    texts = 1 if memory.index_texts is None else len(memory.index_texts)
    return Outgoing(memory.id, to_json(memory), 0 if has_vectors else texts)


def _fields(item: Item, collection: str | None) -> dict[str, object]:
    fields: dict[str, object] = {"id": new_id()}
    if collection is not None:
        fields["collection"] = collection
    match item:
        case str():
            return fields | {"content": item}
        case MemoryInput():
            # Checked again, since a model may have been changed after it was made; a default that
            # was changed in place, such as the metadata, doesn't count as set.
            own = {
                name: value
                for name, value in item
                if name in item.model_fields_set or (name == "metadata" and value)
            }
            return fields | {"id": item.id} | own
        case Mapping():
            # As in `add`; an unknown name is refused whatever its value.
            own = {k: v for k, v in item.items() if not (k in _KNOWN and _left_out(k, v))}
            lists = {k: given_list(own[k]) for k in _SEVERAL & own.keys()}
            return fields | own | lists
        case _:
            kind = type(item).__name__
            raise InvalidRequest(f"a memory is a text, a mapping or a MemoryInput, not {kind}")


_KNOWN = frozenset(MemoryInput.model_fields)
_SEVERAL = frozenset({"index_texts", "embeddings", "sources"})
_FOR_GOOD = frozenset({"ttl", "expires_at"})
"""Where None is an answer: the memory stays, whatever its collection's default."""


def _left_out(name: str, value: object) -> bool:
    return isinstance(value, Unset) or (value is None and name not in _FOR_GOOD)


def entry(item: Item, collection: str | None) -> Entry[AddResult]:
    """An item that is ready to be sent, or why it can't be."""
    try:
        return prepare(item, collection)
    except InvalidRequest as error:
        own_id = item.get("id") if isinstance(item, Mapping) else getattr(item, "id", None)
        return failure(own_id if isinstance(own_id, str) else None, error)


def failure(id_: str | None, error: AgentMemError) -> AddResult:
    """The outcome of an item that failed."""
    return AddResult(id=id_, status="failed", error=error_body(error))


def error_body(error: AgentMemError) -> ErrorBody:
    """An error as it stands in an item's outcome."""
    match error:
        case APIError():
            return ErrorBody(code=error.code, message=str(error), details=error.details)
        case ConnectionFailed():
            code = "connection_failed"
        case RequestTimedOut():
            code = "timed_out"
        case InvalidResponse():
            code = "invalid_response"
        case _:
            code = "error"
    return ErrorBody(code=code, message=str(error))


def criteria(replacing: Mapping[str, object] | None, collection: str | None) -> Criteria | None:
    """What an atomic batch replaces, in the batch's collection unless it names one.

    Raises:
        InvalidRequest: with what is wrong.
    """
    if replacing is None:
        return None
    if not isinstance(replacing, Mapping):
        raise InvalidRequest("replacing is a mapping with the arguments of delete_all")
    place = given(collection=collection)
    fields = {name: value for name, value in replacing.items() if value is not None}
    if "ids" in fields:
        fields["ids"] = given_list(fields["ids"])
    return make(Criteria, place | fields)


def batch_body(
    outgoing: Iterable[Outgoing], *, atomic: bool = False, replacing: Criteria | None = None
) -> bytes:
    """The body of a batch request, from items that are JSON already."""
    memories = b",".join(item.body for item in outgoing)
    more = b',"atomic":true' if atomic else b""
    if replacing is not None:
        more += b',"replacing":' + to_json(replacing)
    return b'{"memories":[%s]%s}' % (memories, more)


def patience(outgoing: Iterable[Outgoing]) -> float:
    """The seconds that a batch request may take beyond the timeout of any other."""
    return EMBED_SECONDS * sum(item.texts for item in outgoing)


def chunked(entries: Iterable[Entry[OutcomeT]]) -> Iterator[list[Entry[OutcomeT]]]:
    """The entries in chunks that are within a request's bounds."""
    chunk: list[Entry[OutcomeT]] = []
    work = size = 0
    for entry in entries:
        cost, length = 1, 0
        if isinstance(entry, Outgoing):
            cost, length = max(1, EMBED_WORK * entry.texts), len(entry.body) + 1
        if chunk and (work + cost > CHUNK_WORK or size + length > CHUNK_BYTES):
            yield chunk
            chunk, work, size = [], 0, 0
        chunk.append(entry)
        work += cost
        size += length
    if chunk:
        yield chunk


class Batch(Generic[OutcomeT]):
    """The course of one `add_many` or `extract_many`.

    Its user sends each of `requests` and says, before it asks for the next one, what came of it:
    `answered` or `failed`.

    Args:
        entries: the items, read as they are sent.
        total: how many they are, where that is known.
        progress: is told how many are done.
        failure: the outcome of an item, by its id, whose request failed as a whole.
    """

    def __init__(
        self,
        entries: Iterable[Entry[OutcomeT]],
        total: int | None,
        progress: Progress | None,
        failure: Callable[[str | None, AgentMemError], OutcomeT],
    ) -> None:
        self.results: list[OutcomeT] = []
        self._chunks = chunked(entries)
        self._total = total
        self._progress = progress
        self._failure = failure
        self._parts: deque[list[Entry[OutcomeT]]] = deque()
        self._lost = 0
        self._last_error: AgentMemError | None = None

    def requests(self) -> Iterator[list[Outgoing]]:
        """The items to send, a request each."""
        for chunk in self._chunks:
            self._parts.append(chunk)
            while self._parts:
                outgoing = [entry for entry in self._parts[0] if isinstance(entry, Outgoing)]
                if not outgoing:
                    self._settle([])
                elif self._lost >= LOST_CHUNKS and self._last_error is not None:
                    self._settle([self._failure(item.id, self._last_error) for item in outgoing])
                else:
                    yield outgoing

    def answered(self, outcomes: Sequence[OutcomeT]) -> None:
        """The request just sent was answered."""
        sent = sum(isinstance(entry, Outgoing) for entry in self._parts[0])
        if len(outcomes) != sent:
            self.failed(
                InvalidResponse(f"the server gave {len(outcomes)} outcomes for {sent} items")
            )
            return
        self._lost = 0
        self._settle(outcomes)

    def failed(self, error: AgentMemError) -> None:
        """The request just sent failed as a whole, after all retries."""
        part = self._parts[0]
        if isinstance(error, PayloadTooLarge) and len(part) > 1:
            # The server, or a proxy before it, takes less than we thought.
            half = len(part) // 2
            self._parts.popleft()
            self._parts.extendleft([part[half:], part[:half]])
            return
        self._lost += 1
        self._last_error = error
        sent = [entry for entry in part if isinstance(entry, Outgoing)]
        self._settle([self._failure(entry.id, error) for entry in sent])

    def _settle(self, outcomes: Sequence[OutcomeT]) -> None:
        remaining = iter(outcomes)
        for entry in self._parts.popleft():
            self.results.append(next(remaining) if isinstance(entry, Outgoing) else entry)
        if self._progress is not None:
            self._progress(len(self.results), self._total)


def adding(
    items: Iterable[Item], collection: str | None, progress: Progress | None
) -> Batch[AddResult]:
    """The course of one `add_many`."""
    entries = (entry(item, collection) for item in several(items))
    return Batch(entries, length(items), progress, failure)


def length(items: Iterable[object]) -> int | None:
    """How many there are, where that is known."""
    return len(items) if isinstance(items, Sized) else None


def prepare_atomic(items: Iterable[Item], collection: str | None) -> list[Outgoing]:
    """All items of an atomic batch.

    Raises:
        InvalidRequest: when there are too many, or one is invalid.
    """
    outgoing: list[Outgoing] = []
    problems: list[dict[str, str]] = []
    for index, item in enumerate(several(items)):
        if index == MAX_BATCH:
            raise InvalidRequest(f"an atomic batch holds at most {MAX_BATCH} memories")
        try:
            outgoing.append(prepare(item, collection))
        except InvalidRequest as error:
            errors = error.details.get("errors", [{"field": "", "message": error.message}])
            for problem in errors:
                field = f"memories.{index}.{problem['field']}".rstrip(".")
                problems.append({"field": field, "message": problem["message"]})
    if problems:
        first = problems[0]
        raise InvalidRequest(
            f"nothing was stored for {len(problems)} problems; "
            f"{first['field']}: {first['message']}",
            details={"errors": problems},
        )
    return outgoing


def require_stored(outgoing: list[Outgoing], answer: BatchAnswer) -> list[AddResult]:
    """The outcomes of an atomic batch, all of them good.

    Raises:
        APIError: the error of the item that failed.
        InvalidResponse: when the server gave another number of outcomes.
    """
    if len(answer.results) != len(outgoing):
        raise InvalidResponse(
            f"the server gave {len(answer.results)} outcomes for {len(outgoing)} items"
        )
    for result in answer.results:
        if result.error is not None:
            failure = result.error
            raise error_class(failure.code, 422)(failure.message, details=failure.details)
    return answer.results
