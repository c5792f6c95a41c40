"""What of an item a search finds it by: the ``index`` of a LangGraph store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentmem_client.errors import shown
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ensure_embeddings

from ._items import WHOLE

_KNOWN = frozenset(IndexConfig.__annotations__)


@dataclass(frozen=True, slots=True)
class Index:
    """The paths to what is indexed, and who embeds it.

    Without ``fields`` nothing is; without ``embeddings`` the server embeds.
    """

    fields: Sequence[str] = ()
    embeddings: Embeddings | None = None
    dims: int | None = None


def read_index(config: IndexConfig | Literal[False] | None) -> Index:
    """An index as it is configured.

    Raises:
        ValueError: an option is unknown, or lacks another.
    """
    if config is False:
        return Index()
    options: dict[str, Any] = dict(config or {})
    if unknown := sorted(options.keys() - _KNOWN):
        raise ValueError(
            f"unknown option {shown(unknown[0])} in index: there are dims, embed, fields"
        )
    fields = options.get("fields") or [WHOLE]
    if not isinstance(fields, list | tuple):
        raise ValueError(f"fields in index is a list of paths, not {shown(fields)}")
    embed, dims = options.get("embed"), options.get("dims")
    if (embed is None) != (dims is None):
        raise ValueError(
            "index needs dims and embed together: the vectors of your model have a length; leave "
            "both out, and the server embeds"
        )
    embeddings = None if embed is None else ensure_embeddings(embed)
    return Index(tuple(fields), embeddings, dims)
