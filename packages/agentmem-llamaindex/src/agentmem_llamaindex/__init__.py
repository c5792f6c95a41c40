"""LlamaIndex on AgentMem, memory for agents: a vector store, a memory block and a chat store.

::

    from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock
    from llama_index.core.memory import Memory

    memory = Memory.from_defaults(
        session_id="trip-to-oslo",
        chat_store=AgentMemChatStore(api_url="http://localhost:8080", user_id="ann"),
        memory_blocks=[AgentMemMemoryBlock(api_url="http://localhost:8080", user_id="ann")],
    )

`AgentMemVectorStore` keeps the nodes of an index.
"""

from .chat_store import AgentMemChatStore
from .errors import MessageError
from .memory_block import AgentMemMemoryBlock
from .vectorstore import DEFAULT_COLLECTION, AgentMemVectorStore

__all__ = [
    "DEFAULT_COLLECTION",
    "AgentMemChatStore",
    "AgentMemMemoryBlock",
    "AgentMemVectorStore",
    "MessageError",
]
