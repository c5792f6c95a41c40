"""``agentmem export`` and ``agentmem import``: memories into files and out of them."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from agentmem_client.errors import NotFound
from agentmem_client.models import DEFAULT_COLLECTION, Name
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from ..access.access import DEFAULT_TENANT
from ..embedding.batched import BatchedEmbedder
from ..parts import embedder_of
from ..settings import Settings
from ..storage import open_snapshot, open_store
from ..telemetry.log import configure_logging
from ..transfer import export
from ..transfer.entries import Entry, reason
from ..transfer.foreign.mem0 import read_mem0
from ..transfer.foreign.redis import read_redis
from ..transfer.format import read_export
from ..transfer.importing import Imported, Importer, Target
from ..transfer.rehearsal import NoEmbedding, Rehearsal
from .common import Refused, add_database, read_settings, say, shows_progress

if TYPE_CHECKING:
    from .common import Commands

_FOREIGN = {"mem0": read_mem0, "redis": read_redis}
_MOST_FAILURES = 20
"""How many are told one by one."""
_MAX_PENDING = 100_000
_EMBED_BATCH = 64


def add_commands(commands: "Commands") -> None:
    """Add the commands."""
    out = commands.add_parser("export", help="write a tenant's memories as JSON lines")
    _add_common(out, "only this collection (may be repeated; default: all)")
    out.add_argument("--vectors", action="store_true", help="with the vectors")
    out.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to (default: standard output)"
    )
    out.set_defaults(run=_export)
    into = commands.add_parser("import", help="store the memories of a file")
    _add_common(
        into,
        "of an AgentMem export, only this collection (may be repeated; default: all); otherwise "
        f"where memories go (default: {DEFAULT_COLLECTION})",
    )
    into.add_argument(
        "--format", choices=("agentmem", *_FOREIGN), default="agentmem", help="whose file it is"
    )
    into.add_argument(
        "--dry-run", action="store_true", help="check the file and say what would be stored"
    )
    into.add_argument("file", nargs="?", default="-", help="the file (default: standard input)")
    into.set_defaults(run=_import)


def _add_common(parser: argparse.ArgumentParser, collection_help: str) -> None:
    parser.add_argument(
        "--tenant",
        type=_name,
        default=DEFAULT_TENANT,
        help=f"whose memories (default: {DEFAULT_TENANT})",
    )
    parser.add_argument(
        "--collection",
        type=_name,
        action="append",
        default=[],
        metavar="NAME",
        help=collection_help,
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    add_database(parser)


def _export(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    exported, jobs = export.Exported(), 0
    with open_snapshot(settings.database_url) as snapshot:
        chosen = export.choose(snapshot, options.tenant, options.collection)
        jobs = snapshot.undone_jobs(options.tenant)
        shows = shows_progress(options)
        total = sum(map(snapshot.count, chosen)) if shows else None
        bar = tqdm(total=total, unit=" memories", disable=not shows, file=sys.stderr)
        lines = export.lines(
            snapshot,
            options.tenant,
            chosen,
            vectors=options.vectors,
            exported=exported,
            on_memory=bar.update,
        )
        with closing(bar):
            try:
                if options.output is None:
                    _write_out(lines)
                else:
                    _write_file(options.output, lines)
            except KeyboardInterrupt:
                raise _interrupted("the export is not whole") from None
    for name in exported.unrepeatable:
        say(
            f"the vectors of the collection {name!r} come from the caller, and the export has none "
            "of them: to import it elsewhere, export with --vectors"
        )
    if jobs:
        say(
            f"{jobs} jobs are not done, and not in the export: servers of this database go on with "
            "those that wait (agentmem migrate moves jobs, too)"
        )
    if not options.quiet:
        say(f"exported {exported.memories} memories of {exported.collections} collections")
    return 0


def _write_out(lines: Iterable[bytes]) -> None:
    out = sys.stdout.buffer
    try:
        out.writelines(lines)
        out.flush()
    except (OSError, KeyboardInterrupt) as error:
        # What is still buffered would fail, or wait, once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, KeyboardInterrupt):
            raise
        why = (
            "whatever read it has stopped reading"
            if isinstance(error, BrokenPipeError)
            else f"it can't be written: {error.strerror}"
        )
        raise Refused(f"the export is not whole: {why}", status=1) from None


def _write_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file that is there when it is whole, and not before."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise Refused(f"{path} is no file: use > to write into it")
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with _ended_by_signal():
            try:
                with part.open("xb") as out:
                    out.writelines(lines)
                    out.flush()
                    os.fsync(out.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}", status=1) from None


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the process in order, so that what it leaves half done is taken away."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _import(options: argparse.Namespace) -> int:
    settings = read_settings(options)
    configure_logging("warning")
    failures = _Failures()
    with _opened(options.file) as (file, size), closing(_bar(options, size)) as bar:
        try:
            entries = _entries(options, _counted(file, bar))
            imported = asyncio.run(_store(settings, options, entries, failures.tell))
        except KeyboardInterrupt:
            raise _interrupted("what was stored stays, and the same import goes on there") from None
    failures.tell_rest()
    if not options.quiet:
        _summarise(imported, dry_run=options.dry_run)
    return 1 if imported.failed else 0


def _entries(options: argparse.Namespace, lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of the file; the first one is read now, before anything is opened or made.

    Raises:
        InvalidRequest: it is no such file.
    """
    names: list[str] = options.collection
    if options.format == "agentmem":
        entries = read_export(lines, frozenset(names) or None)
    elif len(names) > 1:
        raise Refused("--collection: memories of another system go into one collection")
    else:
        entries = _FOREIGN[options.format](lines, names[0] if names else DEFAULT_COLLECTION)
    return chain(list(islice(entries, 1)), entries)


