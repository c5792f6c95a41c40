"""What the package offers, and what importing it loads."""

import subprocess
import sys

import agentmem_langchain
import pytest
from agentmem_langchain._extras import needed_by

PUBLIC = {
    "AgentMemChatMessageHistory",
    "AgentMemCombinedMemory",
    "AgentMemMemory",
    "AgentMemMiddleware",
    "AgentMemRecallMemory",
    "AgentMemRetriever",
    "AgentMemStore",
    "AgentMemVectorStore",
    "MessageError",
    "get_memory_tools",
}

EXTRAS = {
    "AgentMemCombinedMemory": ("combined_memory", "langchain_classic", "classic"),
    "AgentMemMemory": ("memory", "langchain_classic", "classic"),
    "AgentMemMiddleware": ("middleware", "langchain", "agents"),
    "AgentMemRecallMemory": ("recall_memory", "langchain_classic", "classic"),
    "AgentMemStore": ("store", "langgraph", "langgraph"),
}
"""The module of each class that needs more than langchain-core, the package, and its extra."""


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


MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == {package!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
from agentmem_langchain import AgentMemChatMessageHistory, AgentMemRetriever
for place in {places}:
    try:
        exec(f'from {{place}} import {name}')
    except ImportError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", EXTRAS)
def test_without_an_extra_the_error_says_what_to_install(name: str) -> None:
    module, package, extra = EXTRAS[name]
    places = ("agentmem_langchain", f"agentmem_langchain.{module}")
    lines = run(MISSING.format(package=package, places=places, name=name)).splitlines()
    assert len(lines) == len(places)
    distribution = "langgraph-checkpoint" if package == "langgraph" else package
    for said in lines:
        assert said.startswith(f"ImportError {name} needs {distribution.replace('_', '-')}: ")
        assert said.endswith(f'pip install "agentmem-langchain[{extra}]"')


def test_what_an_extra_itself_lacks_is_not_blamed_on_the_extra() -> None:
    missing = ModuleNotFoundError("No module named 'numpy.core'", name="numpy.core")
    with pytest.raises(ModuleNotFoundError) as raised, needed_by("AgentMemMemory", "classic"):
        raise missing
    assert raised.value is missing
