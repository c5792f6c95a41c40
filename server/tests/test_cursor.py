"""Cursors: what one listing gives out, only that listing takes back."""

import base64
from typing import Any

import pytest
from agentmem_client.errors import InvalidCursor
from agentmem_client.models import ListQuery
from agentmem_server.access.callers import Caller
from agentmem_server.engine import cursor
from hypothesis import given
from hypothesis import strategies as st

CALLER = Caller("tenant")
int64 = st.integers(-(2**63), 2**63 - 1)
FULL: dict[str, Any] = {
    "collection": "c",
    "user_id": "u",
    "agent_id": "a",
    "session_id": "s",
    "filters": {"n": {"$gt": 1}, "@created_at": {"$lt": "2026-01-01T00:00:00Z"}},
    "order_by": "created_at",
    "order": "desc",
}


def query(**fields: Any) -> ListQuery:
    return ListQuery.model_validate({**FULL, **fields})


def test_no_cursor_is_the_start() -> None:
    assert cursor.decode(CALLER, query()) is None


@given(int64, int64)
def test_a_cursor_comes_back_as_its_position(value: int, seq: int) -> None:
    text = cursor.encode(CALLER, query(), (value, seq))
    assert cursor.decode(CALLER, query(cursor=text)) == (value, seq)
    assert base64.urlsafe_b64encode(base64.urlsafe_b64decode(text)).decode() == text


def test_a_page_may_have_another_size_and_other_details() -> None:
    text = cursor.encode(CALLER, query(), (1, 2))
    more: dict[str, Any] = {"limit": 7, "include_total": False, "include_embeddings": True}
    assert cursor.decode(CALLER, query(cursor=text, **more)) == (1, 2)
    assert cursor.encode(CALLER, query(limit=3, cursor=text), (1, 2)) == text


@pytest.mark.parametrize(
    "change",
    [
        {"collection": "C"},
        {"user_id": None},
        {"user_id": "v"},
        {"agent_id": "u"},
        {"session_id": None},
        {"filters": None},
        {"filters": {"n": {"$gt": 2}}},
        {"filters": {"n": {"$gte": 1}}},
        {"order_by": "updated_at"},
        {"order_by": "seq"},
        {"order": "asc"},
    ],
)
def test_another_listing_refuses_it(change: dict[str, Any]) -> None:
    text = cursor.encode(CALLER, query(), (1, 2))
    with pytest.raises(InvalidCursor, match="another listing"):
        cursor.decode(CALLER, query(cursor=text, **change))
    assert cursor.encode(CALLER, query(**change), (1, 2)) != text


def spoilt(inner: str) -> str:
    """A cursor of this listing with other things in it."""
    listing = base64.urlsafe_b64decode(cursor.encode(CALLER, query(), (1, 2))).split(b'"')[1]
    return base64.urlsafe_b64encode(inner.replace("LISTING", listing.decode()).encode()).decode()


def test_the_spoilt_cursors_below_fail_for_their_own_reason() -> None:
    assert cursor.decode(CALLER, query(cursor=spoilt('["LISTING",3,4]'))) == (3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "====",
        "not a cursor",
        "\ud800",
        "A" * 100_000,
        base64.b64encode(b"\xff\xfe").decode(),
        spoilt("null"),
        spoilt("[]"),
        spoilt("{}"),
        spoilt('["LISTING"]'),
        spoilt('["LISTING",1]'),
        spoilt('["LISTING",1,2,3]'),
        spoilt('["LISTING",1,null]'),
        spoilt('["LISTING",1,"x"]'),
        spoilt('["LISTING",1,1.5]'),
        spoilt('["LISTING",1,NaN]'),
        spoilt('["LISTING",1,[2]]'),
        spoilt('["LISTING",9223372036854775808,1]'),
        spoilt('["LISTING",1,-9223372036854775809]'),
        spoilt(f'["LISTING",1,{"9" * 5_000}]'),
        spoilt('["LISTING",1,2'),
        spoilt("[" * 10_000),
        spoilt('["",1,2]'),
        spoilt("[null,1,2]"),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        cursor.decode(CALLER, query().model_copy(update={"cursor": text}))


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        cursor.decode(CALLER, query().model_copy(update={"cursor": text}))
