"""What the package offers, and what importing it loads."""

import subprocess
import sys

import agentmem_langchain
import pytest

PUBLIC = {
    "AgentMemChatMessageHistory",
    "AgentMemMemory",
    "AgentMemRetriever",
    "AgentMemVectorStore",
    "MessageError",
    "get_memory_tools",
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


@pytest.mark.parametrize("place", ["agentmem_langchain", "agentmem_langchain.memory"])
def test_without_langchain_classic_the_error_says_what_to_install(place: str) -> None:
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'langchain_classic':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from agentmem_langchain import AgentMemChatMessageHistory, AgentMemRetriever\n"
        "try:\n"
        f"    from {place} import AgentMemMemory\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert 'pip install "agentmem-langchain[classic]"' in run(code)
