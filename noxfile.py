"""What can be done with this repository: ``nox -s demo``, ``tests``, ``serve``, ``checks``."""

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"))
PACKAGES = [
    "packages/agentmem-client",
    "packages/agentmem-langchain[agents,classic]",
    "packages/agentmem-llamaindex",
    "server[openai]",
]
TESTS = ["packages", "server", "tests"]

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True


def install(session: nox.Session, *requirements: str) -> None:
    """Install our packages, editable, and what else a session needs, at the pinned versions."""
    editable = [word for package in PACKAGES for word in ("--editable", package)]
    session.install(*CONSTRAINTS, *editable, *requirements)


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
    install(session, *_group("tests"))
    session.run("python", "-m", "pytest", *(session.posargs or TESTS))


@nox.session
def checks(session: nox.Session) -> None:
    """Check format, lint, types, import rules, and that the generated code is current."""
    install(session, *_group("tests"), *_group("checks"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("python", "packages/agentmem-client/scripts/generate_sync.py", "--check")
    for package in ("agentmem-client", "agentmem-langchain", "agentmem-llamaindex"):
        session.run("mypy", f"packages/{package}/src", f"packages/{package}/tests")
    session.run("mypy", "server/src", "server/tests")
    session.run("mypy", "--explicit-package-bases", "tests")
    session.run("mypy", "examples", "benchmarks", "noxfile.py")
    session.run("lint-imports")


@nox.session
def constraints(session: nox.Session) -> None:
    """Resolve the newest versions that fit together, and pin them in constraints.txt."""
    editable = [word for package in PACKAGES for word in ("--editable", package)]
    session.install("--upgrade", *editable, *_group("tests"), *_group("checks"))
    listed = session.run("python", "-m", "pip", "list", "--format=freeze", silent=True)
    assert isinstance(listed, str)
    own = {"agentmem-client", "agentmem-langchain", "agentmem-llamaindex", "agentmem-server", "pip"}
    pins = [pin for pin in listed.split() if "==" in pin and pin.partition("==")[0] not in own]
    header = "# What CI installs. Made by: nox -s constraints\n"
    (ROOT / "constraints.txt").write_text(header + "\n".join(sorted(pins)) + "\n")


def _group(name: str) -> tuple[str, ...]:
    """The requirements of a dependency group in pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


if __name__ == "__main__":
    sys.exit("run it with nox: nox -s demo")
