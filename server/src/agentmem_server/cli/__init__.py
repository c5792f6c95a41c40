"""The command ``agentmem``: one module a family of commands."""

import argparse
import sys
from collections.abc import Sequence

from agentmem_client.errors import APIError

from .. import __version__
from ..embedding import EmbedderMisconfigured, EmbedderUnavailable
from . import keys, migrate, serve, transfer
from .common import Refused

_COMMANDS = (serve, keys, transfer, migrate)
"""Each adds its commands, which name in ``run`` the function that does it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except Refused as refused:
        for message in refused.messages:
            sys.stderr.write(f"agentmem: {message}\n")
        return refused.status
    except (APIError, EmbedderMisconfigured, EmbedderUnavailable) as error:
        sys.stderr.write(f"agentmem: {error}\n")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agentmem",
        description="Memory for agents, in one process and one file.",
        epilog="Every setting has an environment variable that starts with AGENTMEM_.",
    )
    parser.add_argument("--version", action="version", version=f"agentmem {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in _COMMANDS:
        module.add_commands(commands)
    return parser
