"""How the server is."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ._fields import Answer


class Check(Answer):
    """One part that the server needs."""

    status: Literal["ok", "failed"]
    latency_ms: float
    error: str | None = None


class Health(Answer):
    """How the server is."""

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str
    uptime_seconds: float
    checks: Mapping[str, Check] = Field(default_factory=dict)


class Liveness(Answer):
    """That the process answers."""

    status: Literal["alive", "ready", "not_ready"]
