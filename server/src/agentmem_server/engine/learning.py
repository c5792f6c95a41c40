"""Facts from conversations: found by an LLM, and stored unless they are known.

extract: what is known of the same things -> one call of the LLM -> embed -> what says the same ->
         write, batched with other callers -> an outcome a fact.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from weakref import WeakValueDictionary

from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    Conflict,
    ExtractionFailed,
    InvalidRequest,
    LLMNotConfigured,
    Unavailable,
)
from cachetools import TTLCache
from pydantic import ValidationError
from pydantic_core import to_json

from .. import keywords, times
from ..access.callers import Caller
from ..batcher import Batcher
from ..cache import Cache
from ..extraction import Extractor, Found, FoundFact
from ..pauses import with_pauses
from ..storage import (
    Candidates,
    Learn,
    Learned,
    Outcome,
    Put,
    Ranked,
    Record,
    Scope,
    SearchRequest,
    Source,
    Store,
    Write,
    learning,
)
from .in_flight import InFlight
from .jobs import Jobs
from .outcomes import failure
from .preparing import Preparation
from .similar import LONGEST, Candidate, exactly, find_similar

_KNOWN = 20
"""How many memories the LLM is shown that may say what the conversation does."""
_LOOKED_THROUGH = 50_000
"""How many characters of a conversation are looked through for words: what one call may be is less,
and a body of many megabytes must hold nobody up."""
_LONGEST_METADATA = 100_000
"""Bytes of JSON. There may be a hundred facts: a body of 32 MB must not become one of 3 GB."""
_KEPT, _KEPT_SECONDS = 200, 600.0
"""How many answers of the LLM are kept, and for how long: a request that is sent again, because its
answer was lost or the database was away, costs no second call."""


_ERASED, _ERASED_SECONDS = 10_000, 3_600.0
"""How many erasures are remembered, and for how long: longer than an LLM is waited for."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the LLM said of a conversation, and the memories that it knew the facts of, by place."""

    found: Found
    known: Mapping[int, Record]


