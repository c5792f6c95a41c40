"""What the OpenAPI document tells people beside what rows and models say of themselves."""

from collections.abc import Mapping

INTRODUCTION = """\
Stores what agents should remember, and finds it again by meaning, by words and by filters.

**Keys.** Send an API key as `X-API-Key`, or as `Authorization: Bearer`. It belongs to a tenant and
sees nothing of another one's; one that is bound to a user sees that user's memories alone. Where
the server has no keys it answers its own machine only, and asks for none.

**Errors** have one shape, `ErrorAnswer`, whose `code` is a stable word. A path that there isn't
answers 404, a method that a path doesn't have 405: the responses `NotFound` and `MethodNotAllowed`.
What is not HTTP at all is answered 400 in plain text. After 429 and 503 wait `Retry-After` seconds.

**Paths.** An id or a name in a path is one percent-encoded segment. A parameter or a field that an
operation doesn't know is refused, so that no filter is ever dropped. No text may hold the NUL
character.
"""

TAGS: Mapping[str, str] = {
    "Memories": "Store, find, change and delete memories.",
    "History": "What became of memories: their states, the feed of all changes, and restoring.",
    "Collections": "What memories are kept in: collections, sessions and namespaces.",
    "Learning": "Have an LLM find facts in conversations, at once or in the background.",
    "Users": "All that is remembered of one person.",
    "Keys": "Who may use the server, and for what.",
    "Server": "How the server is, and how much it is used.",
}

TAG_OF: Mapping[str, str] = {
    "memory_history": "History",
    "restore_memory": "History",
    "events": "History",
    "list_sessions": "Collections",
    "list_namespaces": "Collections",
    "list_collections": "Collections",
    "get_collection": "Collections",
    "put_collection": "Collections",
    "delete_collection": "Collections",
    "extract": "Learning",
    "extract_many": "Learning",
    "list_jobs": "Learning",
    "get_job": "Learning",
    "retry_job": "Learning",
    "delete_job": "Learning",
    "erase_user": "Users",
    "create_key": "Keys",
    "list_keys": "Keys",
    "revoke_key": "Keys",
    "stats": "Server",
    "health": "Server",
    "live": "Server",
    "ready": "Server",
    "metrics": "Server",
}
"""The tag of each operation that is not about memories themselves."""

NOTES: Mapping[str, str] = {
    "add_memory": (
        "The answer comes after the memory is on disk, and a search after the answer finds it. "
        "With an `id` the request can be repeated: it stores the same memory again. A collection "
        "that is not there is made with what its first memory implies."
    ),
    "add_memories": (
        "Each memory is judged singly: look at `status` of each result. With `atomic` all of them "
        "are stored, or none."
    ),
    "list_memories": (
        "Give `next_cursor` of the answer as `cursor` for the next page, and keep the other "
        "parameters. `filters` and `namespace` are JSON text."
    ),
    "search_memories": (
        "Answers as many memories as the filter admits, up to `limit`. Scores of different answers "
        "can't be compared in `hybrid`."
    ),
    "get_memories": "Ids that are not there are skipped.",
    "delete_memories": (
        "What is deleted meets every criterion, and at least one is given; `everything` empties "
        "the collection."
    ),
    "archive_memories": (
        "Archived memories are kept and found; the filter `@archived` tells them apart."
    ),
    "get_memory": "The header `ETag` has its version, for `If-Match`.",
    "update_memory": (
        "With `If-Match` nothing is changed when the memory has another version by now."
    ),
    "delete_memory": (
        "With `If-Match` nothing is deleted when the memory has another version by now."
    ),
    "memory_history": (
        "Also of a memory that was deleted. Events are kept for a set time; what a memory was "
        "before it expired is not kept."
    ),
    "restore_memory": "Restoring is a change like any other: it has a version and an event.",
    "events": (
        "The answer never ends. Of each change there is a message with its id as `id`, its action "
        "as `event` and an `Event` as `data`. An `id` without data tells where to go on, and a "
        "comment comes when it is silent for long. To go on where a connection broke, send the "
        "last id as `Last-Event-ID`: what happened meanwhile is told, or `reset` where it is no "
        "longer known. `end` says why the server ends the stream. The same feed is a WebSocket at "
        "`/api/v1/events/ws`, an `Event` a message."
    ),
    "extract": (
        "One call of the server's LLM. Each fact becomes a memory of the request's scope, unless "
        "one there says the same: that one gets a source more. The messages are not stored. With "
        "`background` the answer is a job, 202."
    ),
    "extract_many": (
        "Each conversation is judged singly: look at `status` of each result. A failed one can be "
        "sent again."
    ),
    "list_jobs": (
        "Give `next_before` of the answer as `before` for the next page. A job that has ended is "
        "kept for a set time."
    ),
    "retry_job": "With all its attempts anew.",
    "erase_user": (
        "Of what the user was remembered by, nothing stays in memories, history or caches. The "
        "answer is a receipt."
    ),
    "list_sessions": "Give `next_after` of the answer as `after` for the next page.",
    "list_namespaces": '`prefix` and `suffix` are JSON text, such as `["users", "*"]`.',
    "put_collection": (
        "Repeating it changes nothing. All but `default_ttl` is settled once the collection is "
        "there."
    ),
    "create_key": "Only a digest of the key is stored: it can't be shown again.",
    "list_keys": "Those that were revoked or have expired too.",
    "health": (
        "`degraded` is what still works without a part; then it is 200 as well. 503 is `unhealthy`."
    ),
    "stats": "Of the key's tenant; of its user alone where the key is bound to one.",
}
"""What is worth knowing of an operation beyond its summary."""

