"""LangChain's own standard tests of a vector store, on a real server process, in both modes."""

from __future__ import annotations

from typing import Any

import pytest
from agentmem_client import new_id
from agentmem_langchain import AgentMemVectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests


class TestWithEmbedding(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, clients: dict[str, Any]) -> AgentMemVectorStore:
        return AgentMemVectorStore(self.get_embeddings(), collection=new_id(), **clients)


class TestServerEmbeds(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, clients: dict[str, Any]) -> AgentMemVectorStore:
        return AgentMemVectorStore(collection=new_id(), **clients)
