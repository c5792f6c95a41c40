"""Figures for people: how much is remembered, asked, and by whom."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from ._fields import Answer, Request


class StatsQuery(Request):
    """How far back to look."""

    days: Annotated[int, Field(ge=1, le=366)] = 30
    """How many days of growth, today included."""


class GrowthDay(Answer):
    """One day, in UTC, of the memories that are there now."""

    day: date
    added: int
    """First stored on this day."""
    total: int
    """First stored until the end of this day."""


class SearchStats(Answer):
    """The searches since the server started."""

    count: int
    average_ms: float | None = None
    p95_ms: float | None = None
    """95 of 100 were answered in this time, within a tenth of it."""
    cache_hit_rate: float | None = None
    """Which part was answered from the result cache, 0 to 1."""


class Activity(Answer):
    """One user or agent."""

    id: str
    memories: int
    searches: int
    """Since the server started, with this scope."""
    last_at: datetime | None = None
    """When the last of the memories was stored or changed."""


class Stats(Answer):
    """The figures of one tenant."""

    memories: int
    added_today: int
    """In UTC."""
    growth: list[GrowthDay]
    """Day by day, the oldest first."""
    searches: SearchStats
    users: list[Activity]
    """The 20 with the most memories."""
    agents: list[Activity]
    """The 20 with the most memories."""
    since: datetime
    """When the server started to count searches."""
