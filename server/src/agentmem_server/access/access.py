"""What a request may do: its API key decides, its route holds it to that."""

from dataclasses import dataclass

from agentmem_client.errors import Forbidden
from agentmem_client.models import KeyScope

from .callers import Caller

DEFAULT_TENANT = "default"
"""Whose memories they are where there are no API keys."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks, and what that one may do.

    Attributes:
        caller: whose memories it can see and change.
        scopes: what it may do with them.
        key_id: the key's; None where there are no keys, and of the operator's own.
        rate_limit: requests a second that it may make; None: the server's limit, 0: any.
        is_operator: whether it may make keys for other tenants.
    """

    caller: Caller
    scopes: frozenset[KeyScope]
    key_id: str | None = None
    rate_limit: float | None = None
    is_operator: bool = False

    @property
    def logged(self) -> str | None:
        """Who asks, for logs: the key's id, or ``"operator"``; None where there are no keys."""
        return "operator" if self.key_id is None and self is not OPERATOR else self.key_id

    def require(self, *scopes: KeyScope) -> None:
        """Hold it to what it may do.

        Raises:
            Forbidden: it lacks one of the scopes.
        """
        for scope in scopes:
            if scope not in self.scopes and not self._implies(scope):
                raise Forbidden(f"this API key lacks the scope {scope!r}: use one that has it")

    def _implies(self, scope: KeyScope) -> bool:
        return scope in ("read", "write") and "admin" in self.scopes


OPERATOR = Access(
    Caller(DEFAULT_TENANT),
    frozenset({"read", "write", "admin", "metrics"}),
    rate_limit=0.0,
    is_operator=True,
)
"""Of all who ask while there are no keys, which is to say on the server's own machine."""
