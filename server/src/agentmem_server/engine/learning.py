"""Facts from conversations: found by an LLM, and stored unless they are known.

extract: what is known of the same things -> one call of the LLM -> embed -> what says the same ->
         write, batched with other callers -> an outcome a fact.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal
from weakref import WeakValueDictionary

from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    Conflict,
    ExtractionFailed,
    InvalidRequest,
    Unavailable,
)
from cachetools import TTLCache
from pydantic import ValidationError
from pydantic_core import to_json

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..extraction import FoundFact
from ..pauses import with_pauses
from ..storage import STALE, Learn, Learned, Outcome, Put, Source, Store, Write, learning
from .in_flight import InFlight
from .jobs import Jobs
from .outcomes import failure
from .preparing import Preparation
from .reading import Read, Reader, scope_of
from .similar import Candidate, find_similar

_LONGEST_METADATA = 100_000
"""Bytes of JSON. There may be a hundred facts: a body of 32 MB must not become one of 3 GB."""
_LOOKS = 3
"""How often it is looked for what says the same as a fact, at most."""
_ERASED, _ERASED_SECONDS = 10_000, 3_600.0
"""How many erasures are remembered, and for how long: longer than an LLM is waited for."""


class Learning:
    """Learns from conversations; every method takes the caller first.

    Args:
        store: where the memories are.
        writes: the queue that all writes to the store go through.
        preparation: makes writes of memories.
        in_flight: what closing waits for.
        reader: has conversations read by the LLM, if there is one.
        jobs: where what is to be learnt in the background waits.
    """

    def __init__(
        self,
        store: Store,
        writes: Batcher[Write, Outcome],
        preparation: Preparation,
        in_flight: InFlight,
        reader: Reader,
        jobs: Jobs,
    ) -> None:
        self._store = store
        self._writes = writes
        self._preparation = preparation
        self._in_flight = in_flight
        self._reader = reader
        self._jobs = jobs
        self._turns: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._erased: TTLCache[tuple[str, str], float] = TTLCache(_ERASED, _ERASED_SECONDS)

    async def check(self, caller: Caller, request: m.ExtractRequest) -> None:
        """Refuse what can't be done, before anything is paid for.

        Raises:
            LLMNotConfigured: there is no LLM.
            Forbidden: the memories would be another user's than the caller's.
            InvalidRequest: the conversation is longer than one call may be, or its metadata than
                what is copied to each fact.
            EmbedderMismatch: the collection's vectors are not made by this server.
        """
        caller.user(request.user_id)
        self._reader.extractor().check(request.messages, request.instructions)
        if request.metadata and len(to_json(request.metadata)) > _LONGEST_METADATA:
            raise InvalidRequest(
                f"metadata: each fact gets it, and it has more than {_LONGEST_METADATA} bytes as "
                "JSON: keep what is long elsewhere"
            )
        collection = await self._store.collection(caller.tenant, request.collection)
        if collection is not None:
            collection.embedding.check_given(self._preparation.server_embedding)

    async def extract(self, caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        """Learn the facts of a conversation.

        Raises:
            ExtractionFailed: the LLM refuses, or its answer can't be used.
            Unavailable: the LLM can't be reached, or no fact could be stored now.
            Conflict: the user was erased meanwhile.
            APIError: as `check`.
        """
        done, _ = await self._extract(caller, request)
        return done

    async def _extract(
        self, caller: Caller, request: m.ExtractRequest
    ) -> tuple[m.Extraction, APIError | None]:
        """What came of a conversation, and why the LLM is to be asked again, if it is."""
        await self.check(caller, request)
        began = time.monotonic()
        read = await self._reader.read(caller, request)
        facts = await self._learn(caller, request, read, began) if read.facts else []
        usage = m.Usage(
            calls=read.spent.calls,
            input_tokens=read.spent.input_tokens,
            output_tokens=read.spent.output_tokens,
        )
        done = m.Extraction(
            id=request.id, status="done", facts=facts, unusable=list(read.unusable), usage=usage
        )
        return done, read.failure

    async def hand_in(self, caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        """Have the facts of a conversation learnt in the background, by a job of its id.

        Raises:
            APIError: as `check`.
            Conflict: the id is that of another caller's job, or of one for another conversation.
        """
        await self.check(caller, request)
        job = await self._jobs.submit(caller, request)
        return m.Extraction(id=request.id, status="queued", job=job)

    async def extract_fully(self, caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        """As `extract`, but it fails where repeating may mend what is left over.

        Raises:
            Unavailable: some facts could not be stored, or the LLM could not be asked again about
                those that can't be used.
        """
        done, unasked = await self._extract(caller, request)
        failed = sum(fact.status == "failed" for fact in done.facts)
        if failed:
            raise Unavailable(f"{failed} of {len(done.facts)} facts could not be stored")
        if unasked is not None:
            raise type(unasked)(
                f"{len(done.unusable)} facts of the LLM's answer can't be used, and it could not "
                f"be asked to put them right: {unasked.message}",
                details=unasked.details,
                retry_after=unasked.retry_after,
            )
        return done

    async def extract_many(
        self, caller: Caller, requests: Sequence[m.ExtractRequest | APIError]
    ) -> list[m.Extraction]:
        """Learn the facts of conversations, each with its own outcome, in order.

        An error in place of a conversation (it could not be read) is its outcome.

        Raises:
            LLMNotConfigured: there is no LLM.
        """
        self._reader.extractor()

        async def one(request: m.ExtractRequest | APIError) -> m.Extraction:
            if isinstance(request, APIError):
                return m.Extraction(status="failed", error=failure(request))
            work = self.hand_in if request.background else self.extract
            try:
                return await work(caller, request)
            except Exception as error:
                return m.Extraction(id=request.id, status="failed", error=failure(error))

        tasks = []
        async with asyncio.TaskGroup() as group:
            for request in requests:
                tasks.append(group.create_task(one(request)))
                await asyncio.sleep(0)  # or all would begin without others having their turn
        return [task.result() for task in tasks]

    def forget(self, tenant: str, user_id: str) -> None:
        """Let go of what is kept of conversations; what is under way of a user is not stored."""
        self._reader.forget()
        self._erased[tenant, user_id] = time.monotonic()

    def _check_not_erased(self, tenant: str, user_id: str | None, began: float) -> None:
        if self._erased.get((tenant, user_id or ""), 0.0) > began:
            raise Conflict("the user was erased while the LLM read the conversation")

    async def _learn(
        self, caller: Caller, request: m.ExtractRequest, read: Read, began: float
    ) -> list[m.Fact]:
        scope = scope_of(caller, request)
        self._check_not_erased(caller.tenant, scope.user_id, began)
        with self._in_flight:
            candidates = await self._prepared(caller, request, _distinct(read.facts))
            place = (caller.tenant, request.collection, scope)
            # One after the other: of two that say the same, the second finds the first.
            async with self._turns.setdefault(place, asyncio.Lock()):
                outcomes = await self._stored(caller, request, read, candidates, began)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors and len(errors) == len(outcomes) and isinstance(errors[0], Unavailable):
            raise errors[0]
        return [
            _outcome(request, candidate, outcome)
            async for candidate, outcome in with_pauses(zip(candidates, outcomes, strict=True))
        ]

    async def _stored(
        self,
        caller: Caller,
        request: m.ExtractRequest,
        read: Read,
        candidates: Sequence[Candidate],
        began: float,
    ) -> list[Learned | Exception]:
        """What came of the candidates, in their order.

        Other servers, and callers that add memories, may write to the scope between the look at
        what is similar and the write. Then it is looked anew, but not for ever.
        """
        outcomes: list[Learned | Exception | Literal["stale"]] = [
            STALE if isinstance(one.put, Put) else one.put for one in candidates
        ]
        for looks_left in reversed(range(_LOOKS)):
            places = [place for place, outcome in enumerate(outcomes) if outcome == STALE]
            if not places:
                break
            since = await self._store.last_event() if looks_left else None
            collection = await self._store.collection(caller.tenant, request.collection)
            again = [candidates[place] for place in places]
            await find_similar(self._store, collection, again, read.known)
            learns = [
                Learn(put.tenant, put.collection, put.embedding, put.records[0], one.similar, since)
                for one in again
                if isinstance(put := one.put, Put)
            ]
            # Embedding and waiting for others took their time.
            self._check_not_erased(caller.tenant, caller.user(request.user_id), began)
            learned = await self._writes.submit_many(learns)
            for place, outcome in zip(places, learned, strict=True):
                outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome != STALE]

    async def _prepared(
        self, caller: Caller, request: m.ExtractRequest, facts: Sequence[FoundFact]
    ) -> list[Candidate]:
        """The facts as writes, with their vectors."""
        memories: list[m.MemoryInput | ValidationError] = []
        async for fact in with_pauses(facts):
            try:
                memories.append(_memory(request, fact))
            except ValidationError as error:
                memories.append(error)
        good = [memory for memory in memories if isinstance(memory, m.MemoryInput)]
        prepared = iter(await self._preparation.puts(caller, good))
        candidates = []
        async for fact, memory in with_pauses(zip(facts, memories, strict=True)):
            put = next(prepared) if isinstance(memory, m.MemoryInput) else _unfit(memory)
            if isinstance(put, Put):
                record = put.records[0]
                record.sources = [Source(_message_ids(request, fact), None, record.created_at)]
            candidates.append(Candidate(fact, put))
        return candidates


def _distinct(facts: Sequence[FoundFact]) -> list[FoundFact]:
    """Each fact once, with all messages that say it."""
    distinct: dict[tuple[str, int | None], FoundFact] = {}
    for fact in facts:
        key = learning.normalised(fact.content), learning.day(fact.event_at)
        same = distinct.get(key)
        if same is not None:
            messages = sorted({*same.messages, *fact.messages})
            fact = replace(same, messages=tuple(messages))
        distinct[key] = fact
    return list(distinct.values())


def _memory(request: m.ExtractRequest, fact: FoundFact) -> m.MemoryInput:
    return m.MemoryInput(
        collection=request.collection,
        content=fact.content,
        metadata=request.metadata,
        user_id=request.user_id,
        agent_id=request.agent_id,
        session_id=request.session_id,
        namespace=request.namespace,
        type=fact.type,
        importance=fact.importance,
        event_at=None if fact.event_at is None else times.to_datetime(fact.event_at),
    )


def _unfit(error: ValidationError) -> Exception:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ExtractionFailed(
        f"the LLM's fact can't be stored: {problem['msg']}", details={"reason": "malformed"}
    )


def _message_ids(request: m.ExtractRequest, fact: FoundFact) -> list[str]:
    return [request.messages[place].id or str(place) for place in fact.messages]


def _outcome(
    request: m.ExtractRequest, candidate: Candidate, outcome: Learned | Exception
) -> m.Fact:
    fact = candidate.fact
    said = m.Fact(
        status="failed",
        content=fact.content,
        type=fact.type,
        importance=fact.importance,
        event_at=None if fact.event_at is None else times.to_datetime(fact.event_at),
        message_ids=_message_ids(request, fact),
    )
    if isinstance(outcome, Exception):
        said.error = failure(outcome)
        return said
    said.id = outcome.record.id
    said.status = "stored" if outcome.created else "duplicate"
    if candidate.similar is not None and outcome.record.id == candidate.similar[0]:
        said.similarity = candidate.similarity
    return said
