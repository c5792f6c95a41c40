"""Makes the tokens that memories lack: stored by an older server, imported or restored."""

import asyncio
import time

from agentmem_client.errors import Overloaded, Unavailable

from ..batcher import Batcher
from ..embedding import signs
from ..embedding.batched import BatchedEmbedder, Embedded
from ..storage import Collection, Outcome, PutTokens, Record, Store, Write

_AT_ONCE = 32


class Filling:
    """Goes through all memories once. Until then those that lack tokens are ranked without.

    Args:
        store: has the memories.
        embedder: makes the tokens, if it can.
        writes: where they are stored.
    """

    def __init__(
        self, store: Store, embedder: BatchedEmbedder, writes: Batcher[Write, Outcome]
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._writes = writes
        self._after = (0, 0)

    async def run(self) -> int:
        """Fill what is lacking, at half of the embedder's speed; answers how many memories.

        Called again, it goes on where it was.

        Raises:
            Unavailable: the store or the embedder can't go on.
            Overloaded: too much waits for them.
        """
        filled = 0
        while self._embedder.tells_tokens:
            started = time.monotonic()
            found = await self._store.lacking_tokens(
                self._embedder.model, after=self._after, limit=_AT_ONCE
            )
            if not found:
                break
            filled += await self._fill(found)
            collection, last = found[-1]
            self._after = (collection.key, last.seq)
            # Whoever asks something meanwhile has the other half.
            await asyncio.sleep(time.monotonic() - started)
        return filled

    async def _fill(self, found: list[tuple[Collection, Record]]) -> int:
        texts = [text for _, record in found for text in record.dense_texts]
        made = iter(await self._embedder.embed_many(texts))
        writes: dict[int, PutTokens] = {}
        for collection, record in found:
            own = [next(made) for _ in record.dense_texts]
            down = next((one for one in own if isinstance(one, Unavailable | Overloaded)), None)
            if down is not None:
                raise down
            # What the embedder refuses for good has no tokens.
            parts = [one.tokens for one in own if isinstance(one, Embedded)]
            tokens = signs.joined(parts, self._embedder.dimension)
            write = PutTokens(collection.tenant, collection.name, [])
            rows = writes.setdefault(collection.key, write).tokens
            assert isinstance(rows, list)
            rows.append((record.seq, record.version, tokens))
        filled = 0
        for outcome in await self._writes.submit_many(list(writes.values())):
            if isinstance(outcome, Exception):
                raise outcome
            filled += outcome
        return filled
