"""What a search or a deletion asks for, and what a score means: pure functions, no I/O."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from agentmem_client import Filters
from agentmem_client.filters import joined
from agentmem_client.models import Metric

from ._documents import Scope

_WEIGHTS = frozenset({"recency", "importance"})
RANKING = frozenset({"mode", "alpha", "min_score"}) | _WEIGHTS
"""What a single search may set, besides how many it wants and its filter."""
RANKING_BY_VECTOR = frozenset({"min_score"}) | _WEIGHTS
"""The same, where it has no text: the other modes need one."""


def given(
    options: Mapping[str, Any], known: Collection[str], others: Collection[str] = ()
) -> dict[str, Any]:
    """The options that are not None.

    Args:
        options: as a caller gave them by keyword.
        known: the names that there are.
        others: what else could have been given by keyword, for the error's text.

    Raises:
        TypeError: an option that there is not. It may have been meant to narrow the answer.
    """
    if unknown := options.keys() - known:
        possible = ", ".join(sorted({*known, *others}))
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}: a call may set {possible}")
    return {name: value for name, value in options.items() if value is not None}


def similar_to(
    what: str | Sequence[float],
    k: int,
    filter: Filters | None,
    options: Mapping[str, Any],
    mmr: tuple[int, float] | None = None,
) -> dict[str, Any]:
    """A vector store's search, as the arguments of a client's ``search`` without a place.

    Args:
        what: to look for: a text or a vector.
        k: how many.
        filter: a condition on the metadata.
        options: of the call.
        mmr: from how many of the best to choose, and the share of relevance in that.

    Raises:
        TypeError: an option that there is not.
        InvalidFilter: the filter says something that can't be honoured.
    """
    by_text = isinstance(what, str)
    return {
        "query" if by_text else "embedding": what,
        "limit": k,
        # Read here, so that a wrong one is found before a query is embedded.
        "filters": joined(None, filter),
        "mmr": None if mmr is None else {"fetch_k": mmr[0], "lambda_mult": mmr[1]},
        "mode": "dense",
        **given(options, RANKING if by_text else RANKING_BY_VECTOR, ("k", "filter")),
    }


def embeds_text(request: Mapping[str, Any]) -> bool:
    """Whether a search compares the vector of its text."""
    return "query" in request and request["mode"] != "sparse"


def to_delete(
    ids: Sequence[str] | None, filter: Filters | None, everything: bool, scope: Scope
) -> dict[str, Any]:
    """The criteria of a deletion within a scope; empty where nothing is to be deleted.

    Raises:
        ValueError: ``everything`` stands beside another criterion.
        InvalidFilter: the filter says something that can't be honoured.
    """
    condition = joined(None, filter)
    if everything:
        if ids is not None or filter is not None:
            raise ValueError("everything=True deletes all: give no ids and no filter with it")
        scoped = any(value is not None for value in scope.values())
        return {**scope, "everything": not scoped}
    if ids is None and condition is None:
        return {}
    return {**scope, "ids": ids, "filters": condition}


def require_dense(options: Mapping[str, Any]) -> None:
    """Refuse what gives scores that can't be compared between answers, or tell of more.

    Raises:
        ValueError: the mode is another one, or recency or importance is weighed.
    """
    mode = options.get("mode")
    if mode not in (None, "dense"):
        raise ValueError(
            f"relevance scores are those of the mode 'dense', and this is {mode!r}: use "
            "similarity_search_with_score, or min_score instead of score_threshold"
        )
    if weighed := sorted(name for name in _WEIGHTS if options.get(name) is not None):
        raise ValueError(
            f"relevance scores tell of relevance alone, and {weighed[0]} is weighed too: use "
            "similarity_search_with_score, or min_score instead of score_threshold"
        )


def relevance(metric: Metric) -> Callable[[float], float]:
    """The function from a score of the mode ``dense`` to a relevance in 0..1.

    A cosine is spread from -1..1, and the score of ``euclidean`` is in 0..1 already. The inner
    product has no bounds: its relevance is 0.5 at 0 and nears 0 and 1 with its size, which keeps
    the order.
    """
    return _RELEVANCE[metric]


def _of_cosine(score: float) -> float:
    # The cosine of two equal float32 vectors may be above 1 by a rounding.
    return min(1.0, max(0.0, (score + 1) / 2))


def _of_product(score: float) -> float:
    return (1 + score / (1 + abs(score))) / 2


def _of_closeness(score: float) -> float:
    return score


_RELEVANCE: Mapping[Metric, Callable[[float], float]] = {
    "cosine": _of_cosine,
    "dot": _of_product,
    "euclidean": _of_closeness,
}
