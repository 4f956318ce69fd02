"""Conditions: what loads, what it means for JSON values, what it costs, and that nothing raises."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.conditions import (
    Environment,
    Explanation,
    Failure,
    compile_condition,
    compile_expression,
    render_value,
)
from remit.errors import ConditionError, Problem

ROW = {
    "type": "object",
    "properties": {
        "qty": {"type": "integer"},
        "price": {"type": "string", "format": "decimal"},
        "note": {"type": "string"},
    },
    "required": ["qty", "price"],
}
ARGS = {
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string"}},
            "required": ["city"],
        },
        "tree": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/tree"}},
            "required": ["name", "next"],
        },
    },
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "fee": {"type": "string", "format": "decimal"},
        "fees": {"type": "array", "items": {"type": "string", "format": "decimal"}},
        "text": {"type": "string"},
        "flag": {"type": "boolean"},
        "memo": {"type": "string"},
        "due": {"type": "string", "format": "date-time"},
        "within": {"type": "string", "format": "duration"},
        "limit": {"type": ["integer", "null"]},
        "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "rows": {"type": "array", "items": ROW},
        "tags": {"type": "array", "items": {"type": "string"}},
        "rates": {"type": "object", "additionalProperties": {"type": "string", "format": "decimal"}},
        "to": {"$ref": "#/$defs/address"},
        "via": {"$ref": "#/$defs/address"},
        "tree": {"$ref": "#/$defs/tree"},
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "maybe": {"anyOf": [{"type": "array", "items": ROW}, {"type": "null"}]},
        "kind": {"enum": ["a", "b"]},
        "any": {},
        "odd-name": {"type": "string"},
        "none": {"type": "null"},
    },
    "required": [
        "amount",
        "count",
        "fee",
        "fees",
        "text",
        "flag",
        "due",
        "within",
        "limit",
        "nick",
        "rows",
        "tags",
        "rates",
        "to",
        "tree",
        "grid",
        "maybe",
        "kind",
        "any",
        "none",
    ],
}
ENVIRONMENT = Environment({"args": ARGS, "facts": {"type": "object"}, "now": {"type": "string", "format": "date-time"}})
GOOD: dict[str, object] = {
    "amount": 12.5,
    "count": 3,
    "fee": "0.10",
    "fees": ["1.10", "2.20"],
    "text": "hello",
    "flag": True,
    "due": "2026-03-29T00:30:00Z",
    "within": "P1DT2H",
    "limit": None,
    "nick": None,
    "rows": [{"qty": 2, "price": "9.99"}, {"qty": 0, "price": "1", "note": "x"}],
    "tags": ["a", "b"],
    "rates": {"EUR": "1.00", "USD": "1.08"},
    "to": {"city": "Rome"},
    "tree": {"name": "a", "next": {"name": "b"}},
    "grid": [[1, 2], [3]],
    "maybe": None,
    "kind": "a",
    "any": {"x": [1, "two", None]},
    "none": None,
}


def roots(**changes: object) -> dict[str, object]:
    args = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return {"args": args, "facts": {"known": True}, "now": datetime(2026, 1, 31, 8, tzinfo=UTC)}


def evaluate(source: str, **changes: object) -> bool | Failure:
    condition = compile_condition(source, ENVIRONMENT)
    given_roots = roots(**changes)
    found = condition.evaluate(given_roots)
    assert condition.explain(given_roots).value == found
    return found


def failure(source: str, **changes: object) -> str:
    found = evaluate(source, **changes)
    assert isinstance(found, Failure), found
    return found.message


def refused(source: str, environment: Environment = ENVIRONMENT) -> tuple[Problem, ...]:
    with pytest.raises(ConditionError) as caught:
        compile_condition(source, environment)
    return caught.value.problems


TRUE = [
    "args.amount == 12.5 && args.amount > 12 && args.amount <= 13u && args.amount != 12",
    "args.count > 2.5 && args.count == 3.0 && args.count < args.amount",
    "args.fee == 0.1 && args.fee < 1 && args.fee > 0 && args.fee * 3.0 == 0.3",
    "args.fees[0] + args.fees[1] == 3.3 && 2.2 in args.fees && !(2.3 in args.fees)",
    "args.fees.all(f, f > 1) && args.fees == [1.1, 2.2] && args.fees.map(f, f * 2.0) == [2.2, 4.4]",
    "args.rates.EUR == 1 && args.rates['USD'] > 1.07 && args.rates.all(c, args.rates[c] >= 1.0)",
    "args.rates == {'EUR': 1.0, 'USD': 1.08} && 'EUR' in args.rates && has(args.rates.EUR)",
    "args.rows.exists(r, r.price * 2.0 == 19.98) && args.rows[0].price > 9",
    "args.rows.filter(r, r.qty > 0).map(r, r.price) == [9.99] && args.rows.exists_one(r, r.qty == 2)",
    "args.rows.filter(r, r.qty > 0)[0].price == 9.99 && args.rows.map(r, r.qty) == [2, 0]",
    "args.limit == null && (args.limit == null || args.limit > 5) && args.nick != 'x'",
    "args.due.getHours('Europe/Berlin') == 1 && args.due > timestamp('2026-03-28T23:59:59Z')",
    "args.due + args.within == timestamp('2026-03-30T02:30:00Z') && args.within == duration('26h')",
    "now.getDayOfWeek() == 6 && now < args.due && string(now) == '2026-01-31T08:00:00Z'",
    "args.to.city == 'Rome' && args.to != null && args.tree.next.name == 'b'",
    "args.grid[0][1] == 2 && args.grid.exists(row, row.all(n, n > 2)) && args.grid == [[1, 2], [3]]",
    "args.maybe == null || args.maybe.all(r, r.price > 1)",
    "args.kind in ['a', 'b'] && args.kind == 'a' && args.none == null",
    "args.any.x[1] == 'two' && args.any.x[2] == null && args.any == {'x': [1.0, 'two', null]}",
    "facts.known && has(facts.known) && !has(facts.unknown)",
    "args.text.matches('^h.*o$') && args.text.size() == 5 && args.text.contains('ell')",
    "type(args.amount) == double && type(args.count) == int && type(args.tags) == list && type(1u) == uint",
    "dyn(args.count) == 3u && dyn(1) != dyn(true) && dyn(true) != dyn(1) && dyn('1') != dyn(1)",
    "{1: 'a', true: 'b'}[true] == 'b' && {1: 'a', true: 'b'}[1.0] == 'a' && !(dyn(1) in {true: 1})",
    "(args.flag ? args.rows : args.rows)[0].price == 9.99 && [args.fee, 1.0][0] == 0.1",
    "1 / 0 == 1 || true",
    "!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)",
    "[1, 2, 3].exists(x, 10 / (x - 1) == 10) && ![1, 0].all(x, 1 / x == 0)",
    "[0, 1].exists(x, 1 / x == 1) && [3, 0, 1].all(x, 1 / x >= 0) == false || true",
    "-7 / 2 == -3 && -7 % 2 == -1 && 7 % -2 == 1 && 1.0 / 0.0 > 1e308",
    "0.0 / 0.0 != 0.0 / 0.0 && !(0.0 / 0.0 < 1.0) && !(0.0 / 0.0 >= 1.0)",
]


@pytest.mark.parametrize("source", TRUE)
def test_a_condition_means_what_cel_and_the_schema_say(source: str) -> None:
    assert evaluate(source) is True
    assert evaluate(f"!({source})") is False


ERRORS = [
    ("args.count / 0 == 1", "division by zero"),
    ("1.5 in {1.5: 2}", "`{}` can't be applied to (double)"),
    ("'a' in {'a': 1, 'a': 2}", "key `a` twice in a map"),
    ("args.count % 0 == 1", "modulus by zero"),
    ("args.count + 9223372036854775807 > 0", "integer overflow"),
    ("args.limit > 1", "can't be applied to (null_type, int)"),
    ("args.nick.startsWith('a')", "can't be applied to (null_type, string)"),
    ("facts.missing == 1", "no such field `missing`"),
    ("facts.known.x == 1", "no field `x` in bool"),
    ("args.rates.CHF > 1", "no such field `CHF`"),
    ("args.rates['CHF'] > 1", "no such key `CHF`"),
    ("args.fees[2] > 1", "index 2 is out of the list of 2"),
    ("args.any && true", "left of `&&` is map, not true or false"),
    ("args.any.x[0]", "the condition is int, not true or false"),
    ("facts.known > 1", "can't be applied to (bool, int)"),
    ("int(args.text) == 1", "`hello` is not an integer"),
    ("now.getHours(args.text) == 1", "`hello` is not a time zone"),
    ("args.text.matches('(' + args.text)", "is not a regular expression"),
    ("[1, 2].all(x, x > 0 && facts.nope)", "no such field `nope`"),
]


@pytest.mark.parametrize(("source", "message"), ERRORS)
def test_what_goes_wrong_is_a_failure_that_says_what_and_where(source: str, message: str) -> None:
    found = evaluate(source)
    assert isinstance(found, Failure)
    assert message in found.message
    assert found.line == 1
    assert 1 <= found.column <= len(source)


def test_a_failure_names_the_line_and_column_in_a_condition_of_several_lines() -> None:
    assert evaluate("args.flag &&\n  args.count / 0 == 1") == Failure("division by zero", 2, 14)


WRONG = [
    ("count", True, "args.count > 0", "bool found where an integer is declared"),
    ("count", "3", "args.count > 0", "string found where an integer is declared"),
    ("count", 3.5, "args.count > 0", "double found where an integer is declared"),
    ("count", None, "args.count > 0", "null_type found where an integer is declared"),
    ("count", 2**70, "args.count > 0", "integer out of the 64-bit range"),
    ("amount", True, "args.amount > 0", "bool found where a number is declared"),
    ("amount", "12", "args.amount > 0", "string found where a number is declared"),
    ("amount", 2**70, "args.amount + 1.0 > 0.0", "integer out of the 64-bit range"),
    ("flag", 1, "args.flag", "int found where true or false is declared"),
    ("text", 5, "args.text == '5'", "int found where a string is declared"),
    ("fee", "NaN", "args.fee > 0", "`NaN` is not a decimal number"),
    ("fee", "Infinity", "args.fee > 0", "`Infinity` is not a decimal number"),
    ("fee", "1_0", "args.fee > 0", "`1_0` is not a decimal number"),
    ("fee", " 1", "args.fee > 0", "` 1` is not a decimal number"),
    ("fee", "1e99999", "args.fee > 0", "decimal out of range"),
    ("fee", Decimal("NaN"), "args.fee > 0", "decimal is not a finite number"),
    ("fee", 5, "args.fee > 0", "int found where a decimal number in a string is declared"),
    ("fees", ["1", True], "1.0 in args.fees", "bool found where a decimal number in a string is declared"),
    ("tags", ["a", 1], "!('z' in args.tags)", "int found where a string is declared"),
    ("tags", "ab", "args.tags.size() == 2", "string found where a list is declared"),
    ("tags", "ab", "'a' in args.tags", "string found where a list is declared"),
    ("rows", {"qty": 1}, "args.rows.all(r, true)", "map found where a list is declared"),
    ("rows", [5], "args.rows.all(r, r.qty > 0)", "int found where an object is declared"),
    ("rates", ["EUR"], "'EUR' in args.rates", "list found where an object is declared"),
    ("rates", "EUR", "has(args.rates.EUR)", "string found where an object is declared"),
    ("to", "Rome", "args.to.city == 'Rome'", "string found where an object is declared"),
    ("due", "yesterday", "args.due < now", "`yesterday` is not a timestamp"),
    ("due", datetime(2026, 1, 1), "args.due < now", "timestamp without a time zone"),
    ("within", "P1M", "args.within > duration('1h')", "`P1M` is not a duration"),
    ("any", 2**70, "args.any > 1", "integer out of the 64-bit range"),
    ("any", object(), "args.any == 1", "a object is no value of a condition"),
    ("count", ..., "args.count > 0", "no such field `count`"),
]


@pytest.mark.parametrize(("name", "value", "source", "message"), WRONG)
def test_a_value_that_is_not_what_its_schema_says_is_a_failure(
    name: str, value: object, source: str, message: str
) -> None:
    assert message in failure(source, **{name: value})


FINE = [
    ("amount", 13, "args.amount > 12.5 && args.amount / 2.0 == 6.5 && type(args.amount) == double"),
    ("amount", Decimal("0.1"), "args.amount == 0.1 && args.amount < 0.2"),
    ("amount", 2**70, "args.amount > 1000"),
    ("amount", float("nan"), "!(args.amount > 0) && !(args.amount <= 0) && args.amount != args.amount"),
    ("count", 3.0, "args.count == 3 && args.count + 1 == 4"),
    ("fee", Decimal("1000.10"), "args.fee == 1000.1 && string(args.fee) == '1000.10'"),
    ("limit", 7, "args.limit > 5 && args.limit + 1 == 8"),
    ("maybe", [{"qty": 1, "price": "2"}], "args.maybe[0].price == 2 && args.maybe.all(r, r.qty == 1)"),
    ("tags", ("a", "b"), "args.tags == ['a', 'b'] && args.tags.size() == 2"),
    ("to", MappingProxyType({"city": "Rome"}), "args.to.city == 'Rome'"),
    ("due", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "args.due == timestamp('2026-03-29T00:30:00Z')"),
    ("within", timedelta(hours=26), "args.within == duration('26h')"),
    (
        "any",
        datetime(2026, 1, 1, tzinfo=UTC),
        "args.any == timestamp('2026-01-01T00:00:00Z') && [args.any] == [args.any]",
    ),
    ("any", [2**70], "args.any == args.any && size(args.any) == 1"),
]


@pytest.mark.parametrize(("name", "value", "source"), FINE)
def test_values_are_taken_as_json_and_python_write_them(name: str, value: object, source: str) -> None:
    assert evaluate(source, **{name: value}) is True


def test_decimals_are_exact_and_what_has_no_exact_result_is_a_failure() -> None:
    assert evaluate("args.fee + 0.2 == 0.3") is True
    assert evaluate("args.fee / 4.0 == 0.025") is True
    assert "division by zero" in failure("args.fee / 0.0 > 1.0")
    assert "has no exact result" in failure("args.fee + 1e-200 > 0.0")
    assert "not a finite number" in failure("args.fee + (0.0 / 0.0) > 0.0")
    assert evaluate("args.fee < 1.0 / 0.0 && !(args.fee < 0.0 / 0.0)") is True


def test_a_mapping_that_makes_up_missing_keys_is_asked_for_them() -> None:
    class Counts(dict[str, int]):
        def __missing__(self, key: str) -> int:
            return len(key)

    for source in ("facts.abc == 3", "facts['abcd'] == 4"):
        assert compile_condition(source, ENVIRONMENT).evaluate({"facts": Counts()}) is True


def test_whatever_a_root_raises_is_a_failure() -> None:
    class Broken(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            raise NotImplementedError

        def __iter__(self) -> object:
            raise Exception("no")

        def __len__(self) -> int:
            raise MemoryError

    for source in ("facts.a == 1", "facts == {}", "facts.all(k, true)", "size(facts) == 1", "has(facts.a)"):
        condition = compile_condition(source, ENVIRONMENT)
        for broken in ({"facts": Broken()}, Broken(), {}):
            found = condition.evaluate(broken)
            assert isinstance(found, Failure)
            assert condition.explain(broken).value == found


# --- what is refused when a condition loads ------------------------------------------------------------


REFUSED = [
    ("args.amuont > 1", 5, "no field `amuont` in `args`", "did you mean `amount`?"),
    ("has(args.amuont)", 4, "no field `amuont` in `args`", "did you mean `amount`?"),
    ("args.to.town == ''", 8, "no field `town` in `args.to`", "its fields are city, zip"),
    (
        "args.rows.all(r, r.quantity > 1)",
        19,
        "no field `quantity` in `args.rows`",
        "its fields are qty, price, note",
    ),
    ("arg.amount > 1", 1, "unknown name `arg`", "did you mean `args`?"),
    ("true && fact.x.y", 9, "unknown name `fact`", "did you mean `facts`?"),
    ("args.text.startWith('a')", 11, "unknown name `startWith`", "did you mean `startsWith`?"),
    ("args.amount > '100'", 13, "`>` can't be applied to (double, string)", ""),
    ("args.text == 5", 11, "`==` can't be applied to (string, int)", ""),
    ("args.amount * 2 > 1", 13, "`*` can't be applied to (double, int)", "calculate in one type"),
    ("args.amount", 1, "the condition is double, not true or false", "compare it"),
    ("args.rows", 1, "the condition is list", "compare it"),
    (
        "args[args.text] > 1",
        5,
        "`[]` can't be applied to (object `args`, string)",
        "select a field with a dot",
    ),
    ("args.count && true", 12, "`&&` can't be applied to (int, bool)", "it takes true or false"),
    ("args.flag ? 1 : 'a'", 11, "`?:` can't be applied to (bool, int, string)", ""),
    ("args.amount >", 13, "nothing comes after `>`", "say what does"),
    ("args.text.matches('(')", 19, "`(` is not a regular expression", ""),
    ("now.getHours('Mars/Olympus') > 1", 14, "`Mars/Olympus` is not a time zone", ""),
    ("now > timestamp('soon')", 17, "`soon` is not a timestamp", ""),
    ("args.within > duration('long')", 24, "`long` is not a duration", ""),
    ("args.all(a, true)", 1, "object `args` is neither a list nor a map", ""),
    ("args.amount.x == 1", 12, "double has no fields", ""),
    ("google.protobuf.Int64Value{value: 1} == 1", 1, "making a message", ""),
    ("math.greatest(1, 2) == 2", 1, "unknown name `math`", ""),
    ("args.text.lowerAscii() == 'a'", 11, "there is no `lowerAscii`", "texts compare"),
    ("size(args.text, 1) == 1", 1, "`size` isn't called like this", ""),
    ("", 0, "empty condition", ""),
    ("\ud800 == 1", 0, "not valid text", ""),
]


@pytest.mark.parametrize(("source", "column", "message", "hint"), REFUSED)
def test_a_mistake_is_refused_when_the_condition_loads(source: str, column: int, message: str, hint: str) -> None:
    problem = refused(source)[0]
    assert message in problem.message
    assert hint in problem.hint
    assert problem.column == column
    assert problem.file == ""
    assert (problem.line, problem.snippet) == ((1, source) if column else (0, ""))


def test_all_problems_of_a_condition_are_told_at_once() -> None:
    problems = refused("args.amuont > 1 &&\n  arg.x && args.text > 5")
    assert [(problem.line, problem.column) for problem in problems] == [(1, 5), (2, 3), (2, 22)]
    assert [problem.message for problem in refused("args.memo == '' && args.via.zip == '' && args.count")] != []


UNGUARDED = [
    ("args.memo == ''", ["args.memo"]),
    ("args.memo == '' || has(args.memo)", ["args.memo"]),
    ("has(args.memo) || args.memo == ''", ["args.memo"]),
    ("!has(args.memo) && args.memo == ''", ["args.memo"]),
    ("has(args.memo) ? true : args.memo == ''", ["args.memo"]),
    ("(has(args.memo) || args.flag) && args.memo == ''", ["args.memo"]),
    ("(!has(args.memo) && args.flag) ? true : args.memo == ''", ["args.memo"]),
    ("has(args.via) && args.via.zip == ''", ["args.via.zip"]),
    ("has(args.via.zip)", ["args.via"]),
    ("args.via.city == ''", ["args.via"]),
    ("args.rows.all(r, r.note == '')", ["r.note"]),
    ("args.rows.exists(r, has(r.note)) && args.rows.exists(r, r.note == '')", ["r.note"]),
    ("has(args.rows[0].note) && args.rows[1].note == ''", ["args.rows[1].note"]),
    ("args.maybe.all(r, r.note == '')", ["r.note"]),
    ("args.rows.filter(r, r.qty > 1).all(r, r.note == '')", ["r.note"]),
    ("args.memo == args.via.zip", ["args.memo", "args.via", "args.via.zip"]),
    ("has(args.via) && (has(args.memo) || args.via.zip == args.memo)", ["args.via.zip", "args.memo"]),
]


@pytest.mark.parametrize(("source", "fields"), UNGUARDED)
def test_an_optional_field_without_a_guard_is_refused_when_the_condition_loads(source: str, fields: list[str]) -> None:
    problems = refused(source)
    assert [problem.message for problem in problems] == [f"`{field}` may be absent" for field in fields]
    assert problems[0].hint == f"write `has({fields[0]}) && ...`"


GUARDED = [
    "has(args.memo) && args.memo == ''",
    "args.memo == '' && has(args.memo)",
    "!has(args.memo) || args.memo == ''",
    "args.memo == '' || !has(args.memo)",
    "has(args.memo) ? args.memo == '' : false",
    "!has(args.memo) ? false : args.memo == ''",
    "(has(args.memo) ? true : false) && args.memo == ''",
    "has(args.memo) && (args.count > 1 || args.memo == '')",
    "has(args.via) && has(args.via.zip) && args.via.zip == ''",
    "has(args.via) && args.via.city == '' && args.count > 1",
    "args.rows.all(r, has(r.note) && r.note == '')",
    "has(args.memo) && args.rows.all(r, args.memo == '' || !has(r.note) || r.note == args.memo)",
    "args.rows.filter(r, has(r.note) && r.note == 'x').size() == 1",
    "args.rows.map(r, has(r.note), r.note) == ['x']",
    "has(args.rows[0].note) && args.rows[0].note == ''",
    "!(!has(args.memo) || args.memo == '')",
    "false && args.memo == ''",
]


@pytest.mark.parametrize("source", GUARDED)
def test_a_guarded_optional_field_loads_and_never_fails_for_being_absent(source: str) -> None:
    assert evaluate(source) in (True, False)
    assert evaluate(source, memo="", via={"city": "", "zip": ""}) in (True, False)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 20_000 + "true" + ")" * 20_000,
        "(" * 9_000 + "true" + ")" * 9_000,
        "'" + "a" * 1_000_000 + "' == ''",
        "1" + " + 1" * 4_000 + " == 1",
        "[" * 9_000 + "]" * 9_000 + " == []",
        "true ? " * 2_000 + "true" + " : true" * 1_000,
        "a" + ".a" * 9_000 + " == 1",
        "[1].all(x, " * 1_000 + "true" + ")" * 1_000,
    ],
    ids=["parentheses", "fewer parentheses", "a megabyte", "sum", "brackets", "choices", "fields", "macros"],
)
def test_a_condition_too_long_or_too_deep_is_refused_and_quickly(source: str) -> None:
    start = time.perf_counter()
    refused(source)
    assert time.perf_counter() - start < 2


def test_wide_conditions_are_fine() -> None:
    assert evaluate(" && ".join(["args.flag"] * 1_500)) is True
    assert evaluate(" || ".join(["args.count == 1"] * 1_000)) is False
    nested = "args.tags.all(a, " * 12 + "true" + ")" * 12
    assert evaluate(nested) is True


# --- what evaluating costs -----------------------------------------------------------------------------


def test_nested_macros_stop_at_the_step_budget_in_bounded_time() -> None:
    rows = [{"qty": 1, "price": "1"}] * 10_000
    sources = [
        "args.rows.all(a, args.rows.all(b, a.qty == b.qty))",
        "args.rows.all(a, args.rows.all(b, args.rows.all(c, facts.nope)))",
        "args.rows.map(a, args.rows.map(b, b)).size() == 1",
        "args.rows.exists(a, a.price == 1 && args.rows != args.rows) || true",
        "args.rows.all(a, args.rows.map(r, r.qty) + args.rows.map(r, r.qty) != [])",
    ]
    for source in sources:
        start = time.perf_counter()
        assert failure(source, rows=rows) == "step budget used up"
        assert time.perf_counter() - start < 5


def test_searching_and_comparing_whole_lists_counts_towards_the_step_budget() -> None:
    many = [str(number) for number in range(5_000)]
    for source in ("args.tags.exists(t, 'x' in facts.tags)", "args.fees.exists(f, args.fees == [])"):
        condition = compile_condition(source, ENVIRONMENT)
        found = condition.evaluate({"args": {"tags": many, "fees": many}, "facts": {"tags": many}})
        assert found == Failure("step budget used up", 1, 1)


def test_long_text_counts_towards_the_step_budget() -> None:
    text = "a" * 1_000_000
    assert evaluate("args.text.matches('b$')", text=text) is False
    assert evaluate("args.text.contains('b') || args.text == 'b' || args.text < 'b'", text=text) is True
    tests = [
        "args.text.matches('b')",
        "(args.text + t).size() < 0",
        "args.text.contains('b')",
        "args.text != t",
        "t < args.text",
    ]
    for test in tests:
        assert failure(f"args.tags.exists(t, {test})", text=text, tags=[text] * 500) == "step budget used up"


def test_the_budget_is_the_callers_and_using_it_up_is_absorbed_by_nothing() -> None:
    condition = compile_condition("args.rows.all(r, r.qty >= 0) || true", ENVIRONMENT)
    assert condition.evaluate(roots(), 2) is True
    assert condition.evaluate(roots(), 1) == Failure("step budget used up", 1, 1)
    expression = compile_expression("args.rows.map(r, r.qty)", ENVIRONMENT)
    assert expression.evaluate(roots(), 2) == [2, 0]
    assert expression.evaluate(roots(), 1) == Failure("step budget used up", 1, 1)


def test_values_nested_too_deeply_are_a_failure() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert isinstance(evaluate("args.any == facts.known || args.any == args.any", any=deep), Failure)
    found = compile_expression("args.any", ENVIRONMENT).evaluate(roots(any=deep))
    assert isinstance(found, Failure)
    assert isinstance(render_value(deep), str)


def test_arguments_are_neither_copied_nor_changed() -> None:
    class Watched(list[object]):
        def __iter__(self) -> object:
            raise AssertionError("gone through")

    rows = Watched([{"qty": 1, "price": "2"}])
    assert evaluate("args.rows[0].price == 2 && args.rows.size() == 1 && args.amount > 1", rows=rows) is True


# --- environments --------------------------------------------------------------------------------------


names = st.sampled_from(
    [
        "a",
        "A",
        "aEntry",
        "AEntry",
        "a_b",
        "aB",
        "a-b",
        "in",
        "if",
        "as",
        "true",
        "null",
        "T0",
        "T1",
        "class",
        "é",
        "",
        "_",
        "_a",
    ]
) | st.text(max_size=5)
schemas = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer"},
            {"type": ["number", "null"]},
            {"type": "boolean"},
            {},
            True,
            {"type": "null"},
            {"type": "string", "format": "decimal"},
            {"type": "string", "format": "date-time"},
            {"type": 5},
            {"$ref": "#"},
            {"$ref": "#/nope"},
            {"enum": [1, "a"]},
            {"const": None},
            {"anyOf": []},
            {"type": []},
            {"anyOf": 5},
            {"enum": []},
        ]
    ),
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(lambda item: {"type": "object", "additionalProperties": item}, inner)
        | st.builds(
            lambda fields, all_required: {
                "type": ["object", "null"] if len(fields) == 1 else "object",
                "properties": fields,
                "required": list(fields) if all_required else [],
            },
            st.dictionaries(names, inner, max_size=6),
            st.booleans(),
        )
        | st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner)
    ),
    max_leaves=12,
)
KEYWORDS = {"in", "true", "null", "false", "as", "if"}


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, schemas, max_size=6))
def test_any_schema_makes_an_environment_in_which_every_plain_name_can_be_used(
    fields: dict[str, object],
) -> None:
    environment = Environment({"r": {"type": "object", "properties": fields, "required": list(fields)}})
    for name in fields:
        if name.isidentifier() and name.isascii() and name not in KEYWORDS:
            condition = compile_condition(f"dyn(r.{name}) == null", environment)
            for value in (None, 1, "x", [], {}, [[]], {"a": 1}, True, 2**70):
                assert isinstance(condition.evaluate({"r": {name: value}}), (bool, Failure))


def test_an_object_of_unknown_fields_is_a_map_and_recursion_ends_in_any_value() -> None:
    assert evaluate("args.tree.next.anything.goes == 1", tree={"next": {"anything": {"goes": 1}}}) is True
    assert failure("args.tree.next.anything.goes == 1") == "no such field `anything`"
    refused("args.tree.nex == 1")


def test_a_root_named_like_a_type_does_no_harm() -> None:
    environment = Environment({"int": {"type": "object"}, "google": {"type": "object"}})
    assert compile_condition("int(google.x) == 1", environment).evaluate({"google": {"x": "1"}}) is True


# --- expressions, values and explanations ---------------------------------------------------------------


EXPRESSIONS = [
    ("args.amount", 12.5),
    ("args.fee", Decimal("0.10")),
    ("args.due", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)),
    ("args.within", timedelta(days=1, hours=2)),
    ("args.rows[1]", {"qty": 0, "price": Decimal(1), "note": "x"}),
    ("args.fees", [Decimal("1.10"), Decimal("2.20")]),
    ("{true: 1u, 2: type(1)}", {True: 1, 2: "int"}),
    ("args.limit", None),
    ("args.count + 1", 4),
    ("'a' + args.text", "ahello"),
    ("b'ab'", b"ab"),
]


@pytest.mark.parametrize(("source", "value"), EXPRESSIONS)
def test_an_expression_gives_a_plain_python_value(source: str, value: object) -> None:
    found = compile_expression(source, ENVIRONMENT).evaluate(roots())
    assert found == value
    assert type(found) is type(value)


def test_an_expression_that_goes_wrong_is_a_failure_and_one_that_does_not_load_is_refused() -> None:
    found = compile_expression("args.rates.CHF", ENVIRONMENT).evaluate(roots())
    assert found == Failure("no such field `CHF`", 1, 11)
    with pytest.raises(ConditionError):
        compile_expression("args.memo", ENVIRONMENT)
    with pytest.raises(ConditionError):
        compile_expression("", ENVIRONMENT)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1000.10"), "1000.10"),
        (Decimal("1E+3"), "1000"),
        ("text", "text"),
        (True, "true"),
        (None, "null"),
        (5, "5"),
        (2.5, "2.5"),
        (1000.0, "1000"),
        (datetime(2026, 1, 31, 8, tzinfo=UTC), "2026-01-31T08:00:00Z"),
        (timedelta(seconds=90), "90s"),
        ({"b": [1, Decimal("2.50"), None]}, '{"b":[1,"2.50",null]}'),
        ([], "[]"),
        (Failure("no such field `x`", 1, 1), "error: no such field `x`"),
        ("a" * 500, "a" * 199 + "…"),
        (Decimal("1E+6000"), "1E+6000"),
    ],
)
def test_a_value_appears_in_a_reason_as_people_write_it(value: object, text: str) -> None:
    assert render_value(value) == text


def test_an_explanation_shows_every_leaf_also_of_the_side_that_did_not_matter() -> None:
    condition = compile_condition("args.amount > 1000 && (facts.known || args.count / 0 == 1)", ENVIRONMENT)
    assert condition.explain(roots()) == Explanation(
        "args.amount > 1000 && (facts.known || args.count / 0 == 1)",
        False,
        (
            Explanation("args.amount > 1000", False, (Explanation("args.amount", 12.5, ()),)),
            Explanation(
                "facts.known || args.count / 0 == 1",
                True,
                (
                    Explanation("facts.known", True, ()),
                    Explanation(
                        "args.count / 0 == 1",
                        Failure("division by zero", 1, 50),
                        (
                            Explanation(
                                "args.count / 0",
                                Failure("division by zero", 1, 50),
                                (Explanation("args.count", 3, ()),),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


ROUND_TRIPS = [
    "a.b && (c || !d) ? e[0].f == 'x' : -g < 1",
    "(a + b) * c - (d - e) == f % 2 / 3",
    "l.all(x, x.y in [1, 2u, 2.5, true, null, b'x'])",
    "l.filter(x, x > 1).map(y, dyn(y)).exists_one(z, has(z.w)) || dyn(m.map(k, k > 1, k + 1)) == 1",
    "m == {'a': 1, true: [2]}",
    "now.getHours('UTC') > 1 && s.matches('^a') && size(s) == s.size() && string(1) == '1'",
    "now > timestamp('2026-01-01T00:00:00Z') && type(1) == int && (a ? b : c) ? d : e ? f : g",
]


@pytest.mark.parametrize("source", ROUND_TRIPS)
def test_an_explanation_writes_every_part_as_cel_of_the_same_meaning(source: str) -> None:
    environment = Environment({name: {} for name in "abcdefglms"} | {"now": {"type": "string", "format": "date-time"}})
    first = compile_condition(f"true && ({source})", environment)
    again = first.explain({}).children
    # `true` is a literal, so the only child is the source, written anew.
    text = again[0].source
    second = compile_condition(f"true && ({text})", environment)
    assert second.explain({}).children[0].source == text
    assert text.replace('"', "'").replace(" ", "") == source.replace(" ", "")


RANDOM = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.just(2**70)
    | st.floats(allow_nan=True, width=16)
    | st.sampled_from(["", "a", "1.5", "NaN", "2026-01-01T00:00:00Z", "P1D"])
    | st.just(Decimal("1.5")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["qty", "price", "note", "x", "EUR"]), inner)
    ),
    max_leaves=5,
)
TYPED = [
    compile_condition(source, ENVIRONMENT)
    for source in [*TRUE, *GUARDED, *(source for source, _ in ERRORS), *(source for _, _, source, _ in WRONG)]
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "memo", "via"], RANDOM)))
def test_typed_conditions_take_any_json_without_raising_and_explain_what_they_decide(
    changes: dict[str, object],
) -> None:
    given_roots = roots(**changes)
    for condition in TYPED:
        found = condition.evaluate(given_roots)
        assert found is True or found is False or isinstance(found, Failure)
        assert condition.explain(given_roots).value == found
