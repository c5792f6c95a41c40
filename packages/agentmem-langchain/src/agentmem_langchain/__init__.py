"""LangChain on AgentMem: a chat history, a conversation memory, a retriever and more.

::

    from agentmem_langchain import AgentMemRetriever

    retriever = AgentMemRetriever(api_url="http://localhost:8080", user_id="ann")
    documents = retriever.invoke("What is the cat's name?")

`AgentMemMemory` needs langchain-classic, the extra ``classic``, and loads it when it is first
asked for; nothing else does.
"""

from typing import TYPE_CHECKING, Any

from ._messages import MessageError
from .history import AgentMemChatMessageHistory
from .retriever import AgentMemRetriever
from .tools import get_memory_tools
from .vectorstore import AgentMemVectorStore

if TYPE_CHECKING:
    from .memory import AgentMemMemory

__all__ = [
    "AgentMemChatMessageHistory",
    "AgentMemMemory",
    "AgentMemRetriever",
    "AgentMemVectorStore",
    "MessageError",
    "get_memory_tools",
]


def __getattr__(name: str) -> Any:
    if name == "AgentMemMemory":
        from .memory import AgentMemMemory

        return AgentMemMemory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
