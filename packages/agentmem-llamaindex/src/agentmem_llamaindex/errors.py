"""What this package raises beside `agentmem_client.errors`."""

from agentmem_client.errors import AgentMemError


class MessageError(AgentMemError, ValueError):
    """A message that can't be stored and read back, or a stored one that can't be read."""