def _interrupted(what: str) -> Refused:
    return Refused(f"interrupted: {what}", status=128 + signal.SIGINT)


async def _store(
    settings: Settings,
    options: argparse.Namespace,
    entries: Iterator[Entry],
    on_failure: Callable[[str, str], None],
) -> Imported:
    # asyncio's own handler would wait for standard input, which may be somebody's keyboard.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    async with AsyncExitStack() as stack:
        target: Target
        if options.dry_run:
            target = stack.enter_context(_rehearsal(settings.database_url))
        else:
            store = await open_store(settings.database_url, readers=1)
            stack.push_async_callback(store.close)
            target = store
        embedder = await embedder_of(settings)
        stack.push_async_callback(embedder.close)
        batched = BatchedEmbedder(
            NoEmbedding(embedder) if options.dry_run else embedder,
            max_batch=_EMBED_BATCH,
            max_pending=_MAX_PENDING,
            cache_size=settings.embedding_cache_size,
            cache_ttl=settings.embedding_cache_ttl,
        )
        stack.push_async_callback(batched.close)
        importer = Importer(target, options.tenant, batched, on_failure)
        await importer.run(entries)
        return importer.imported


@contextmanager
def _rehearsal(database_url: str) -> Iterator[Rehearsal]:
    with ExitStack() as stack:
        try:
            snapshot = stack.enter_context(open_snapshot(database_url))
        except NotFound:  # an import would make it
            yield Rehearsal(None)
        else:
            yield Rehearsal(snapshot)


@contextmanager
def _opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """A file to read, or standard input, and its size where that is known."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    try:
        with Path(name).open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size or None
    except OSError as error:
        raise Refused(f"{name} can't be read: {error.strerror}", status=1) from None


def _bar(options: argparse.Namespace, size: int | None) -> "tqdm[NoReturn]":
    shows = shows_progress(options)
    return tqdm(total=size, unit="B", unit_scale=True, disable=not shows, file=sys.stderr)


def _counted(file: BinaryIO, bar: "tqdm[NoReturn]") -> Iterator[bytes]:
    for line in file:
        bar.update(len(line))
        yield line


class _Failures:
    """Tells the first of what can't be imported, and how many there were."""

    def __init__(self) -> None:
        self._count = 0

    def tell(self, place: str, reason: str) -> None:
        """One that can't, now."""
        self._count += 1
        if self._count <= _MOST_FAILURES:
            say(f"{place}: {reason}")

    def tell_rest(self) -> None:
        """How many more there were."""
        if self._count > _MOST_FAILURES:
            say(f"and {self._count - _MOST_FAILURES} more that failed")


def _summarise(imported: Imported, *, dry_run: bool) -> None:
    if dry_run:
        say("dry run: nothing is stored; an import would say")
    say(
        f"stored {imported.stored}, updated {imported.updated}, unchanged {imported.unchanged}, "
        f"newer here and kept {imported.kept}, expired {imported.expired}, failed {imported.failed}"
        f"; embedded {imported.embedded}"
    )
    for title, names in (("made", imported.made), ("found", imported.found)):
        if names:
            say(f"collections {title}: {', '.join(sorted(names))}")
    for text, count in imported.notes.items():
        say(f"{count} {text}")


def _name(text: str) -> str:
    try:
        return _NAME.validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(reason(error)) from None


_NAME: TypeAdapter[str] = TypeAdapter(Name)
