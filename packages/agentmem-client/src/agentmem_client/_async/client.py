"""The async client."""

from .admin import AsyncAdmin
from .catalog import AsyncCatalog
from .history import AsyncHistory
from .jobs import AsyncJobs
from .learning import AsyncLearning
from .windows import AsyncWindows
from .writing import AsyncWriting


class AsyncAgentMemClient(
    AsyncWriting, AsyncWindows, AsyncLearning, AsyncJobs, AsyncHistory, AsyncCatalog, AsyncAdmin
):
    """Talks to an AgentMem server, or to several of one database.

    ::

        async with AsyncAgentMemClient() as memory:
            await memory.add("The cat is called Mia.", user_id="ann", metadata={"topic": "pets"})
            hits = await memory.search("What is the cat's name?", user_id="ann")

    Every method raises a subclass of `AgentMemError`, and that alone: `InvalidRequest` for
    arguments that can't be right (before anything is sent), the other `APIError` classes for what
    the server answers, `ConnectionFailed` and `RequestTimedOut` where no answer came,
    `InvalidResponse` where the answer is not AgentMem's.

    No connection, no answer in time, and the statuses 429, 502, 503 and 504 are tried again, up
    to ``max_retries`` times and with growing random waits, never sooner than the server's
    Retry-After. A 429 that says when to come back is not counted as a try. A wait that would end
    later than ``max_retry_seconds`` after the first try is not begun: the error is raised at once.

    Of several servers the client stays with one until that fails. Then it asks the next one at
    once, save after a 429, and waits only when all have failed, which counts as one try. A last
    error names them all.

    Args:
        api_url: where the server is, or where several are: a list, or with commas between.
        api_key: sent as ``X-API-Key``; shown in no repr and no error.
        timeout: seconds to connect, to send, and between two pieces of the answer, each; of an
            ``http_client`` of yours too.
        max_retries: how many more times to try, after the first; 0: each server once.
        max_retry_seconds: for how long to go on trying; 0: one request, to one server.
        http_client: to send with, for proxies, certificates or tests; it stays yours to close.

    Raises:
        AgentMemError: when one of the arguments can't be right.
    """
