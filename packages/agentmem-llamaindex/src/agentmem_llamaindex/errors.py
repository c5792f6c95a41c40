"""What this package raises beside `agentmem_client.errors`."""

from collections.abc import Sequence

from agentmem_client.errors import AgentMemError
from agentmem_client.models import AddResult

_SHOWN = 3


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
        reasons = [_reason(failure) for failure in self.failures[:_SHOWN]]
        if len(self.failures) > _SHOWN:
            reasons.append(f"and {len(self.failures) - _SHOWN} more")
        super().__init__(
            f"{len(self.failures)} of {total} nodes were not stored: {'; '.join(reasons)}"
        )


def _reason(failure: AddResult) -> str:
    return f"{failure.id!r}: {failure.error.message if failure.error else 'no reason given'}"
