"""The outcomes of a batch as one: all stored, or an error that tells which are not."""

from collections.abc import Sequence

from .errors import AgentMemError
from .models import AddResult

_SHOWN = 3
_ID_LENGTH = 64


class NotAllStored(AgentMemError):
    """Some of many memories were not stored; all the others were.

    `add_many` raises nothing: who wants an error where one item failed gives its answer to
    `stored_ids`. Adding the failed ones again is safe, with the ids of their outcomes: a memory
    with a known id is replaced.

    Attributes:
        results: the outcome of every item, in their order.
        failures: those that failed, each with an ``error`` that has a ``code`` and a ``message``.
        stored: the ids of those that were stored.
    """

    def __init__(self, results: Sequence[AddResult]) -> None:
        self.results = list(results)
        self.failures = [result for result in results if result.status == "failed"]
        self.stored = [str(result.id) for result in results if result.status != "failed"]
        super().__init__(
            f"{len(self.failures)} of {len(self.results)} were not stored: "
            f"{_summary(self.failures)}"
        )


def stored_ids(results: Sequence[AddResult]) -> list[str]:
    """The ids of a batch, in the order of its items.

    Raises:
        NotAllStored: when one of them failed.
    """
    if any(result.status == "failed" for result in results):
        raise NotAllStored(results)
    return [str(result.id) for result in results]


def _summary(failures: Sequence[AddResult]) -> str:
    """Each reason with the items that it is of, shortened; `failures` has all of it."""
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
