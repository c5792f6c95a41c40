"""LangChain on AgentMem: a chat history, a conversation memory, a retriever and a store.

::

    from agentmem_langchain import AgentMemRetriever

    retriever = AgentMemRetriever(api_url="http://localhost:8080", user_id="ann")
    documents = retriever.invoke("What is the cat's name?")

`AgentMemMemory` needs langchain-classic, the extra ``classic``, and `AgentMemStore`
langgraph-checkpoint, the extra ``langgraph``; each loads it when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from ._messages import MessageError
from .history import AgentMemChatMessageHistory
from .retriever import AgentMemRetriever

if TYPE_CHECKING:
    from .memory import AgentMemMemory
    from .store import AgentMemStore

__all__ = [
    "AgentMemChatMessageHistory",
    "AgentMemMemory",
    "AgentMemRetriever",
    "AgentMemStore",
    "MessageError",
]


def __getattr__(name: str) -> Any:
    if name == "AgentMemMemory":
        from .memory import AgentMemMemory

        return AgentMemMemory
    if name == "AgentMemStore":
        from .store import AgentMemStore

        return AgentMemStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
