"""What the importers of other systems have in common: ids, times, memories."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from agentmem_client.instants import parse_instant
from pydantic import ValidationError

from ... import times
from ..entries import Entry, Incoming, Note, Unreadable, reason
from ..format import MemoryLine

_IDS = UUID("7c6b1d1e-8d0e-5a38-9a5c-5f2b6f0c9d41")
NAIVE = "times without a UTC offset, which were taken as UTC"


def derived_id(*parts: object) -> str:
    """An id for what has none: the same each time, a UUIDv5 of the parts."""
    return str(uuid5(_IDS, json.dumps(parts)))


def scope(value: object) -> object:
    """A user, agent or session; the systems write an empty one for none."""
    return None if value == "" else value


@dataclass
class Times:
    """Reads the times of one memory; counts those that don't say their UTC offset."""

    naive: int = field(default=0)

    def read(self, name: str, value: object) -> datetime | None:
        """ISO 8601 text, or seconds since the Unix epoch; None where there is none.

        Raises:
            ValueError: it is no time.
        """
        if value is None or value == "":
            return None
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value, UTC)
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
                if moment.utcoffset() is None:
                    self.naive += 1
                    moment = moment.replace(tzinfo=UTC)
                return parse_instant(moment)
        except (ValueError, OverflowError, OSError):
            pass
        raise ValueError(f"{name}: must be a time such as '2026-01-31T09:30:00Z'")


def entries(
    place: str,
    fields: dict[str, Any],
    *,
    created_at: datetime | None,
    updated_at: datetime | None,
    naive: int,
) -> Iterator[Entry]:
    """A memory of these fields with its times, or why it can't be one.

    Where one of the times is missing, it is the other one.
    """
    first, last = created_at or updated_at, updated_at or created_at
    now = times.to_datetime(times.now())
    try:
        memory = MemoryLine(**fields, created_at=first or now, updated_at=last or now)
    except ValidationError as error:
        yield Unreadable(place, reason(error))
        return
    yield Incoming(place, memory.collection, memory.to_record(), dated=first is not None)
    if naive:
        yield Note(NAIVE, naive)


def in_time_order(found: Iterable[Entry]) -> list[Entry]:
    """Entries by the time that their memories were made, where all say it."""
    everything = list(found)
    memories = [one for one in everything if isinstance(one, Incoming)]
    if not all(one.dated for one in memories):
        return everything
    others: list[Entry] = [one for one in everything if not isinstance(one, Incoming)]
    return [*others, *sorted(memories, key=lambda one: one.record.created_at)]


def unclashing(metadata: dict[str, Any], more: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Metadata with further fields; a name that is taken gets a prefix."""
    together = dict(metadata)
    for name, value in more.items():
        free = name
        while free in metadata or free in together:
            free = prefix + free
        together[free] = value
    return together
