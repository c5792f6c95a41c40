"""API keys as a store keeps them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from agentmem_client.models import KeyScope


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    ``digest`` is the SHA-256 of the whole key (32 bytes), ``rate_limit`` in requests a second: None
    is the server's, 0 is none. Times are microseconds since the Unix epoch.
    """

    id: str
    digest: bytes
    tenant: str
    name: str
    scopes: frozenset[KeyScope]
    user_id: str | None
    rate_limit: float | None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_valid(self, at: int) -> bool:
        """Whether it opens anything at a time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class KeyFile(AbstractContextManager["KeyFile"], Protocol):
    """The keys of a store that a server may be running on, without the rest. All of it blocks."""

    def put(self, key: ApiKey) -> None:
        """Keep a new key; `Conflict` where there is one with its id."""

    def revoke(self, id: str, tenant: str | None, at: int) -> ApiKey | None:
        """Revoke a key, unless it was revoked before; None where there is none of this tenant."""

    def listed(self, tenant: str | None) -> list[ApiKey]:
        """The keys of one tenant or of all, by their time of creation."""

    def close(self) -> None:
        """Let go of the files and connections."""
