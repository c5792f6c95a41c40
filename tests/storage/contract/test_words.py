"""Words: what a record says, when, and in answer to what; whatever was written before."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from agentmem_server.storage import PutCollection, Record, SearchRequest, Selection, Store, Write

from tests.storage.contract.stores import (
    EMBEDDING,
    MAY_8,
    NOTES,
    SECOND,
    TENANT,
    Clock,
    by_words,
    changing,
    deleting,
    get,
    ids,
    opened,
    put,
    putting,
    record,
    saying,
    selecting,
    turn,
    write,
)


async def test_words_find_a_record_whatever_their_form(store: Store) -> None:
    await put(
        store,
        record("a", "She was Running to the café."),
        record("b", "snake_case_name and C3PO"),
        record("c", "日本語 жизнь"),
    )
    assert await saying(store, "run") == ["a"]
    assert await saying(store, "cafe") == ["a"]
    assert await saying(store, "CAFE\u0301") == ["a"]
    assert await saying(store, "case") == ["b"]
    assert await saying(store, "c3po") == ["b"]
    assert await saying(store, "ЖИЗНЬ") == ["c"]
    assert await saying(store, "日本語") == ["c"]
    assert await saying(store, "dog") == []


@pytest.mark.parametrize(
    "words",
    [
        '"',
        "NEAR(a b)",
        "text:word",
        "scope : u1",
        "a AND NOT b",
        "*",
        "^word",
        "𐞁 word",
        "꟰",
        "\u1ae0",
    ],
)
async def test_no_query_is_an_error(store: Store, words: str) -> None:
    await put(store, record("a", "word", user_id="u"), record("b", "other"))
    found = await saying(store, words)
    assert ("a" in found) == ("word" in words)
    assert "b" not in found


async def test_a_term_that_the_index_does_not_know_harms_no_other(store: Store) -> None:
    await put(store, record("a", "word"))
    notes = await opened(store)
    for terms in (["𐞁"], ["𐞁", "word"], ["word", "𐞁"], ["no", "𐞁", "word"]):
        request = SearchRequest(Selection(), None, terms, 9, by_words)
        found = [one.id for one, _ in await store.search(notes, request)]
        assert found == (["a"] if "word" in terms else [])


async def test_better_matches_come_first(store: Store) -> None:
    await put(
        store,
        record("once", "red and many other things that are not it"),
        record("both", "red apples"),
        record("none", "green pears"),
        record("twice", "red red"),
    )
    assert await saying(store, "red apples") == ["both", "twice", "once"]
    assert await saying(store, "red apples", depth=1) == ["both"]


async def test_the_date_finds_what_happened_on_it(store: Store) -> None:
    await put(
        store,
        record("event", "lunch", event_at=MAY_8),
        record("turn", "dinner", session_id="s", created_at=MAY_8),
        record("told", "tea", session_id="s2", event_at=MAY_8 + 86_400 * SECOND, created_at=MAY_8),
        record("neither", "breakfast", created_at=MAY_8),
    )
    assert set(await saying(store, "8 May 2023")) == {"event", "turn", "told"}
    assert (await saying(store, "9 May 2023"))[0] == "told"
    await write(store, changing("event", event_at=None))
    assert set(await saying(store, "May")) == {"turn", "told"}
    await write(store, changing("neither", event_at=MAY_8))
    assert set(await saying(store, "May")) == {"turn", "told", "neither"}


async def test_the_previous_turn_finds_the_one_that_answers_it(store: Store) -> None:
    await put(
        store,
        turn("q", "visited Paris?"),
        turn("elsewhere", "no", session="s2"),
        turn("another's", "no", user="u2"),
        turn("nobody's", "no", user=None),
        record("alone", "no", user_id="u"),
        turn("a", "yes"),
        turn("thanks", "great"),
    )
    assert set(await saying(store, "Paris")) == {"q", "a"}
    assert set(await saying(store, "yes")) == {"a", "thanks"}
    # Its words are context, nothing more.
    assert (await get(store, "a")).content == "yes"
    assert await ids(store, selecting({"@content": {"$contains": "Paris"}})) == ["q"]


async def test_turns_that_are_stored_together_answer_each_its_own_session(store: Store) -> None:
    """Whatever sessions and users are called; of what is long, the last words are answered."""
    odd = ['["s"]', "a\\b'c\n\t", "ü😀\x01", "s", "null"]
    places = [(session, user) for session in odd for user in (*odd, None)]
    long = "😀é " * 600

    def turns(kind: str, content: Callable[[int], str]) -> list[Record]:
        return [
            turn(f"{kind}{number}", content(number), session=session, user=user)
            for number, (session, user) in enumerate(places)
        ]

    await put(store, *turns("q", lambda number: f'first{number} {long} "last{number}'))
    await put(store, *turns("a", lambda number: "yes"))
    for number in range(len(places)):
        assert set(await saying(store, f"last{number}")) == {f"q{number}", f"a{number}"}
        assert set(await saying(store, f"first{number}")) == {f"q{number}"}


async def test_what_no_search_finds_is_no_context(store: Store) -> None:
    transcript = replace(turn("log", "visited Rome?"), index_texts=[], vectors=b"")
    await put(store, turn("q", "visited Paris?"), transcript, turn("a", "yes"))
    assert set(await saying(store, "paris")) == {"q", "a"}
    assert await saying(store, "rome") == []
    await put(store, turn("log", "visited Rome?"))
    assert set(await saying(store, "rome")) == {"log", "a"}
    await put(store, transcript)
    assert set(await saying(store, "paris")) == {"q", "a"}
    assert await saying(store, "rome") == []


Change = Callable[[], list[Write]]


@pytest.mark.parametrize(
    ("change", "before_a"),
    [
        (lambda: [changing("q", content="visited Rome?")], "rome"),
        (lambda: [putting(turn("q", "visited Rome?"))], "rome"),
        (lambda: [deleting(selecting(ids=["q"]))], "hello"),
        (lambda: [deleting(selecting(ids=["q", "hi"]))], None),
        (lambda: [deleting(selecting({"@content": {"$contains": "Paris"}}))], "hello"),
        (lambda: [putting(turn("q", "visited Paris?", session="s2"))], "hello"),
        (lambda: [putting(turn("q", "visited Paris?", user="u2"))], "hello"),
        (lambda: [putting(record("q", "visited Paris?"))], "hello"),
        (lambda: [deleting(selecting(ids=["hi"])), deleting(selecting(ids=["q"]))], None),
        (lambda: [deleting(selecting(ids=["q"])), putting(turn("q", "anew"))], "hello"),
    ],
)
async def test_the_words_of_a_turn_that_changed_or_went_find_no_follower(
    store: Store, change: Change, before_a: str | None
) -> None:
    await put(store, turn("hi", "hello"), turn("q", "visited Paris?"), turn("a", "yes"))
    assert "a" in await saying(store, "paris")
    await store.write(change())
    assert "a" not in await saying(store, "paris")
    found_by = {word for word in ("rome", "hello", "paris") if "a" in await saying(store, word)}
    assert found_by == ({before_a} if before_a else set())


async def test_a_turn_that_comes_into_a_session_is_context_there(store: Store) -> None:
    await put(store, turn("x", "paris", session="elsewhere"), turn("a", "yes"))
    assert await saying(store, "paris") == ["x"]
    await put(store, turn("x", "paris"))
    assert set(await saying(store, "paris")) == {"x", "a"}


async def test_deleting_a_session_leaves_no_words(store: Store) -> None:
    await put(store, *[turn(f"t{n}", f"word{n}") for n in range(5)], turn("x", "y", session="t"))
    assert await write(store, deleting(selecting(session_id="s"))) == 5
    assert [await saying(store, f"word{n}") for n in range(5)] == [[]] * 5


@pytest.mark.parametrize("seed", range(4))
async def test_words_find_what_holds_them_and_what_answers_it_after_any_history(
    store: Store, seed: int
) -> None:
    """Random turns come, change, move and go; a dict says what each word must find."""
    chance = random.Random(seed)
    model: dict[str, Record] = {}  # in the order in which they were stored
    await write(store, PutCollection(TENANT, NOTES, EMBEDDING, 0))

    def found_by(word: str) -> set[str]:
        found, previous = set(), dict[tuple[str | None, str | None], str]()
        for one in model.values():
            before = previous.get((one.user_id, one.session_id), "") if one.session_id else ""
            if word in one.content.split() or word in before.split():
                found.add(one.id)
            previous[one.user_id, one.session_id] = one.content
        return found

    words: list[str] = []
    for step in range(60):
        batch: list[Write] = []
        for part in range(chance.randrange(1, 4)):
            name = f"r{chance.randrange(12)}"
            word = f"w{step}x{part}"
            words.append(word)
            match chance.choice(["put", "put", "put", "update", "delete", "session", "filter"]):
                case "put":
                    where = (chance.choice(["s1", "s1", "s2", None]), chance.choice(["u", None]))
                    one = record(name, f"{word} both", session_id=where[0], user_id=where[1])
                    batch.append(putting(one))
                    model[name] = one
                case "update":
                    batch.append(changing(name, content=f"{word} both"))
                    if name in model:
                        model[name] = replace(model[name], content=f"{word} both")
                case "delete":
                    going = {name, f"r{chance.randrange(12)}"}
                    batch.append(deleting(selecting(ids=sorted(going))))
                    model = {key: one for key, one in model.items() if key not in going}
                case "session" if step % 10 == 0:
                    batch.append(deleting(selecting(session_id="s1", user_id="u")))
                    model = {
                        key: one
                        for key, one in model.items()
                        if (one.session_id, one.user_id) != ("s1", "u")
                    }
                case "filter":
                    old = chance.choice(words)
                    batch.append(deleting(selecting({"@content": {"$like": f"{old} %"}})))
                    model = {k: one for k, one in model.items() if one.content.split()[0] != old}
        await store.write(batch)
        for word in {
            *chance.choices(words, k=5),
            *(one.content.split()[0] for one in model.values()),
        }:
            assert set(await saying(store, word)) == found_by(word)
    assert set(await saying(store, "both")) == set(model)
    assert await ids(store) == list(model)


async def test_only_the_end_of_a_long_turn_is_context(store: Store) -> None:
    await put(store, turn("q", "early " + "filler " * 1_000 + "late"), turn("a", "yes"))
    assert await saying(store, "early") == ["q"]
    assert set(await saying(store, "late")) == {"q", "a"}


async def test_an_expired_turn_is_no_context_of_what_comes_after(
    store: Store, clock: Clock
) -> None:
    await put(store, replace(turn("q", "paris"), expires_at=clock.now + SECOND))
    clock.advance(SECOND)
    await put(store, turn("a", "yes"))
    assert await saying(store, "paris") == []
