"""``agentmem serve``: run the server."""

import argparse
import asyncio
import functools
import gc
import math
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import uvicorn
from agentmem_client.errors import NotFound

from .. import __version__
from ..addresses import is_loopback, parse_networks
from ..app import open_app
from ..settings import Settings
from ..storage import open_keys, shown_url
from ..telemetry.log import configure_logging
from .common import Refused, add_database, read_settings
from .receiving import Protocol, WebSocketProtocol

if TYPE_CHECKING:
    from .common import Commands

_log = structlog.get_logger()


def add_commands(commands: "Commands") -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="run the server until it is told to stop")
    serve.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="the port to listen on (default: 8080)")
    add_database(serve)
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    if not is_loopback(settings.host) and not _has_keys(settings):
        raise Refused(
            f"without API keys the server listens to this machine only, not to {settings.host}: "
            "make a key in the same --database (`agentmem keys create --tenant default --name me`) "
            "or set AGENTMEM_ADMIN_KEY, or use --host 127.0.0.1"
        )
    configure_logging(settings.log_level)
    proxies = list(parse_networks(settings.trusted_proxies))
    config = functools.partial(
        uvicorn.Config,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        ws=WebSocketProtocol,
        lifespan="off",  # the application is open already
        log_config=None,
        access_log=False,
        server_header=False,
        # Left out, uvicorn believes the machine's own proxies, or those in FORWARDED_ALLOW_IPS.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        ws_max_size=1_024,  # nothing that a WebSocket's client says is read
        ws_per_message_deflate=False,
    )

    async def run() -> bool:
        async with open_app(settings) as app:
            _log.info("opened", version=__version__, database=shown_url(settings.database_url))
            server = _Server(config(app), app.state.close_streams)
            # What is there by now stays: looking through it for what is not in use any more would
            # hold everybody up for some 40 ms, each time that the collector looks through all.
            gc.collect()
            gc.freeze()
            # When it has stopped, uvicorn raises again the signal that it stopped for, which
            # would end the process before the store is closed.
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, _obeyed)
            await server.serve()
            return server.started

    with asyncio.Runner(loop_factory=config("").get_loop_factory()) as runner:
        started = runner.run(run())
    return 0 if started else 1


class _Server(uvicorn.Server):
    """Ends streams when it is told to stop: it waits for all answers, and theirs have no end."""

    def __init__(self, config: uvicorn.Config, close_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._close_streams = close_streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, be it at any moment: this is a signal's handler."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._close_streams)


def _obeyed(_signal: int, _frame: FrameType | None) -> None:
    """Nothing is left to do."""


def _has_keys(settings: Settings) -> bool:
    if settings.admin_key is not None:
        return True
    try:
        with open_keys(settings.database_url, make=False) as keys:
            return bool(keys.listed(None))
    except NotFound:  # no database yet
        return False
