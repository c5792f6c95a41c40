"""API keys: to whom they belong and what they may do."""

from datetime import datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from ._fields import Answer, Name, Request, Time

KeyScope = Literal["read", "write", "admin", "metrics"]
"""What a key may do."""

MAX_RATE = 1_000_000.0

Rate: TypeAlias = Annotated[float, Field(ge=0, le=MAX_RATE)]
"""Requests a second; 0 is no limit."""


def _read_and_write() -> list[KeyScope]:
    return ["read", "write"]


class KeyInput(Request):
    """A key to make."""

    name: Name
    """For people: who uses it."""
    tenant: Name | None = None
    """Whose memories it opens; left out, the tenant of the key that makes it. Only the operator's
    key makes keys for another tenant."""
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=4)] = Field(
        default_factory=_read_and_write
    )
    """``admin`` includes ``read`` and ``write``. ``metrics`` opens ``/metrics``, which tells of all
    tenants, and is the operator's to give."""
    user_id: Name | None = None
    """The key sees this user's memories alone, and with ``admin`` this user's keys alone. Left out,
    the user of the key that makes it, if that has one."""
    expires_at: Time | None = None
    rate_limit: Rate | None = None
    """Requests a second, the server's limit where left out. Only the operator's key raises it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.scopes)) < len(self.scopes):
            raise ValueError("name each scope once")
        if self.user_id is not None and "metrics" in self.scopes:
            raise ValueError(
                "a key that is bound to a user can't have the scope metrics, which tells of all: "
                "leave out the user, or the scope"
            )
        return self


class Key(Answer):
    """A key, without what makes it one."""

    id: str
    name: str
    tenant: str
    scopes: list[KeyScope]
    user_id: str | None = None
    rate_limit: float | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class CreatedKey(Key):
    """A new key."""

    key: str = Field(repr=False)
    """What goes into ``X-API-Key``. Shown this once: only its digest is stored."""


class KeysQuery(Request):
    """Whose keys to list."""

    tenant: Name | None = None
    """Left out: those of the asking key's tenant, or for the operator's key those of all."""


class KeysAnswer(Answer):
    """Keys, the oldest first; those that were revoked or have expired too."""

    keys: list[Key]