SEGMENTS: Mapping[str, str] = {
    "memories": "The memory's id.",
    "jobs": "The job's id: that of the request that made it.",
    "users": "The user's id.",
    "keys": "The key's id, as the list of keys shows it; not the key itself.",
    "collections": "The collection's name.",
}
"""The segment of a path after this one."""

FIELDS: Mapping[str, str] = {
    "action": "What happened.",
    "agent_id": "The agent whose memory it is.",
    "archived": "Whether it is set aside.",
    "at": "When it happened.",
    "average_ms": "How long an answer took on average.",
    "checks": "Each part that the server needs.",
    "code": "What went wrong, as a stable word.",
    "collection": "The collection.",
    "collections": "The collections.",
    "content": "The text of the memory.",
    "conversations": "The conversations.",
    "count": "How many there were.",
    "created_at": "When it was first stored.",
    "day": "The day, in UTC.",
    "default_ttl": "Seconds to live of a memory that is added without a `ttl`; null: it stays.",
    "deleted": "How many memories were deleted.",
    "details": "The same for programs; of wrong fields, `errors` with `field` and `message` each.",
    "dimension": "How many numbers its vectors have.",
    "embedder": "Who makes the vectors: the server's model, or the client.",
    "embedding": "The vector.",
    "embeddings": "Several vectors in place of one.",
    "erased_at": "When it was done.",
    "error": "What went wrong; null where nothing did.",
    "event_at": "When what the memory tells of happened.",
    "events": "The events.",
    "facts": "The facts, in the order of the conversation.",
    "expires_at": "From then on it is gone.",
    "filters": (
        'A condition on metadata, such as `{"topic": "pets", "age": {"$gte": 2}}`; names that '
        "start with `@` are fields of the memory. Operators: `$eq $ne $gt $gte $lt $lte $between "
        "$in $nin $contains $any $all $like $ilike $exists $empty`, combined with `$and $or $not`."
    ),
    "hits": "The hits, best first.",
    "id": "The id.",
    "ids": "The ids.",
    "importance": "How much it matters, 0 to 1.",
    "include_embeddings": "Answer the vectors too.",
    "include_total": "Count the memories on all pages.",
    "index_texts": "What it is found by, in place of the content.",
    "input_tokens": "Tokens of what the LLM was asked, as its API counts them.",
    "job": "The job that does it; null where none does.",
    "jobs": "The jobs, the newest first.",
    "keys": "The keys, the oldest first.",
    "kind": "What it does.",
    "last_at": "When the last of them was stored.",
    "latency_ms": "How long the check took.",
    "limit": "The most that is answered.",
    "memories": "The memories.",
    "messages": "The messages, in their order.",
    "message": "What went wrong and what to do, for people.",
    "metadata": "Any JSON object; filters look into it.",
    "metric": "How vectors are compared.",
    "min_score": "Leave out hits with a lower score.",
    "mmr": "Make the hits unlike each other.",
    "name": "The name.",
    "namespace": "A path of labels, the outermost first.",
    "namespaces": "The namespaces, each a list of labels.",
    "offset": "How many to skip.",
    "order": "Which way.",
    "output_tokens": "Tokens of what it answered.",
    "payload": "Any JSON, given back as it is.",
    "prefix": "Only those that start with these labels; `*` is any one.",
    "query": "The text to look for.",
    "rate_limit": "Requests a second; null: the server's limit, 0: any number.",
    "request_id": "Names the request in the server's log.",
    "results": "One outcome for each item, in the order of the request.",
    "revoked_at": "Since when the key is refused; null: it is not.",
    "scopes": "What the key may do.",
    "sources": "Where the content comes from; null where nobody said.",
    "searches": "The searches.",
    "session_id": "The conversation that it belongs to.",
    "sessions": "The sessions.",
    "status": "How it is, or what became of it.",
    "suffix": "Only those that end with these labels; `*` is any one.",
    "tenant": "Whose memories the key opens.",
    "ttl": "Seconds to live.",
    "type": "The caller's word for the kind of memory.",
    "updated_at": "When it was last changed.",
    "uptime_seconds": "Since when the server runs.",
    "usage": "What it cost; null where the LLM was not asked.",
    "user_id": "The user whose memory it is.",
    "version": "The version.",
}
"""What a field is that its model says nothing of."""