class Learning:
    """Learns from conversations; every method takes the caller first.

    Args:
        store: where the memories are.
        writes: the queue that all writes to the store go through.
        preparation: makes writes of memories.
        in_flight: what closing waits for.
        extractor: finds the facts; None: there is no LLM.
        jobs: where what is to be learnt in the background waits.
    """

    def __init__(
        self,
        store: Store,
        writes: Batcher[Write, Outcome],
        preparation: Preparation,
        in_flight: InFlight,
        extractor: Extractor | None,
        jobs: Jobs,
    ) -> None:
        self._store = store
        self._writes = writes
        self._preparation = preparation
        self._in_flight = in_flight
        self._extractor = extractor
        self._jobs = jobs
        self._answers: Cache[_Read] = Cache(max_entries=_KEPT, ttl=_KEPT_SECONDS)
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
        self._llm().check(request.messages, request.instructions)
        if request.metadata and len(to_json(request.metadata)) > _LONGEST_METADATA:
            raise InvalidRequest(
                f"metadata: each fact gets it, and it has more than {_LONGEST_METADATA} bytes as "
                "JSON: keep what is long elsewhere"
            )
        collection = await self._store.collection(caller.tenant, request.collection)
        if collection is not None:
            collection.embedding.check_given(self._preparation.server_embedding)

    def _llm(self) -> Extractor:
        if self._extractor is None:
            raise LLMNotConfigured(
                "learning facts needs an LLM, and this server has none: start it with "
                "AGENTMEM_LLM_URL (the root of an OpenAI-compatible API, such as "
                "http://localhost:11434/v1), AGENTMEM_LLM_MODEL and, if the API wants one, "
                "AGENTMEM_LLM_KEY"
            )
        return self._extractor

    async def extract(self, caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        """Learn the facts of a conversation.

        Raises:
            ExtractionFailed: the LLM refuses, or its answer can't be used.
            Unavailable: the LLM can't be reached, or no fact could be stored now.
            Conflict: the user was erased meanwhile.
            APIError: as `check`.
        """
        await self.check(caller, request)
        answered, began = False, time.monotonic()

        async def ask() -> _Read:
            nonlocal answered
            answered = True
            known = await self._known(caller, request)
            texts = [record.content for record in known]
            found = await self._llm().extract(request.messages, request.instructions, texts)
            # It is kept for minutes: not with all that the LLM was shown, however large.
            told = {fact.known for fact in found.facts if fact.known is not None}
            return _Read(found, {place: known[place] for place in told})

        read = await self._answers.get_or_compute(_digest(caller, request), ask)
        facts = await self._learn(caller, request, read, began) if read.found.facts else []
        spent = read.found.spent if answered else None
        usage = (
            m.Usage()
            if spent is None
            else m.Usage(
                calls=spent.calls,
                input_tokens=spent.input_tokens,
                output_tokens=spent.output_tokens,
            )
        )
        return m.Extraction(id=request.id, status="done", facts=facts, usage=usage)

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
        """As `extract`, but where single facts could not be stored, which repeating may mend.

        Raises:
            Unavailable: some could not.
        """
        done = await self.extract(caller, request)
        failed = sum(fact.status == "failed" for fact in done.facts)
        if failed:
            raise Unavailable(f"{failed} of {len(done.facts)} facts could not be stored")
        return done

    async def extract_many(
        self, caller: Caller, requests: Sequence[m.ExtractRequest | APIError]
    ) -> list[m.Extraction]:
        """Learn the facts of conversations, each with its own outcome, in order.

        An error in place of a conversation (it could not be read) is its outcome.

        Raises:
            LLMNotConfigured: there is no LLM.
        """
        self._llm()

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
        self._answers.clear()
        self._erased[tenant, user_id] = time.monotonic()

    async def _known(self, caller: Caller, request: m.ExtractRequest) -> list[Record]:
        """Memories of the very scope that have words of the conversation, the best first."""
        collection = await self._store.collection(caller.tenant, request.collection)
        if collection is None:
            return []
        terms = _terms(request.messages)
        found = await self._store.search(
            collection,
            SearchRequest(
                exactly(_scope(caller, request)), None, terms, 2 * _KNOWN, rank=_by_keyword
            ),
        )
        may_say_it = (
            record
            for record, _ in found
            if record.scope == _scope(caller, request) and len(record.content) <= LONGEST
        )
        return list(islice(may_say_it, _KNOWN))

    def _check_not_erased(self, tenant: str, user_id: str | None, began: float) -> None:
        if self._erased.get((tenant, user_id or ""), 0.0) > began:
            raise Conflict("the user was erased while the LLM read the conversation")

    async def _learn(
        self, caller: Caller, request: m.ExtractRequest, read: _Read, began: float
    ) -> list[m.Fact]:
        scope = _scope(caller, request)
        self._check_not_erased(caller.tenant, scope.user_id, began)
        with self._in_flight:
            candidates = await self._prepared(caller, request, _distinct(read.found.facts))
            place = (caller.tenant, request.collection, scope)
            # One after the other: of two that say the same, the second finds the first. It is what
            # one server can promise; that equal facts are stored once, the store does.
            async with self._turns.setdefault(place, asyncio.Lock()):
                collection = await self._store.collection(caller.tenant, request.collection)
                await find_similar(self._store, collection, candidates, read.known)
                learns = [
                    Learn(put.tenant, put.collection, put.embedding, put.records[0], one.similar)
                    for one in candidates
                    if isinstance(put := one.put, Put)
                ]
                # Embedding and waiting for others took their time.
                self._check_not_erased(caller.tenant, scope.user_id, began)
                learned = iter(await self._writes.submit_many(learns))
        outcomes = [next(learned) if isinstance(one.put, Put) else one.put for one in candidates]
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors and len(errors) == len(outcomes) and isinstance(errors[0], Unavailable):
            raise errors[0]
        return [
            _outcome(request, candidate, outcome)
            async for candidate, outcome in with_pauses(zip(candidates, outcomes, strict=True))
        ]

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


def _terms(messages: Sequence[m.Message]) -> list[str]:
    """The words that most messages have, of as much as is read."""
    said: Counter[str] = Counter()
    left = _LOOKED_THROUGH
    for message in messages:
        said.update(set(keywords.keyword_query(message.content[:left])))
        left -= len(message.content)
        if left <= 0:
            break
    return [term for term, _ in said.most_common(keywords.MAX_TERMS)]


def _by_keyword(found: Candidates) -> Ranked:
    return found.keyword_ids, found.keyword_scores


def _scope(caller: Caller, request: m.ExtractRequest) -> Scope:
    namespace = None if request.namespace is None else tuple(request.namespace)
    return Scope(caller.user(request.user_id), request.agent_id, request.session_id, namespace)


def _digest(caller: Caller, request: m.ExtractRequest) -> bytes:
    """The same for requests that say the same, whatever their ids."""
    said = request.model_dump_json(exclude={"id", "background"}).encode()
    whose = to_json([caller.tenant, caller.user_id])
    return blake2b(whose + said, digest_size=16).digest()


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
