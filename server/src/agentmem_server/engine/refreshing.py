"""Reading a memory may make it live longer."""

from collections.abc import Sequence

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..storage import Outcome, Record, Refresh, Write


async def refresh(
    writes: Batcher[Write, Outcome], caller: Caller, collection: str, found: Sequence[Record]
) -> bool:
    """Start the time to live of what is being answered anew; whether any of it has one."""
    at = times.now()
    mortal = [record for record in found if record.ttl is not None]
    if mortal:
        ids = [record.id for record in mortal]
        await writes.submit(Refresh(caller.tenant, collection, ids, at))
    for record in mortal:
        assert record.ttl is not None
        record.expires_at = at + record.ttl
    return bool(mortal)
