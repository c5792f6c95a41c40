"""The server's README and its pages: their commands run, their tables are whole, links lead on."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from agentmem_client import AgentMemClient
from agentmem_client.endpoints import ENDPOINTS
from agentmem_server.settings import Settings

from tests.llm_server import LLM, Reply

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server

SERVER = Path(__file__).parent.parent / "server"
README = SERVER / "README.md"
PAGES = [README, *sorted((SERVER / "docs").glob("*.md"))]
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADMIN_KEY = "the-operators-key-of-these-tests"

AGENTMEM = f"""\
#!/bin/sh
exec {sys.executable} -m agentmem_server.cli "$@"
"""

CURL = f"""\
#!{sys.executable} -S
# As much of curl as the pages use; an error's status ends it, as --fail does. Of the standard
# library alone, which is there in a tenth of the time.
import argparse, http.client, sys, urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("-s", "-S", "-N", action="store_true")
parser.add_argument("-G", action="store_true")
parser.add_argument("-X")
parser.add_argument("-H", action="append", default=[])
parser.add_argument("-d", type=str.encode)
parser.add_argument("-m", type=float, default=30.0)
parser.add_argument("--data-urlencode", action="append", default=[])
parser.add_argument("url")
options = parser.parse_args()
host, _, path = options.url.partition("/")
query = dict(pair.split("=", 1) for pair in options.data_urlencode)
assert options.G == bool(query)
if query:
    path += "?" + urllib.parse.urlencode(query)
connection = http.client.HTTPConnection(host, timeout=options.m)
connection.request(
    options.X or ("GET" if options.d is None else "POST"),
    "/" + path,
    body=options.d,
    headers=dict(header.split(": ", 1) for header in options.H),
)
answer = connection.getresponse()
try:
    while data := answer.read1():
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
except TimeoutError:
    sys.exit(28)
print()
if answer.status >= 400:
    sys.exit(22)
"""

SAID = {
    "README": ["The cat is called Mia.", '"score":', '"status":"healthy"'],
    "memories": ['"id":"tea"', '"total":1', '"ttl":null', '"deleted":1', '"default_ttl":2592000.0'],
    "search": ['"score":1.0', '"content":"The cat is called Mia."'],
    "extraction": ['"status":"stored"', '"message_ids":["m1"]', '"score":1.0'],
    "history": ['"version":2', '"action":"deleted"', "event: added", '"memories":1,"events":4'],
    "jobs": ['{"jobs":[],"next_before":null}'],
    "keys": ["am_", "Ann's laptop", "is revoked", '"tenant":"globex"', '"rate_limit":500.0'],
    "transfer": ["exported 1 memories", "dry run", "unchanged 1", "stored 1", "made: notes"],
    "migrate": [" hold the same:", " 1 memories", "checksum "],
    "operations": ['"status":"healthy"', '"added_today":0', "agentmem_build_info{"],
}
"""What the commands of a page must have answered, among other things."""


FACT = {
    "content": "Mia, Ann's cat, must not eat chicken.",
    "type": "semantic",
    "event_time": None,
    "importance": 0.8,
    "messages": [0],
    "known": None,
}
"""What the LLM finds in any conversation."""


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def run(page: Path, server: "Server", folder: Path, postgres: str) -> str:
    """Run a page's commands in their order, as one script; answers all that they said."""
    for name, program in (("agentmem", AGENTMEM), ("curl", CURL)):
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    script = "\n".join(COMMANDS.findall(text_of(page)))
    for ours, real in (
        ("localhost:8080", server.url.removeprefix("http://")),
        ("sqlite:///agentmem.db", f"sqlite:///{server.database}"),
        ("postgresql://agentmem@db.internal/agentmem", f"'{postgres}'"),
    ):
        script = script.replace(ours, real)
    environment = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "AGENTMEM_DATABASE_URL": f"sqlite:///{server.database}",
        "AGENTMEM_ADMIN_KEY": ADMIN_KEY,
    }
    done = subprocess.run(
        ["sh", "-eux", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", SAID)
def test_the_commands_of_a_page_run(
    name: str, make_server: "MakeServer", tmp_path: Path, postgres: "Postgres", llm: LLM
) -> None:
    page = README if name == "README" else SERVER / "docs" / f"{name}.md"
    environment = {"AGENTMEM_LLM_URL": llm.url, "AGENTMEM_LLM_MODEL": "m"}
    llm.answer = lambda _: Reply(facts=[FACT])
    if name == "keys":
        environment["AGENTMEM_ADMIN_KEY"] = ADMIN_KEY
    server = make_server(environment=environment).start()
    if name in ("transfer", "migrate"):  # which want the file for themselves
        with AgentMemClient(server.url) as memory:
            memory.add("The cat is called Mia.")
        server.stop()
    answers = run(page, server, tmp_path, postgres.url())
    assert [text for text in SAID[name] if text not in answers] == [], answers


def test_each_page_with_commands_is_run() -> None:
    with_commands = {page.stem for page in PAGES if COMMANDS.search(text_of(page))}
    assert with_commands == set(SAID)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text_of(page))
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_the_readme_leads_to_each_page() -> None:
    linked = re.findall(r"^\| \[(\w+)\]\(docs/(\w+)\.md\)", text_of(README), re.MULTILINE)
    assert sorted(stem for _, stem in linked) == [page.stem for page in PAGES[1:]]
    assert all(title == stem for title, stem in linked)


def test_the_readme_lists_each_path() -> None:
    for row in ENDPOINTS:
        assert f"{row.path}`" in text_of(README)


def test_the_settings_are_all_there() -> None:
    page = text_of(SERVER / "docs" / "settings.md")
    told = dict(re.findall(r"^\| `AGENTMEM_(\w+)` \| (?:`(.*?)` )?\|", page, re.MULTILINE))
    defaults = {
        name.upper(): "" if field.default is None else str(field.default).removesuffix(".0")
        for name, field in Settings.model_fields.items()
    }
    assert told == {**defaults, "RATE_LIMIT": "100", "TRACING": "false"}


def test_the_metrics_are_all_there(running_server: "Server") -> None:
    rows = re.findall(r"^\| `agentmem_.*", text_of(SERVER / "docs" / "operations.md"), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(agentmem_\w+)`", row)}
    answer = httpx.get(f"{running_server.url}/metrics").text
    there = set(re.findall(r"^# TYPE (agentmem_\w+)", answer, re.MULTILINE))
    assert told == {name for name in there if not name.endswith("_created")}
