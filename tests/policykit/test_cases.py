"""Cases: decided as a call would be, told apart exactly, and written so that they read back."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packs import CASES, POLICY, TOOLS, cases, load, problems, tools

from remit.core.yamltext import read_yaml
from remit.policykit.casefiles import cases_text
from remit.policykit.cases import Played, play
from remit.policykit.coverage import Coverage, CoverageReport
from remit.policykit.reports import junit
from remit.policykit.situations import situation
from remit.policykit.toolset import plain_yaml, read_tools, recorded_tools
from remit.runtime.registry import Registry
from remit.runtime.target import load_graph

ROOT = Path(__file__).parent.parent.parent


def played(text: str = CASES, policy: str = POLICY) -> list[Played]:
    return play(cases(text), tools(), load(policy))


def one(given: str, expect: str = "{outcome: allow}") -> str:
    return f"cases:\n  - name: a\n    given: {given}\n    expect: {expect}\n"


GIVEN = "{tool: refund, args: {order: A1, amount: 10, kind: goods}, facts: {known: {customer: true}}%s}"


def test_cases_that_expect_what_is_decided_pass() -> None:
    assert [found.passed for found in played()] == [True] * 4


def test_a_case_of_another_tool_takes_neither_arguments_nor_facts_from_the_top() -> None:
    look = situation(cases()[1], tools())
    assert look.args == {"order": "A1"} and look.document["facts"] == {}


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("{outcome: deny}", [("outcome", "deny", "allow")]),
        ("{outcome: allow, rules: [large]}", [("rules", "large", "refunds/small")]),
        ("{outcome: allow, rules: []}", [("rules", "none", "refunds/small")]),
        ("{outcome: allow, queue: support}", [("queue", "support", "none")]),
        ("{outcome: allow, reason: nobody}", [("reason", "… nobody …", "rule `refunds/small` allows it")]),
        ("{outcome: allow, broken: [small]}", [("broken", "small", "none")]),
        ("{outcome: deny, rules: [x]}", [("outcome", "deny", "allow"), ("rules", "x", "refunds/small")]),
    ],
)
def test_a_case_that_expects_something_else_fails_and_says_what_differs(
    expect: str, told: list[tuple[str, str, str]]
) -> None:
    (found,) = played(one(GIVEN % "", expect))
    assert [(row.what, row.expected, row.found) for row in found.differences] == told


def test_a_rule_that_breaks_in_a_case_is_told_unless_it_is_expected() -> None:
    without = "{tool: refund, args: {order: A1, amount: 10, kind: goods}}"
    (found,) = played(one(without, "{outcome: deny}"))
    assert [row.what for row in found.differences] == ["broken"]
    (found,) = played(one(without, "{outcome: deny, broken: small}"))
    assert found.passed


def test_an_approval_of_what_nobody_is_asked_about_is_told() -> None:
    (found,) = played(one(GIVEN % ", approval: true", "{outcome: allow}"))
    assert [row.what for row in found.differences] == ["approval"]


def test_an_approval_does_not_change_a_deny() -> None:
    text = GIVEN.replace("10", "80").replace("goods", "shipping") % ", approval: true, spent: {calls: 3}"
    (found,) = played(one(text, "{outcome: deny, rules: shipping}"))
    # Nobody would have been asked: it is denied before.
    assert [row.what for row in found.differences] == ["approval"]


@pytest.mark.parametrize("written", ["50.10", "0.1000000000000000000001", "100000000000000000000.5", "50.0"])
def test_a_decimal_keeps_its_digits(written: str) -> None:
    (case,) = cases(one((GIVEN % "").replace("10", written)))
    assert situation(case, tools()).args["amount"] == written


@pytest.mark.parametrize(
    ("given", "message", "place"),
    [
        ("{tool: refnd}", "there is no tool `refnd`", "refnd"),
        (GIVEN.replace("order", "ordr") % "", "tool `refund` has no argument `ordr`", "A1"),
        (GIVEN.replace("goods", "god") % "", "`god` is not one of", "god"),
        (GIVEN.replace("10", "[1]") % "", "[1] is not of type", "[1]"),
        (GIVEN.replace("known", "knwn") % "", "there is no fact `knwn` for `refund`", None),
        (GIVEN.replace("true", "7") % "", "7 is not of type `boolean`", None),
        (GIVEN % ", now: yesterday", "`yesterday` is not a time", None),
        (GIVEN % ", now: 2026-01-01", "`2026-01-01` has no time zone", None),
        (GIVEN % ", run: {graf: x}", "unknown key `graf`", None),
        (GIVEN % ", spent: {cals: 3}", "unknown key `cals`", None),
        (GIVEN % ", spent: {calls: -1}", "`-1` is no number of calls", None),
        (GIVEN % ", spent: {cost: much}", "a cost of `much` is no number", None),
        (GIVEN % ", history: {last: {}, alowed: 2}", "unknown key `alowed`", None),
    ],
)
def test_what_can_not_be_given_is_refused_with_its_place(given: str, message: str, place: str | None) -> None:
    found = problems(lambda: played(one(given)))
    assert any(message in problem.message for problem in found), found
    assert all(problem.line == 3 and problem.file == "refunds.cases.yaml" for problem in found)
    column = one(given).splitlines()[2].index(place) + 1 if place else None
    assert column is None or column in [problem.column for problem in found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: []\n", "`cases`"),
        ("case: []\n", "unknown key `case`"),
        (one("{tol: refund}"), "unknown key `tol`"),
        (one("{args: {}}"), "case `a` names no tool"),
        (one("{tool: look}", "{outcome: alow}"), "`outcome`"),
        (one("{tool: look}", "{}"), "`outcome` is missing"),
        (one("{tool: look}") + "  - name: a\n    given: {tool: look}\n    expect: {outcome: deny}\n", "case `a` is here twice"),
        (one("{tool: look, args: &x {}}"), "anchors"),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_a_bad_file_of_cases_is_refused(text: str, message: str) -> None:
    found = problems(lambda: cases(text))
    assert any(message in problem.message for problem in found), found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def utf8(value: Any) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4).filter(utf8))
def test_cases_that_are_written_read_back_as_they_were(args: dict[str, Any]) -> None:
    case = {"name": "a: b #c", "given": {"tool": "t", "args": args}, "expect": {"outcome": "deny", "rules": ["p/a"]}}
    source, value = read_yaml("x.yaml", cases_text([case]), nulls=True)
    assert source.problems == []
    assert plain_yaml(value) == {"cases": [case]}


def test_junit_has_a_suite_a_file_and_survives_any_text() -> None:
    text = one(GIVEN % "", "{outcome: deny}").replace("name: a", 'name: "<a> & \\"b\\" \\u0001"')
    root = ET.fromstring(junit(played(text)))
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    (case,) = root.iter("testcase")
    assert case.get("name") == '<a> & "b" \ufffd' and case.get("line") == "2"
    (failure,) = case
    assert failure.text == "outcome: expected deny, found allow"


# --- coverage --------------------------------------------------------------------------------------------


def covered(text: str = CASES, policy: str = POLICY) -> CoverageReport:
    rules = load(policy)
    watch = Coverage(rules, tools())
    play(cases(text), tools(), rules, watch.watch)
    return watch.report()


def test_coverage_says_what_no_case_has_tried_and_where() -> None:
    missing = {(rule, part.source, part.line, tuple(part.missing)) for rule, part in covered().missing}
    assert missing == {
        ("refunds/small", "facts.known.customer", 8, (False,)),
        ("refunds/shipping", 'args.kind == "shipping" && !(spent.calls < 3)', 16, (True,)),
        ("refunds/shipping", 'args.kind == "shipping"', 16, (True,)),
        ("refunds/shipping", "spent.calls < 3", 16, (True, False)),  # what `&&` skips was not tried
    }
    assert 0 < covered().percent < 100


def test_all_is_covered_when_every_operand_was_both() -> None:
    more = CASES + (
        "  - {name: b, given: {facts: {known: {customer: false}}}, expect: {outcome: deny}}\n"
        "  - {name: c, given: {args: {kind: shipping}}, expect: {outcome: allow}}\n"
        "  - {name: d, given: {args: {kind: shipping}, spent: {calls: 3}}, expect: {outcome: deny}}\n"
    )
    assert all(found.passed for found in played(more))
    report = covered(more)
    assert (report.missing, report.percent, report.tried) == ([], 100.0, report.branches)


def test_nothing_impossible_is_asked_for() -> None:
    # `look` is a reading tool: its rule can't be false; and neither can a written truth value.
    policy = 'policy: p\nrules:\n  - {id: a, tools: [look], allow: true}\n  - {id: b, tools: [look], deny: tool.effect != "read"}\n'
    report = covered(one("{tool: look, args: {order: x}}"), policy)
    assert (report.branches, report.percent) == (2, 100.0)
    # For tools of both kinds it can be both.
    policy = policy.replace("[look], deny", "['*'], deny").replace("[look], allow", "['*'], allow")
    assert covered(one("{tool: look, args: {order: x}}"), policy).percent < 100


def test_a_choice_and_its_test_count() -> None:
    policy = "policy: p\nrules:\n  - {id: a, tools: [look], allow: 'args.order == \"A\" ? spent.calls < 1 : spent.calls < 5'}\n"
    report = covered(one("{tool: look, args: {order: A}}"), policy)
    assert [(part.source, part.missing) for _, part in report.missing] == [
        ('args.order == "A" ? spent.calls < 1 : spent.calls < 5', [False]),
        ('args.order == "A"', [False]),
    ]


def test_the_cases_of_the_example_try_everything() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}
    kept = recorded_tools(Registry([load_graph(str(ROOT / "examples/payables/app.py:graph"))]).types())
    rules = kept.load(files)
    watch = Coverage(rules, kept)
    from remit.policykit.casefiles import read_cases

    found = play(read_cases(files), kept, rules, watch.watch)
    assert found and [one.case.name for one in found if not one.passed] == []
    assert watch.report().percent == 100


def test_tools_without_a_description_are_the_pessimistic_ones() -> None:
    spec = read_tools("tools.yaml", "tools:\n  x: {}\n").specs["x"]
    assert (spec.effect.value, spec.repeat.value) == ("destroy", "once")
    assert TOOLS


FLOW = """policy: p
rules:
  - {id: allow, tools: [refund], allow: true}
  - {id: read, tools: [refund], deny: provenance.order.untrusted, because: "{{provenance.order.says}}"}
  - {id: unvouched, tools: [refund], deny: "authority.exists(a, !a.principal)"}
