"""LangChain on AgentMem: memories of chains and agents, a vector store, a retriever, tools.

::

    from agentmem_langchain import AgentMemRetriever

    retriever = AgentMemRetriever(api_url="http://localhost:8080", user_id="ann")
    documents = retriever.invoke("What is the cat's name?")

What needs langchain-classic (the extra ``classic``), langgraph-checkpoint (``langgraph``) or
langchain (``agents``) loads it when it is first asked for; nothing else does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._messages import MessageError
from .history import AgentMemChatMessageHistory
from .retriever import AgentMemRetriever
from .tools import get_memory_tools
from .vectorstore import AgentMemVectorStore

if TYPE_CHECKING:
    from .combined_memory import AgentMemCombinedMemory
    from .memory import AgentMemMemory
    from .middleware import AgentMemMiddleware
    from .recall_memory import AgentMemRecallMemory
    from .store import AgentMemStore

__all__ = [
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
]

_OF_EXTRAS = {
    "AgentMemCombinedMemory": ".combined_memory",
    "AgentMemMemory": ".memory",
    "AgentMemMiddleware": ".middleware",
    "AgentMemRecallMemory": ".recall_memory",
    "AgentMemStore": ".store",
}
"""The module of each class that needs more than langchain-core."""


def __getattr__(name: str) -> Any:
    if name in _OF_EXTRAS:
        return getattr(import_module(_OF_EXTRAS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
