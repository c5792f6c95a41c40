"""What this package raises beside `agentmem_client.errors`."""

from collections.abc import Sequence

from agentmem_client.errors import AgentMemError
from agentmem_client.models import AddResult

_SHOWN = 3
_ID_LENGTH = 64


class NodesNotAdded(AgentMemError):
    """Some nodes of an `add` were not stored; all the others were.

    Adding the failed ones again is safe: a node with a known id is replaced.

    Attributes:
        failures: their outcomes, each with the node's ``id`` and an ``error`` that has a
            ``code`` and a ``message``.
        stored: the ids of the nodes that were stored.
    """

    def __init__(self, failures: Sequence[AddResult], stored: Sequence[str]) -> None:
        self.failures = list(failures)
        self.stored = list(stored)
        total = len(self.failures) + len(self.stored)
        super().__init__(
            f"{len(self.failures)} of {total} nodes were not stored: {_summary(self.failures)}"
        )


class MessageError(AgentMemError, ValueError):
    """A message that can't be stored and read back, or a stored one that can't be read."""


def _summary(failures: Sequence[AddResult]) -> str:
    """Each reason with the nodes that it is of, shortened; `failures` has all of it."""
    ids_by_reason: dict[str, list[str]] = {}
    for failure in failures:
        reason = failure.error.message if failure.error else "no reason given"
        ids_by_reason.setdefault(reason, []).append(_shortened(str(failure.id)))
    parts = [f"{_enumerated(ids)}: {reason}" for reason, ids in ids_by_reason.items()]
    return "; ".join(parts[:_SHOWN] + (["…"] if len(parts) > _SHOWN else []))


def _enumerated(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(id_) for id_ in ids[:_SHOWN]) + more


def _shortened(id_: str) -> str:
    return id_ if len(id_) <= _ID_LENGTH else f"{id_[:_ID_LENGTH]}…"