"""


def test_where_an_argument_came_from_is_given_and_is_the_principal_unless_said() -> None:
    (found,) = played(one(GIVEN % "", "{outcome: allow}"), FLOW)
    assert found.passed
    text = one(
        GIVEN % ", provenance: {order: {untrusted: true, says: it was read}}",
        "{outcome: deny, rules: [read, unvouched], reason: it was read}",
    )
    (found,) = played(text, FLOW)
    assert found.passed, found.differences
    said = problems(lambda: played(one(GIVEN % ", provenance: {ordr: {untrusted: true}}"), FLOW))
    assert "there is no argument `ordr`" in [problem.message for problem in said]
    said = problems(lambda: played(one(GIVEN % ", provenance: {order: {untrustd: true}}"), FLOW))
    assert any("untrustd" in problem.message and problem.line == 3 for problem in said)


def test_what_guardrails_say_is_given_and_one_that_is_not_has_failed() -> None:
    pii = "    findings:\n      pii: {type: object, properties: {found: {type: boolean}}, required: [found]}\n"
    kit = tools(TOOLS.replace("    facts:\n", pii + "    facts:\n"))
    rows = "  - {id: a, tools: [refund], allow: true}\n  - {id: b, tools: [refund], deny: findings.pii.found}\n"
    rules = kit.load({"p.yaml": "policy: p\nrules:\n" + rows})
    seen, unseen = (
        play(cases(one(GIVEN % more, "{outcome: allow}")), kit, rules)[0]
        for more in (", findings: {pii: {found: false}}", "")
    )
    assert seen.passed
    assert ("broken", "none", "p/b") in [(row.what, row.expected, row.found) for row in unseen.differences]
