"""How a client has facts learnt from conversations, by the server's LLM."""

from collections.abc import Iterable, Sequence
from typing import Any

from .. import endpoints
from .._batch import Progress
from .._extraction import (
    SECONDS,
    SECONDS_EACH,
    Conversation,
    MessageLike,
    conversation,
    extracting,
    many_body,
)
from ..errors import AgentMemError
from ..models import DEFAULT_COLLECTION, Extraction
from .connection import AsyncConnection


class AsyncLearning(AsyncConnection):
    """Learns from conversations."""

    async def extract(
        self,
        messages: Iterable[MessageLike],
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
        metadata: dict[str, Any] | None = None,
        instructions: str | None = None,
        background: bool | None = None,
        id: str | None = None,
    ) -> Extraction:
        """Have facts found in a conversation by one call of the server's LLM, and stored.

        Each is a memory with its ``sources``. What is known already is not stored again: the memory
        that says so gets one source more. Nothing is overwritten, and the messages themselves are
        not stored. Sent again, because an answer was lost, it stores nothing twice.

        Args:
            messages: texts, mappings as ``{"role": "user", "content": "…"}``, with ``id``, ``name``
                and ``at`` (when it was said) where there are any, or `Message`s.
            user_id: whose memories they become, and among which a fact is looked for that is known
                already; so it is with the next three. Facts that hold beyond a session are best
                learnt without ``session_id``.
            agent_id: as ``user_id``.
            session_id: as ``user_id``.
            namespace: as ``user_id``.
            collection: made by the first fact.
            metadata: of each memory that is stored.
            instructions: what to look for, or to leave out, in the words of a prompt.
            background: answer at once, with the ``job`` that the server tries until it is done or
                has failed too often; `wait_for_job` waits for it.
            id: of the extraction and its job; a new one where left out.

        Returns:
            The facts, each ``stored``, ``duplicate`` or ``failed``, with the memory's id; and what
            it cost.

        Raises:
            LLMNotConfigured: the server has no LLM.
            ExtractionFailed: the LLM refuses, or its answer can't be used.
        """
        body = conversation(
            messages,
            id=id,
            user_id=user_id,
            agent_id=agent_id,
            session_id=session_id,
            namespace=namespace,
            collection=collection,
            metadata=metadata,
            instructions=instructions,
            background=background,
        )
        return await self._call(endpoints.EXTRACT, body=body, patience=SECONDS)

    async def extract_many(
        self,
        conversations: Iterable[Conversation],
        *,
        collection: str | None = None,
        background: bool | None = None,
        progress: Progress | None = None,
    ) -> list[Extraction]:
        """Have facts found in any number of conversations, several at the same time.

        Each is judged singly. Where a whole request fails, after its retries, its conversations are
        ``failed`` with that error's code, and the next request is sent; after three in a row the
        rest is not sent, and fails with the last error. Sending the failed ones again is safe.

        Args:
            conversations: mappings with the arguments of `extract`, ``messages`` among them, or
                `ExtractRequest`s. Read as they are sent.
            collection: for those that name none.
            background: likewise; then each has a ``job``.
            progress: called as ``progress(done, total)`` after each request; ``total`` is None
                where ``conversations`` has no length.

        Returns:
            One outcome a conversation, in their order: ``done``, ``queued`` or ``failed`` with an
            ``error``.
        """
        batch = extracting(conversations, progress, collection=collection, background=background)
        for outgoing in batch.requests():
            body, more = many_body(outgoing), SECONDS + SECONDS_EACH * len(outgoing)
            try:
                answer = await self._call(endpoints.EXTRACT_MANY, body=body, patience=more)
            except AgentMemError as error:
                batch.failed(error)
            else:
                batch.answered(answer.results)
        return batch.results
