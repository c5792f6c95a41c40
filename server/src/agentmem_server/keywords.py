"""The texts that are indexed for a memory, and the words that a query looks for.

A memory is found by more than its own words: by the day it is about, and by the turn it
answers ("Yes, last week!" says nothing alone). Neither shows in what a search returns.
"""

import re
from datetime import UTC, datetime

# A query is an OR of its words, and its cost grows with each. A question has fewer than
# 20; a pasted document must not become a query of 100,000 terms.
MAX_TERMS = 64

# How much of a query is read, in characters: 64 terms come long before, and a megabyte
# without any (one long word, stop words) would hold the caller up.
MAX_QUERY = 8_192

# In characters: a SHA-512 in hex still is a term, and in UTF-8 a term stays below the 2 kB
# that PostgreSQL's text search takes.
MAX_TERM_LENGTH = 128

# How much of the previous turn is indexed again with this one, in characters. Turns of a
# conversation are shorter; a session of documents must not double the index.
MAX_PREVIOUS = 1_000

# Letters and digits. An underscore ends a word, as it does for the indexes; a combining accent
# doesn't, although it is no \w: "café" may come as "cafe" and an accent.
_WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")

# Words that ask or glue. What narrows a question stays out of this list: time and place
# (after, during, over), number (most, all), negation, and words that are also names or
# things (may, will, can, us). Last come the pieces that an apostrophe leaves behind.
STOP_WORDS = frozenset(
    """
    a an the this that these those
    am is are was were be been being have has had having do does did doing done
    i me my mine myself we our ours you your yours he him his she her hers it its
    they them their theirs
    what which who whom whose when where why how
    of at by for with about to from in into on as and or but if
    s t d m ll re ve don didn doesn isn wasn aren weren hasn haven hadn
    """.split()  # noqa: SIM905  # a line a kind reads better than one word a line
)

# Not strftime("%B"), whose language is that of the process's locale.
_MONTHS = """
    January February March April May June July August September October November December
""".split()  # noqa: SIM905  # likewise


def keyword_query(text: str) -> list[str]:
    """The terms of a query: its words in lower case without the stop words.

    In order, each once, and at most `MAX_TERMS`: the first ones, so that the rest of a long
    text isn't even read. A term holds no blank, quote or operator of a query language. A
    query of nothing but stop words ("who are you?", "The Who") keeps them: they are all
    that it says, and a record of these very words should be found. Text without a word has
    no terms.
    """
    terms: dict[str, None] = {}
    stopped: dict[str, None] = {}
    for match in _WORD.finditer(text, 0, MAX_QUERY):
        word = match[0].lower()
        if len(word) > MAX_TERM_LENGTH:
            continue
        (stopped if word in STOP_WORDS else terms)[word] = None
        if len(terms) == MAX_TERMS:
            break
    return list(terms or stopped)


def context_date(moment: datetime) -> str:
    """The day of an aware datetime, in UTC, as people write it: "8 May 2023".

    Raises:
        ValueError: the datetime is naive. Its day would depend on the machine's time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("the datetime must have a time zone")
    day = moment.astimezone(UTC)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def keyword_text(date: str | None, previous: str | None, content: str) -> str:
    """What the keyword index holds: "[date] previous turn of the session, newline, content".

    Of a long previous turn the end is kept: that is what this turn answers.
    """
    return _dated(date, f"{previous[-MAX_PREVIOUS:]}\n{content}" if previous else content)


def dense_text(date: str | None, content: str) -> str:
    """What is embedded: "[date] content". The previous turn would blur the vector."""
    return _dated(date, content)


def _dated(date: str | None, text: str) -> str:
    return f"[{date}] {text}" if date else text
