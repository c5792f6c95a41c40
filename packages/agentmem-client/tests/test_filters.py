"""The filter grammar: what is read, what is refused, and what the builder makes."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from agentmem_client import F, Filter, InvalidFilter, escape, escape_like
from agentmem_client.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_PATTERN,
    MAX_VALUES,
    OPERATORS,
    RECORD_FIELDS,
    And,
    Condition,
    Not,
    Or,
    Path,
    RecordField,
    conditions,
    joined,
    like_tokens,
    parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def on(*keys: str) -> Path:
    return Path(keys)


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ({"topic": "pets"}, Condition(on("topic"), "$eq", "pets")),
        ({"topic": None}, Condition(on("topic"), "$eq", None)),
        ({"tags": ["a", "b"]}, Condition(on("tags"), "$eq", ["a", "b"])),
        ({"address": {"city": "Rome"}}, Condition(on("address"), "$eq", {"city": "Rome"})),
        ({"empty": {}}, Condition(on("empty"), "$eq", {})),
        ({"address.city": "Rome"}, Condition(on("address", "city"), "$eq", "Rome")),
        ({r"a\.b": 1}, Condition(on("a.b"), "$eq", 1)),
        ({r"\@id": 1}, Condition(on("@id"), "$eq", 1)),
        ({r"\$and": 1}, Condition(on("$and"), "$eq", 1)),
        ({r"a\\.b": 1}, Condition(on("a\\", "b"), "$eq", 1)),
        ({r"a\b": 1}, Condition(on(r"a\b"), "$eq", 1)),
        ({"a\\": 1}, Condition(on("a\\"), "$eq", 1)),
        ({"": 1}, Condition(on(""), "$eq", 1)),
        ({"age": {"$gte": 3}}, Condition(on("age"), "$gte", 3)),
        ({"age": {"$between": [1, 2]}}, Condition(on("age"), "$between", [1, 2])),
        ({"age": {"$in": []}}, Condition(on("age"), "$in", [])),
        ({"a": {"$eq": {"$gt": 1}}}, Condition(on("a"), "$eq", {"$gt": 1})),
        (
            {"age": {"$gte": 3, "$lt": 9}},
            And((Condition(on("age"), "$gte", 3), Condition(on("age"), "$lt", 9))),
        ),
        (
            {"a": 1, "b": 2},
            And((Condition(on("a"), "$eq", 1), Condition(on("b"), "$eq", 2))),
        ),
        (
            {"$or": [{"a": 1}, {"$not": {"b": 2}}]},
            Or((Condition(on("a"), "$eq", 1), Not(Condition(on("b"), "$eq", 2)))),
        ),
        ({"$and": [{"a": 1}]}, And((Condition(on("a"), "$eq", 1),))),
        ({"@user_id": "ann"}, Condition(RecordField("user_id", "string"), "$eq", "ann")),
        ({"@type": {"$ne": None}}, Condition(RecordField("type", "string"), "$ne", None)),
        ({"@importance": {"$lt": 1}}, Condition(RecordField("importance", "number"), "$lt", 1)),
        (
            {"@created_at": {"$gte": "2026-01-01T00:00:00Z"}},
            Condition(RecordField("created_at", "time"), "$gte", datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        (
            {"@event_at": {"$between": ["2026-01-01T00:00:00+02:00", "2026-01-02T00:00:00Z"]}},
            Condition(
                RecordField("event_at", "time"),
                "$between",
                [
                    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
                    datetime(2026, 1, 2, tzinfo=UTC),
                ],
            ),
        ),
        (
            {"@expires_at": {"$exists": False}},
            Condition(RecordField("expires_at", "time"), "$exists", False),
        ),
    ],
)
def test_what_is_read(raw: dict[str, Any], parsed: Filter) -> None:
    assert parse(raw) == parsed


def test_nothing_admits_everything() -> None:
    assert parse({}) is None


def nested(depth: int) -> dict[str, Any]:
    raw: dict[str, Any] = {"a": 1}
    for _ in range(depth - 1):
        raw = {"$not": raw}
    return raw


def alternatives(count: int) -> dict[str, Any]:
    """Of $any and $all each value counts as a condition."""
    return {"$or": [{"a": {"$all": ["x", "y"]}}, *({"a": 1} for _ in range(count - 2))]}


def listing(count: int) -> dict[str, Any]:
    return {"a": {"$in": list(range(count - 1))}, "b": {"$nin": ["x"]}}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "a filter is a JSON object .* not null"),
        ([], "not a list"),
        ("x", "not a string"),
        (1, "not a number"),
        ({1: "x"}, "a name in a filter is a string"),
        ({"$nor": [{"a": 1}]}, r"unknown operator '\$nor' where a name is expected"),
        ({"$gt": 3}, r"unknown operator '\$gt' where a name is expected"),
        ({"a": {"$regex": "x"}}, r"unknown operator '\$regex' on 'a': there are"),
        ({"a": {"$GT": 3}}, r"unknown operator '\$GT'"),
        ({"a": {"$": 3}}, "unknown operator"),
        ({"@nosuch": 1}, "unknown record field '@nosuch': there are @id"),
        ({"@metadata": {}}, "unknown record field"),
        ({"@": 1}, "unknown record field"),
        ({"$and": []}, r"\$and needs a list with at least one filter"),
        ({"$or": []}, r"\$or needs a list"),
        ({"$and": {"a": 1}}, r"\$and needs a list"),
        ({"$or": "x"}, r"\$or needs a list"),
        ({"$and": [{}]}, r"inside \$and stands a filter with at least one condition"),
        ({"$or": [{"a": 1}, 5]}, r"inside \$or"),
        ({"$not": {}}, r"inside \$not"),
        ({"$not": [{"a": 1}]}, r"inside \$not"),
        ({"a": {"$gt": 1, "b": 2}}, "mixes operators and plain keys"),
        ({"a": {"$in": "abc"}}, r"\$in on 'a' takes a list, not a string"),
        ({"a": {"$nin": {"x": 1}}}, "takes a list, not an object"),
        ({"a": {"$any": []}}, r"\$any on 'a' needs at least one value"),
        ({"a": {"$all": []}}, r"\$all on 'a' needs at least one value"),
        ({"a": {"$any": 1}}, "takes a list"),
        ({"a": {"$between": [1]}}, "takes a list of two values"),
        ({"a": {"$between": [1, 2, 3]}}, "takes a list of two values"),
        ({"a": {"$between": 1}}, "takes a list of two values"),
        ({"a": {"$like": 1}}, "takes a pattern as a string, not a number"),
        ({"a": {"$ilike": None}}, "takes a pattern as a string, not null"),
        ({"a": {"$like": "x" * (MAX_PATTERN + 1)}}, f"at most {MAX_PATTERN} characters"),
        ({"a": {"$exists": 1}}, "takes true or false, not a number"),
        ({"a": {"$empty": "yes"}}, "takes true or false, not a string"),
        ({"a": float("nan")}, "finite numbers"),
        ({"a": {"$gt": float("inf")}}, "finite numbers"),
        ({"a": {"$in": [1, float("-inf")]}}, "finite numbers"),
        ({"a": 10**301}, "up to 1e300"),
        ({"a": {"b": {1: 2}}}, "strings as keys"),
        ({"a": {1, 2}}, "a set is not"),
        ({"a": b"x"}, "a bytes is not"),
        ({"a": {"$eq": [object()]}}, "must be JSON"),
        ({"a": "nul \0"}, "must not hold the NUL character"),
        ({"a\0": 1}, "a name in a filter must not hold the NUL character"),
        ({"a": {"$like": "\0%"}}, "NUL"),
        ({"a": ["lone \ud800"]}, "must hold valid Unicode"),
        ({"a": {"b": {"\udfff": 1}}}, "must hold valid Unicode"),
        ({"@id": 5}, "@id is a string: it can't be compared with a number"),
        ({"@user_id": {"$in": ["a", 1]}}, "@user_id is a string"),
        ({"@importance": "high"}, "@importance is a number"),
        ({"@importance": True}, "@importance is a number"),
        ({"@created_at": 1767225600}, "@created_at is a time"),
        ({"@created_at": "yesterday"}, "must be a time such as"),
        ({"@created_at": "2026-01-01T00:00:00"}, "must have a timezone"),
        ({"@created_at": "2026-01-01"}, "must have a timezone"),
        ({"@created_at": {"$like": "2026%"}}, r"\$like on .* works on strings and arrays"),
        ({"@importance": {"$contains": 1}}, r"\$contains on .* works on strings and arrays"),
        ({"@importance": {"$any": [1]}}, r"\$any on .* works on strings"),
        (nested(MAX_DEPTH + 1), f"at most {MAX_DEPTH} levels deep"),
        (alternatives(MAX_CONDITIONS + 1), f"at most {MAX_CONDITIONS} conditions"),
        (listing(MAX_VALUES + 1), f"at most {MAX_VALUES} values"),
    ],
)  # fmt: skip
def test_what_is_refused(raw: Any, says: str) -> None:
    with pytest.raises(InvalidFilter, match=says) as caught:
        parse(raw)
    assert caught.value.code == "invalid_filter"


def test_what_is_just_within_the_bounds() -> None:
    assert parse(nested(MAX_DEPTH)) is not None
    assert parse(alternatives(MAX_CONDITIONS)) is not None
    assert parse(listing(MAX_VALUES)) is not None
    assert parse({"a": {"$like": "x" * MAX_PATTERN}}) is not None
    assert parse({"a": 10**300}) is not None


@pytest.mark.parametrize(
    ("built", "raw"),
    [
        (F("a") == 1, {"a": {"$eq": 1}}),
        (F("a") != None, {"a": {"$ne": None}}),  # noqa: E711  # builds a filter
        (F("a") > 1, {"a": {"$gt": 1}}),
        (F("a") >= 1, {"a": {"$gte": 1}}),
        (F("a") < 1, {"a": {"$lt": 1}}),
        (F("a") <= 1, {"a": {"$lte": 1}}),
        (F("a").between(1, 2), {"a": {"$between": [1, 2]}}),
        (F("a").in_((1, "x")), {"a": {"$in": [1, "x"]}}),
        (F("a").not_in([1]), {"a": {"$nin": [1]}}),
        (F("a").contains("x"), {"a": {"$contains": "x"}}),
        (F("a").any(["x"]), {"a": {"$any": ["x"]}}),
        (F("a").all(["x", 1]), {"a": {"$all": ["x", 1]}}),
        (F("a").like("x%"), {"a": {"$like": "x%"}}),
        (F("a").ilike("X_"), {"a": {"$ilike": "X_"}}),
        (F("a").exists(), {"a": {"$exists": True}}),
        (F("a").exists(False), {"a": {"$exists": False}}),
        (F("a").empty(), {"a": {"$empty": True}}),
        (F("a").empty(False), {"a": {"$empty": False}}),
        (F("a.b") == 1, {"a.b": {"$eq": 1}}),
        (F(escape("a.b")) == 1, {r"a\.b": {"$eq": 1}}),
        (
            F("@created_at") > datetime(2026, 1, 1, tzinfo=UTC),
            {"@created_at": {"$gt": "2026-01-01T00:00:00+00:00"}},
        ),
        (
            (F("a") == 1) & (F("b") == 2) & (F("c") == 3),
            {"$and": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}, {"c": {"$eq": 3}}]},
        ),
        (
            (F("a") == 1) | ~(F("b") == 2) | (F("c") == 3),
            {"$or": [{"a": {"$eq": 1}}, {"$not": {"b": {"$eq": 2}}}, {"c": {"$eq": 3}}]},
        ),
        (
            ((F("a") == 1) | (F("b") == 2)) & (F("c") == 3),
            {"$and": [{"$or": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]}, {"c": {"$eq": 3}}]},
        ),
    ],
)
def test_what_the_builder_makes(built: Filter, raw: dict[str, Any]) -> None:
    assert built.to_dict() == raw
    assert json.loads(json.dumps(raw)) == raw
    if "datetime" not in repr(built):
        assert parse(raw) == built


@pytest.mark.parametrize(
    "build",
    [
        lambda: F("@nosuch"),
        lambda: F("nul \0"),
        lambda: F("a").any([]),
        lambda: F("a") == object(),
        lambda: F("a") > datetime(2026, 1, 1, tzinfo=UTC),  # as text, "Z" is not "+00:00"
        lambda: F("a") == float("nan"),
        lambda: F("a").like("x" * (MAX_PATTERN + 1)),
        lambda: F("@id") == 1,
        lambda: F("@created_at") > datetime(2026, 1, 1),
        lambda: F("a").in_(list(range(MAX_VALUES + 1))),
    ],
)
def test_the_builder_refuses_what_parse_does(build: Callable[[], object]) -> None:
    with pytest.raises(InvalidFilter):
        build()


def test_a_built_filter_is_checked_for_its_size() -> None:
    large = F("a") == 0
    combined: Filter = large
    for number in range(MAX_CONDITIONS):
        combined = combined | (F("a") == number)
    with pytest.raises(InvalidFilter, match=f"at most {MAX_CONDITIONS} conditions"):
        parse(combined)


def test_built_parts_may_stand_in_raw_filters() -> None:
    mixed = parse({"$or": [F("a") == 1, {"b": 2}], "$not": F("c") == 3})
    assert mixed == ((F("a") == 1) | (F("b") == 2)) & ~(F("c") == 3)


def test_a_filter_is_no_truth_value() -> None:
    built = F("a") == 1
    with pytest.raises(TypeError, match="combine filters with &"):
        bool(built)
    with pytest.raises(TypeError):
        _ = 1 < F("a") < 3  # would drop one of its halves
    with pytest.raises(TypeError):
        hash(F("a"))


def test_conditions_finds_all_of_them() -> None:
    built = ((F("a") == 1) | ~(F("b") == 2)) & (F("c") == 3)
    assert [str(condition.target) for condition in conditions(built)] == ["a", "b", "c"]


def test_like_patterns() -> None:
    assert list(like_tokens(r"a%_\%\\")) == [
        (False, "a"), (True, "%"), (True, "_"), (False, "%"), (False, "\\"),
    ]  # fmt: skip
    assert list(like_tokens("\\")) == [(False, "\\")]


text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
) | st.text("ab.@$\\%_", max_size=6)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
FIELD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": text,
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    "time": times,
    "boolean": st.booleans(),
}


lists = st.lists(values, min_size=1, max_size=3)
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"], values),
    **dict.fromkeys(["$in", "$nin", "$any", "$all"], lists),
    **dict.fromkeys(["$like", "$ilike"], text),
    **dict.fromkeys(["$exists", "$empty"], st.booleans()),
    "$between": st.tuples(values, values),
}
BUILDERS: dict[str, Callable[[F, Any], Filter]] = {
    "$eq": lambda name, value: name == value,
    "$ne": lambda name, value: name != value,
    "$gt": lambda name, value: name > value,
    "$gte": lambda name, value: name >= value,
    "$lt": lambda name, value: name < value,
    "$lte": lambda name, value: name <= value,
    "$contains": F.contains,
    "$in": F.in_,
    "$nin": F.not_in,
    "$any": F.any,
    "$all": F.all,
    "$like": F.like,
    "$ilike": F.ilike,
    "$exists": F.exists,
    "$empty": F.empty,
    "$between": lambda name, value: name.between(*value),
}
FIELD_OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$between"]


def build(name: str, operator: str, operand: Any) -> Filter:
    return BUILDERS[operator](F(name), operand)


names = st.lists(text, min_size=1, max_size=3).map(lambda keys: ".".join(map(escape, keys)))


def field_operand(field: str, operator: str) -> st.SearchStrategy[Any]:
    fitting = FIELD_VALUES[RECORD_FIELDS[field]]
    if operator == "$between":
        return st.tuples(fitting, fitting)
    return st.lists(fitting, max_size=3) if operator in ("$in", "$nin") else fitting | st.none()


metadata_conditions = st.one_of(
    [st.builds(build, names, st.just(operator), operand) for operator, operand in OPERANDS.items()]
)
UNORDERED = {"$eq", "$ne", "$in", "$nin"}
record_conditions = st.one_of(
    [
        st.builds(build, st.just(f"@{field}"), st.just(operator), field_operand(field, operator))
        for field, kind in RECORD_FIELDS.items()
        for operator in FIELD_OPERATORS
        if kind != "boolean" or operator in UNORDERED
    ]
)


def test_the_strategies_cover_every_operator() -> None:
    assert set(OPERANDS) == set(BUILDERS) == OPERATORS


def combined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    return st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    )


filters = st.recursive(metadata_conditions | record_conditions, combined, max_leaves=6)


@settings(max_examples=200, deadline=None)
@given(filters)
def test_what_is_built_reads_back_the_same(built: Filter) -> None:
    travelled = json.loads(json.dumps(built.to_dict()))
    # repr too, since True == 1 == 1.0 in Python, and not in a filter
    assert parse(travelled) == built
    assert repr(parse(travelled)) == repr(built)


@settings(max_examples=200, deadline=None)
@given(st.lists(text, min_size=1, max_size=4))
def test_escaped_keys_read_back_the_same(keys: list[str]) -> None:
    name = ".".join(escape(key) for key in keys)
    condition = parse({name: 1})
    assert isinstance(condition, Condition)
    assert condition.target == Path(tuple(keys))
    assert str(condition.target) == name


@settings(max_examples=200, deadline=None)
@given(text)
def test_escaped_patterns_have_no_wildcards(literal: str) -> None:
    tokens = list(like_tokens(escape_like(literal)))
    assert tokens == [(False, character) for character in literal]


def test_joined_admits_what_both_admit() -> None:
    assert joined() is None
    assert joined(None, None) is None
    assert joined(None, {}) is None
    own = F("a") == 1
    assert joined(own, None) is own
    assert joined(own, {}) is own
    assert joined(None, {"b": 2}) == (F("b") == 2)
    assert joined(own, None, own, {"b": 2}) == own & own & (F("b") == 2)
    assert joined(own, {"b": 2, "c": 3}) == own & (F("b") == 2) & (F("c") == 3)
    with pytest.raises(InvalidFilter):
        joined(own, {"b": {"$no": 1}})
