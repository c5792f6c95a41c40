"""What the package offers, and what importing it loads."""

import subprocess
import sys

import agentmem_langchain
import pytest

PUBLIC = {
    "AgentMemChatMessageHistory",
    "AgentMemMemory",
    "AgentMemRetriever",
    "AgentMemStore",
    "MessageError",
}


def test_the_public_surface() -> None:
    assert set(agentmem_langchain.__all__) == PUBLIC
    for name in PUBLIC:
        thing = getattr(agentmem_langchain, name)
        assert thing.__name__ == name
        assert thing.__doc__
    assert set(dir(agentmem_langchain)) >= PUBLIC


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'AgentMemMemry'"):
        agentmem_langchain.AgentMemMemry  # noqa: B018  # the look-up is the test


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_neither_langchain_classic_nor_langgraph() -> None:
    code = (
        "import sys, agentmem_langchain\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'langchain', 'langchain_classic', 'langgraph', 'agentmem_server'}))"
    )
    assert run(code) == "[]"


@pytest.mark.parametrize(
    ("name", "module", "root", "extra"),
    [
        ("AgentMemMemory", "memory", "langchain_classic", "classic"),
        ("AgentMemStore", "store", "langgraph", "langgraph"),
    ],
)
@pytest.mark.parametrize("by_package", [True, False])
def test_without_an_extra_the_error_says_what_to_install(
    name: str, module: str, root: str, extra: str, by_package: bool
) -> None:
    place = "agentmem_langchain" if by_package else f"agentmem_langchain.{module}"
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {root!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from agentmem_langchain import AgentMemChatMessageHistory, AgentMemRetriever\n"
        "try:\n"
        f"    from {place} import {name}\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert f'pip install "agentmem-langchain[{extra}]"' in run(code)
