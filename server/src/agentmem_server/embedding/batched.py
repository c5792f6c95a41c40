"""The embedder as the engine uses it: behind a cache, many callers' texts in one batch."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from agentmem_client.errors import InternalError, Unavailable

from ..batcher import Batcher
from ..cache import Cache
from ..sharing import NO_COPIES, Copies
from ..telemetry.watch import NOBODY, Watch
from . import Embedder, EmbedderUnavailable


class BatchedEmbedder:
    """Texts to float32 bytes, nothing embedded twice in a short while.

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

        def queue(name: str) -> Batcher[str, bytes]:
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

    async def embed(self, text: str) -> bytes:
        """The vector of one text.

        Raises:
            Unavailable: the embedder does not answer now.
            InternalError: it refuses the text.
            Overloaded: too many texts wait.
        """
        (outcome,) = await self.embed_many([text])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def embed_many(self, texts: Sequence[str]) -> list[bytes | Exception]:
        """The vector of each text, or the error that it failed with."""
        # By digest, so that the cache holds no long texts.
        keys = [(self.model, blake2b(text.encode(), digest_size=16).digest()) for text in texts]
        queue = self._single if len(texts) == 1 else self._bulk

        async def make(missing: list[int]) -> Sequence[bytes | Exception]:
            return await self._make({keys[i][1]: texts[i] for i in missing}, queue)

        return await self.cache.get_or_compute_many(keys, make)

    def clear(self) -> None:
        """Let go of the vectors that are kept."""
        self.cache.clear()

    async def close(self) -> None:
        """Refuse new texts and finish those accepted; the embedder itself stays open."""
        await self._single.close()
        await self._bulk.close()

    async def _make(
        self, texts: Mapping[bytes, str], queue: Batcher[str, bytes]
    ) -> Sequence[bytes | Exception]:
        """Vectors of texts, by their digests: those that other servers made, and new ones."""
        since = self._copies.erasures
        keys = {digest: self._shared_key(digest) for digest in texts}
        kept = await self._copies.get("embedding", list(keys.values()))
        vectors: dict[bytes, bytes | Exception] = {
            digest: vector
            for digest, vector in zip(texts, kept, strict=True)
            if vector is not None and len(vector) == 4 * self.dimension
        }
        missing = [digest for digest in texts if digest not in vectors]
        if missing:
            made = await queue.submit_many([texts[digest] for digest in missing])
            vectors.update(zip(missing, made, strict=True))
            new = {
                keys[digest]: vector
                for digest, vector in zip(missing, made, strict=True)
                if not isinstance(vector, Exception)
            }
            await self._copies.put("embedding", new, self._ttl, since=since)
        return [vectors[digest] for digest in texts]

    def _shared_key(self, digest: bytes) -> bytes:
        return f"{self.model}\n{self.dimension}\n".encode() + digest

    async def _run(self, texts: Sequence[str]) -> Sequence[bytes | Exception]:
        try:
            vectors = await self._embedder.embed(texts)
        except EmbedderUnavailable as error:
            if error.retryable:
                down = Unavailable(f"the embedder is not available: {error}", retry_after=1.0)
                return [down] * len(texts)
            if len(texts) > 1:
                raise  # the batcher tries them one by one, so that only the refused one fails
            raise InternalError(f"the embedder refused the text: {error}") from error
        return [vector.astype("<f4").tobytes() for vector in vectors]
