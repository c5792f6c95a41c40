"""Whether two facts say the same in other words: what a cosine alone can't tell.

"Carla moved to Lisbon" and "Carla moved from Lisbon" have a cosine of .995 by the built-in model,
"Ann has a cat named Mia" and "Ann's cat is called Mia" one of .963. So words are looked at too.
Pure functions.
"""

import re

SURE = 0.93
"""From this cosine on, two facts are one where the longer one only has more words."""
PLAUSIBLE = 0.6
"""Below this cosine, two facts are two, whatever an LLM says of them."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_EMPTY = {"a", "an", "the"}
_NEGATIONS = {
    *("no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without", "hardly"),
    *("cannot", "longer", "former"),
}


def says_no_more(one: str, other: str) -> bool:
    """Whether the longer of two texts has the words of the shorter in their order, and adds little.

    Little is what is no number, no name (a word with a capital, but for the first) and no negation:
    "Ann likes tea" and "Ann likes drinking tea", but not "Ann likes tea" and "Ann likes green tea
    from Uji".
    """
    shorter, longer = sorted((_words(one), _words(other)), key=len)
    rest = iter(longer)
    more: list[str] = []
    for word in shorter:
        for candidate in rest:
            if candidate.casefold() == word.casefold():
                break
            more.append(candidate)
        else:
            return False
    more.extend(rest)
    return not any(_weighs(word) for word in more)


def differs_in_figures(one: str, other: str) -> bool:
    """Whether two texts have other numbers, or one has a negation and the other has none."""
    return _figures(one) != _figures(other) or _is_negated(one) != _is_negated(other)


def _words(text: str) -> list[str]:
    words = _WORD.findall(text)
    if words and not words[0].isupper():  # the capital of a sentence is no name's
        words[0] = words[0].casefold()
    return [word for word in words if word.casefold() not in _EMPTY]


def _weighs(word: str) -> bool:
    return word != word.lower() or any(map(str.isdigit, word)) or _negates(word)


def _figures(text: str) -> list[str]:
    return sorted(word for word in _WORD.findall(text) if any(map(str.isdigit, word)))


def _is_negated(text: str) -> bool:
    return any(map(_negates, _WORD.findall(text)))


def _negates(word: str) -> bool:
    folded = word.casefold()
    return folded in _NEGATIONS or folded.endswith(("n't", "n\u2019t"))
