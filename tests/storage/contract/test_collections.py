"""Collections and tenants: made, listed, dropped, told apart, and their versions."""

from dataclasses import replace

from agentmem_client.errors import Conflict
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    DropCollection,
    Embedding,
    ListRequest,
    Outcome,
    PutCollection,
    SearchRequest,
    Selection,
    Store,
    Write,
    open_store,
)

from tests.storage.contract.stores import (
    EAST,
    EMBEDDING,
    NOTES,
    TENANT,
    by_words,
    changing,
    deleting,
    everywhere,
    ids,
    near,
    opened,
    put,
    putting,
    record,
    saying,
    selecting,
    vector,
    write,
    written,
)


async def test_a_collection_is_made_as_asked_for_or_found_so(store: Store) -> None:
    embedding = Embedding("server", "some model", 3, "euclidean")
    made = await write(store, PutCollection(TENANT, NOTES, embedding, 5))
    assert (made.tenant, made.name, made.embedding, made.created_at) == (
        TENANT,
        NOTES,
        embedding,
        5,
    )
    assert await opened(store) == made
    assert await write(store, PutCollection(TENANT, NOTES, embedding, 9)) == made
    for other in (
        Embedding("client", None, 3, "euclidean"),
        Embedding("server", "another model", 3, "euclidean"),
        Embedding("server", "some model", 4, "euclidean"),
        Embedding("server", "some model", 3, "dot"),
    ):
        (refused,) = await written(store, PutCollection(TENANT, NOTES, other, 5))
        assert isinstance(refused, Conflict)
        assert refused.details["existing"] != refused.details["requested"]
    assert await opened(store) == made


async def test_how_long_memories_live_by_default_may_change(url: str) -> None:
    store = await open_store(url, readers=1)
    bare = PutCollection(TENANT, NOTES, EMBEDDING, 5)
    for changes, expected in (
        ({"default_ttl": 7}, 7),
        ({}, 7),
        ({"default_ttl": 9}, 9),
        ({"default_ttl": None}, None),
        ({"default_ttl": 8}, 8),
    ):
        before = await store.version(TENANT, NOTES)
        answered = await write(store, replace(bare, changes=changes))
        assert answered == await opened(store)
        assert (answered.default_ttl, answered.created_at) == (expected, 5)
        assert await store.version(TENANT, NOTES) > before
    await put(store, record("a"))
    other = replace(bare, embedding=replace(EMBEDDING, metric="dot"), changes={"default_ttl": 1})
    outcomes = await written(store, other, replace(bare, changes={"default_ttl": 6}))
    assert isinstance(outcomes[0], Conflict)
    assert outcomes[1].default_ttl == 6
    await store.close()
    store = await open_store(url, readers=1)
    assert (await opened(store)).default_ttl == 6
    await store.close()


async def test_collections_are_listed_by_name(store: Store) -> None:
    for name in ("b", "a", "ä", "B"):
        await put(store, record("x"), collection=name)
    await put(store, record("x"), collection="c", tenant="another")
    assert [one.name for one in await store.collections(TENANT)] == ["B", "a", "b", "ä"]
    assert await store.collections("nobody") == []


async def test_a_dropped_collection_leaves_nothing_behind(store: Store) -> None:
    versions = [await store.version(TENANT, NOTES)]

    async def noted(one: Write) -> Outcome:
        outcome = await write(store, one)
        versions.append(await store.version(TENANT, NOTES))
        return outcome

    for dimension in (2, 3, 2):
        embedding = replace(EMBEDDING, dimension=dimension)
        along = vector(*[1] * dimension)
        word = f"word{dimension}"
        await noted(
            putting(
                record("a", word, metadata={word: 1}, user_id="u", session_id="s", vectors=along),
                record("b", word, metadata={word: 1}, session_id="s", vectors=along),
                embedding=embedding,
            )
        )
        old = await opened(store)
        assert len(await near(store, along)) == 2
        assert await noted(DropCollection(TENANT, NOTES)) == 2
        assert await store.collection(TENANT, NOTES) is None
        assert await store.collections(TENANT) == []
        assert await noted(DropCollection(TENANT, NOTES)) == 0

        # Whoever still holds the old one reads nothing: not of it, and not of the next.
        await noted(putting(record("a", "new", vectors=along), embedding=embedding))
        assert (await opened(store)).key != old.key
        assert await store.count(old) == 0
        assert await store.get(old, ["a"]) == []
        assert (await store.page(old, ListRequest(Selection(), "seq", "asc", 9))).records == []
        assert await near(store, along, collection=old) == []
        assert await saying(store, f"{word} new", collection=old) == []

        assert await near(store, along) == ["a"]
        assert await saying(store, word) == []
        assert await ids(store, selecting({word: 1})) == []
        assert await ids(store, selecting(user_id="u")) == []
        await noted(DropCollection(TENANT, NOTES))
    assert len(set(versions)) == len(versions)


async def test_tenants_see_nothing_of_each_other(store: Store) -> None:
    await put(store, record("a", "mine", metadata={"n": 1}), record("only", "mine"))
    scores = await scored(store, "mine")
    await put(
        store,
        *[record(name, "mine", metadata={"n": 1}) for name in "abcdef"],
        tenant="another",
    )
    await put(store, record("a", "mine"), tenant="another", collection="more")
    theirs = await opened(store, tenant="another")
    assert theirs.key != (await opened(store)).key
    assert await scored(store, "mine") == scores  # no word of theirs weighs in ours
    assert await everywhere(store, "mine") == [{"a", "only"}] * 3
    assert await ids(store, selecting({"n": 1})) == ["a"]
    assert await store.collection(TENANT, "more") is None

    assert await write(store, changing("a", content="changed")) is not None
    assert await write(store, deleting(Selection())) == 2
    assert await store.count(theirs) == 6
    assert len(await saying(store, "mine", collection=theirs)) == 6
    assert len(await near(store, EAST, collection=theirs)) == 6
    await write(store, DropCollection(TENANT, NOTES))
    assert [one.id for one in await store.get(theirs, ["a", "only"])] == ["a"]


async def scored(store: Store, words: str) -> dict[str, float]:
    request = SearchRequest(Selection(), None, keyword_query(words), 10, by_words)
    return {one.id: score for one, score in await store.search(await opened(store), request)}


async def test_versions_change_with_every_write_before_it_answers(store: Store) -> None:
    await put(store, record("a"), collection="other")
    await put(store, record("a"), tenant="another")
    unmoved = [await store.version(TENANT, "other"), await store.version("another", NOTES)]
    seen = [await store.version(TENANT, NOTES)]
    for one in (
        PutCollection(TENANT, NOTES, EMBEDDING, 5),
        putting(record("a")),
        putting(record("a")),
        changing("a", content="x"),
        deleting(selecting(ids=["a"])),
        putting(record("b"), record("c")),
        deleting(Selection()),
        DropCollection(TENANT, NOTES),
        putting(record("a")),
    ):
        await write(store, one)
        seen.append(await store.version(TENANT, NOTES))
    await store.write([putting(record("x"), collection=name) for name in ("first", NOTES, "last")])
    seen.append(await store.version(TENANT, NOTES))
    assert len(set(seen)) == len(seen)
    assert await store.version(TENANT, "first") != await store.version(TENANT, "nowhere")
    assert await store.version(TENANT, "last") != await store.version(TENANT, "nowhere")
    assert unmoved == [await store.version(TENANT, "other"), await store.version("another", NOTES)]
