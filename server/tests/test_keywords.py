from datetime import UTC, datetime, timedelta, timezone

import apsw
import pytest
from agentmem_server.keywords import (
    MAX_PREVIOUS,
    MAX_QUERY,
    MAX_TERM_LENGTH,
    MAX_TERMS,
    STOP_WORDS,
    context_date,
    dense_text,
    keyword_query,
    keyword_text,
)
from hypothesis import given
from hypothesis import strategies as st

# What people type in languages that space their words, accents composed and combining, and the
# characters that mean something in a query language.
TEXT = st.text(alphabet="abyzAZ019 éÉößñİжЖйĞ\u0301\u0308_-'\u2019\"*():^+&|!<>.\n", max_size=60)


# keyword_query


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("When did Caroline go to the LGBTQ support group?", "caroline go lgbtq support group"),
        ("What is Caroline's relationship status?", "caroline relationship status"),
        ("What didn\u2019t Mel like, and why don't I?", "mel like"),
        ("Tea, tea and TEA: tea!", "tea"),
        ("user_id of C-3PO", "user id c 3po"),
        ('(cats OR "dogs") NOT near*', "cats dogs not near"),
        ("Can I swim after May 2023?", "can swim after may 2023"),
    ],
)
def test_words_in_lower_case_without_stop_words(text: str, terms: str) -> None:
    assert keyword_query(text) == terms.split()


def test_only_stop_words_are_all_kept() -> None:
    assert keyword_query("Who are you?") == ["who", "are", "you"]


@pytest.mark.parametrize("text", ["", " \n", "?!", "__", "🙂", "\u0301"])
def test_no_word_no_term(text: str) -> None:
    assert keyword_query(text) == []


def test_an_accent_does_not_split_its_word() -> None:
    assert keyword_query("Re\u0301sume\u0301") == ["re\u0301sume\u0301"]


def test_a_long_query_is_its_first_words() -> None:
    words = [f"word{number}" for number in range(100_000)]
    assert keyword_query(" ".join(words)) == words[:MAX_TERMS]


def test_nothing_is_read_past_the_bound() -> None:
    assert keyword_query(" " * (MAX_QUERY - 3) + "tea milk") == ["tea"]


def test_stop_words_do_not_use_up_the_bound() -> None:
    assert keyword_query(f"{' '.join(STOP_WORDS)} tea") == ["tea"]


def test_what_is_too_long_for_a_word_is_skipped() -> None:
    longest = "x" * MAX_TERM_LENGTH
    assert keyword_query(f"{longest} {longest}x tea") == [longest, "tea"]


@given(TEXT)
def test_terms_are_distinct_and_need_no_second_pass(text: str) -> None:
    terms = keyword_query(text)
    assert len(set(terms)) == len(terms) <= MAX_TERMS
    for term in terms:
        assert term.lower() == term
        assert not set(term) & set(" \n_-'\u2019\"*():^+&|!<>.")


@given(TEXT)
def test_either_no_stop_word_or_nothing_else(text: str) -> None:
    stopped = [term in STOP_WORDS for term in keyword_query(text)]
    assert all(stopped) or not any(stopped)


@given(TEXT)
def test_each_term_of_a_text_finds_that_text(text: str) -> None:
    database = apsw.Connection(":memory:")
    database.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
    database.execute("INSERT INTO t VALUES (?)", (text,))
    for term in keyword_query(text):
        found = database.execute("SELECT count(*) FROM t WHERE t MATCH ?", (f'"{term}"',))
        assert found.get == 1, term
    database.close()


# context_date


def test_a_date_reads_as_people_write_it() -> None:
    assert context_date(datetime(2023, 5, 8, 13, 56, tzinfo=UTC)) == "8 May 2023"


def test_the_day_is_that_of_utc() -> None:
    evening = datetime(2023, 12, 31, 20, 0, tzinfo=timezone(timedelta(hours=-8)))
    assert context_date(evening) == "1 January 2024"


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        context_date(datetime(2023, 5, 8))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_date_is_read_back(moment: datetime) -> None:
    day, month, year = context_date(moment).split()
    read = datetime.strptime(f"{day} {month} {int(year):04}", "%d %B %Y")
    assert read.date() == moment.date()


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_words_of_a_date_find_it(moment: datetime) -> None:
    date = context_date(moment)
    assert keyword_query(f"When in {date}?") == list(dict.fromkeys(date.lower().split()))


# keyword_text and dense_text


@pytest.mark.parametrize(
    ("date", "previous", "text"),
    [
        ("8 May 2023", "Mel: Where?", "[8 May 2023] Mel: Where?\nCaroline: Rome"),
        ("8 May 2023", None, "[8 May 2023] Caroline: Rome"),
        (None, "Mel: Where?", "Mel: Where?\nCaroline: Rome"),
        (None, None, "Caroline: Rome"),
    ],
)
def test_keyword_text(date: str | None, previous: str | None, text: str) -> None:
    assert keyword_text(date, previous, "Caroline: Rome") == text


def test_the_end_of_a_long_previous_turn_is_kept() -> None:
    previous = "a" + "b" * MAX_PREVIOUS
    assert keyword_text(None, previous, "c") == "b" * MAX_PREVIOUS + "\nc"


def test_dense_text() -> None:
    assert dense_text("8 May 2023", "Caroline: Rome") == "[8 May 2023] Caroline: Rome"
    assert dense_text(None, "Caroline: Rome") == "Caroline: Rome"
