"""What a store is asked, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from agentmem_client.models import Action, Order, OrderBy
from numpy.typing import NDArray

from .records import Record, Scope, Selection


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of a listing.

    ``after`` is where the last page ended: the order's value and the record's seq.
    """

    selection: Selection
    order_by: OrderBy
    order: Order
    limit: int
    offset: int = 0
    after: tuple[int, int] | None = None
    with_total: bool = True
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order; ``next`` is what the following page comes ``after``."""

    records: list[Record]
    total: int | None
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session: how many of its records are selected, and when the first and last was stored."""

    id: str
    count: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class NamespaceRequest:
    """Which namespaces to list, of one user where one is given; a pattern's None is any label."""

    prefix: Sequence[str | None] = ()
    suffix: Sequence[str | None] = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What candidates are besides relevant: (k,) each, NaN where there is none.

    Times are microseconds; one that is gone by now has none.
    """

    event_at: NDArray[np.float64]
    created_at: NDArray[np.float64]
    updated_at: NDArray[np.float64]
    importance: NDArray[np.float64]

    @classmethod
    def of(cls, ids: NDArray[np.int64], rows: Mapping[int, Sequence[float | None]]) -> "Attributes":
        """Those of ids (k,), by the rows of ids: values in the order of the fields."""
        missing = (None,) * 4
        found = [rows.get(rid, missing) for rid in ids.tolist()]
        return cls(*np.array(found, np.float64).reshape(-1, 4).T)


NEIGHBOURS = 3
"""How many turns away in its session another turn is a neighbour."""
LOOKED_AT = 12
"""How many later turns of a session are looked at for those of the same user."""
LONGEST_TURN = 16_384
"""Bytes of a content, past which it is no turn of a conversation."""
OPENING = 64
"""How many characters of a turn's beginning are read."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What candidates (k) say, and how those that are turns of a session follow each other.

    ``tokens`` are the signs of token vectors as `embedding.signs` has them, empty where none are
    known. ``openings`` are the beginnings of turns; None for what is in no session. ``pairs`` (p,
    3) int64 are neighbours, the places of two candidates among the k, and of how many turns the
    second is the later one: 1 to `NEIGHBOURS`.
    """

    tokens: Sequence[bytes]
    openings: Sequence[str | None]
    pairs: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        ids: NDArray[np.int64],
        rows: Mapping[int, tuple[str | None, bytes | None, Sequence[int]]],
    ) -> "Turns":
        """Those of ids (k,), by the rows of ids: opening, tokens and the ids of later turns.

        The later turns are the next ones of the same session and user, in order.
        """
        wanted = ids.tolist()
        places = {rid: place for place, rid in enumerate(wanted)}
        found = [rows.get(rid, (None, None, ())) for rid in wanted]
        pairs = [
            (place, places[later], distance)
            for place, (_, _, following) in enumerate(found)
            for distance, later in enumerate(following, start=1)
            if later in places
        ]
        return cls(
            tokens=[tokens or b"" for _, tokens, _ in found],
            openings=[opening for opening, _, _ in found],
            pairs=np.array(pairs, np.int64).reshape(-1, 3),
        )


class Candidates(NamedTuple):
    """What the channels of a search found, for ranking.

    ``ids`` (n,) int64 is everything that either channel found and ``similarities`` (n,) what the
    collection's metric says of each, NaN where there is no vector to compare; ``keyword_ids`` (m,)
    and ``keyword_scores`` (m,), BM25, larger is better, is the keyword channel. ``vectors`` gives
    the vectors (k, dimension), of length 1, of any k of the ids; of several, the first.
    ``attributes`` gives those of any k of the ids, and ``turns`` what they say, with their tokens
    where these are wanted. Each reads only what is asked for.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float64]
    keyword_ids: NDArray[np.int64]
    keyword_scores: NDArray[np.float64]
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    attributes: Callable[[NDArray[np.int64]], Attributes]
    turns: Callable[[NDArray[np.int64], bool], Turns]


Ranked: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Ids of the winners and their scores, best first."""


class SearchRequest(NamedTuple):
    """Candidates by vector, by keywords or by both, all under one selection.

    ``depth`` is how many each channel brings; ``rank`` chooses among them. It runs inside the
    store's read, so that candidates and answer come from the same snapshot, and does no I/O.
    ``render`` says how a record is answered, as JSON that a score and ``}`` are to follow; the
    record of a hit may have that already, where the store has reason to keep it.
    """

    selection: Selection
    vector: bytes | None
    terms: Sequence[str]
    depth: int
    rank: Callable[[Candidates], Ranked]
    with_vectors: bool = False
    render: Callable[[Record], bytes] | None = None


class KeptRow(NamedTuple):
    """What is kept of a record: its collection's key, how it is answered, when it expires."""

    collection: int
    rendered: bytes
    expires_at: int | None


class KeptHits(NamedTuple):
    """What a search found of such rows, best first, and when those expire that do."""

    rendered: Sequence[bytes]
    scores: Sequence[float]
    expiries: Sequence[int]


@dataclass(frozen=True, slots=True)
class EventsRequest:
    """Which events to read, in the order of their ids; None is no restriction.

    ``after`` is the id of the last event that the caller knows. There come only so many as tell of
    ``max_bytes`` together; one that alone is larger comes alone, if ``large`` ones may come.
    """

    after: int
    limit: int
    scope: Scope = field(default_factory=Scope)
    collection: str | None = None
    max_bytes: int = 8_000_000
    large: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one record, which has the event's scope before it and after it.

    ``before`` and ``after`` are None where the record was not there, or where what it was is no
    longer kept. An ``erased`` event is of a user, and so has no collection, id and version.
    """

    id: int
    action: Action
    at: int
    collection: str | None
    record_id: str | None
    version: int | None
    scope: Scope
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in the order of their ids.

    Attributes:
        events: which.
        more: whether there are more after them, be it a large one that may not come.
        size: bytes that they tell of, about.
    """

    events: list[Event]
    more: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is of a tenant, or of one of its users.

    ``days`` has (the day's first microsecond, how many living records were first stored in it), the
    oldest day first, from a given day on; ``earlier`` is how many were stored before. ``users`` and
    ``agents`` have (id, records, when the last one was stored or changed), the most records first.
    """

    earlier: int
    days: Sequence[tuple[int, int]]
    users: Sequence[tuple[str, int, int]]
    agents: Sequence[tuple[str, int, int]]
