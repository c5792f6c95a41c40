"""The AgentMem server: an HTTP API over a batched, cached memory engine and one store.

A request goes ``routes -> engine -> (embedding, storage)``; `app` wires them together, and `cli`
starts it.
"""

from importlib.metadata import version

__version__ = version("agentmem-server")
