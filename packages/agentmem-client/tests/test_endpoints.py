"""The table of operations."""

import re
import string
from typing import Any
from urllib.parse import unquote

import pytest
from agentmem_client import endpoints
from agentmem_client.endpoints import ENDPOINTS, Endpoint, encode_segment
from agentmem_client.models import Answer, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError


def test_the_table_holds_every_operation_once() -> None:
    rows = [row for row in vars(endpoints).values() if isinstance(row, Endpoint)]
    assert list(ENDPOINTS) == rows
    assert len({row.name for row in rows}) == len(rows)
    assert len({(row.method, row.path) for row in rows}) == len(rows)


def test_fixed_paths_come_before_those_with_a_segment() -> None:
    # A router takes the first route that fits: /memories/{id} would swallow /memories/search.
    for position, row in enumerate(ENDPOINTS):
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", row.path))
        for later in ENDPOINTS[position + 1 :]:
            if later.method == row.method and "{" in row.path and "{" not in later.path:
                assert not pattern.fullmatch(later.path), (row.path, later.path)


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_each_row_is_sound(row: Endpoint[Any]) -> None:
    assert row.method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    assert row.path.startswith(("/api/v1/", "/health"))
    assert row.summary
    assert row.summary[0] in string.ascii_uppercase
    assert issubclass(row.answer, Answer)
    for model in (row.query, row.body):
        assert model is None or issubclass(model, Request)
    if row.name != "retry_job":  # it says everything by its path
        assert (row.body is None) == (row.method in ("GET", "DELETE"))
    assert 200 <= row.status < 300
    assert all(400 <= status < 600 for status in row.errors)
    assert all(status == 202 or 400 <= status < 600 for status in row.also)
    segments = [name for _, name, _, _ in string.Formatter().parse(row.path) if name]
    assert segments in ([], ["id"], ["name"])


def test_a_url_has_its_segment_filled_in() -> None:
    assert endpoints.GET_MEMORY.url(id="a/b") == "/api/v1/memories/a%2Fb"
    assert endpoints.PUT_COLLECTION.url(name="{id}") == "/api/v1/collections/%7Bid%7D"
    assert endpoints.HEALTH.url() == "/health"


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("./\\?#%&;:@{} "))
def test_any_text_is_one_segment(text: str) -> None:
    encoded = encode_segment(text)
    assert not set(encoded) & set("/?#.\\ ")
    assert encoded.isascii()
    assert unquote(encoded) == text


def test_an_answer_that_is_none_is_a_value_error() -> None:
    for body in (b"", b"{}", b"null", b"\xff"):
        with pytest.raises(ValidationError):
            endpoints.GET_MEMORY.read(body)
