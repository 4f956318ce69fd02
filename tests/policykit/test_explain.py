"""Explanations: the verdict is the real one, and what is said to change it does, and nothing smaller would."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from packs import cases, load, tools

from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.core.policy import PolicySet
from remit.policykit.cases import decided
from remit.policykit.explain import explain, explain_fully, part_lines, part_row, words
from remit.policykit.situations import NOW, Situation, situation
from remit.policykit.toolset import Toolset, read_tools

NAMES = ("a", "b", "c", "d")
TOOLS = "tools:\n  t:\n    arguments: {" + ", ".join(f"{name}: {{type: boolean}}" for name in NAMES) + "}\n"
CONDITIONS = st.recursive(
    st.sampled_from([f"args.{name}" for name in NAMES] + ["true"]),
    lambda inner: st.one_of(
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} ? {parts[1]} : {parts[2]})"),
    ),
    max_leaves=5,
)
RULES = st.lists(
    st.tuples(st.sampled_from(["allow", "escalate", "deny", "require"]), CONDITIONS), min_size=1, max_size=4
)


def seen(tool: str, args: dict[str, Any], toolset: Toolset) -> Situation:
    document = {
        "now": NOW, "agent": {"name": "a", "version": "1"}, "task": {"id": "t"},
        "run": {"id": "r", "graph": "g", "principal": "p", "started": NOW},
        "spent": {"calls": 0, "cost": "0", "by_tool": {}}, "history": {"allowed": 0, "escalated": 0, "denied": 0, "last": {}},
        "labels": [], "facts": {}, "approval": {"given": False, "reviewers": []},
    }  # fmt: skip
    return Situation(toolset.specs[tool], args, document)


def policy(rules: list[tuple[str, str]]) -> str:
    lines = ["policy: p", "rules:"]
    for number, (effect, condition) in enumerate(rules):
        to = ", to: q" if effect == "escalate" else ""
        lines.append(f"  - {{id: r{number}, tools: [t], {effect}: '{condition}'{to}}}")
    return "\n".join(lines)


def outcomes(rules: PolicySet, args: dict[str, bool], toolset: Toolset) -> dict[frozenset[str], Outcome]:
    """The outcome for every set of arguments that are turned round."""
    found = {}
    for size in range(len(NAMES) + 1):
        for turned in combinations(NAMES, size):
            changed = {name: value is not (name in turned) for name, value in args.items()}
            found[frozenset(turned)] = decide("t", seen("t", changed, toolset).seen, rules).outcome
    return found


@settings(max_examples=60)
@given(RULES, st.fixed_dictionaries({name: st.booleans() for name in NAMES}))
def test_what_would_change_a_verdict_changes_it_and_nothing_smaller_does(
    rules: list[tuple[str, str]], args: dict[str, bool]
) -> None:
    toolset = read_tools("tools.yaml", TOOLS)
    set_ = toolset.load({"p.yaml": policy(rules), "queues.yaml": "{single_operator: true, queues: {q: {}}}"})
    explained = explain_fully(seen("t", args, toolset), set_)
    all_ = outcomes(set_, args, toolset)
    assert explained.verdict.outcome is all_[frozenset()]
    for one in explained.otherwise:
        turned = frozenset(change.source.removeprefix("args.") for change in one.changes)
        assert all(change.then is not args[change.source.removeprefix("args.")] for change in one.changes)
        assert all_[turned] is one.outcome
    for outcome in set(Outcome) - {explained.verdict.outcome}:
        sizes = [len(turned) for turned, found in all_.items() if found is outcome and len(turned) <= 3]
        told = {len(one.changes) for one in explained.otherwise if one.outcome is outcome}
        assert told == ({min(sizes)} if sizes else set())


def test_a_limit_and_its_opposite_are_never_changed_apart() -> None:
    rules = load()
    large = situation(cases()[2], tools())
    explained = explain_fully(large, rules)
    (allowed,) = [one for one in explained.otherwise if one.outcome is Outcome.ALLOW]
    # One change: `amount > 50` in one rule is `amount <= 50` in the other.
    assert words(allowed) in ("`args.amount <= 50` were true", "`args.amount > 50` were false")


def test_every_rule_is_told_with_the_value_of_each_part() -> None:
    rules = load()
    found = situation(cases()[2], tools())
    explained = explain(found, rules)
    row = explained.row()
    assert [rule["rule"] for rule in row["rules"]] == ["refunds/large", "refunds/shipping", "refunds/small"]
    assert [rule["decided"] for rule in row["rules"]] == [True, False, False]
    assert [rule["applies"] for rule in row["rules"]] == [True, False, False]
    large = explained.rules[0].condition
    assert list(part_lines(part_row(large))) == ["args.amount > 50  =  true", "  args.amount  =  50.01"]


def test_an_explanation_after_an_approval_is_of_the_decision_with_it() -> None:
    rules = load()
    found = situation(cases()[3], tools())
    obliged, approval = decided(found, rules)
    assert explain_fully(found, rules, approval).verdict == obliged.verdict
    assert obliged.verdict.outcome is Outcome.ALLOW


def test_a_broken_part_is_shown_as_broken_and_can_be_what_changes_it() -> None:
    rules = load()
    found = situation(cases()[0], tools())
    broken = Situation(found.tool, found.args, {**found.document, "facts": {}})
    explained = explain_fully(broken, rules)
    assert explained.verdict.outcome is Outcome.DENY
    lines = [line for rule in explained.rules for line in part_lines(part_row(rule.condition))]
    assert any("facts.known" in line and "error: no such field `known`" in line for line in lines)
    assert "`facts.known.customer` were true" in [
        words(one) for one in explained.otherwise if one.outcome is Outcome.ALLOW
    ]


def test_that_something_should_differ_from_itself_is_never_advised() -> None:
    toolset = read_tools("tools.yaml", TOOLS)
    rules = policy([("allow", "args.a"), ("deny", "args.b != args.b")])
    counting = "counters: {n: {tools: [t]}}\n"
    set_ = toolset.load({"p.yaml": rules, "counters.yaml": counting, "queues.yaml": "single_operator: true\n"})
    found = seen("t", dict.fromkeys(NAMES, True), toolset)
    explained = explain_fully(replace(found, document={**found.document, "counters": {"n": "0"}}), set_)
    assert {one.outcome for one in explained.otherwise} == {Outcome.DENY}
    assert [words(one) for one in explained.otherwise] == ["`args.a` were false"]
