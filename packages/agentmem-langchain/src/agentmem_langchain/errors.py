"""What this package raises beside `agentmem_client.errors` and `MessageError`."""

from collections.abc import Sequence

from agentmem_client import AddResult, AgentMemError

_SHOWN = 3
_ID_LENGTH = 64


class DocumentsNotAdded(AgentMemError):
    """Some documents were not stored; all the others were.

    Adding the failed ones again is safe: a document with a known id is replaced. Give them the
    ids of their outcomes.

    Attributes:
        results: the outcome of every document, in their order, each with the document's ``id``.
        failures: those that failed, each with an ``error`` that has a ``code`` and a ``message``.
        stored: the ids of those that were stored.
    """

    def __init__(self, results: Sequence[AddResult]) -> None:
        self.results = list(results)
        self.failures = [result for result in results if result.status == "failed"]
        self.stored = [str(result.id) for result in results if result.status != "failed"]
        super().__init__(
            f"{len(self.failures)} of {len(self.results)} documents were not stored: "
            f"{_summary(self.failures)}"
        )


def _summary(failures: Sequence[AddResult]) -> str:
    """Each reason with the documents that it is of, shortened; `failures` has all of it."""
    ids_by_reason: dict[str, list[str]] = {}
    for failure in failures:
        reason = failure.error.message if failure.error else "no reason given"
        ids_by_reason.setdefault(reason, []).append(str(failure.id)[:_ID_LENGTH])
    parts = [f"{_enumerated(ids)}: {reason}" for reason, ids in ids_by_reason.items()]
    return "; ".join(parts[:_SHOWN] + (["…"] if len(parts) > _SHOWN else []))


def _enumerated(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(id_) for id_ in ids[:_SHOWN]) + more
