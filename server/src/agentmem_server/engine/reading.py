"""What an LLM says of conversations: asked once, with what is known of the same things."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice

from agentmem_client import models as m
from agentmem_client.errors import APIError, ExtractionFailed, LLMNotConfigured
from pydantic_core import to_json

from .. import keywords
from ..access.callers import Caller
from ..cache import Cache
from ..extraction import Extractor, Found, FoundFact, Problem, Spent
from ..storage import Candidates, Ranked, Record, Scope, SearchRequest, Store
from .repeating import may_pass
from .similar import LONGEST, exactly

_KNOWN = 20
"""How many memories the LLM is shown that may say what the conversation does."""
_LOOKED_THROUGH = 50_000
"""How many characters of a conversation are looked through for words: what one call may be is less,
and a body of many megabytes must hold nobody up."""
_KEPT, _KEPT_SECONDS = 200, 600.0
"""How many answers of the LLM are kept, and for how long: a request that is sent again, because its
answer was lost or the database was away, costs no second call."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the LLM said of a conversation.

    Attributes:
        facts: those that can be used.
        known: the memories that it knew some of them of, by `FoundFact.known`.
        unusable: of each fact that can't be used, why.
        failure: why the LLM could not be asked to put these right, where it may be later.
        spent: what this request cost; nothing where another one's answer is shared.
    """

    facts: Sequence[FoundFact]
    known: Mapping[int, Record]
    unusable: Sequence[m.ErrorBody]
    failure: APIError | None
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The first answer of the LLM, and what of the known memories it and a repair may name."""

    found: Found
    known: Sequence[Record]


class Reader:
    """Has conversations read by an LLM.

    Args:
        store: where memories are.
        extractor: the LLM; None: there is none.
    """

    def __init__(self, store: Store, extractor: Extractor | None) -> None:
        self._store = store
        self._extractor = extractor
        self._read: Cache[Read] = Cache(
            max_entries=_KEPT,
            ttl=_KEPT_SECONDS,
            lifetime=lambda read: _KEPT_SECONDS if read.failure is None else 0.0,
        )
        # What of an answer can be used is settled, whatever becomes of the rest.
        self._begun: Cache[_Begun] = Cache(
            max_entries=_KEPT,
            ttl=_KEPT_SECONDS,
            lifetime=lambda begun: _KEPT_SECONDS if begun.found.repair is not None else 0.0,
        )

    def extractor(self) -> Extractor:
        """The LLM.

        Raises:
            LLMNotConfigured: there is none.
        """
        if self._extractor is None:
            raise LLMNotConfigured(
                "learning facts needs an LLM, and this server has none: start it with "
                "AGENTMEM_LLM_URL (the root of an OpenAI-compatible API, such as "
                "http://localhost:11434/v1), AGENTMEM_LLM_MODEL and, if the API wants one, "
                "AGENTMEM_LLM_KEY"
            )
        return self._extractor

    async def read(self, caller: Caller, request: m.ExtractRequest) -> Read:
        """What the LLM says of a conversation; of one that it has read lately, what it said.

        Raises:
            ExtractionFailed: it refuses, or nothing of its answer can be used.
            Unavailable: it can't be reached, or has no time.
        """
        key = _digest(caller, request)
        spent = Spent()

        async def begin() -> _Begun:
            nonlocal spent
            known = await self._known(caller, request)
            texts = [record.content for record in known]
            found = await self.extractor().extract(request.messages, request.instructions, texts)
            spent += found.spent
            return _Begun(found, known)

        async def read() -> Read:
            nonlocal spent
            begun = await self._begun.get_or_compute(key, begin)
            found, failure = begun.found, None
            if found.repair is not None:
                try:
                    found = await found.repair()
                    spent += found.spent
                except APIError as error:
                    failure = error
            # It is kept for minutes: not with all that the LLM was shown, however large.
            told = {fact.known for fact in found.facts if fact.known is not None}
            return Read(
                found.facts,
                {place: begun.known[place] for place in told},
                [_unusable(problem, failure) for problem in found.problems],
                failure if failure is not None and may_pass(failure) else None,
            )

        done = await self._read.get_or_compute(key, read)
        return replace(done, spent=spent)

    def forget(self) -> None:
        """Let go of all that is kept."""
        self._begun.clear()
        self._read.clear()

    async def _known(self, caller: Caller, request: m.ExtractRequest) -> list[Record]:
        """Memories of the very scope that have words of the conversation, the best first."""
        collection = await self._store.collection(caller.tenant, request.collection)
        if collection is None:
            return []
        scope = scope_of(caller, request)
        terms = _terms(request.messages)
        found = await self._store.search(
            collection, SearchRequest(exactly(scope), None, terms, 2 * _KNOWN, rank=_by_keyword)
        )
        may_say_it = (
            record
            for record, _ in found
            if record.scope == scope and len(record.content) <= LONGEST
        )
        return list(islice(may_say_it, _KNOWN))


def scope_of(caller: Caller, request: m.ExtractRequest) -> Scope:
    """Where the facts of a conversation belong."""
    namespace = None if request.namespace is None else tuple(request.namespace)
    return Scope(caller.user(request.user_id), request.agent_id, request.session_id, namespace)


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


def _digest(caller: Caller, request: m.ExtractRequest) -> bytes:
    """The same for requests that say the same, whatever their ids."""
    said = request.model_dump_json(exclude={"id", "background"}).encode()
    whose = to_json([caller.tenant, caller.user_id])
    return blake2b(whose + said, digest_size=16).digest()


def _unusable(problem: Problem, failure: APIError | None) -> m.ErrorBody:
    """Why a fact can't be used: by itself, or because the LLM could not be asked again."""
    error: APIError = ExtractionFailed(problem.text, details={"reason": "malformed"})
    if failure is not None:
        text = f"{problem.text}; asked to put it right: {failure.message}"
        error = type(failure)(text, details=failure.details)
    content = {} if problem.content is None else {"content": problem.content}
    return m.ErrorBody(code=error.code, message=error.message, details=error.details | content)
