"""``agentmem keys``: make, list and revoke API keys, whether a server is running or not."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agentmem_client import models as m
from agentmem_client.instants import parse_instant
from pydantic import ValidationError

from .. import times
from ..access.access import DEFAULT_TENANT
from ..access.keyring import described, key_id, new_key
from ..storage import ApiKey, open_keys, shown_url
from .common import Refused, add_database, read_settings, without_prefix

if TYPE_CHECKING:
    from .common import Commands

_DURATION = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_OPTIONS = {"user_id": "user", "expires_at": "expires"}
"""Options that have another name than the field they fill."""


def add_commands(commands: "Commands") -> None:
    """Add the commands."""
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
    verbs = keys.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser(
        "create",
        help="make a key, and print it this once",
        description="Make a key, and print it this once. From the first key on, every request "
        "needs one.",
    )
    create.add_argument("--tenant", required=True, help="whose memories it opens")
    create.add_argument("--name", required=True, help="who uses it, for people")
    create.add_argument(
        "--scopes",
        default="read,write",
        help="of read, write, admin, metrics, with commas (default: read,write)",
    )
    create.add_argument("--user", help="it sees this user's memories alone")
    create.add_argument(
        "--expires", help="after 90s, 30m, 12h or 30d, or at a time such as 2030-01-31T09:30:00Z"
    )
    create.add_argument(
        "--rate-limit",
        dest="rate",
        type=float,
        help="requests a second, 0 for any number (default: the server's)",
    )
    _finish(create, _create)
    listing = verbs.add_parser("list", help="list the keys, also those that open nothing any more")
    listing.add_argument("--tenant", help="of this one alone")
    listing.add_argument("--json", action="store_true", help="as JSON")
    _finish(listing, _list)
    revoke = verbs.add_parser("revoke", help="revoke a key, for good")
    revoke.add_argument("id", help="its id, or the key itself")
    _finish(revoke, _revoke)


def _finish(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    add_database(parser)
    parser.set_defaults(run=run)


def _create(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    fields = {
        "name": options.name,
        "tenant": options.tenant,
        "scopes": [scope.strip() for scope in options.scopes.split(",")],
        "user_id": options.user,
        "expires_at": None if options.expires is None else _instant(options.expires),
        "rate_limit": options.rate,
    }
    try:
        wish = m.KeyInput.model_validate(fields)
    except ValidationError as error:
        raise Refused(*_problems(error)) from None
    key, text = new_key(wish, options.tenant, wish.user_id)
    with open_keys(settings.database_url) as keys:
        is_first = not keys.listed(None)
        keys.put(key)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    sys.stderr.write(f"agentmem: this is shown once; it goes into X-API-Key. Its id is {key.id}\n")
    if is_first:
        sys.stderr.write(
            f"agentmem: it is the first key of {shown_url(settings.database_url)}: from now on "
            "every request needs one; what was stored without keys belongs to the tenant "
            f"{DEFAULT_TENANT!r}\n"
        )
    return 0


def _list(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    with open_keys(settings.database_url, make=False) as keys:
        found = keys.listed(options.tenant)
    if options.json:
        answer = m.KeysAnswer(keys=[described(key) for key in found])
        sys.stdout.write(f"{answer.model_dump_json()}\n")
    else:
        now = times.now()
        _print_table([_HEADINGS, *(_row(key, now) for key in found)])
    return 0


def _revoke(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    with open_keys(settings.database_url, make=False) as keys:
        key = keys.revoke(key_id(options.id), None, times.now())
    if key is None:
        # What was given is not repeated: it may be most of a key.
        raise Refused("there is no key of this id: `agentmem keys list` has their ids", status=1)
    sys.stderr.write(f"agentmem: {key.id} is revoked; a running server knows it in a second\n")
    return 0


def _instant(text: str) -> datetime:
    match, now = _DURATION.fullmatch(text), datetime.now(UTC)
    try:
        if match is None:
            instant = parse_instant(text)
        else:
            instant = now + timedelta(**{_UNITS[match["unit"]]: int(match["count"])})
    except (ValueError, OverflowError):
        raise Refused(
            "--expires must be like 90s, 30m, 12h or 30d, or a time such as 2030-01-31T09:30:00Z"
        ) from None
    if instant <= now:
        raise Refused("--expires is over: give a time that is still to come")
    return instant


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        option = f"--{_OPTIONS.get(field, field).replace('_', '-')}: " if field else ""
        lines.append(f"{option}{without_prefix(problem['msg'])}")
    return lines


_HEADINGS = ("ID", "TENANT", "NAME", "SCOPES", "USER", "RATE", "CREATED", "EXPIRES", "STATE")


def _row(key: ApiKey, now: int) -> Sequence[str]:
    shown = described(key)
    state = "good" if key.is_valid(now) else "expired" if key.revoked_at is None else "revoked"
    return (
        shown.id,
        shown.tenant,
        shown.name,
        ",".join(shown.scopes),
        shown.user_id or "-",
        "-" if shown.rate_limit is None else f"{shown.rate_limit:g}",
        f"{shown.created_at:%Y-%m-%d}",
        "-" if shown.expires_at is None else f"{shown.expires_at:%Y-%m-%dT%H:%MZ}",
        state,
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def _printable(text: str) -> str:
    """Without what a terminal would obey: names are whatever somebody gave."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
