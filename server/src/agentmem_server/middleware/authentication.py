"""Find out who asks, before anything of a request is read."""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from agentmem_client.endpoints import ENDPOINTS
from agentmem_client.errors import APIError, Forbidden, Unauthorized
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.access import OPERATOR
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with what it may do."""
        if scope["type"] in ("http", "websocket"):
            state = scope.setdefault("state", {})
            if scope["type"] == "http" and scope["path"] in _OPEN:
                state["access"] = _NO_NEED
            else:
                try:
                    access = await self._keyring.authenticate(_presented(scope["headers"]))
                    if access is OPERATOR:
                        _check_local(scope["headers"])
                    state["access"] = access
                except APIError as refusal:
                    state["access"] = refusal
        await self._app(scope, receive, send)


def _presented(headers: Headers) -> str | None:
    """The key that a request shows; Prometheus can only show it as a bearer token.

    Raises:
        Unauthorized: it shows several.
    """
    keys = set()
    for name, value in headers:
        if name == b"x-api-key":
            keys.add(value.strip())
        elif name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                keys.add(token.strip())
    keys.discard(b"")
    if len(keys) > 1:
        raise Unauthorized("this request has two API keys: send one, as X-API-Key")
    return keys.pop().decode("latin-1") if keys else None


def _check_local(headers: Headers) -> None:
    """Keep web pages out while there are no keys, which a browser on this machine would let in.

    A page's own host name can be made to mean this machine (DNS rebinding), and any page may open
    a websocket; the browser tells where the page is from.

    Raises:
        Forbidden: the request is not for this machine by one of its own names.
    """
    hosts = [f"//{_text(value)}" for name, value in headers if name == b"host"]
    origins = [_text(value) for name, value in headers if name == b"origin"]
    if not hosts or not all(map(_is_local, [*hosts, *origins])):
        raise Forbidden(
            "without API keys only http://localhost is answered, and its own pages: make a key "
            "(`agentmem keys create`), and send it as X-API-Key"
        )


@lru_cache(maxsize=256)
def _is_local(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _text(value: bytes) -> str:
    return value.decode("latin-1")
