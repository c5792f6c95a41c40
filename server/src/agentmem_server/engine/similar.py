"""Which memory, if any, says what a fact does in other words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from agentmem_client.filters import And, Condition, RecordField
from numpy.typing import NDArray

from ..extraction import FoundFact
from ..pauses import with_pauses
from ..storage import (
    Candidates,
    Collection,
    Put,
    Ranked,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Store,
    learning,
)
from .likeness import PLAUSIBLE, SURE, differs_in_figures, says_no_more

_NEIGHBOURS = 5
"""How many of the nearest memories may be what a fact says in other words."""
LONGEST = 8_000
"""Characters: what is longer is no fact, and is not read for its words."""


@dataclass(slots=True)
class Candidate:
    """A fact on its way to the store, or what is in its way.

    Attributes:
        similar: the id and the content of the memory that says the same.
        similarity: the cosine of both.
    """

    fact: FoundFact
    put: Put | Exception
    similar: tuple[str, str] | None = None
    similarity: float | None = None


async def find_similar(
    store: Store,
    collection: Collection | None,
    candidates: Sequence[Candidate],
    known: Mapping[int, Record],
) -> None:
    """Find for each candidate what is there, or comes before it, that says the same.

    Args:
        store: where the memories are.
        collection: the one that the facts go into; None: it isn't there yet.
        candidates: the facts of one scope, with their vectors.
        known: the memories that `FoundFact.known` names, by their places.
    """
    units = _units(candidates)
    firsts: set[int] = set()
    async for place, one in with_pauses(enumerate(candidates)):
        if not isinstance(one.put, Put):
            continue
        one.similar = one.similarity = None
        fact = _record(one)
        if collection is not None:
            told = None if one.fact.known is None else known[one.fact.known]
            for record, cosine in await _nearest(store, collection, fact, told):
                # Told is what the LLM has read; it may say something else by now.
                is_told = told is not None and _key(record) == _key(told)
                if _is_same(fact, record, cosine, is_told=is_told):
                    one.similar, one.similarity = _key(record), cosine
                    break
        if one.similar is not None:
            continue
        cosines = units[:place] @ units[place]
        near = [other for other in np.flatnonzero(cosines >= SURE).tolist() if other in firsts]
        for other in sorted(near, key=lambda other: -cosines[other])[:_NEIGHBOURS]:
            record, cosine = _record(candidates[other]), float(cosines[other])
            if _is_same(fact, record, cosine, is_told=False):
                id = learning.fact_id(record.scope, record.content)
                one.similar, one.similarity = (id, record.content), cosine
                break
        else:
            firsts.add(place)


def exactly(scope: Scope) -> Selection:
    """The memories of a scope, without those of a session or an agent where it names none.

    Else a user's many sessions would take all places among the nearest. Memories of no scope at all
    are not told apart so, which would read a whole collection, nor are namespaces.
    """
    if not scope.items():
        return Selection(scope)
    named = {name for name, _ in scope.items()}
    absent = [
        Condition(RecordField(name, "string"), "$exists", value=False)
        for name in ("user_id", "agent_id", "session_id")
        if name not in named
    ]
    return Selection(scope, And(tuple(absent)) if absent else None)


async def _nearest(
    store: Store, collection: Collection, fact: Record, told: Record | None
) -> list[tuple[Record, float]]:
    """The memories of a fact's very scope that are nearest to it, and the told one, if any."""

    def rank(found: Candidates) -> Ranked:
        return found.ids, found.similarities

    scope = exactly(fact.scope)
    search = SearchRequest(scope, fact.vectors, [], 4 * _NEIGHBOURS, rank)
    found = await store.search(collection, search)
    nearest = [pair for pair in found if pair[0].scope == fact.scope][:_NEIGHBOURS]
    if told is not None and all(record.id != told.id for record, _ in nearest):
        of_told = search._replace(selection=scope._replace(ids=[told.id]))
        nearest += await store.search(collection, of_told)
    return nearest


def _key(record: Record) -> tuple[str, str]:
    return record.id, record.content


def _is_same(fact: Record, other: Record, cosine: float, *, is_told: bool) -> bool:
    """Whether two facts say the same, or the LLM has told so and nothing speaks against it."""
    if len(other.content) > LONGEST:
        return False
    if learning.on_other_days(fact.event_at, other.event_at):
        return False
    if is_told:
        return cosine >= PLAUSIBLE and not differs_in_figures(fact.content, other.content)
    return cosine >= SURE and says_no_more(fact.content, other.content)


def _units(candidates: Sequence[Candidate]) -> NDArray[np.float32]:
    """The candidates' vectors, one a row, of length 1; of those without any, 0."""
    vectors = [
        np.frombuffer(_record(one).vectors or b"" if isinstance(one.put, Put) else b"", "<f4")
        for one in candidates
    ]
    units = np.zeros((len(vectors), max(map(len, vectors), default=0)), np.float32)
    for unit, vector in zip(units, vectors, strict=True):
        length = float(np.linalg.norm(vector))
        if length:
            unit[:] = vector / length
    return units


def _record(candidate: Candidate) -> Record:
    assert isinstance(candidate.put, Put)
    return candidate.put.records[0]
