"""What can be done with this repository: ``nox -s demo``, ``tests``, ``serve``, ``checks``.

``nox -s matrix`` runs the adapters' tests with the oldest and the newest frameworks.
"""

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = [
    "packages/agentmem-client",
    "packages/agentmem-langchain[agents,classic,langgraph]",
    "packages/agentmem-llamaindex",
    "server[openai,otel,postgres,redis]",
]
TESTS = ["packages", "server", "tests"]
ALONE = "tests/alone"
"""The tests that measure, or load the machine: they have it to themselves, after all others."""
ADAPTERS = ["packages/agentmem-langchain", "packages/agentmem-llamaindex"]

PROCESSES = min(4, (os.cpu_count() or 1) + 1)
"""One more than there are cores, for tests wait a third of their time: for servers to start, for
databases, for limits of time. Not many more, for many of them start servers of their own."""
IN_PARALLEL = [f"--numprocesses={PROCESSES}", "--dist=worksteal"]

WITH_AGENTS = [
    "packages/agentmem-langchain/tests/test_concurrency.py",
    "packages/agentmem-langchain/tests/test_journeys.py",
    "packages/agentmem-langchain/tests/test_keys.py",
    "packages/agentmem-langchain/tests/test_middleware*.py",
    "packages/agentmem-langchain/tests/test_store_agents.py",
    "packages/agentmem-langchain/tests/test_surface.py",
    "packages/agentmem-langchain/tests/test_docs.py",
]
"""The tests that need the package langchain, which asks for a newer langchain-core than ours do."""

VERSIONS = {
    "newest": {},
    "oldest": {
        "langchain": "1.2.15",
        "langchain-core": "1.2.10",
        "langgraph": "1.1.5",
        "langgraph-checkpoint": "4.3.0",
        "llama-index-core": "0.14.24",
    },
    "oldest-core": {
        "langchain-classic": "1.0.0",
        "langchain-core": "1.0.0",
        "langgraph-checkpoint": "4.3.0",
        "llama-index-core": "0.14.24",
        "httpx-sse": "0.4.2",
        "prometheus-client": "0.23.0",
        "pydantic": "2.11.5",
        "starlette": "1.7.0",
        "uvicorn": "0.53.0",
        "websockets": "15.0",
    },
}
"""The frameworks' versions that the adapters are tested with: the oldest that they support and that
fit together, those without agents older still, with the oldest of what client and server stand on,
and the newest that there are."""

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True


def install(
    session: nox.Session, *requirements: str, constraints: str | None = "constraints.txt"
) -> None:
    """Install our packages, editable, and what else a session needs, at the pinned versions."""
    pinned = [] if constraints is None else ["--constraint", str(ROOT / constraints)]
    session.install(*pinned, *_editable(PACKAGES), *requirements)


@nox.session
def demo(session: nox.Session) -> None:
    """Start a server on a temporary file and run the examples against it."""
    install(session)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Leave a server running; arguments after -- go to ``agentmem serve``."""
    install(session)
    session.run("agentmem", "serve", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test; arguments after -- go to pytest."""
    install(session, *_group("tests"), *_group("agents"))
    if session.posargs:
        _pytest(session, *session.posargs)
    else:
        _pytest(session, *IN_PARALLEL, f"--ignore={ALONE}", *TESTS)
        _pytest(session, ALONE)


@nox.session
@nox.parametrize("versions", list(VERSIONS))
def matrix(session: nox.Session, versions: str) -> None:
    """Run the adapters' tests with other versions of the frameworks."""
    packages, groups = _of(versions)
    pinned = [] if versions == "newest" else ["--constraint", str(_constraints(versions))]
    session.install(*pinned, *_editable(packages), *groups)
    ignored = [f"--ignore-glob={ROOT / path}" for path in WITH_AGENTS]
    options = ignored if versions == "oldest-core" else []
    _pytest(session, *options, *(session.posargs or [*IN_PARALLEL, *ADAPTERS]))


@nox.session
def checks(session: nox.Session) -> None:
    """Check format, lint, types, import rules, and that the generated code is current."""
    install(session, *_group("tests"), *_group("agents"), *_group("checks"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("python", "packages/agentmem-client/scripts/generate_sync.py", "--check")
    for package in ("agentmem-client", "agentmem-langchain", "agentmem-llamaindex"):
        session.run("mypy", f"packages/{package}/src", f"packages/{package}/tests")
    session.run("mypy", "server/src")
    session.run("mypy", "--explicit-package-bases", "tests", "server/tests")
    session.run("mypy", "examples", "benchmarks", "noxfile.py")
    session.run("lint-imports")


@nox.session
@nox.parametrize("versions", list(VERSIONS))
def constraints(session: nox.Session, versions: str) -> None:
    """Resolve versions that fit together, and pin them in a constraints file."""
    packages, groups = _of(versions)
    pins = [f"{name}=={version}" for name, version in VERSIONS[versions].items()]
    more = _group("checks") if versions == "newest" else ()
    session.install("--upgrade", *_editable(packages), *groups, *more, *pins)
    listed = session.run("python", "-m", "pip", "list", "--format=freeze", silent=True)
    assert isinstance(listed, str)
    own = {"agentmem-client", "agentmem-langchain", "agentmem-llamaindex", "agentmem-server", "pip"}
    found = [pin for pin in listed.split() if "==" in pin and pin.partition("==")[0] not in own]
    header = f"# Made by: nox -s \"constraints(versions='{versions}')\"\n"
    _constraints(versions).write_text(header + "\n".join(sorted(found)) + "\n")


def _pytest(session: nox.Session, *arguments: str) -> None:
    session.run(
        *("python", "-m", "pytest", *arguments),
        # Or each of the many processes that tests start would compile our modules again.
        env={"PYTHONDONTWRITEBYTECODE": None},
        interrupt_timeout=30,  # after Ctrl-C: the tests end the servers that they started
    )


def _of(versions: str) -> tuple[list[str], tuple[str, ...]]:
    """Our packages and the groups of requirements that some versions of the frameworks allow."""
    if versions == "oldest-core":
        packages = [package.replace("agents,", "") for package in PACKAGES]
        return packages, _group("tests")
    return PACKAGES, (*_group("tests"), *_group("agents"))


def _constraints(versions: str) -> Path:
    return ROOT / ("constraints.txt" if versions == "newest" else f"constraints-{versions}.txt")


def _editable(packages: list[str]) -> list[str]:
    return [word for package in packages for word in ("--editable", package)]


def _group(name: str) -> tuple[str, ...]:
    """The requirements of a dependency group in pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


if __name__ == "__main__":
    sys.exit("run it with nox: nox -s demo")
