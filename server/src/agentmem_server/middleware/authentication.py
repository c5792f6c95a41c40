"""Find out who asks, before anything of a request is read."""

from collections.abc import Awaitable, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from agentmem_client.endpoints import ENDPOINTS
from agentmem_client.errors import APIError, Forbidden, Unauthorized
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.access import OPERATOR, Access
from ..access.keyring import Keyring
from ..addresses import is_loopback

_OPEN = frozenset(row.path for row in ENDPOINTS if not row.scopes)
"""Where a request needs no key: the store is not asked for one, since it may be what is down."""
_NO_NEED = Unauthorized("this takes no API key")

Headers = Iterable[tuple[bytes, bytes]]


class Authentication:
    """Puts into ``state["access"]`` what a request may do, or the error that refuses it.

    It refuses nothing by itself: a route that takes no key answers everybody.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, with what it may do."""
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        if scope["type"] == "http" and scope["path"] in _OPEN:
            scope["state"]["access"] = _NO_NEED
            return self._app(scope, receive, send)
        try:
            presented = _presented(scope["headers"])
            access = self._keyring.recall(presented)
            if access is None:
                return self._ask(presented, scope, receive, send)
            _note(scope, access)
        except APIError as refusal:
            scope["state"]["access"] = refusal
        return self._app(scope, receive, send)

    async def _ask(self, presented: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _note(scope, await self._keyring.authenticate(presented))
        except APIError as refusal:
            scope["state"]["access"] = refusal
        await self._app(scope, receive, send)


def _note(scope: Scope, access: Access) -> None:
    if access is OPERATOR:
        _check_local(scope["headers"])
    scope["state"]["access"] = access


def _presented(headers: Headers) -> str | None:
    """The key that a request shows; Prometheus can only show it as a bearer token.

    Raises:
        Unauthorized: it shows several.
    """
    presented = b""
    for name, value in headers:
        if name == b"x-api-key":
            key = value.strip()
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            key = value[7:].strip()
        else:
            continue
        if presented and key not in (b"", presented):
            raise Unauthorized("this request has two API keys: send one, as X-API-Key")
        presented = key or presented
    return presented.decode("latin-1") if presented else None


def _check_local(headers: Headers) -> None:
    """Keep web pages out while there are no keys, which a browser on this machine would let in.

    A page's own host name can be made to mean this machine (DNS rebinding), and any page may open
    a websocket; the browser tells where the page is from.

    Raises:
        Forbidden: the request is not for this machine by one of its own names.
    """
    has_host = False
    for name, value in headers:
        if name == b"host":
            has_host = True
            is_local = _is_local(b"//" + value)
        elif name == b"origin":
            is_local = _is_local(value)
        else:
            continue
        if not is_local:
            raise _not_local()
    if not has_host:
        raise _not_local()


def _not_local() -> Forbidden:
    return Forbidden(
        "without API keys only http://localhost is answered, and its own pages: make a key "
        "(`agentmem keys create`), and send it as X-API-Key"
    )


@lru_cache(maxsize=256)
def _is_local(url: bytes) -> bool:
    try:
        return is_loopback(urlsplit(url.decode("latin-1")).hostname or "")
    except ValueError:
        return False
