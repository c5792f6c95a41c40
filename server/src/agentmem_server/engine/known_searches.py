"""Searches that come again and again, by the JSON they come in, so that it is read once."""

from hashlib import blake2b
from typing import NamedTuple

from agentmem_client.models import SearchRequest
from cachetools import LRUCache

_MAX_BYTES = 4_000_000
_LARGEST = 100_000
_OVERHEAD = 4_000
"""Bytes that a search takes beside its JSON and, in other words, the same once more."""
_MAX_SEEN = 4_096
_VECTOR = {"embedding"}


class KnownSearch(NamedTuple):
    """A search that was read. Nobody may change it.

    ``digest`` is that of what it means; None where it comes for the first time.
    """

    request: SearchRequest
    digest: bytes | None


class KnownSearches:
    """Keeps a search when it comes for the second time; most come once.

    Args:
        max_entries: how many are kept, of a few megabytes together; 0: none.
    """

    def __init__(self, max_entries: int) -> None:
        self._seen: set[int] = set()
        self._kept: LRUCache[bytes, _Kept] = LRUCache(
            min(_MAX_BYTES, max_entries * (_OVERHEAD + 2_000)), getsizeof=lambda kept: kept.size
        )

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, body: bytes) -> KnownSearch | None:
        """The search that this JSON means, where it is kept."""
        kept = self._kept.get(body)
        return None if kept is None else kept.search

    def add(self, body: bytes, request: SearchRequest) -> KnownSearch:
        """A search that was just read from this JSON."""
        label = hash(body)
        if label not in self._seen:
            if len(self._seen) == _MAX_SEEN:
                self._seen.clear()
            self._seen.add(label)
            return KnownSearch(request, None)
        search = KnownSearch(request, digest_of(request))
        kept = _Kept(search, _OVERHEAD + 2 * len(body))
        if kept.size <= min(_LARGEST, self._kept.maxsize):
            self._kept[body] = kept
        return search

    def clear(self) -> None:
        """Let go of all."""
        self._seen.clear()
        self._kept.clear()


class _Kept(NamedTuple):
    search: KnownSearch
    size: int


def digest_of(request: SearchRequest) -> bytes:
    """The same for all requests that mean the same, 16 bytes."""
    digest = blake2b(request.model_dump_json(exclude=_VECTOR).encode(), digest_size=16)
    digest.update(request.embedding or b"")  # as JSON it would take as long as all the rest
    return digest.digest()
