"""Obligations: what they make of arguments and results, whatever their order; and nothing runs half covered."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.entries import Obligation
from remit.core.obligations import is_covered, joined, labels_of, oblige_arguments, oblige_result, unfit
from remit.core.tools import ToolSpec
from remit.errors import BadInput

CARD = "4111-1111-1111-1111"
TEXT = {"type": "string"}
NORMAL = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "limit": {"type": "integer"},
        "share": {"type": "number"},
        "amount": {"type": "string", "format": "decimal"},
        "note": TEXT,
        "maybe": {"anyOf": [TEXT, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "free": {},
        "most": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "$defs": {
        "Line": {
            "type": "object",
            "properties": {"card": TEXT, "n": {"type": "integer"}},
            "required": ["card"],
            "additionalProperties": False,
        }
    },
}
RESULT = {"type": "array", "items": {"type": "object", "properties": {"card": TEXT}, "additionalProperties": False}}
SPEC = ToolSpec("search", "", NORMAL, NORMAL, RESULT)
ARGS: dict[str, Any] = {
    "limit": 500,
    "share": 2.5,
    "amount": "99.50",
    "note": f"card {CARD}",
    "maybe": None,
    "lines": [{"card": CARD, "n": 3}, {"card": "no", "n": 70}],
    "free": {"a": [1, "b"]},
    "most": None,
}


def one(kind: str, at: str = "", to: str = "") -> Obligation:
    return Obligation(kind, at, to)


@pytest.mark.parametrize(
    ("obligation", "name", "becomes"),
    [
        (one("cap", "/args/limit", "100"), "limit", 100),
        (one("cap", "/args/limit", "99.5"), "limit", 99),
        (one("cap", "/args/limit", "500"), "limit", 500),
        (one("cap", "/args/limit", "1000"), "limit", 500),
        (one("cap", "/args/share", "1.25"), "share", 1.25),
        (one("cap", "/args/share", "1"), "share", 1),
        (one("cap", "/args/amount", "50.00"), "amount", "50.00"),
        (one("cap", "/args/amount", "99.49999999999999999999"), "amount", "99.49999999999999999999"),
        (one("cap", "/args/amount", "100"), "amount", "99.50"),
        (one("cap", "/args/lines/*/n", "5"), "lines", [{"card": CARD, "n": 3}, {"card": "no", "n": 5}]),
        (one("mask", "/args/note"), "note", "**** ****-****-****-****"),
        (one("mask", "/args/maybe"), "maybe", None),
        (one("mask", "/args/lines/0/card"), "lines", [{"card": "****-****-****-****", "n": 3}, ARGS["lines"][1]]),
        (one("redact", "/args/note"), "note", "[redacted]"),
        (one("redact", "/args/free"), "free", None),
        (one("redact", "/args/free/a/*"), "free", {"a": [None, "[redacted]"]}),
    ],
)
def test_an_obligation_changes_its_part_and_nothing_else(obligation: Obligation, name: str, becomes: object) -> None:
    changed = oblige_arguments(SPEC, ARGS, [obligation])
    assert changed == {**ARGS, name: becomes}
    assert type(changed[name]) is type(becomes)
    assert oblige_arguments(SPEC, changed, [obligation]) == changed


@pytest.mark.parametrize(
    ("obligation", "why"),
    [
        (one("cap", "/args/note", "1"), "`/args/note` can't be capped at 1: it is no number"),
        (one("cap", "/args/most", "1"), "it is no number"),
        (one("cap", "/args/nothing", "1"), "there is no `/args/nothing`"),
        (one("mask", "/args/lines/7/card"), "there is no `/args/lines/7`"),
        (one("mask", "/args/free/b"), "there is no `/args/free/b`"),
        (one("mask", "/args/note/deeper"), "there is no `/args/note/deeper`"),
        (one("mask", "/args/note/*"), r"there is no `/args/note/\*`"),
        (one("mask", "/args/limit"), "`/args/limit` would not fit `search` any more"),
        (one("redact", "/args/lines"), "`/args/lines` would not fit"),
    ],
)
def test_one_that_cant_be_fulfilled_is_an_error(obligation: Obligation, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        oblige_arguments(SPEC, ARGS, [obligation])


PLACES = ["/args/limit", "/args/note", "/args/free", "/args/free/a", "/args/free/a/*", "/args/free/a/1", "/args/amount"]
SOME = st.one_of(
    st.builds(one, st.sampled_from(["mask", "redact"]), st.sampled_from(PLACES[1:6])),
    st.builds(one, st.just("cap"), st.sampled_from([PLACES[0], PLACES[-1]]), st.sampled_from(["1", "7.5", "10000"])),
    st.builds(one, st.just("label"), st.just(""), st.sampled_from(["pii", "private"])),
)


@given(st.lists(st.lists(SOME, max_size=2), min_size=1, max_size=3))
def test_the_order_and_repetition_of_obligations_never_change_what_they_make(several: list[list[Obligation]]) -> None:
    first = joined(*several)
    made = oblige_arguments(SPEC, ARGS, first)
    for order in permutations(several):
        assert joined(*order, *order) == first == joined(first)
        flat = [one_ for some in order for one_ in some]
        assert oblige_arguments(SPEC, ARGS, flat) == made
    assert oblige_arguments(SPEC, made, first) == made


@given(st.lists(SOME, max_size=3), st.lists(SOME, max_size=3))
def test_more_obligations_never_show_more(some: list[Obligation], more: list[Obligation]) -> None:
    few, many = oblige_arguments(SPEC, ARGS, some), oblige_arguments(SPEC, ARGS, joined(some, more))
    assert many["limit"] <= few["limit"]
    assert Decimal(many["amount"]) <= Decimal(few["amount"])
    for shown, was in ((str(many["note"]), str(few["note"])), (str(many["free"]), str(few["free"]))):
        # What is covered stays covered; it may be covered by other means.
        assert "4" not in shown or "4" in was
        assert "'b'" not in shown or "'b'" in was


def test_a_redacted_part_is_not_masked_a_masked_one_not_capped_and_the_lowest_cap_counts() -> None:
    both = [one("mask", "/args/note"), one("redact", "/args/note")]
    assert oblige_arguments(SPEC, ARGS, both)["note"] == "[redacted]"
    caps = joined(
        [one("cap", "/args/limit", "100")], [one("cap", "/args/limit", "20"), one("cap", "/args/limit", "9e0")]
    )
    assert caps == (one("cap", "/args/limit", "9e0"),)
    above = [one("redact", "/args/free"), one("cap", "/args/free/a/0", "1"), one("mask", "/args/free/a/1")]
    assert oblige_arguments(SPEC, ARGS, above)["free"] is None
    assert labels_of([one("label", "", "pii"), one("label", "", "private"), one("mask", "/result")]) == (
        "pii",
        "private",
    )


ROWS = st.lists(st.fixed_dictionaries({"card": st.one_of(st.none(), st.text(max_size=9))}), max_size=4)


@given(ROWS, st.sampled_from([["mask"], ["redact"], ["mask", "redact"]]))
def test_a_covered_result_is_seen_to_be_covered_and_an_open_one_is_not(rows: list[Any], kinds: list[str]) -> None:
    obligations = [one(kind, "/result/*/card") for kind in kinds]
    covered = oblige_result(rows, obligations)
    assert is_covered(covered, obligations)
    shown = [row["card"] for row in rows if row["card"] not in (None, "[redacted]")]
    left = shown if "redact" in kinds else [text for text in shown if any(map(str.isalnum, text))]
    assert is_covered(rows, obligations) is not bool(left)
    assert is_covered([], obligations)
    assert is_covered(None, obligations)


@pytest.mark.parametrize(
    ("obligation", "why"),
    [
        (one("cap", "/args/lmit", "1"), "tool `search` has no `/args/lmit`"),
        (one("cap", "/args/note", "1"), "`/args/note` of `search` is no number"),
        (one("cap", "/args/limit", "1"), ""),
        (one("cap", "/args/amount", "1"), ""),
        (one("cap", "/args/most", "1"), ""),
        (one("cap", "/args/free", "1"), ""),
        (one("cap", "/result/*/n", "1"), "only an argument has a cap"),
        (one("mask", "/args/limit"), "is no text"),
        (one("mask", "/args/maybe"), ""),
        (one("mask", "/args/lines/*/card"), ""),
        (one("mask", "/args/lines/*/cart"), "has no `/args/lines/*/cart`"),
        (one("mask", "/args/lines/card"), "has no `/args/lines/card`"),
        (one("mask", "/args/free/any/thing"), ""),
        (one("mask", "/args"), "say which argument"),
        (one("mask", "/result/*/card"), ""),
        (one("mask", "/result/*/cart"), "has no `/result/*/cart`"),
        (one("redact", "/result"), ""),
        (one("label", "", "pii"), ""),
    ],
)
def test_what_can_be_no_obligation_on_a_tool_is_told_when_the_policy_loads(obligation: Obligation, why: str) -> None:
    found = unfit(SPEC, obligation)
    assert why in found
    assert bool(found) == bool(why)
