"""Generate the sync client and its tests from the async ones.

    python scripts/generate_sync.py            write src/agentmem_client/_sync and tests/_sync
    python scripts/generate_sync.py --check    exit 1 where they are not current

It works on text, so that docstrings and examples become sync too.
"""

import argparse
import difflib
import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PLACES = [PACKAGE / "src" / "agentmem_client", PACKAGE / "tests"]

HEADER = "# Generated from {source} by scripts/generate_sync.py: do not edit.\n"

REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\basync (def|with|for)\b", r"\1"),
        (r"\bawait ", ""),
        (r"\bAsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
        (r"\bAsync(?=[A-Z])", ""),  # AsyncClient, AsyncIterator, AsyncRetrying…
        (r"\basyncio\.sleep\b", "time.sleep"),
        (r"(?m)^import asyncio$", "import time"),
        (r"\basynccontextmanager\b", "contextmanager"),
        (r"\ba(closing|read|iter_sse)\b", r"\1"),
        (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
        (r"\baclose\b", "close"),
        (r"\basync_client\b", "client"),
        (r"\b_async\b", "_sync"),
        (r"\bThe async client: written by hand\b", "The sync client: generated"),
        (r"\bTests of the async client: written by hand\b", "Tests of the sync client: generated"),
        (r"\bThe async client\b", "The sync client"),
    ]
]

# What is left after the replacements and would not be sync.
FORBIDDEN = re.compile(r"\b(async|await|asyncio|anyio|StopAsyncIteration)\b|\bAsync[A-Z]")


def convert(source: str, name: str) -> str:
    """The sync form of an async module."""
    for pattern, replacement in REPLACEMENTS:
        source = pattern.sub(replacement, source)
    if left := FORBIDDEN.search(source):
        line = source.count("\n", 0, left.start()) + 1
        raise SystemExit(f"{name}, line {line}: {left.group()!r} is left over in the sync form")
    return HEADER.format(source=name) + source


def tidy(source: str, target: Path) -> str:
    """Formatted, and with sorted imports, as the rest of the code is."""
    for command in (
        ["check", "--select=I", "--fix-only", "--quiet"],
        ["format", "--quiet"],
    ):
        source = subprocess.run(
            [sys.executable, "-m", "ruff", *command, f"--stdin-filename={target}", "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
            encoding="utf-8",
        ).stdout
    return source


def generate() -> dict[Path, str]:
    """What each generated file should hold."""
    files = {}
    for place in PLACES:
        for source in sorted((place / "_async").rglob("*.py")):
            target = place / "_sync" / source.relative_to(place / "_async")
            name = source.relative_to(PACKAGE).as_posix()
            files[target] = tidy(convert(source.read_text("utf-8"), name), target)
    return files


def check(files: dict[Path, str]) -> int:
    """Print how the files differ from what they should hold; 1 where they do."""
    stale = 0
    for target, wanted in files.items():
        found = target.read_text("utf-8") if target.exists() else ""
        if found != wanted:
            stale = 1
            name = target.relative_to(PACKAGE).as_posix()
            difference = difflib.unified_diff(
                found.splitlines(True), wanted.splitlines(True), name, f"{name} (generated)"
            )
            sys.stdout.writelines(list(difference)[:40])
    for orphan in _present() - files.keys():
        stale = 1
        sys.stdout.write(f"{orphan.relative_to(PACKAGE).as_posix()} has no async source\n")
    if stale:
        sys.stdout.write("Run: python packages/agentmem-client/scripts/generate_sync.py\n")
    return stale


def _present() -> set[Path]:
    return {path for place in PLACES for path in (place / "_sync").rglob("*.py")}


def main() -> int:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only tell whether all is current")
    files = generate()
    if parser.parse_args().check:
        return check(files)
    for orphan in _present() - files.keys():
        orphan.unlink()
    for target, source in files.items():
        target.parent.mkdir(exist_ok=True)
        target.write_text(source, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
