# Generated from tests/_async/calls.py by scripts/generate_sync.py: do not edit.
"""What a call sent, as tests read it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import respx

MemoryJson = Callable[..., dict[str, Any]]
API = "http://agentmem.test/api/v1"


def body(route: respx.Route, call: int = -1) -> Any:
    return json.loads(route.calls[call].request.content)


def query(route: respx.Route, call: int = -1) -> dict[str, str]:
    fields = parse_qs(route.calls[call].request.url.query.decode(), keep_blank_values=True)
    return {name: value for name, (value,) in fields.items()}
