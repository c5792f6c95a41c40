"""Many outcomes as one."""

import pytest
from agentmem_client import AddResult, AgentMemError, ErrorBody, NotAllStored, stored_ids


def good(id_: str) -> AddResult:
    return AddResult(id=id_, status="updated" if id_ == "b" else "stored")


def bad(id_: str | None, message: str | None = "no") -> AddResult:
    error = None if message is None else ErrorBody(code="invalid_request", message=message)
    return AddResult(id=id_, status="failed", error=error)


def test_where_all_are_stored_there_are_ids() -> None:
    assert stored_ids([]) == []
    assert stored_ids([good("b"), good("a")]) == ["b", "a"]


def test_where_one_failed_the_error_has_everything() -> None:
    results = [good("a"), bad("x"), good("b"), bad(None)]
    with pytest.raises(NotAllStored, match="2 of 4 were not stored: 'x', 'None': no") as caught:
        stored_ids(results)
    error = caught.value
    assert isinstance(error, AgentMemError)
    assert (error.results, error.failures) == (results, [results[1], results[3]])
    assert error.stored == ["a", "b"]


def test_the_message_is_short_whatever_failed() -> None:
    results = [bad(f"{number}", "one") for number in range(9)]
    results += [bad("i" * 500, None), bad("y", "two"), bad("z", "three")]
    message = str(NotAllStored(results))
    assert message == (
        "12 of 12 were not stored: '0', '1', '2' and 6 more: one; "
        f"'{'i' * 64}…': no reason given; 'y': two; …"
    )
