"""The command line: it serves, or it says in a line why it doesn't and what to do."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import agentmem_server
import apsw
import httpx
import pytest
from agentmem_client.errors import APIError, InvalidRequest, Unavailable
from agentmem_server.cli import main

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi, Server

API = "/api/v1/memories"


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


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"agentmem {agentmem_server.__version__}\n"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "serve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: command"),
        (["run"], "invalid choice: 'run'"),
        (["serve", "--port", "http"], "--port: invalid int value: 'http'"),
        (["serve", "--port"], "--port: expected one argument"),
        (["serve", "--workers", "4"], "unrecognized arguments: --workers 4"),
        (["serve", "agentmem.db"], "unrecognized arguments: agentmem.db"),
    ],
)
def test_arguments_that_are_none(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "999999999999999999999"])
def test_a_port_that_there_is_not(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", f"--port={port}"]) == 2
    assert capsys.readouterr().err.startswith("agentmem: AGENTMEM_PORT: ")


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "169.254.1.1", "::ffff:10.0.0.1"),
        *("example.com", "localhost.example.com", "127.0.0.1.example.com", "", "*", "127.1", "0"),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_without_keys_no_other_machine_is_served(
    host: str,
    by_environment: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["serve", f"--host={host}"]
    if by_environment:
        monkeypatch.setenv("AGENTMEM_HOST", host)
        arguments = ["serve"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "--host 127.0.0.1" in told  # the way out
    assert told.count("\n") == 1
    assert names(Path()) == set()  # and nothing was made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", ""),
        ("PORT", "70000"),
        ("READERS", "0"),
        ("READERS", "many"),
        ("EMBEDDER", "gpt"),
        ("EMBEDDER_DIMENSION", "0"),
        ("MAX_BODY", "32MB"),
        ("MAX_BODY", "0"),
        ("MAX_PENDING", "10"),
        ("EMBEDDING_CACHE_SIZE", "-1"),
        ("EMBEDDING_CACHE_TTL", "0"),
        ("RESULT_CACHE_TTL", "-1"),
        ("RESULT_CACHE_TTL", "nan"),
        ("SHUTDOWN_TIMEOUT", "soon"),
        ("SHUTDOWN_TIMEOUT", "0"),
        ("SHUTDOWN_TIMEOUT", "inf"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_is_none(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"AGENTMEM_{name}", value)
    # A host that is refused: should the setting be taken, it still doesn't serve.
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"agentmem: AGENTMEM_{name}: "), told
    assert told.count("\n") == 1


def test_every_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PORT", "READERS", "MAX_BODY"):
        monkeypatch.setenv(f"AGENTMEM_{name}", "wrong")
    assert main(["serve"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        *("AGENTMEM_PORT", "AGENTMEM_READERS", "AGENTMEM_MAX_BODY")
    ]


def test_a_secret_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", "sk-top-secret")
    monkeypatch.setenv("AGENTMEM_PORT", "sk-in-the-wrong-place")
    assert main(["serve"]) == 2
    assert "sk-" not in capsys.readouterr().err


def test_settings_from_the_environment_and_arguments_before_them(
    make_server: "MakeServer",
) -> None:
    settings = {"AGENTMEM_MAX_BODY": "200", "AGENTMEM_PORT": "1", "AGENTMEM_LOG_LEVEL": "warning"}
    server = make_server(environment={**settings, "AGENTMEM_DATABASE_URL": "sqlite:////nowhere/a"})
    server.start()
    with httpx.Client(base_url=server.url) as client:
        assert client.post(API, json={"content": "short"}).status_code == 201
        assert client.post(API, json={"content": "long " * 100}).status_code == 413
    assert server.database.exists()
    assert server.log_text() == ""  # nothing to warn of


def test_a_database_that_another_server_has_open(running_server: "Server") -> None:
    ended = run("serve", "--port", "0", "--database", f"sqlite:///{running_server.database}")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"agentmem: another AgentMem server has {running_server.database} open: stop that one, "
        "or name another file\n"
    )
    assert httpx.get(f"{running_server.url}/health").status_code == 200


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", "--port", str(port), "--database", f"sqlite:///{tmp_path / 'a.db'}")
    assert ended.returncode > 0
    assert "Traceback" not in ended.stderr
    assert str(port) in ended.stderr.splitlines()[-1]
    assert "in use" in ended.stderr


def test_a_file_of_another_program_by_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is not a database, and should stay as it is.")
    ended = run("serve", "--port", "0", "--database", f"sqlite:///{path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("agentmem: ")
    assert ended.stderr.count("\n") == 1
    assert str(path) in ended.stderr
    assert path.read_text() == "This is not a database, and should stay as it is."


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "name of a model"),
        ({"URL": "http://127.0.0.1:9/v1", "MODEL": "m"}, "127.0.0.1:9 can't be reached"),
    ],
    ids=["no model", "not there"],
)
def test_an_embedding_service_that_can_not_be_used(
    settings: dict[str, str], says: str, tmp_path: Path
) -> None:
    settings = {
        "": "openai",
        "_KEY": "sk-secret",
        **{f"_{name}": settings[name] for name in settings},
    }
    environment = {f"AGENTMEM_EMBEDDER{name}": value for name, value in settings.items()}
    ended = run(
        "serve", "--port", "0", "--database", f"sqlite:///{tmp_path / 'a.db'}", **environment
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert re.search(f"^agentmem: .*{says}", last), last
    assert "sk-secret" not in ended.stderr


def foreign_files(folder: Path) -> Iterator[tuple[Path, str]]:
    text = folder / "notes.txt"
    text.write_text("This is not a database.")
    yield text, "not a database"
    other = folder / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE memory (rid INTEGER PRIMARY KEY, text)")
    connection.execute("INSERT INTO memory VALUES (1, 'somebody else''s')")
    connection.commit()
    connection.close()
    yield other, "another program"
    marked = folder / "marked.db"
    marking = apsw.Connection(str(marked))
    marking.pragma("application_id", 252006674)
    marking.execute("CREATE TABLE a (b)")
    marking.close()
    yield marked, "another program"


async def refuse(open_api: "OpenApi", url: str, error: type[APIError], says: str) -> None:
    with pytest.raises(error, match=says):
        async with open_api(database_url=url):
            pass


async def test_files_of_other_programs_are_refused_and_left_as_they_are(
    open_api: "OpenApi", tmp_path: Path
) -> None:
    for path, says in foreign_files(tmp_path):
        before = sha256(path.read_bytes()).digest()
        beside = names(tmp_path)
        await refuse(open_api, f"sqlite:///{path}", Unavailable, says)
        assert sha256(path.read_bytes()).digest() == before, f"{path.name} was changed"
        assert names(tmp_path) - beside <= {f"{path.name}.lock"}


async def test_a_copy_of_our_file_is_served_like_the_file(
    open_api: "OpenApi", tmp_path: Path
) -> None:
    """A copy that SQLite made has forgotten that readers and the writer don't block each other."""
    async with open_api(database_url=f"sqlite:///{tmp_path / 'a.db'}") as api:
        await api.post(API, json={"content": "kept", "id": "x"})
        connection = apsw.Connection(str(tmp_path / "a.db"))
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
        connection.close()
    async with open_api(database_url=f"sqlite:///{tmp_path / 'copy.db'}") as api:
        reader = apsw.Connection(str(tmp_path / "copy.db"))
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM memory").get == 1
        answer = await api.post(API, json={"content": "added beside a reader"})
        assert answer.status_code == 201, answer.text
        reader.close()
        assert (await api.get(f"{API}/x")).json()["content"] == "kept"


