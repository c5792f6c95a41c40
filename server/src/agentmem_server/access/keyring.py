"""API keys: who opens what, and who may make and revoke them.

A key is ``am_<id>_<secret>``. The id is public and finds the key; the secret has 256 random bits,
so that a plain SHA-256 of the whole is as good as a slow hash, and it is all that is stored.
"""

import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

import structlog
from agentmem_client import models as m
from agentmem_client.errors import APIError, Forbidden, InvalidRequest, NotFound, Unauthorized

from .. import times
from ..cache import Cache
from ..storage import ApiKey, Outcome, PutKey, RevokeKey, Write
from .access import OPERATOR, Access
from .callers import Caller

_log = structlog.get_logger()

DEFAULT_RATE = 100.0
"""Requests a second of a key, where neither it nor the settings say otherwise."""
_FRESH = 0.5
"""Seconds for which what the store said of a key counts, from before it was asked."""
_KEPT = 10_000
_SCOPES: tuple[m.KeyScope, ...] = ("read", "write", "admin", "metrics")
_KEY = re.compile(r"am_(?P<id>[0-9a-f]{16})_[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NO_DIGEST = bytes(32)

T = TypeVar("T")


class KeyStore(Protocol):
    """What a keyring asks of a store."""

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        """Apply `PutKey` and `RevokeKey`."""

    async def key(self, id: str) -> ApiKey | None:
        """One API key, if it is there."""

    async def keys(self, tenant: str | None) -> list[ApiKey]:
        """The API keys of one tenant or of all."""

    async def has_keys(self) -> bool:
        """Whether there are API keys, be they revoked or expired."""


@dataclass(frozen=True, slots=True)
class _Look(Generic[T]):
    """What a look into the store found, and when it began."""

    found: T
    began: float


class _Looks(Generic[T]):
    """Looks into the store, shared by those who ask at once, and kept for a moment.

    None answers a question with a look that began over `_FRESH` seconds before the question.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._generation = 0
        self._kept: dict[str, _Look[T]] = {}
        self._under_way: Cache[_Look[T]] = Cache(max_entries=0, ttl=_FRESH, clock=clock)

    def kept(self, what: str) -> _Look[T] | None:
        """What was found of a thing a moment ago."""
        look = self._kept.get(what)
        return None if look is None or look.began <= self._clock() - _FRESH else look

    async def look(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` finds of a thing, now or a moment ago."""

        async def look() -> _Look[T]:
            began = self._clock()
            return _Look(await ask(), began)

        kept = self.kept(what)
        if kept is not None:
            return kept.found
        asked = self._clock()
        while True:
            generation = self._generation
            # One that others wait for may have begun long ago, where the store is slow.
            answer = await self._under_way.get_or_compute((generation, what), look)
            if generation == self._generation:
                self._keep(what, answer)
            if answer.began >= asked - _FRESH:
                return answer.found

    def _keep(self, what: str, look: _Look[T]) -> None:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[what] = look

    def forget(self) -> None:
        """Answer nothing any more with a look that began before now."""
        self._generation += 1
        self._kept.clear()


class Keyring:
    """Knows the API keys of one store, and the operator's.

    What another process changes counts within a second; what is changed here counts at once.

    Args:
        store: where the keys are.
        admin_key: the operator's own key.
        rate_limit: requests a second of a key that says nothing of it; 0 is any number.
        clock: seconds that never go back.

    Attributes:
        rate_limit: see above.
        needs_keys: whether a request needs a key, as far as was seen by now.
    """

    def __init__(
        self,
        store: KeyStore,
        admin_key: str | None = None,
        rate_limit: float = DEFAULT_RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate_limit = rate_limit
        self.needs_keys = admin_key is not None
        self._store = store
        self._admin_digest = None if admin_key is None else _digest(admin_key)
        self._operator = replace(OPERATOR, rate_limit=None)
        self._keys: _Looks[tuple[ApiKey, Access] | None] = _Looks(clock)
        self._any: _Looks[bool] = _Looks(clock)

    async def authenticate(self, presented: str | None) -> Access:
        """What a key opens; where there are no keys, all is open, whatever is presented.

        Raises:
            Unauthorized: none is presented, or one that opens nothing: which of the reasons there
                are is not told.
        """
        known = self.recall(presented)
        if known is not None:
            return known
        if not await self._need_keys():
            return OPERATOR
        if presented is None:
            raise Unauthorized(
                "this needs an API key: send it as X-API-Key (`agentmem keys create` makes one)"
            )
        match = _KEY.fullmatch(presented)
        found = None if match is None else await self._find(match["id"])
        access = _opened(_digest(presented), found)
        if access is None:
            raise Unauthorized(
                "this API key is wrong, has expired or was revoked: use another one "
                "(`agentmem keys create` makes one)"
            )
        return access

    def recall(self, presented: str | None) -> Access | None:
        """What a key opens, as far as that is known without asking the store."""
        if not self.needs_keys:
            any_keys = self._any.kept("")
            return None if any_keys is None or any_keys.found else OPERATOR
        if presented is None:
            return None
        digest = _digest(presented)
        if self._admin_digest is not None and hmac.compare_digest(digest, self._admin_digest):
            return self._operator
        match = _KEY.fullmatch(presented)
        key = None if match is None else self._keys.kept(match["id"])
        return None if key is None else _opened(digest, key.found)

    async def still_opens(self, access: Access) -> bool:
        """Whether what a key opened some time ago, it would open now."""
        if access.key_id is None:
            return access is not OPERATOR or not await self._need_keys()
        found = await self._find(access.key_id)
        return found is not None and found[0].is_valid(times.now())

    async def create(self, access: Access, wish: m.KeyInput) -> m.CreatedKey:
        """Make a key.

        Raises:
            Forbidden: it is for another tenant or user, tells of all tenants, or may ask more often
                than the server's limit, and who asks is not the operator.
            InvalidRequest: it would have expired already.
        """
        self._check_wish(access, wish)
        mine = access.caller
        key, text = new_key(wish, wish.tenant or mine.tenant, mine.user(wish.user_id))
        await self._write(PutKey(key))
        self.needs_keys = True
        _log.info("key created", key=key.id, by=access.logged, scopes=sorted(key.scopes))
        return m.CreatedKey(**_fields(key), key=text)

    async def keys(self, access: Access, tenant: str | None) -> list[m.Key]:
        """The keys of a tenant, left out: of one's own, or for the operator of all.

        Who is bound to a user is told of that user's alone.

        Raises:
            Forbidden: it is another tenant, and who asks is not the operator.
        """
        if not access.is_operator:
            _check_tenant(access, tenant)
            tenant = access.caller.tenant
        user = access.caller.user_id
        found = await self._store.keys(tenant)
        return [described(key) for key in found if user in (None, key.user_id)]

    async def revoke(self, access: Access, id: str) -> m.Key:
        """Revoke a key; one that was revoked before stays so.

        Raises:
            NotFound: there is none of this id, or none of the tenant or user who asks.
        """
        key: ApiKey | None = None
        if _ID.fullmatch(id) and await self._is_of(access.caller, id):
            tenant = None if access.is_operator else access.caller.tenant
            key = await self._write(RevokeKey(id, tenant, times.now()))
        if key is None:
            raise NotFound("there is no API key of this id: list them to see their ids")
        _log.info("key revoked", key=id, by=access.logged)
        return described(key)

    async def _is_of(self, caller: Caller, id: str) -> bool:
        """Whether a key may be one of the caller's user; whose a key is never changes."""
        if caller.user_id is None:
            return True
        found = await self._store.key(id)
        return found is not None and found.user_id == caller.user_id

    def _check_wish(self, access: Access, wish: m.KeyInput) -> None:
        if access.is_operator:
            return
        _check_tenant(access, wish.tenant)
        if "metrics" in wish.scopes:
            raise Forbidden("metrics tell of all tenants: only the operator gives this scope")
        limit, asked = self.rate_limit, wish.rate_limit
        if asked is not None and limit > 0 and not 0 < asked <= limit:
            raise Forbidden(
                f"only the operator gives more than the server's {limit:g} requests a second: "
                "ask for fewer, or leave rate_limit out"
            )

    async def _need_keys(self) -> bool:
        if not self.needs_keys and await self._any.look("", self._store.has_keys):
            self.needs_keys = True  # for good: a key is revoked, but never deleted
        return self.needs_keys

    async def _find(self, id: str) -> tuple[ApiKey, Access] | None:
        async def ask() -> tuple[ApiKey, Access] | None:
            key = await self._store.key(id)
            if key is None:
                return None
            return key, Access(Caller(key.tenant, key.user_id), key.scopes, id, key.rate_limit)

        return await self._keys.look(id, ask)

    async def _write(self, write: PutKey | RevokeKey) -> Any:
        try:
            (outcome,) = await self._store.write([write])
        finally:
            self._keys.forget()  # also where it failed: what it did is known to the store alone
        if isinstance(outcome, APIError):
            raise outcome
        return outcome


def _opened(digest: bytes, found: tuple[ApiKey, Access] | None) -> Access | None:
    """What a key of this digest opens, where it is the one that was found."""
    # Compared also where there is none, so that the time tells nothing of which ids there are.
    is_right = hmac.compare_digest(digest, _NO_DIGEST if found is None else found[0].digest)
    if found is None or not is_right or not found[0].is_valid(times.now()):
        return None
    return found[1]


def new_key(wish: m.KeyInput, tenant: str, user_id: str | None) -> tuple[ApiKey, str]:
    """A key of a tenant, or of one user of it, as it is stored, and the key itself.

    Raises:
        InvalidRequest: it would have expired already.
    """
    now = times.now()
    expires_at = None if wish.expires_at is None else times.to_microseconds(wish.expires_at)
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest("expires_at is over: give a time that is still to come")
    id = secrets.token_hex(8)
    text = f"am_{id}_{secrets.token_hex(32)}"
    key = ApiKey(
        id=id,
        digest=_digest(text),
        tenant=tenant,
        name=wish.name,
        scopes=frozenset(wish.scopes),
        user_id=user_id,
        rate_limit=wish.rate_limit,
        created_at=now,
        expires_at=expires_at,
    )
    return key, text


def described(key: ApiKey) -> m.Key:
    """A key as it is answered."""
    return m.Key(**_fields(key))


def key_id(text: str) -> str:
    """The id in a key, or in what may be an id."""
    match = _KEY.fullmatch(text)
    return text if match is None else match["id"]


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _check_tenant(access: Access, tenant: str | None) -> None:
    if tenant not in (None, access.caller.tenant):
        raise Forbidden("this API key is another tenant's: leave tenant out")


def _fields(key: ApiKey) -> dict[str, Any]:
    def instant(moment: int | None) -> Any:
        return None if moment is None else times.to_datetime(moment)

    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": [scope for scope in _SCOPES if scope in key.scopes],
        "user_id": key.user_id,
        "rate_limit": key.rate_limit,
        "created_at": instant(key.created_at),
        "expires_at": instant(key.expires_at),
        "revoked_at": instant(key.revoked_at),
    }
