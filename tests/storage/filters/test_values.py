"""What is equal, what a pattern matches, and names and values that look like something else."""

from itertools import product

import pytest
from agentmem_client.errors import InvalidFilter
from agentmem_client.filters import parse
from agentmem_server.storage import Delete, Deleted, Scope, SearchRequest, Selection, Store

from tests.storage.filters.filling import ANYWHERE, admitted, filled, record
from tests.storage.filters.oracle import Json, Where

ALIKE: list[list[Json]] = [
    [1, 1.0],
    [0, -0.0],
    [True],
    ["1"],
    [None],
    [[1], [1.0]],
    [[True]],
    [["1"]],
    [[1, 2]],
    [[2, 1]],
    [[[1]], [[1.0]]],
    [{"a": 1}, {"a": 1.0}],
    [{"a": True}],
    [{"a": 1, "b": [0]}, {"b": [-0.0], "a": 1.0}],
    [[{"a": 1}], [{"a": 1.0}]],
    [2**63, float(2**63)],
    [2**63 - 1],
    [[2**63], [float(2**63)]],
    [[], []],
    [{}],
    [""],
]


async def test_only_what_json_calls_equal_is_equal(store: Store) -> None:
    values = [value for alike in ALIKE for value in alike]
    records = [record(str(n), {"a": value, "in": [value]}) for n, value in enumerate(values)]
    collection = await filled(store, "notes", records)
    everything = {one.id for one in records}
    for alike in ALIKE:
        for value in alike:
            equal = {str(n) for n, one in enumerate(values) if any(one is x for x in alike)}
            assert await admitted(store, collection, {"a": {"$eq": value}}) >= equal
            for name, operator in (("a", "$eq"), ("a", "$ne"), ("in", "$contains")):
                node = Where((name,), {operator: value})
                expected = {one.id for one in records if node.admits(one)}
                assert await admitted(store, collection, node.raw()) == expected
            assert await admitted(store, collection, {"a": {"$in": [value, value]}}) == (
                await admitted(store, collection, {"a": {"$eq": value}})
            )
            assert await admitted(store, collection, {"a": {"$nin": [value]}}) == everything - (
                await admitted(store, collection, {"a": {"$eq": value}})
            )


LETTERS = ["", "a", "B", "*", "?", "[", "]", "^", "%", "_", "\\", "-", "!", "é"]


@pytest.mark.parametrize("operator", ["$like", "$ilike"])
@pytest.mark.parametrize("name", ["t", "@content"])
async def test_patterns_of_every_special_character(store: Store, operator: str, name: str) -> None:
    texts = sorted({a + b for a, b in product(LETTERS, LETTERS)} | {"aBa", "a\nB", "[a]", "[^a]"})
    records = [record(str(n), {"t": text}, text) for n, text in enumerate(texts)]
    collection = await filled(store, "notes", records)
    for pattern in {*texts, "%a%", "_%_", "[a-é]", "[!a]", "[*]", "\\%%", "%\\", "a\\", "__", "%%"}:
        node = Where((name,) if name == "t" else name, {operator: pattern})
        expected = {one.id for one in records if node.admits(one)}
        assert await admitted(store, collection, node.raw()) == expected, pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("ÀÉÎ", "àéî"),
        ("straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("ẞ", "ß"),
        ("İ", "i\u0307"),
        ("İ", "_"),
        ("İ", "__"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ", "ΟΔΟΣ"),
        ("ΟΔΟΣ", "ΟΔΟΣ%"),
        ("ΟΔΟΣΑ", "ΟΔΟΣ%"),
        ("ДА", "д_"),
        ("Ǆ", "ǆ"),
        ("K", "k"),
        ("𐐀", "𐐨"),
        ("𐐀", "_"),
        ("É", "e\u0301"),
        ("é\nÉ", "É%é"),
    ],
)
async def test_case_is_pythons(store: Store, text: str, pattern: str) -> None:
    one = record("r", {"t": text}, text)
    collection = await filled(store, "notes", [one])
    for operator in ("$ilike", "$like"):
        for target in (("t",), "@content"):
            node = Where(target, {operator: pattern})
            expected = {"r"} if node.admits(one) else set()
            assert await admitted(store, collection, node.raw()) == expected


ATTACKS = [
    "' OR '1'='1",
    "') OR 1=1 --",
    '" OR 1=1 --',
    "x'; DROP TABLE memory; --",
    "a') UNION SELECT rid FROM tag --",
    "1) OR (1=1",
    "? ?1 :x @x $x",
    "%' OR '%'='",
    "NULL",
    "m.rid",
    "json_extract(metadata, '$.a')",
    "$.a",
    "a[0]",
    "a->>'b'",
    "\\",
    "\\'",
    "`",
    ";",
    "/* */",
    "%s %d {0} {x}",
    "\u02bc OR 1=1",
    "\uff07 OR 1=1",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_names_and_values_are_never_sql(store: Store, attack: str) -> None:
    records = [
        record("value", {"a": attack, "list": [attack]}, attack),
        record("name", {attack: 1, "in": {attack: 2}}),
        record("other", {"a": "other", "list": ["other"]}, "other"),
    ]
    for one, also in zip(records, (attack, None, None), strict=True):
        one.user_id = one.type = also
    collection = await filled(store, "notes", records)
    tests: list[Where] = [
        *(Where(("a",), {operator: attack}) for operator in ("$eq", "$ne", "$gt", "$lte")),
        *(Where((attack,), {operator: 1}) for operator in ("$eq", "$ne", "$gte")),
        *(Where(target, {"$exists": True}) for target in ((attack,), ("in", attack))),
        *(
            Where(target, {operator: attack})
            for target in (("list",), ("a",), "@content", "@user_id", "@type")
            for operator in ("$contains", "$like", "$ilike", "$eq", "$ne")
        ),
        *(Where(("a",), {operator: [attack, "'"]}) for operator in ("$in", "$nin", "$any")),
        *(Where("@id", {operator: [attack, "'"]}) for operator in ("$in", "$nin", "$any")),
        Where(("a",), {"$between": [attack, attack]}),
    ]
    for node in tests:
        expected = {one.id for one in records if node.admits(one)}
        assert await admitted(store, collection, node.raw()) == expected, node.raw()
    for scope in (Scope(user_id=attack), Scope(agent_id=attack), Scope(session_id=attack)):
        request = SearchRequest(
            Selection(scope), ANYWHERE, ["other"], 9, lambda c: (c.ids, c.similarities)
        )
        found = await store.search(collection, request)
        assert [one.id for one, _ in found] == (["value"] if scope.user_id else [])

    going = Selection(filter=parse({"@content": {"$eq": attack}}))
    assert await store.write([Delete("tenant", "notes", going)]) == [Deleted(1)]
    assert await admitted(store, collection, {"@id": {"$exists": True}}) == {"name", "other"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("@id", "x"), ("@content", "x"), ("@importance", 1), ("@created_at", "2026-01-01T00:00:00Z")],
)
def test_a_list_is_no_value_of_a_field(name: str, value: Json) -> None:
    """A field holds one value: comparing it with a list can't be meant, and is refused."""
    for listed in ([], [value], [value, value], [None]):
        with pytest.raises(InvalidFilter):
            parse({name: listed})
        for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"):
            with pytest.raises(InvalidFilter):
                parse({name: {operator: listed}})
        for operator in ("$between", "$in", "$nin", "$any", "$all"):
            with pytest.raises(InvalidFilter):
                parse({name: {operator: [listed, listed]}})
