"""LangChain's own standard tests, on a real server process."""

from __future__ import annotations

from typing import Any

import pytest
from agentmem_client import new_id
from agentmem_langchain import AgentMemRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests


class TestAgentMemRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def notes(self, clients: dict[str, Any]) -> None:
        collection = new_id()
        for number in range(5):
            clients["client"].add(f"Note {number} about cats.", collection=collection)
        self.params = {"collection": collection, **clients}

    @property
    def retriever_constructor(self) -> type[AgentMemRetriever]:
        return AgentMemRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.params

    @property
    def retriever_query_example(self) -> str:
        return "cats"
