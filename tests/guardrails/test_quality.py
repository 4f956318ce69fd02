"""Rows that are absent, incomplete, out of range, stale or unlike those before don't go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import BadInput
from remit.guardrails.quality import Baseline, Checks, quality, stability
from remit.guardrails.schema import schema

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "id": 1,
    "price": "10.00",
    "currency": "EUR",
    "at": "2026-11-22T11:00:00Z",
    "buyer": {"name": "Ann"},
}
CHECKS = Checks(
    rows=(1, 5),
    required=("id", "buyer.name"),
    ranges={"price": (0, 1000)},
    one_of={"currency": ("EUR", "USD"), "flag": (1, 2)},
    unique=("id",),
    nulls={"note": 0.5},
    fresh={"at": timedelta(days=1)},
)


def rows(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**GOOD, "id": number, "note": "n", **change} for number, change in enumerate(changes)]


LABELLED = [
    (rows({}), ""), (rows({}, {}), ""), (rows({}, {}, {}, {}, {}), ""), (rows({"price": 0}), ""), (rows({"price": 1000}), ""),
    (rows({"price": 999.99}), ""), (rows({"price": "0.5"}), ""), (rows({"price": None}), ""), (rows({"currency": "USD"}), ""),
    (rows({"currency": None}), ""), (rows({"note": None}, {}), ""), (rows({"at": "2026-11-21T12:00:00Z"}), ""),
    (rows({"at": "2026-11-22T13:00:00+02:00"}), ""), (rows({"at": "2026-11-22"}), ""), (rows({"at": "2026-11-22T12:04:00Z"}), ""),
    (rows({"at": "2020-01-01"}, {}), ""), (rows({"extra": [1, 2]}), ""), (rows({"flag": 1}), ""), (rows({"flag": 2}), ""), ({**GOOD, "note": ""}, ""),
    ([], "rows fresh"), (rows({}, {}, {}, {}, {}, {}), "rows"), (rows(*[{}] * 20), "rows"),
    (rows({"id": None}), "required"), (rows({"id": ""}), "required"), (rows({"id": "  "}), "required"), (rows({"buyer": None}), "required"),
    (rows({"buyer": {}}), "required"), (rows({"buyer": {"name": None}}), "required"), (rows({"buyer": "Ann"}), "required"),
    (rows({"buyer": {"name": "\t"}}), "required"), (rows({"buyer": []}), "required"), ([1], "required fresh"), (["row"], "required fresh"),
    ([None], "required fresh"), ("text", "required fresh"), (7, "required fresh"), ([[GOOD]], "required fresh"), ([GOOD, 3], "required nulls"),
    (rows({"price": -0.01}), "ranges"), (rows({"price": 1000.01}), "ranges"), (rows({"price": "-1"}), "ranges"), (rows({"price": "1e9"}), "ranges"),
    (rows({"price": "ten"}), "ranges"), (rows({"price": ""}), "ranges"), (rows({"price": "NaN"}), "ranges"), (rows({"price": "inf"}), "ranges"),
    (rows({"price": "-inf"}), "ranges"), (rows({"price": True}), "ranges"), (rows({"price": [1]}), "ranges"), (rows({"price": {}}), "ranges"),
    (rows({"price": 2**2000}), "ranges"), (rows({"price": "1_0_0_0_0"}), "ranges"), (rows({}, {"price": 5000}, {}), "ranges"),
    (rows({"currency": "eur"}), "one_of"), (rows({"currency": ""}), "one_of"), (rows({"currency": "XXX"}), "one_of"), (rows({"currency": 1}), "one_of"),
    (rows({"currency": ["EUR"]}), "one_of"), (rows({"flag": 3}), "one_of"), (rows({"flag": True}), "one_of"), (rows({"flag": "1"}), "one_of"), (rows({"flag": 1.0}), "one_of"),
    (rows({"id": 7}, {"id": 7}), "unique"), (rows({}, {"id": 0}), "unique"), (rows({"id": "a"}, {}, {"id": "a"}), "unique"),
    (rows({"id": [1]}, {"id": [1]}), "unique"),
    (rows({"note": None}), "nulls"), (rows({"note": None}, {"note": None}, {}), "nulls"), ([{**GOOD}], "nulls"),
    (rows({"at": "2026-11-21T11:59:59Z"}), "fresh"), (rows({"at": "2020-01-01"}), "fresh"), (rows({"at": None}), "fresh"),
    (rows({"at": "yesterday"}), "fresh"), (rows({"at": 1763812800}), "fresh"), (rows({"at": ""}), "fresh"), (rows({"at": "2026-11-22T13:00:00Z"}), "fresh"),
    (rows({"at": "2999-01-01"}), "fresh"), (rows({}, {"at": "no"}), "fresh"), (rows({"at": "2026-13-40"}), "fresh"),
    (rows({"id": None, "price": -1}), "required ranges"), (rows({"currency": "X", "at": None}), "one_of fresh"),
    (rows({"id": 3, "price": "x"}, {"id": 3}), "ranges unique"),
]  # fmt: skip
SHAPE = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1}, "mail": {"type": "string", "format": "email"}, "at": {"type": "string", "format": "date-time"},
        "kind": {"enum": ["a", "b"]}, "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2},
    },
    "required": ["id"],
    "additionalProperties": False,
}  # fmt: skip
SHAPED: list[tuple[Any, bool]] = [
    ({"id": 1}, True), ({"id": 1, "mail": "a@b.example"}, True), ({"id": 1, "at": "2026-11-22T12:00:00Z"}, True), ({"id": 1, "kind": "a"}, True),
    ({"id": 1, "tags": ["x"]}, True), ({"id": 1.0}, True), ({}, False), ([], False), (None, False), ("x", False), ({"id": 0}, False),
    ({"id": "1"}, False), ({"id": None}, False), ({"id": True}, False), ({"id": 1.5}, False), ({"id": 1, "mail": "x"}, False), ({"id": 1, "at": "now"}, False),
    ({"id": 1, "kind": "c"}, False), ({"id": 1, "kind": None}, False), ({"id": 1, "tags": "x"}, False), ({"id": 1, "tags": ["toolong"]}, False),
    ({"id": 1, "tags": ["a", "b", "c"]}, False), ({"id": 1, "more": 1}, False), ({"ID": 1}, False),
]  # fmt: skip


def test_each_labelled_result_fails_the_checks_of_its_label_and_no_other() -> None:
    assert len(LABELLED) + len(SHAPED) >= 100
    detector = quality(CHECKS, lambda: NOW)
    wrong = [
        (value, labels, facts.failed)
        for value, labels in LABELLED
        if (facts := detector.look([("/rows", value)]).facts).failed != tuple(sorted(labels.split()))
    ]
    assert wrong == []


def test_what_fails_says_in_which_row() -> None:
    report = quality(CHECKS, lambda: NOW).look([("/rows", rows({}, {"price": -1}, {"price": -2}))])
    assert [finding.pointer for finding in report.findings] == ["/rows/1", "/rows/2"]
    assert (report.facts.passed, report.facts.bad_rows, report.facts.rows, report.facts.fields) == (
        False,
        2,
        3,
        ("price",),
    )


def test_numbers_like_those_before_pass_and_others_do_not() -> None:
    before = [float(n % 100) for n in range(1000)]
    detector = quality(Checks(drift={"n": Baseline.of(before)}), lambda: NOW)
    same = [{"n": n % 100} for n in range(300)]
    higher = [{"n": n % 100 + 60} for n in range(300)]
    assert detector.look([("", same)]).facts.passed
    assert detector.look([("", higher)]).facts.failed == ("drift",)
    assert detector.look([("", [{"n": None}])]).facts.failed == ("drift",)
    with pytest.raises(BadInput, match="too few"):
        Baseline.of([1.0, 2.0])


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)
)
def test_the_index_is_never_negative_and_zero_against_itself(before: list[float], now: list[float]) -> None:
    baseline = Baseline.of(before)
    assert stability(baseline, now) >= -1e-12
    assert stability(baseline, before) == pytest.approx(0, abs=1e-9)


def test_each_labelled_value_fits_the_schema_or_not() -> None:
    detector = schema(SHAPE)
    assert [value for value, valid in SHAPED if detector.look([("/r", value)]).facts.valid is not valid] == []


def test_what_is_missing_and_what_is_unexpected_is_named() -> None:
    assert schema(SHAPE).look([("/r", {})]).facts.missing == ("id",)
    report = schema(SHAPE).look([("/r", {"id": 1, "tags": ["toolong"], "more": 2})])
    assert (report.facts.errors, report.facts.unexpected) == (2, True)
    assert {finding.pointer for finding in report.findings} == {"/r", "/r/tags/0"}


def test_a_schema_that_is_none_or_looks_outside_is_refused() -> None:
    with pytest.raises(BadInput, match="not a JSON Schema"):
        schema({"type": "strin"})
    with pytest.raises(BadInput, match="outside of the schema"):
        schema({"$ref": "https://example.com/schema.json"})
