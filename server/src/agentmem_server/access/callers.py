"""Who asks: a tenant, or one of its users, and what that makes of a request's scope."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentmem_client.errors import Forbidden

from ..storage import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose memories a call can see and change: a tenant's, or those of one of its users alone."""

    tenant: str
    user_id: str | None = None

    def scope(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        namespace: Sequence[str] | None = None,
    ) -> Scope:
        """The scope that a request names, within what the caller sees.

        Raises:
            Forbidden: it is another user's.
        """
        path = None if namespace is None else tuple(namespace)
        return Scope(self.user(user_id), agent_id, session_id, path)

    def user(self, user_id: str | None) -> str | None:
        """The user that a request is about.

        Raises:
            Forbidden: it is another one than the caller's.
        """
        if self.user_id is None or user_id == self.user_id:
            return user_id
        if user_id is None:
            return self.user_id
        raise Forbidden("this API key is bound to another user: leave user_id out")
