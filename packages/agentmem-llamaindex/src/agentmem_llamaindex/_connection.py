"""What the classes of this package have in common: the way to a server."""

from collections.abc import Sequence
from typing import Any

from agentmem_client import AgentMemClient, AsyncAgentMemClient, ClientPair
from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic import SecretStr


class Connected(BaseModel):
    """A model of LlamaIndex's that talks to a server.

    The servers' addresses are a field. The key and ready clients are none: neither a dump nor a
    pickle has them, so a model that is loaded again takes the environment's key. An unknown field
    is an error.
    """

    model_config = ConfigDict(extra="forbid")

    api_url: str | list[str] | None = None

    _clients: ClientPair = PrivateAttr()
    _ready_made: bool = PrivateAttr()

    def __init__(
        self,
        *,
        api_url: str | Sequence[str] | None = None,
        api_key: str | SecretStr | None = None,
        client: AgentMemClient | None = None,
        async_client: AsyncAgentMemClient | None = None,
        **fields: Any,
    ) -> None:
        fields.pop("class_name", None)  # LlamaIndex writes it into what it dumps
        # First, so that a wrong address is an error of ours, as everywhere.
        clients = ClientPair(api_url, api_key, client=client, async_client=async_client)
        super().__init__(api_url=api_url, **fields)
        self._clients = clients
        self._ready_made = client is not None or async_client is not None

    def close(self) -> None:
        """Close the connections of the sync methods; ready clients are left open."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close them, and those of the running event loop."""
        await self._clients.aclose()

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: connections are made again, and the key stays out of the pickle.

        Raises:
            TypeError: there is a ready client, of which a pickle could keep nothing; what came
                back would talk to another server.
        """
        if self._ready_made:
            raise TypeError(
                f"{type(self).__name__} with a ready client can't be pickled: give it an api_url"
            )
        return {"__dict__": dict(self.__dict__)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the fields, and prepare the connections anew."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # as the constructor would
