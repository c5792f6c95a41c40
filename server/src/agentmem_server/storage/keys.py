"""API keys as a store keeps them."""

from dataclasses import dataclass

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
