"""``agentmem migrate``: everything from a SQLite file into a PostgreSQL database."""

import argparse
import asyncio
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from .. import times
from ..storage import is_postgres, needing_extra, shown_url, sqlite_path
from .common import Refused, say, shows_progress

if TYPE_CHECKING:
    from ..transfer.migration.moving import Migrated
    from .common import Commands


def add_commands(commands: "Commands") -> None:
    """Add the command."""
    migrate = commands.add_parser(
        "migrate",
        help="move everything from a SQLite file to a PostgreSQL database",
        description="Move everything from a SQLite file, which stays as it is, to a PostgreSQL "
        "database, and compare both. No server may run on either. What was interrupted goes on "
        "where it was when it is run again.",
    )
    migrate.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="URL",
        help="the file: sqlite:///agentmem.db",
    )
    migrate.add_argument(
        "--to",
        dest="target",
        required=True,
        metavar="URL",
        help="the database: postgresql://user@host/database, with ?schema= for another schema than "
        "agentmem, which must be empty",
    )
    migrate.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    migrate.set_defaults(run=_migrate)


def _migrate(options: argparse.Namespace) -> int:
    if is_postgres(options.source) or not options.source.startswith("sqlite:"):
        raise Refused("--from must be a file: sqlite:///path/to/file.db")
    if not is_postgres(options.target):
        raise Refused("--to must be a database: postgresql://user:password@host/database")
    path = Path(sqlite_path(options.source))
    with needing_extra():
        from ..storage.postgres.connections import Address
        from ..transfer.migration.moving import Different, migrate
        from ..transfer.migration.source import open_source
    address = Address.parse(options.target)
    with closing(_Bars(shows=shows_progress(options))) as bars, open_source(path) as source:
        try:
            migrated = asyncio.run(migrate(source, address, bars))
        except KeyboardInterrupt:
            raise Refused(
                "interrupted: what was moved stays, and the same command goes on there",
                status=128 + signal.SIGINT,
            ) from None
        except Different as error:
            raise Refused(
                *error.differences,
                "the file and the database are not the same: begin anew in a new schema "
                "(?schema= in --to)",
                status=1,
            ) from None
    if not options.quiet:
        _receipt(migrated, path, shown_url(options.target))
    return 0


class _Bars:
    """One bar after the other on standard error."""

    def __init__(self, *, shows: bool) -> None:
        self._shows = shows
        self._bar: tqdm[NoReturn] | None = None

    def begin(self, doing: str, total: int, done: int) -> None:
        """Another one."""
        self.close()
        self._bar = tqdm(
            desc=doing,
            total=total,
            initial=done,
            disable=not self._shows,
            file=sys.stderr,
        )

    def advance(self, rows: int = 1) -> None:
        """So many rows further."""
        if self._bar is not None:
            self._bar.update(rows)

    def close(self) -> None:
        """Leave the last one as it is."""
        if self._bar is not None:
            self._bar.close()


def _receipt(migrated: "Migrated", path: Path, target: str) -> None:
    from ..transfer.migration.sums import checksum, total

    if migrated.was_finished and migrated.state.finished_at is not None:
        finished = times.to_datetime(migrated.state.finished_at)
        say(f"this was finished on {finished:%Y-%m-%d at %H:%M} UTC: nothing is moved again")
    if migrated.sums is None:
        say("a server has written to the database since, so that there is nothing to compare")
        return
    lines = [f"{path} and {target} hold the same:"]
    lines += [f"{rows:>12,} {what}" for what, rows in total(migrated.sums).items()]
    lines.append(f"checksum {checksum(migrated.sums)}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
