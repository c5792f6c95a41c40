# Generated from src/agentmem_client/_async/admin.py by scripts/generate_sync.py: do not edit.
"""What a client does for those who run a server: figures and keys."""

from collections.abc import Sequence
from datetime import datetime

from .. import endpoints
from .._base import given, given_list, make
from ..models import CreatedKey, Key, KeyInput, KeyScope, KeysQuery, Stats, StatsQuery
from .connection import Connection


class Admin(Connection):
    """Figures, and the keys of the API."""

    def stats(self, days: int = 30) -> Stats:
        """How much is remembered and asked, and by whom.

        Args:
            days: how many days of growth, today included, up to 366.
        """
        query = make(StatsQuery, given(days=days))
        return self._call(endpoints.STATS, query=query)

    def create_key(
        self,
        name: str,
        *,
        tenant: str | None = None,
        scopes: Sequence[KeyScope] | None = None,
        user_id: str | None = None,
        expires_at: datetime | str | None = None,
        rate_limit: float | None = None,
    ) -> CreatedKey:
        """Make an API key. It needs a key with the scope ``admin``.

        The answer is the only time that the key is shown: its ``key`` is what a client takes as
        ``api_key``. Where that answer was lost and the request sent again, there is a second key
        of this name, which nobody holds: `list_keys` shows it, and `revoke_key` ends it.

        Args:
            name: for people: who uses it.
            tenant: whose memories it opens; the asking key's tenant where left out. Only the
                operator's key makes keys for another one.
            scopes: what it may do: ``"read"``, ``"write"``, ``"admin"``, ``"metrics"``; the first
                two where left out.
            user_id: it sees this user's memories alone.
            expires_at: from then on it is refused.
            rate_limit: requests a second; the server's limit where left out, 0: none.

        Raises:
            Forbidden: the key that asks may not give this.
        """
        body = make(
            KeyInput,
            given(
                name=name,
                tenant=tenant,
                scopes=given_list(scopes),
                user_id=user_id,
                expires_at=expires_at,
                rate_limit=rate_limit,
            ),
        )
        return self._call(endpoints.CREATE_KEY, body=body)

    def list_keys(self, tenant: str | None = None) -> list[Key]:
        """API keys, the oldest first, without what makes them keys; revoked ones too.

        Args:
            tenant: whose; where left out the asking key's tenant's, for the operator's key all.
        """
        query = make(KeysQuery, given(tenant=tenant))
        answer = self._call(endpoints.LIST_KEYS, query=query)
        return answer.keys

    def revoke_key(self, id: str) -> Key:
        """Revoke an API key, for good: within a second it opens nothing more.

        Raises:
            NotFound: there is no key with this id.
        """
        return self._call(endpoints.REVOKE_KEY, {"id": id})
