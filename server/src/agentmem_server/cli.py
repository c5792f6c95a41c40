"""The command ``agentmem``."""

import argparse
import asyncio
import functools
import ipaddress
import math
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import structlog
import uvicorn
from agentmem_client.errors import APIError
from pydantic import ValidationError

from . import __version__
from .app import open_app
from .embedding import EmbedderMisconfigured, EmbedderUnavailable
from .log import configure_logging
from .settings import Settings

_log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit status."""
    options = _parser().parse_args(arguments)
    given = {
        name: value
        for name, value in vars(options).items()
        if name != "command" and value is not None
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"agentmem: AGENTMEM_{name}: {problem['msg']}\n")
        return 2
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agentmem",
        description="Memory for agents, in one process and one file.",
        epilog="Every setting has an environment variable that starts with AGENTMEM_.",
    )
    parser.add_argument("--version", action="version", version=f"agentmem {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the server until it is told to stop")
    serve.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="the port to listen on (default: 8080)")
    serve.add_argument(
        "--database",
        dest="database_url",
        metavar="URL",
        help="where memories are kept (default: sqlite:///agentmem.db)",
    )
    return parser


def _serve(settings: Settings) -> int:
    if not _is_loopback(settings.host):
        sys.stderr.write(
            f"agentmem: without API keys the server listens to this machine only, not to "
            f"{settings.host}: use --host 127.0.0.1, and put a proxy that authenticates in front\n"
        )
        return 2
    configure_logging(settings.log_level)
    config = functools.partial(
        uvicorn.Config,
        host=settings.host,
        port=settings.port,
        lifespan="off",  # the application is open already
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
    )

    async def run() -> bool:
        async with open_app(settings) as app:
            _log.info("opened", version=__version__, database=settings.database_url)
            server = uvicorn.Server(config(app))
            # When it has stopped, uvicorn raises again the signal that it stopped for, which
            # would end the process before the store is closed.
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, _obeyed)
            await server.serve()
            return server.started

    try:
        with asyncio.Runner(loop_factory=config("").get_loop_factory()) as runner:
            started = runner.run(run())
    except (APIError, EmbedderMisconfigured, EmbedderUnavailable) as error:
        sys.stderr.write(f"agentmem: {error}\n")
        return 1
    return 0 if started else 1


def _obeyed(_signal: int, _frame: FrameType | None) -> None:
    """Nothing is left to do."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
