"""The sync client and its tests are what the generator makes of the async ones."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = Path(__file__).resolve().parent.parent


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(package / "scripts" / "generate_sync.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_generated_is_current() -> None:
    checked = run(PACKAGE, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    # With the repository's settings two levels up, as ruff finds them for the package itself.
    package = tmp_path / "packages" / "agentmem-client"
    shutil.copy(PACKAGE.parents[1] / "pyproject.toml", tmp_path)
    for part in ("scripts", "src", "tests"):
        shutil.copytree(PACKAGE / part, package / part)
    shutil.copy(PACKAGE / "pyproject.toml", package)
    return package


def test_what_is_stale_is_told_and_mended(copy: Path) -> None:
    source = copy / "src" / "agentmem_client" / "_async" / "reading.py"
    text = source.read_text("utf-8")
    source.write_text(text.replace("page_size: int = 500", "page_size: int = 9"), "utf-8")
    orphan = copy / "tests" / "_sync" / "test_gone.py"
    orphan.write_text("")
    checked = run(copy, "--check")
    assert checked.returncode == 1
    assert "+        page_size: int = 9," in checked.stdout
    assert "test_gone.py has no async source" in checked.stdout
    assert "Run: python packages/agentmem-client/scripts/generate_sync.py" in checked.stdout
    assert run(copy).returncode == 0
    assert not orphan.exists()
    assert run(copy, "--check").returncode == 0


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_sync", PACKAGE / "scripts" / "generate_sync.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_has_no_sync_form_is_refused() -> None:
    convert = generator().convert
    assert convert("async def f():\n    await g()\n", "f.py").endswith("def f():\n    g()\n")
    with pytest.raises(SystemExit, match=r"f\.py, line 2: 'asyncio'"):
        convert("x = 1\nawait asyncio.gather(a, b)\n", "f.py")
