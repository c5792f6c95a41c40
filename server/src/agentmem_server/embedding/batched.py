"""The embedder as the engine uses it: behind a cache, many callers' texts in one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from agentmem_client.errors import InternalError, Unavailable

from ..batcher import Batcher
from ..cache import Cache
from ..sharing import NO_COPIES, Copies
from ..telemetry.watch import NOBODY, Watch
from . import Embedder, EmbedderUnavailable, TokenEmbedder, signs


@dataclass(frozen=True, slots=True)
class Embedded:
    """What an embedder makes of a text.

    ``vector`` is little-endian float32. ``tokens`` are those of a text that is found, by their
    signs (`signs.packed`), or of a query, as float16 (`signs.question`); empty where the embedder
    doesn't tell them.
    """

    vector: bytes
    tokens: bytes = b""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    is_query: bool


class BatchedEmbedder:
    """Texts to vectors, nothing embedded twice in a short while.

    A text that comes alone (a query, a turn of a conversation) has somebody waiting; many at once
    are an import. Each kind has a queue of its own, so that no query stands behind an import: the
    embedder works on a batch of both at the same time.

    Args:
        embedder: makes the vectors.
        max_batch: the most texts of one queue given to it at once.
        max_pending: the most texts that wait in one queue.
        cache_size: how many vectors are kept.
        cache_ttl: for how many seconds.
        copies: vectors that other servers keep too; asked before a text is embedded.
        watch: is told of both queues, as ``embed`` and ``embed_bulk``.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int,
        max_pending: int,
        cache_size: int,
        cache_ttl: float,
        copies: Copies = NO_COPIES,
        watch: Watch = NOBODY,
    ) -> None:
        self.model = embedder.name
        self.dimension = embedder.dimension
        self._embedder = embedder
        self._copies = copies if cache_size else NO_COPIES
        self._ttl = cache_ttl
        self.tells_tokens = isinstance(embedder, TokenEmbedder)

        def queue(name: str) -> Batcher[_Text, bytes]:
            return Batcher(
                self._run, max_batch=max_batch, max_pending=max_pending, name=name, watch=watch
            )

        self._single = queue("embed")
        self._bulk = queue("embed_bulk")
        self.cache: Cache[bytes] = Cache(max_entries=cache_size, ttl=cache_ttl)

    @property
    def pending(self) -> Mapping[str, int]:
        """How many texts wait in each queue."""
        return {"embed": self._single.pending, "embed_bulk": self._bulk.pending}

    async def embed_query(self, text: str) -> Embedded:
        """The vector of a query, and those of its tokens.

        Raises:
            Unavailable: the embedder does not answer now.
            InternalError: it refuses the text.
            Overloaded: too many texts wait.
        """
        (outcome,) = await self._embed([_Text(text, is_query=True)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def embed_many(self, texts: Sequence[str]) -> list[Embedded | Exception]:
        """Of each text that is to be found, its vector and tokens, or the error it failed with."""
        return await self._embed([_Text(text, is_query=False) for text in texts]) if texts else []

    async def _embed(self, texts: Sequence[_Text]) -> list[Embedded | Exception]:
        # By digest, so that the cache holds no long texts.
        keys = [(self.model, self._digest(one)) for one in texts]
        queue = self._single if len(texts) == 1 else self._bulk

        async def make(missing: list[int]) -> Sequence[bytes | Exception]:
            return await self._make({keys[i][1]: texts[i] for i in missing}, queue)

        outcomes = await self.cache.get_or_compute_many(keys, make)
        end = 4 * self.dimension
        return [
            one if isinstance(one, Exception) else Embedded(one[:end], one[end:])
            for one in outcomes
        ]

    def _digest(self, one: _Text) -> bytes:
        as_query = one.is_query and self.tells_tokens  # otherwise both are the same
        return blake2b(one.text.encode(), digest_size=16, person=b"query" * as_query).digest()

    def clear(self) -> None:
        """Let go of the vectors that are kept."""
        self.cache.clear()

    async def close(self) -> None:
        """Refuse new texts and finish those accepted; the embedder itself stays open."""
        await self._single.close()
        await self._bulk.close()

    async def _make(
        self, texts: Mapping[bytes, _Text], queue: Batcher[_Text, bytes]
    ) -> Sequence[bytes | Exception]:
        """What is made of texts, by their digests: what other servers made of them, or anew."""
        since = self._copies.erasures
        keys = {digest: self._shared_key(digest) for digest in texts}
        kept = await self._copies.get("embedding", list(keys.values()))
        made: dict[bytes, bytes | Exception] = {
            digest: copy
            for (digest, one), copy in zip(texts.items(), kept, strict=True)
            if copy is not None and self._fits(copy, one)
        }
        missing = [digest for digest in texts if digest not in made]
        if missing:
            outcomes = await queue.submit_many([texts[digest] for digest in missing])
            made.update(zip(missing, outcomes, strict=True))
            new = {
                keys[digest]: outcome
                for digest, outcome in zip(missing, outcomes, strict=True)
                if not isinstance(outcome, Exception)
            }
            await self._copies.put("embedding", new, self._ttl, since=since)
        return [made[digest] for digest in texts]

    def _shared_key(self, digest: bytes) -> bytes:
        kind = "tokens\n" if self.tells_tokens else ""
        return f"{self.model}\n{self.dimension}\n{kind}".encode() + digest

    def _fits(self, copy: bytes, one: _Text) -> bool:
        rest = len(copy) - 4 * self.dimension
        if rest <= 0 or not self.tells_tokens:
            return rest == 0
        return rest % (2 * self.dimension if one.is_query else signs.size(self.dimension)) == 0

    async def _run(self, texts: Sequence[_Text]) -> Sequence[bytes | Exception]:
        try:
            return await self._embedded(texts)
        except EmbedderUnavailable as error:
            if error.retryable:
                down = Unavailable(f"the embedder is not available: {error}", retry_after=1.0)
                return [down] * len(texts)
            if len(texts) > 1:
                raise  # the batcher tries them one by one, so that only the refused one fails
            raise InternalError(f"the embedder refused the text: {error}") from error

    async def _embedded(self, texts: Sequence[_Text]) -> list[bytes]:
        """The vectors' bytes, with those of the tokens after them."""
        plain = [one.text for one in texts]
        if not isinstance(self._embedder, TokenEmbedder):
            return [one.astype("<f4").tobytes() for one in await self._embedder.embed(plain)]
        vectors, tokens = await self._embedder.embed_tokens(plain)
        kept = [
            signs.question(own) if one.is_query else signs.packed(own)
            for one, own in zip(texts, tokens, strict=True)
        ]
        return [
            vector.astype("<f4").tobytes() + own for vector, own in zip(vectors, kept, strict=True)
        ]
