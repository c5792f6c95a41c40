"""Several memories of a classic LangChain chain as one."""

from typing import Any

from ._extras import needed_by

with needed_by("AgentMemCombinedMemory", "classic"):
    from langchain_classic.memory import CombinedMemory


class AgentMemCombinedMemory(CombinedMemory):
    """LangChain's `CombinedMemory`, with an async half of its own.

    LangChain's has none: in an async chain it runs its sync half, and so that of the memories in
    it, in a thread of the event loop's pool, which holds a few at a time.
    """

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As `load_memory_variables`."""
        loaded: dict[str, Any] = {}
        for memory in self.memories:
            loaded |= await memory.aload_memory_variables(inputs)
        return loaded

    async def asave_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """As `save_context`."""
        for memory in self.memories:
            await memory.asave_context(inputs, outputs)

    async def aclear(self) -> None:
        """As `clear`."""
        for memory in self.memories:
            await memory.aclear()
