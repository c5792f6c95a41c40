"""What the package offers: all of it on purpose, and all of it described."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import agentmem_client
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient

SOURCE = Path(agentmem_client.__file__).parent


def described() -> set[str]:
    """The names that are assigned anywhere in the package with a docstring below."""
    names = set()
    for path in SOURCE.rglob("*.py"):
        body = ast.parse(path.read_text("utf-8")).body
        for statement, following in pairwise(body):
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                match statement:
                    case ast.Assign(targets=[ast.Name(id=name)]):
                        names.add(name)
                    case ast.AnnAssign(target=ast.Name(id=name)):
                        names.add(name)
    return names


def test_all_is_what_is_there() -> None:
    public = {
        name
        for name, value in vars(agentmem_client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(agentmem_client.__all__) == public | {"__version__"}
    assert len(set(agentmem_client.__all__)) == len(agentmem_client.__all__)


def test_every_error_is_public() -> None:
    for name, value in vars(agentmem_client.errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert getattr(agentmem_client, name) is value
            assert name in agentmem_client.__all__


@pytest.mark.parametrize("name", agentmem_client.__all__)
def test_every_name_is_described(name: str) -> None:
    value = getattr(agentmem_client, name)
    if inspect.isclass(value):
        assert "__doc__" in vars(value)  # its own, not its base's
        assert value.__doc__
    elif inspect.isfunction(value):
        assert value.__doc__
    else:
        assert name in described()


@pytest.mark.parametrize("client", [AgentMemClient, AsyncAgentMemClient])
def test_every_method_is_described_with_its_arguments(client: type) -> None:
    for name, method in inspect.getmembers(client, inspect.isfunction):
        if name.startswith("_"):
            continue
        text = inspect.getdoc(method)
        assert text, name
        if "Args:" in text:
            for argument in inspect.signature(method).parameters:
                assert argument == "self" or f"    {argument}: " in text, (name, argument)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        return {
            "close" if name == "aclose" else name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(client, callable)
            if not name.startswith("_")
        }

    assert methods(AsyncAgentMemClient) == methods(AgentMemClient)
    for name, method in inspect.getmembers(AgentMemClient, inspect.isfunction):
        assert not inspect.iscoroutinefunction(method), name
