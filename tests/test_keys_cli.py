"""``agentmem keys``, beside a server and before the first one; and what a key lets serve do."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_server.cli import main

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi

API = "/api/v1/memories"
ADMIN_KEY = "the-operators-key-of-these-tests"
CREATE = ["keys", "create", "--tenant", "acme", "--name", "n"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("AGENTMEM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agentmem_server.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["keys", "list", "--json", *arguments]) == 0
    keys: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["keys"]
    return keys


def create(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main([*CREATE, *arguments]) == 0
    return capsys.readouterr().out.strip()


def status(url: str, key: str | None) -> int:
    headers = {} if key is None else {"x-api-key": key}
    return httpx.get(f"{url}{API}", headers=headers).status_code


# --- Beside a server -------------------------------------------------------------------------


async def test_from_the_first_key_to_its_end(make_server: "MakeServer") -> None:
    """A running server asks for keys from the first one on, and knows a revoked one in a second."""
    server = make_server()
    await asyncio.to_thread(server.start)
    database = ("--database", f"sqlite:///{server.database}")
    assert status(server.url, None) == 200
    ended = await asyncio.to_thread(run, *CREATE, *database)
    assert ended.returncode == 0
    key = ended.stdout.removesuffix("\n")
    assert re.fullmatch(r"am_[0-9a-f]{16}_[0-9a-f]{64}", key)
    assert key.split("_")[1] in ended.stderr
    assert key not in ended.stderr
    await asyncio.sleep(0.6)
    assert status(server.url, None) == 401
    assert status(server.url, key) == 200
    ended = await asyncio.to_thread(run, "keys", "list", *database)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["ID", key.split("_")[1]]
    ended = await asyncio.to_thread(run, "keys", "revoke", key.split("_")[1], *database)
    assert (ended.returncode, ended.stdout) == (0, "")
    await asyncio.sleep(0.6)
    assert status(server.url, key) == 401
    assert status(server.url, None) == 401
    assert await asyncio.to_thread(server.stop) == 0
    assert key not in server.log_text()


async def test_a_key_made_before_the_first_start(
    open_api: "OpenApi", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = f"sqlite:///{tmp_path / 'new' / 'memories.db'}"
    key = create(capsys, "--database", database)
    async with open_api(database_url=database) as api:
        assert (await api.get(API)).status_code == 401
        assert (await api.get(API, headers={"x-api-key": key})).status_code == 200


def test_the_database_is_a_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTMEM_DATABASE_URL", f"sqlite:///{tmp_path / 'set.db'}")
    create(capsys)
    assert (tmp_path / "set.db").exists()
    assert len(listed(capsys)) == 1
    monkeypatch.delenv("AGENTMEM_DATABASE_URL")
    create(capsys)
    assert (tmp_path / "agentmem.db").exists()


# --- What is made ----------------------------------------------------------------------------


def test_the_first_key_says_of_which_database(capsys: pytest.CaptureFixture[str]) -> None:
    """A key in another file than the server's opens nothing: the file is told when it is made."""
    database = ("--database", "sqlite:///other.db")
    for says in (True, False):
        assert main([*CREATE, *database]) == 0
        assert ("the first key of sqlite:///other.db" in capsys.readouterr().err) is says


