"""What the commands have in common: their settings, and how they are refused."""

import argparse
import sys
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError
from tqdm import tqdm

from ..settings import Settings

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


class Refused(Exception):
    """Ends a command: a line on standard error for each message, and an exit status.

    Status 2 is for a command or a setting that can't be right, 1 for what failed.
    """

    def __init__(self, *messages: str, status: int = 2) -> None:
        super().__init__(*messages)
        self.messages = messages
        self.status = status


def add_database(parser: argparse.ArgumentParser) -> None:
    """The option that names the database."""
    parser.add_argument(
        "--database",
        dest="database_url",
        metavar="URL",
        help="where memories are kept (default: sqlite:///agentmem.db)",
    )


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings from the environment, and before them from options of the same names.

    Raises:
        Refused: one can't be right.
    """
    given = {
        name: value
        for name, value in vars(options).items()
        if name in Settings.model_fields and value is not None
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise Refused(
            *(f"AGENTMEM_{_variable(one['loc'])}: {without_prefix(one['msg'])}" for one in problems)
        ) from None


def without_prefix(message: str) -> str:
    """What pydantic says of a value, where it is what our own check said."""
    return message.removeprefix("Value error, ")


def _variable(location: tuple[int | str, ...]) -> str:
    return "_".join(str(part) for part in location).upper()


def shows_progress(options: argparse.Namespace) -> bool:
    """Whether somebody watches."""
    return not options.quiet and sys.stderr.isatty()


def say(text: str) -> None:
    """A line on standard error, above the progress that is shown there."""
    tqdm.write(f"agentmem: {text}", file=sys.stderr)