async def test_a_file_of_a_newer_version(open_api: "OpenApi", tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    async with open_api(database_url=f"sqlite:///{path}"):
        pass
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 1_000)
    connection.close()
    await refuse(open_api, f"sqlite:///{path}", Unavailable, "newer AgentMem.*upgrade")


async def test_what_is_no_file(open_api: "OpenApi", tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "file" / "inside.db", Path("/proc/none/a.db")):
        await refuse(open_api, f"sqlite:///{path}", Unavailable, "can't be opened")
    assert names(tmp_path / "folder") == set()


@pytest.mark.parametrize(
    "url",
    [
        *("agentmem.db", "mysql://localhost/a", "sqlite://a.db", "sqlite:a.db"),
        *("file:///a.db", "sqlite:///", "sqlite:///:memory:"),
    ],
)
async def test_a_database_url_that_is_none(open_api: "OpenApi", url: str) -> None:
    """Among them the one that SQLite would keep in memory, for each connection its own."""
    await refuse(open_api, url, InvalidRequest, "sqlite:///path/to/file.db")
    assert names(Path()) == set()


async def test_folders_that_are_not_there_yet_are_made(open_api: "OpenApi", tmp_path: Path) -> None:
    path = tmp_path / "a" / "b c" / "\u00e9.db"
    async with open_api(database_url=f"sqlite:///{path}") as api:
        assert (await api.post(API, json={"content": "a"})).status_code == 201
    assert path.exists()
