"""What people write who don't know CEL is refused in our words, at its place, with what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.cel.slips import slips
from remit.core.conditions import Environment, compile_condition, compile_expression
from remit.errors import ConditionError, Problem

ARGUMENTS: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer"}, "iban": {"type": "string"}, "to": {"type": "string"},
        "memo": {"type": ["string", "null"]}, "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["amount", "iban", "to", "tags"],
}  # fmt: skip
NAMES = Environment({"args": ARGUMENTS, "now": {"type": "string", "format": "date-time"}})
PARSER = (
    "token recognition", "mismatched", "extraneous", "viable", "<EOF>", "syntax error", "overload", "undeclared",
    "literal", "wrapper", "ANTLR", "IDENTIFIER", "reserved identifier",
)  # fmt: skip
SLIPS = (
    ("args.amount = 1", 13, "`==`"),
    ("args.amount === 1", 13, "`==`"),
    ("args.amount <> 1", 13, "`!=`"),
    ("args.amount => 1", 13, "`>=`"),
    ("args.amount =< 1", 13, "`<=`"),
    ("args.amount > 1 and args.amount < 5", 17, "`&&`"),
    ("args.amount > 1 AND args.amount < 5", 17, "`&&`"),
    ("args.amount > 1 or args.amount < 5", 17, "`||`"),
    ("not args.amount > 1", 1, "`!`"),
    ("NOT (args.amount > 1)", 1, "`!`"),
    ("args.amount > 1 & args.amount < 5", 17, "`&&`"),
    ("args.amount > 1 | args.amount < 5", 17, "`||`"),
    ("args.amount > 1 && && true", 17, "remove one"),
    ('args.iban contains "x"', 11, ".contains("),
    ('args.iban.includes("x")', 11, ".contains("),
    ('args.tags.contains("x")', 19, "in args.tags"),
    ('args.iban.startswith("x")', 11, "`startsWith`"),
    ('args.iban.startsWith "x"', 10, ".startsWith("),
    ('args.iban startswith "x"', 11, ".startsWith("),
    ('args.iban.lower() == "x"', 11, "(?i)"),
    ('args.iban in ("a", "b")', 11, "in ["),
    ('args.iban in {"a", "b"}', 11, "in ["),
    ('args.iban in "a", "b"', 11, "in ["),
    ('args.iban not in ["a"]', 11, "!(args.currency in"),
    ("args.memo is null", 11, "has("),
    ("args.memo is not None", 11, "has("),
    ("args.iban == None", 14, "`null`"),
    ("args.amount == True", 16, "`true`"),
    ("args.iban != null", 11, "has("),
    ('args.iban == "x', 14, "closing quote"),
    ("args.iban == 'x", 14, "closing quote"),
    ("args.iban == \u201cx\u201d", 14, '`"`'),
    ("args.iban == `x`", 14, '`"`'),
    ("args.amount.x.y > 1", 12, "take `.x` out"),
    ('f"{args.iban}" == "x"', 1, "`+`"),
    ("args.amount > 1 ? true", 17, "test ? yes : no"),
    ("if args.amount > 1 then true", 1, "test ? yes : no"),
    ("args.amount if args.amount > 1 else 2", 13, "test ? yes : no"),
    ("args.amount > 1,000", 15, "1000"),
    ("args.amount > 1_000", 15, "1000"),
    ("args.amount > 1k", 15, "1000"),
    ("args.amount > $5", 15, "plain numbers"),
    ("len(args.iban) > 3", 1, "size("),
    ("args.iban.length > 3", 10, "size("),
    ("args.iban.length() > 3", 11, "size("),
    ('args.iban like "x%"', 11, ".matches("),
    ('args.iban =~ "x"', 11, ".matches("),
    ("args.amount between 1 and 5", 13, "&&"),
    ("args.amount in 1..5", 17, "&&"),
    ("1 < args.amount < 5", 17, "compare twice"),
    ("amount > 5", 1, "`args.amount`"),
    ('args.amount > "5"', 13, "no quotes"),
    ("now.hour > 5", 4, "getHours"),
    ('now > "2026-01-01"', 5, "timestamp("),
    ("args.amount > 5;", 16, "remove it"),
    ("{{args.amount}} > 5", 1, "`because`"),
    ("true &&", 6, "say what"),
    ("== 5", 1, "say what"),
    ("(args.amount > 5", 1, "close it"),
    ("args.amount > 5)", 16, "remove it"),
    ("args.tags.exists(t: t == 'x')", 10, "exists(tag, tag"),
    ("any(args.tags)", 1, "exists("),
    ("args.amount ** 2 > 5", 13, "`*`"),
    ("args.to == ann@firm.example", 15, "quotes"),
    ('args.memo ?? "x" == "x"', 11, "has("),
    ('args?.memo == "x"', 5, "has("),
    ("args.iban[0] == 'x'", 10, "startsWith"),
)


def refused(condition: str) -> tuple[Problem, ...]:
    with pytest.raises(ConditionError) as caught:
        compile_condition(condition, NAMES)
    return caught.value.problems


@pytest.mark.parametrize(("condition", "column", "remedy"), SLIPS, ids=[slip for slip, _, _ in SLIPS])
def test_a_slip_is_told_in_our_words_at_its_place_with_the_remedy(condition: str, column: int, remedy: str) -> None:
    first = refused(condition)[0]
    assert first.column == column and remedy in first.hint, first
    assert not [word for word in PARSER if word in first.message + first.hint]


@given(st.lists(st.sampled_from(
    ["args.amount", "args.iban", "'x'", '"', "1", "==", "=", "&&", "and", "(", ")", "[", "]", "?", ":", ",", ".", "in",
     "not", "if", "as", "null", "~", "@", "\\", "\n", "{", "}", "é", "\u0000", "+", "in", "import", "for"]
), min_size=1, max_size=7))  # fmt: skip
def test_whatever_is_written_the_parsers_words_never_leak(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        compile_condition(text, NAMES)
    except ConditionError as error:
        for problem in error.problems:
            said = problem.message.replace(text, "") + problem.hint
            assert problem.message and not [word for word in PARSER if word in said], problem


@given(st.text(max_size=60))
def test_looking_for_slips_ends_at_places_that_are_there(text: str) -> None:
    assert all(0 <= slip.at <= len(text) and slip.message and slip.hint for slip in slips(text))


def test_several_slips_are_told_at_once_and_texts_in_quotes_are_no_slips() -> None:
    assert [one.column for one in refused("args.amount = 1 and not (args.iban = 'a')")] == [13, 17, 21]
    assert [one.hint for one in refused('args.iban == "a = b and c" and true')] == ["write `&&`"]


def test_an_optional_argument_in_a_reason_is_guarded_so_that_it_is_printed() -> None:
    with pytest.raises(ConditionError) as caught:
        compile_expression("args.memo", NAMES)
    (problem,) = caught.value.problems
    assert problem.hint == 'write `has(args.memo) ? args.memo : "none"`'
    compile_expression(problem.hint.removeprefix("write `").removesuffix("`"), NAMES)


def test_a_duration_may_be_in_days_as_everywhere_else() -> None:
    seen = {"args": {}, "now": {}}
    assert compile_condition(
        'duration("30d") == duration("720h") && duration("1d12h") == duration("36h")', NAMES
    ).evaluate(seen)