def test_all_that_a_key_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys)
    create(capsys, "--scopes", "read, metrics", "--rate-limit", "0.5")
    create(capsys, "--scopes=admin", "--rate-limit=0", "--expires", "2999-01-31T09:30:00+01:00")
    create(capsys, "--scopes=write", "--user", "ann")
    keys = listed(capsys)
    told = [(key["scopes"], key["rate_limit"], key["user_id"], key["expires_at"]) for key in keys]
    assert told == [
        (["read", "write"], None, None, None),
        (["read", "metrics"], 0.5, None, None),
        (["admin"], 0.0, None, "2999-01-31T08:30:00Z"),
        (["write"], None, "ann", None),
    ]
    assert {(key["tenant"], key["name"]) for key in keys} == {("acme", "n")}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("30d", 2_592_000)]
)
def test_how_long_a_key_lives(text: str, seconds: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    create(capsys, "--expires", text)
    (key,) = listed(capsys)
    expires_at = datetime.fromisoformat(key["expires_at"])
    length = timedelta(seconds=seconds)
    assert before + length <= expires_at <= datetime.now(UTC) + length


def test_what_the_first_key_means_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CREATE) == 0
    assert "'default'" in capsys.readouterr().err
    assert main(CREATE) == 0
    assert "'default'" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scopes", "read,delete"], "--scopes: .*'read', 'write', 'admin' or 'metrics'"),
        (["--scopes", ""], "--scopes: "),
        (["--scopes", "read,read"], "name each scope once"),
        (["--scopes", "read,"], "--scopes: "),
        (["--scopes", "metrics", "--user", "ann"], "bound to a user can't have the scope metrics"),
        (["--user", ""], "--user: "),
        (["--tenant", ""], "--tenant: "),
        (["--name", "n" * 513], "--name: .*512"),
        (["--name", "a\udcff"], "--name: "),
        (["--rate-limit", "-1"], "--rate-limit: "),
        (["--rate-limit", "nan"], "--rate-limit: "),
        (["--rate-limit", "1000001"], "--rate-limit: "),
        (["--expires", "tomorrow"], "--expires must be like 90s"),
        (["--expires", "1w"], "--expires must be like 90s"),
        (["--expires", "999999999d"], "--expires must be like 90s"),
        (["--expires", "2999-01-31"], "--expires must be like 90s"),
        (["--expires", ""], "--expires must be like 90s"),
        (["--expires", "\u0663d"], "--expires must be like 90s"),
    ],
)
def test_a_key_that_can_not_be(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CREATE, *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.search(says, told.err), told.err
    assert all(line.startswith("agentmem: ") for line in told.err.splitlines())
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("expires", ["0s", "2020-01-01T00:00:00Z"])
def test_a_key_that_would_have_expired(expires: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CREATE, "--expires", expires]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "--expires is over: give a time that is still to come" in told.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["keys"], "required: verb"),
        (["keys", "make"], "invalid choice: 'make'"),
        (["keys", "create", "--name", "n"], "required: --tenant"),
        (["keys", "create", "--tenant", "t"], "required: --name"),
        ([*CREATE, "--rate-limit", "fast"], "invalid float value: 'fast'"),
        (["keys", "revoke"], "required: id"),
    ],
)
def test_arguments_that_are_none(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


# --- Listed, revoked -------------------------------------------------------------------------


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys, "--scopes", "read", "--user", "ann", "--expires", "2999-01-31T09:30:00Z")
    gone = create(capsys)
    assert main(["keys", "create", "--tenant", "other", "--name", "\u00fc \x1b[31m\n"]) == 0
    assert main(["keys", "revoke", gone]) == 0
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    out = capsys.readouterr().out
    head, ann, revoked, other = (line.split() for line in out.splitlines())
    assert head[1:] == [
        *("TENANT", "NAME", "SCOPES", "USER", "RATE", "CREATED", "EXPIRES"),
        "STATE",
    ]
    assert [*ann[1:6], *ann[7:]] == [
        *("acme", "n", "read", "ann", "-"),
        *("2999-01-31T09:30Z", "good"),
    ]
    assert revoked[-1] == "revoked"
    assert other[1:4] == ["other", "\u00fc", "\\x1b[31m\\n"]  # nothing that a terminal obeys
    assert len(listed(capsys, "--tenant", "acme")) == 2
    assert listed(capsys, "--tenant", "nobody") == []


def test_the_list_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list"]) == 1
    assert "agentmem keys create" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_key_is_revoked_by_itself_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever found a key somewhere need not take it apart."""
    for _ in range(2):
        key = create(capsys)
        assert main(["keys", "revoke", key]) == 0
        told = capsys.readouterr()
        assert key.split("_")[1] in told.err
        assert key not in told.err
    assert all(key["revoked_at"] for key in listed(capsys))


@pytest.mark.parametrize("id", ["0" * 16, "", "x", "am_" + "0" * 100])
def test_a_key_that_there_is_not(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", id]) == 1
    assert "keys" in capsys.readouterr().err
    create(capsys)
    assert main(["keys", "revoke", id]) == 1
    told = capsys.readouterr()
    assert "agentmem keys list" in told.err
    assert told.out == ""
    assert "0" * 15 not in told.err


@pytest.mark.parametrize("verb", [[*CREATE], ["keys", "list"], ["keys", "revoke", "x"]])
def test_a_database_that_is_none(
    verb: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("This is not a database.")
    for url in ("postgresql://127.0.0.1:1/x", "sqlite:///notes.txt"):
        assert main([*verb, "--database", url]) == 1
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
    assert (tmp_path / "notes.txt").read_text() == "This is not a database."


@pytest.mark.parametrize("verb", [[*CREATE], ["keys", "list"], ["keys", "revoke", "0" * 16]])
def test_a_database_that_is_broken(
    verb: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    create(capsys)
    with (tmp_path / "agentmem.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4_096)
        file.write(b"\xa5" * (size - 4_096))
    assert main(verb) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "malformed" in told.err


# --- Where a server listens ------------------------------------------------------------------


class EveryAddress:
    """Has a server listen on all of the machine's addresses."""

    def __init__(self, make_server: "MakeServer", **environment: str) -> None:
        self.server = make_server(
            environment=environment,
            wrapper=("sh", "-c", 'exec $(echo "$@" | sed s/127.0.0.1/0.0.0.0/)', "sh"),
        )


