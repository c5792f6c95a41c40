"""What the clients share, as far as it does not show through them."""

from datetime import UTC, datetime

import pytest
from agentmem_client._base import id_parts, invalid_request, make, parse_retry_after
from agentmem_client.errors import InvalidRequest
from agentmem_client.models import MemoryInput

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 12:00:30 -0000", 30),
        ("Sat, 31 Jan 2026 13:00:30 +0100", 30),
        ("Saturday, 31-Jan-26 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 99 Jan 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_ids_are_parted_only_as_they_are_consumed() -> None:
    consumed = []

    def ids() -> object:
        for number in range(25_000):
            consumed.append(number)
            yield str(number)

    parts = id_parts(ids())  # type: ignore[arg-type]  # a generator, on purpose
    assert len(next(parts)) == 10_000
    assert len(consumed) == 10_000
    assert [len(part) for part in parts] == [10_000, 5_000]
    assert list(id_parts([])) == []


def test_an_invalid_request_names_each_field_and_quotes_no_value() -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(
            MemoryInput,
            {"content": 1, "user_id": 2, "agent_id": 3, "session_id": 4, "unknown": "hunter2"},
        )
    error = caught.value
    fields = [problem["field"] for problem in error.details["errors"]]
    assert fields == ["user_id", "agent_id", "session_id", "content", "unknown"]
    assert error.message.startswith("user_id: Input should be a valid string; agent_id: ")
    assert error.message.endswith("; and 2 more")
    assert "hunter2" not in f"{error!r} {error.details}"
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_problem_of_the_whole_has_a_field_too() -> None:
    with pytest.raises(InvalidRequest, match=r"^\(all\): "):
        make(MemoryInput, [("content", "x")])  # type: ignore[arg-type]  # no mapping
    assert callable(invalid_request)
