"""Whether two facts say the same, by their words."""

import pytest
from agentmem_server.engine.likeness import differs_in_figures, says_no_more


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann likes tea.", "Ann likes tea"),
        ("Ann likes tea.", "Ann likes drinking tea."),
        ("Ann really likes tea.", "Ann likes tea."),
        ("The user prefers dark mode.", "User prefers the dark mode"),
        ("Deploys run every Friday at 10:00.", "The deploys run every Friday at 10:00."),
        ("", ""),
    ],
)
def test_more_words_that_weigh_nothing(one: str, other: str) -> None:
    assert says_no_more(one, other)
    assert says_no_more(other, one)
    assert not differs_in_figures(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Carla moved to Lisbon.", "Carla moved from Lisbon."),
        ("Ann gave Bob a book.", "Bob gave Ann a book."),
        ("Ann has a red car.", "Ann has a blue car."),
        ("Ann works as a nurse.", "Ann worked as a nurse."),
        ("Ann likes tea.", "Ann likes tea from Uji."),
        ("Ann has dogs.", "Ann has 2 dogs."),
        ("Ann has a dog.", "Ann has no dog."),
        ("Ann has a dog.", "Ann no longer has a dog."),
        ("Ann eats meat.", "Ann doesn't eat meat."),
        ("Ann lives with her parents.", "Ann lives near her parents."),
        ("Ann ran on 3 May 2023.", "Ann ran on 3 May 2024."),
    ],
)
def test_other_words_are_another_fact(one: str, other: str) -> None:
    assert not says_no_more(one, other)
    assert not says_no_more(other, one)


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("Ann has 2 dogs.", "Ann owns 2 dogs.", False),
        ("Ann has 2 dogs.", "Ann has 3 dogs.", True),
        ("Ann has dogs.", "Ann has 3 dogs.", True),
        ("Ann eats meat.", "Ann doesn\u2019t eat meat.", True),
        ("Ann never eats meat.", "Ann doesn't eat meat.", False),
        ("On 3 May Ann ran.", "Ann ran on 3 May.", False),
    ],
)
def test_figures_and_negations(one: str, other: str, differs: bool) -> None:
    assert differs_in_figures(one, other) is differs
    assert differs_in_figures(other, one) is differs
