"""LangChain's own standard tests of tools: alone, and on a real server process."""

from __future__ import annotations

from typing import Any

import pytest
from agentmem_client import new_id
from agentmem_langchain import get_memory_tools
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests


def tool(name: str, **connection: Any) -> BaseTool:
    (named,) = [one for one in get_memory_tools(user_id="ann", **connection) if one.name == name]
    return named


class TestRemember(ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return tool("remember")

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"content": "Ann's cat is called Mia."}


class TestSearchMemory(ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return tool("search_memory")

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "What is the cat's name?"}


class TestForget(ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return tool("forget")

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"memory_id": "mia"}


class OnAServer(ToolsIntegrationTests):
    __test__ = False
    name: str

    @pytest.fixture(autouse=True)
    def memory(self, clients: dict[str, Any]) -> None:
        self.connection = {"collection": new_id(), **clients}
        clients["client"].add(
            "Ann's cat is called Mia.",
            id="mia",
            user_id="ann",
            collection=self.connection["collection"],
        )

    @property
    def tool_constructor(self) -> BaseTool:
        return tool(self.name, **self.connection)


class TestRememberOnAServer(OnAServer):
    __test__ = True
    name = "remember"

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"content": "Ann's cat is called Mia."}


class TestSearchMemoryOnAServer(OnAServer):
    __test__ = True
    name = "search_memory"

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "What is the cat's name?"}


class TestForgetOnAServer(OnAServer):
    __test__ = True
    name = "forget"

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"memory_id": "mia"}