@pytest.mark.parametrize("by", ["key", "admin key"])
async def test_with_keys_other_machines_are_served(
    make_server: "MakeServer", by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"AGENTMEM_ADMIN_KEY": ADMIN_KEY} if by == "admin key" else {}
    server = EveryAddress(make_server, **environment).server
    key = ADMIN_KEY
    if by == "key":
        key = create(capsys, "--database", f"sqlite:///{server.database}")
    await asyncio.to_thread(server.start)
    assert (status(server.url, None), status(server.url, key)) == (401, 200)
    assert await asyncio.to_thread(server.stop) == 0
    assert "://0.0.0.0:" in server.log_text()
    assert ADMIN_KEY not in server.log_text()


def test_a_revoked_key_is_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """The file stays one that needs keys, so that it may be served."""
    assert main(["keys", "revoke", create(capsys)]) == 0
    capsys.readouterr()
    # It gets as far as the port, where nothing is to be had.
    ended = run("serve", "--host", "0.0.0.0", "--port", "1", AGENTMEM_EMBEDDER="openai")
    assert "without API keys" not in ended.stderr
    assert "name of a model" in ended.stderr


@pytest.mark.parametrize("key", ["", "short", "x" * 31, "x" * 31 + " ", "\u00e9" * 40])
def test_an_operators_key_that_is_none(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_ADMIN_KEY", key)
    for command in (["serve", "--host", "0.0.0.0"], CREATE):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert told.startswith("agentmem: AGENTMEM_ADMIN_KEY: must have at least 32 characters")
        assert key == "" or key not in told


@pytest.mark.parametrize("proxies", ["*", "proxy.local", "10.0.0.1/8", "10.0.0.1;10.0.0.2"])
def test_proxies_that_are_none(
    proxies: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_TRUSTED_PROXIES", proxies)
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert capsys.readouterr().err.startswith("agentmem: AGENTMEM_TRUSTED_PROXIES: must be")


# --- Whose address it is ---------------------------------------------------------------------


def asked_for(url: str, *clients: str) -> list[int]:
    """Statuses of requests that a proxy sends on for others, so it says."""
    return [
        httpx.get(f"{url}{API}", headers={"x-forwarded-for": client}).status_code
        for client in clients
    ]


@pytest.mark.parametrize("variable", ["", "127.0.0.1", "*"])
async def test_nobody_is_believed_to_be_a_proxy_unless_it_is_said(
    make_server: "MakeServer", variable: str
) -> None:
    """What the web server's own variable says is of no matter."""
    environment = {"AGENTMEM_ADMIN_KEY": ADMIN_KEY, "AGENTMEM_RATE_LIMIT": "0.1"}
    if variable:
        environment["FORWARDED_ALLOW_IPS"] = variable
    server = make_server(environment=environment)
    server.launch()
    await until_it_lives(server.url)
    assert asked_for(server.url, "203.0.113.1", "203.0.113.2") == [401, 429]


async def test_a_trusted_proxy_tells_who_asks(make_server: "MakeServer") -> None:
    environment = {
        "AGENTMEM_ADMIN_KEY": ADMIN_KEY,
        "AGENTMEM_RATE_LIMIT": "0.1",
        "AGENTMEM_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
    }
    server = make_server(environment=environment)
    server.launch()
    await until_it_lives(server.url)
    clients = ("203.0.113.1", "203.0.113.2", "203.0.113.1", "2001:db8::1", "2001:db8::2")
    assert asked_for(server.url, *clients) == [401, 401, 429, 401, 429]
    # What comes before the last address that is no proxy's is what the client made up.
    assert asked_for(server.url, "8.8.8.8, 203.0.113.2", "203.0.113.2, 10.1.1.1") == [429, 429]


async def until_it_lives(url: str) -> None:
    """As `Server.start` waits, by the one probe that no limit counts."""
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"{url}/health/live")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
