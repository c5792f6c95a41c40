"""Hold each API key, and each address without one, to so many requests a second."""

import math
from collections.abc import Awaitable
from fractions import Fraction
from functools import lru_cache

from agentmem_client import endpoints as e
from agentmem_client.errors import APIError, RateLimited
from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.access import OPERATOR, Access
from ..access.keyring import Keyring
from ..access.windows import Windows
from ..addresses import client_network

_LONGEST_WINDOW = 10
"""Seconds, for rates that fit into such a window: all of it may come at once."""

_LONGEST_WAIT = 1e9
"""Seconds between two requests, whatever the rate."""


class RateLimit:
    """Raises for a request that comes too soon, and tells all how many are left.

    Args:
        app: what requests are passed on to.
        keyring: says whether there are keys, and the rate of those that say nothing of it.
        open_rate: requests a second of an address while there are no keys; 0 is any number.
        windows: what counts them.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, open_rate: float, windows: Windows | None = None
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._open_rate = open_rate
        self._windows = Windows() if windows is None else windows
        self._limiter = MovingWindowRateLimiter(self._windows)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, unless it comes too soon."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or (kind == "http" and scope["path"] == e.LIVE.path):
            return self._app(scope, receive, send)
        access = scope["state"]["access"]
        rate = self._rate(access)
        if rate == 0:
            return self._pass(scope, receive, send)
        return self._count(_who(access, scope), _item(rate), scope, receive, send)

    async def _count(
        self, who: str, item: RateLimitItemPerSecond, scope: Scope, receive: Receive, send: Send
    ) -> None:
        is_allowed = await self._limiter.hit(item, who)
        reset_at, left = await self._limiter.get_window_stats(item, who)
        reset = max(0.001, reset_at - self._windows.clock())
        scope["state"]["headers"] += [
            (b"ratelimit-limit", b"%d" % item.amount),
            (b"ratelimit-remaining", b"%d" % max(0, left)),
            (b"ratelimit-reset", b"%d" % math.ceil(reset)),
        ]
        if is_allowed:
            await self._pass(scope, receive, send)
            return
        window = item.get_expiry()
        raise RateLimited(
            f"more than {item.amount} requests in {window} s: wait for Retry-After seconds",
            details={"limit": item.amount, "window_seconds": window},
            retry_after=reset,
        )

    def _pass(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        access = scope["state"]["access"]
        if scope["type"] == "websocket" and isinstance(access, APIError):
            raise access  # the handler of a websocket has no answer to put an error into
        return self._app(scope, receive, send)

    def _rate(self, access: Access | APIError) -> float:
        """How many requests a second there may be; 0: any number."""
        if access is OPERATOR or not isinstance(access, Access):
            return self._keyring.rate_limit if self._keyring.needs_keys else self._open_rate
        return self._keyring.rate_limit if access.rate_limit is None else access.rate_limit


def _who(access: Access | APIError, scope: Scope) -> str:
    """Whose window a request is counted in."""
    if access is OPERATOR or not isinstance(access, Access):
        client = scope.get("client")
        return f"address {client_network(client[0]) if client else ''}"
    return f"key {access.key_id}"


class _Rate(RateLimitItemPerSecond):
    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        """Whose window it is; made by the library, it takes longer than the window itself."""
        return f"{identifiers[0]!s} {self.amount}/{self.multiples}"


@lru_cache(maxsize=1_024)
def _item(rate: float) -> RateLimitItemPerSecond:
    """A rate as so many requests in so many whole seconds: 0.5 is 1 in 2."""
    if rate * _LONGEST_WINDOW >= 1:
        fraction = Fraction(rate).limit_denominator(_LONGEST_WINDOW)
        return _Rate(fraction.numerator, fraction.denominator)
    return _Rate(1, math.ceil(min(1 / rate, _LONGEST_WAIT)))
