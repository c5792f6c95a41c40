"""LlamaIndex on AgentMem, memory for agents.

::

    from agentmem_llamaindex import AgentMemVectorStore
    from llama_index.core import StorageContext, VectorStoreIndex

    store = AgentMemVectorStore(api_url="http://localhost:8080", collection="handbook")
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(documents, storage_context=context)
"""

from .errors import NodesNotAdded
from .vectorstore import DEFAULT_COLLECTION, AgentMemVectorStore

__all__ = ["DEFAULT_COLLECTION", "AgentMemVectorStore", "NodesNotAdded"]
