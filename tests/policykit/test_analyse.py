"""What is proved of a policy set holds for every call, and what is shown is a call that is really decided so."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.errors import ConditionError
from remit.policykit.analyse import Found, _Tool, ask, difference, weaknesses
from remit.policykit.casefiles import read_cases
from remit.policykit.situations import Situation, situation
from remit.policykit.toolset import Toolset, read_tools

TOOLS = """
tools:
  pay:
    effect: commit
    tags: [money]
    arguments:
      amount: {type: string, format: decimal}
      count: {type: integer, minimum: 0, maximum: 100}
      kind: {type: string, enum: [invoice, refund]}
      memo: {type: string}
      urgent: {type: boolean}
      to: {type: object, properties: {iban: {type: string}, bank: {type: string}}, required: [iban], additionalProperties: false}
      limit: {anyOf: [{type: integer}, {type: "null"}]}
    optional: [memo, limit]
    facts:
      known: {type: boolean}
  look:
    effect: read
    arguments:
      id: {type: string}
"""


def tools() -> Toolset:
    return read_tools("tools.yaml", TOOLS)


def load(*rules: str) -> Any:
    text = "policy: p\nrules:\n" + "".join(f"  - id: r{number}\n{rule}" for number, rule in enumerate(rules))
    return tools().load({"p.yaml": text, "queues.yaml": "{single_operator: true, queues: {q: {}, s: {}}}\n"})


def rule(effect: str, condition: str, tool: str = "pay", to: str = "q") -> str:
    queue = f"    to: {to}\n" if effect == "escalate" else ""
    return f"    tools: [{tool}]\n    {effect}: >-\n      {condition}\n{queue}"


ALLOW_SMALL = rule("allow", "args.amount <= 100")


# --- rules that do nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "args.amount > 5 && args.amount < 5",
        "args.count > 100",
        "args.count < 0",
        "args.urgent && !args.urgent",
        'args.kind != "invoice" && args.kind != "refund"',
        'args.to.iban.startsWith("DE") && args.to.iban == "FR1"',
        'has(args.memo) && !has(args.memo)',
        'tool.name == "look"',
        '"data" in tool.tags',
        "facts.known == false && facts.known",
        "args.count + 1 > 101",
        "args.limit == null && args.limit > 3",
        'args.memo.matches("x") && args.count > 200',
        "spent.calls < 0",
        'args.to.iban.size() > 3 && args.urgent && args.urgent == false',
        "approval.given",
    ],
)  # fmt: skip
def test_a_rule_that_no_call_makes_true_is_found(condition: str) -> None:
    condition = f"has(args.memo) && {condition}" if "args.memo.m" in condition else condition
    condition = f"args.limit != null && {condition}" if "limit >" in condition else condition
    condition = f"has(args.limit) && {condition}" if "limit" in condition else condition
    found, _ = weaknesses(load(rule("allow", condition)), tools())
    assert [(weak.rule, weak.found) for weak in found] == [("p/r0", Found.NEVER)]


def test_an_allow_rule_wholly_under_a_deny_is_found_and_the_deny_is_named() -> None:
    found, _ = weaknesses(load(rule("allow", "args.amount > 500"), rule("deny", "args.amount > 100")), tools())
    assert [(weak.rule, weak.found, weak.by) for weak in found] == [("p/r0", Found.OVERRULED, ("p/r1",))]


def test_an_allow_rule_under_several_denies_together_is_found() -> None:
    found, _ = weaknesses(
        load(rule("allow", "args.amount > 5"), rule("deny", "args.urgent"), rule("deny", "!args.urgent")), tools()
    )
    assert [(weak.rule, weak.by) for weak in found] == [("p/r0", ("p/r1", "p/r2"))]


def test_a_rule_that_says_what_a_wider_one_says_is_found_and_of_two_equal_ones_the_later() -> None:
    wide = rule("deny", "args.amount > 100")
    found, _ = weaknesses(load(ALLOW_SMALL, rule("deny", "args.amount > 500"), wide), tools())
    assert [(weak.rule, weak.found, weak.by) for weak in found] == [("p/r1", Found.REDUNDANT, ("p/r2",))]
    found, _ = weaknesses(load(ALLOW_SMALL, wide, wide), tools())
    assert [(weak.rule, weak.by) for weak in found] == [("p/r2", ("p/r1",))]


def test_escalations_to_another_queue_are_not_redundant() -> None:
    one, other = (rule("escalate", "args.amount > 10", to=queue) for queue in "qs")
    assert weaknesses(load(ALLOW_SMALL, one, other), tools())[0] == []


def test_a_require_is_read_as_the_denial_that_it_is() -> None:
    found, _ = weaknesses(load(rule("allow", "args.amount > 500"), rule("require", "args.amount <= 100")), tools())
    assert [(weak.rule, weak.found) for weak in found] == [("p/r0", Found.OVERRULED)]


def test_rules_that_do_something_are_left_alone() -> None:
    rules = (ALLOW_SMALL, rule("escalate", "args.amount > 100"), rule("deny", "args.urgent && args.amount > 50"))
    assert weaknesses(load(*rules), tools()) == ([], {})


def test_what_is_not_modelled_is_named_and_nothing_is_claimed_because_of_it() -> None:
    found, unmodelled = weaknesses(load(rule("allow", 'args.to.iban.matches("(?i)a") && args.to.iban == "b"')), tools())
    assert found == []
    assert "matches" in unmodelled["pay"]


def test_an_allow_rule_that_allows_only_what_is_asked_about_anyway_is_found_and_what_asks_is_named() -> None:
    allow, ask_all = rule("allow", "args.amount > 500"), rule("escalate", "args.amount > 100")
    found, _ = weaknesses(load(ALLOW_SMALL, allow, ask_all), tools())
    assert [(weak.rule, weak.found, weak.by) for weak in found] == [("p/r1", Found.COVERED, ("p/r2",))]
    halves = rule("escalate", "args.urgent"), rule("deny", "!args.urgent")
    found, _ = weaknesses(load(rule("allow", "args.amount > 5"), *halves), tools())
    assert [(weak.rule, weak.found, weak.by) for weak in found] == [("p/r0", Found.COVERED, ("p/r1", "p/r2"))]


def test_an_escalation_that_may_only_be_in_error_covers_nothing_for_the_allow_rule_grants_what_it_asks_about() -> None:
    broken = rule("escalate", "args.count / (args.count - args.count) > 0 && args.amount < 0")
    assert Found.COVERED not in [weak.found for weak in weaknesses(load(ALLOW_SMALL, broken), tools())[0]]


def test_a_rule_that_obliges_to_something_of_its_own_is_neither_covered_nor_redundant() -> None:
    masks = rule("allow", "args.amount > 500") + "    oblige: {mask: [/args/memo]}\n"
    wide = rule("allow", "args.amount > 100")
    assert weaknesses(load(masks, rule("escalate", "args.amount > 100")), tools())[0] == []
    assert weaknesses(load(masks, wide), tools())[0] == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["allow", "escalate", "deny", "require"]), min_size=2, max_size=4),
    st.lists(st.sampled_from(["args.amount > 5", "args.amount > 50", "args.urgent", "!args.urgent", "true"]), min_size=4, max_size=4),
    st.sampled_from([0, 6, 60]), st.booleans(),
)  # fmt: skip
def test_without_a_rule_that_was_found_no_verdict_is_another(
    effects: list[str], conditions: list[str], amount: int, urgent: bool
) -> None:
    made = [rule(effect, condition) for effect, condition in zip(effects, conditions, strict=False)]
    policies = load(*made)
    given_ = {
        "tool": "pay",
        "args": {"amount": str(amount), "count": 1, "kind": "refund", "urgent": urgent, "to": {"iban": "a"}},
    }
    (case,) = read_cases(
        {"p.cases.yaml": json.dumps({"cases": [{"name": "c", "given": given_, "expect": {"outcome": "allow"}}]})}
    )
    seen = situation(case, tools())
    before = decide("pay", seen.seen, policies).outcome
    for weak in weaknesses(policies, tools())[0]:
        left = [one for number, one in enumerate(made) if f"p/r{number}" != weak.rule]
        after = decide("pay", seen.seen, load(*left)).outcome if left else Outcome.DENY
        assert after is before, weak


# --- questions -------------------------------------------------------------------------------------------

SET = (
    rule("allow", 'args.amount <= 1000 && args.kind == "invoice" && facts.known'),
    rule("escalate", "args.amount > 500"),
    rule("deny", 'args.to.iban.startsWith("XX")'),
)


@pytest.mark.parametrize(
    "question",
    [
        'tool.name == "pay" && args.amount > 1000 && outcome == ALLOW',
        "outcome == ALLOW && args.amount > 500",
        "outcome == ALLOW && !facts.known",
        'outcome != DENY && args.to.iban.startsWith("XX")',
        'outcome == ALLOW && args.kind == "refund"',
        'tool.name == "look" && outcome != DENY',
    ],
)
def test_that_there_is_no_such_call_is_proved(question: str) -> None:
    answer = ask(question, load(*SET), tools())
    assert answer.proved
    assert answer.asked


@pytest.mark.parametrize(
    ("question", "outcome"),
    [
        ("outcome == ALLOW && args.amount > 499.99", Outcome.ALLOW),
        ('outcome == ESCALATE && args.kind == "refund"', Outcome.ESCALATE),
        ("outcome == DENY && args.amount < 5 && facts.known", Outcome.DENY),
        ('args.memo == "é\\n" && has(args.memo) && outcome == ALLOW', Outcome.ALLOW),
        ("has(args.limit) && args.limit == null && outcome == ALLOW", Outcome.ALLOW),
        ('"untrusted" in labels && outcome == ALLOW', Outcome.ALLOW),
        ("spent.calls > 3 && spent.by_tool[\"pay\"].calls > 2 && outcome == ALLOW", Outcome.ALLOW),
        ('now > timestamp("2027-01-01T00:00:00Z") && outcome == ALLOW', Outcome.ALLOW),
        ('args.to.iban in ["A", "B"] && outcome == ALLOW', Outcome.ALLOW),
        ('run.principal == "ann" && agent.name == "x" && outcome == ALLOW', Outcome.ALLOW),
        ('tool.name == "look"', Outcome.DENY),
    ],
)  # fmt: skip
def test_a_call_that_is_found_is_a_case_that_really_is_decided_so(question: str, outcome: Outcome) -> None:
    answer = ask(question, load(*SET), tools())
    (one,) = [found for found in answer.examples if found.verdict.outcome is outcome][:1]
    import json

    text = json.dumps({"cases": [{"name": "x", "given": one.given, "expect": {"outcome": outcome.value}}]})
    seen = situation(read_cases({"x.cases.yaml": text})[0], tools())
    assert decide(one.tool, seen.seen, load(*SET)).outcome is outcome


def test_a_question_that_depends_on_what_is_not_modelled_is_not_known() -> None:
    answer = ask('args.to.iban.matches("^A+$") && args.to.iban != "A" && outcome == ALLOW', load(*SET), tools())
    assert not answer.proved
    assert answer.examples or "matches" in answer.unknown["pay"]


def test_a_question_that_fits_no_tool_is_refused_with_the_place() -> None:
    with pytest.raises(ConditionError, match="amuont"):
        ask("args.amuont > 5", load(*SET), tools())


# --- two sets --------------------------------------------------------------------------------------------


def test_a_set_is_equivalent_to_itself_in_another_order_and_other_words() -> None:
    other = (
        SET[2],
        rule("escalate", "500 < args.amount"),
        rule("allow", 'facts.known && args.kind != "refund" && !(args.amount > 1000)'),
    )
    assert difference(load(*SET), load(*other), tools()).proved


def test_sets_that_differ_come_with_a_call_that_they_decide_differently() -> None:
    wider = (SET[0], rule("escalate", "args.amount > 500.01"), SET[2])
    (one,) = difference(load(*SET), load(*wider), tools()).examples
    assert one.before is not None
    assert one.before.outcome is not one.verdict.outcome
    assert Decimal("500") < Decimal(one.given["args"]["amount"]) <= Decimal("500.01")


# --- the formulas against the evaluator ------------------------------------------------------------------

ATOMS = st.sampled_from(
    [
        "args.amount > 10", "args.amount <= 10.5", "args.amount == 3", "args.count == 7", "args.count + 3 < 9", "args.urgent",
        "args.urgent == true", 'args.kind == "refund"', "has(args.memo)", 'args.to.iban == "A"', 'args.to.iban.contains("A")',
        'args.to.iban + "x" == "Ax"', "args.amount > args.count", "facts.known", '"pii" in labels', 'args.kind in ["refund"]',
        "-args.count < -5", 'args.to.iban.matches("A")', "args.to.iban.size() > 1", "has(args.limit)", "spent.calls > 2", "spent.cost >= 1",
        "args.urgent ? args.count > 5 : facts.known", "args.amount + spent.cost > 11", "labels.exists(x, x == \"pii\")", "args.count * 9223372036854775807 > 1",
    ]
)  # fmt: skip
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds(lambda a, b: f"({a} && {b})", inner, inner)
        | st.builds(lambda a, b: f"({a} || {b})", inner, inner)
        | st.builds(lambda a: f"!({a})", inner)
    ),
    max_leaves=4,
)
RULES = st.lists(
    st.tuples(st.sampled_from(["allow", "escalate", "deny", "require"]), CONDITIONS), min_size=1, max_size=4
)
CALLS = st.fixed_dictionaries(
    {
        "amount": st.sampled_from(["3", "10", "10.5", "11", "0"]),
        "count": st.sampled_from([0, 5, 6, 7, 100]),
        "kind": st.sampled_from(["invoice", "refund"]),
        "urgent": st.booleans(),
        "to": st.fixed_dictionaries({"iban": st.sampled_from(["A", "", "AB", "x"])}),
    },
    optional={"memo": st.sampled_from(["", "m"]), "limit": st.sampled_from([None, 3])},
)


@settings(max_examples=60, deadline=None)
@given(
    RULES, CALLS, st.booleans(), st.sampled_from([[], ["pii"], ["pii", "x"]]), st.sampled_from([0, 3]), st.booleans()
)
def test_whatever_is_decided_is_possible_to_the_solver(
    rules: list[tuple[str, str]], args: dict[str, Any], known: bool, labels: list[str], calls: int, failed: bool
) -> None:
    """The formulas may allow more than can be, never less: else a proof would be worth nothing."""
    policies = load(*(rule(effect, condition) for effect, condition in rules))
    spec = tools().specs["pay"]
    seen = _situation(args, {} if failed else {"known": known}, labels, calls)
    outcome = decide("pay", seen.seen, policies).outcome
    tool = _Tool(spec, tools())
    formula = tool.outcomes(tool.rules(policies))[outcome]
    assert not tool.never(tool.z3.And(formula, *_fixed(tool, seen)))


def _situation(args: dict[str, Any], facts: dict[str, Any], labels: list[str], calls: int) -> Situation:
    import json

    given = {"tool": "pay", "args": args, "facts": facts, "labels": labels, "spent": {"calls": calls, "cost": "1"}}
    text = json.dumps({"cases": [{"name": "x", "given": given, "expect": {"outcome": "allow"}}]})
    return situation(read_cases({"x.cases.yaml": text})[0], tools())


def _fixed(tool: _Tool, seen: Situation) -> list[Any]:
    """Returns that every variable has the value that the call has."""
    z3, fixed = tool.z3, []
    for variable in tool.symbols.variables.values():
        value: Any = seen.seen
        for part in variable.path:
            value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
        fixed.append(variable.present == (value is not _ABSENT))
        if value is _ABSENT:
            continue
        fixed.append(variable.null == (value is None))
        if isinstance(value, str) and variable.shape.kind.name == "DECIMAL":
            value = Decimal(value)
        if isinstance(value, bool):
            fixed.append(variable.formula == value)
        elif isinstance(value, (int, Decimal)):
            fixed.append(variable.formula == z3.RealVal(str(value)))
        elif isinstance(value, str):
            fixed.append(variable.formula == z3.StringVal(value))
    for (path, source), (held, _) in tool.symbols.members.items():
        fixed.append(held == (source.strip('"') in seen.document[path[0]]))
    return fixed


_ABSENT = object()
