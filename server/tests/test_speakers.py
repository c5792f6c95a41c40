import pytest
from agentmem_server.engine.speakers import named, speaker


@pytest.mark.parametrize(
    ("opening", "name"),
    [
        ("Ann: hello", {"ann"}),
        (" Dr. Ann-Marie O'Neil: yes", {"dr", "ann", "marie", "o", "neil"}),
        ("Ann O'Neil:\nyes", {"ann", "o", "neil"}),
        ("Zoë: oui", {"zoë"}),
        ("user 7: hi", {"user", "7"}),
        ("https://example.org", set()),
        ("12:30 is fine", set()),
        ("Ann:", set()),
        ("no name here", set()),
        ("What I mean by all of that is: no", set()),
        ("(Ann): hello", set()),
        (": hello", set()),
        ("", set()),
    ],
)
def test_a_turn_begins_with_the_name_of_its_speaker(opening: str, name: set[str]) -> None:
    # A name has four words at most.
    assert speaker(opening) == (name if len(name) <= 4 else set())


def test_a_speaker_is_named_by_all_words_of_the_name() -> None:
    turns = ["Ann: hello", "Ann Lee: hello", "Bob: hello", None, "hello", "Ann: again"]
    assert named("What does ann's cat eat?", turns).tolist() == [1, 0, 0, 0, 0, 1]
    assert named("ANN and Lee?", turns).tolist() == [1, 1, 0, 0, 0, 1]
    assert named("What does Annette eat?", turns).tolist() == [0] * 6
    assert named("", turns).tolist() == [0] * 6
    assert named("Ann", []).tolist() == []
