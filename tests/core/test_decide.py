"""The decision: its whole space, and what may never change it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import decide as module
from remit.core.conditions import Condition, Failure
from remit.core.decide import Approval, Verdict, decide
from remit.core.entries import Outcome, RuleHit
from remit.core.policy import CompiledRule, PolicySet, load_policies

ALLOW, ESCALATE, DENY = Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY
STRICTNESS = {ALLOW: 0, ESCALATE: 1, DENY: 2}


@dataclass
class Fixed:
    """A condition whose value is known; it raises, if the value is an exception."""

    value: object
    source: str = "fixed"
    asked: int = 0

    def evaluate(self, roots: Mapping[str, object], steps: int = 0) -> object:
        self.asked += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


BROKEN = Failure("no such field", 1, 1)
VALUES: tuple[object, ...] = (True, False, BROKEN)


def make(effect: Outcome, value: object, id: str = "", *, queue: str = "", negated: bool = False) -> CompiledRule:
    name = id or f"{effect.value}-{'error' if value is BROKEN else str(value).lower()}"
    queue = queue or ("finance" if effect is ESCALATE else "")
    hit = RuleHit("p", name, f"digest of {name}", effect, queue)
    condition = cast(Condition, Fixed(value))
    broken = RuleHit("p", name, hit.digest, effect, queue, error=True)
    return CompiledRule("p", name, hit.digest, effect, negated, queue, condition, None, hit, broken)


def policies(rules: Iterable[CompiledRule], shadow: Iterable[CompiledRule] = ()) -> PolicySet:
    def ordered(some: Iterable[CompiledRule]) -> dict[str, tuple[CompiledRule, ...]]:
        return {"pay": tuple(sorted(some, key=lambda rule: (rule.policy, rule.id)))}

    return PolicySet("d" * 64, {}, {}, {}, enforced=ordered(rules), shadowed=ordered(shadow))


def decided(*rules: CompiledRule, approval: Approval | None = None) -> Verdict:
    return decide("pay", {}, policies(rules), approval)


def subsets(values: tuple[object, ...]) -> list[tuple[object, ...]]:
    return [some for size in range(len(values) + 1) for some in itertools.combinations(values, size)]


SPACE = list(itertools.product(subsets(VALUES), repeat=3))
"""What the allow rules, the escalate rules and the deny rules say: 8 x 8 x 8."""


def oracle(allows: tuple[object, ...], escalates: tuple[object, ...], denies: tuple[object, ...]) -> Outcome:
    """The contract as numbers: 0 allows, 1 escalates, 2 denies; grants by the least, ceilings by the most."""
    grants = [2, *(1 for value in escalates if value is True), *(0 for value in allows if value is True)]
    ceilings = [0] + [1 for value in escalates if value is not False] + [2 for value in denies if value is not False]
    return [ALLOW, ESCALATE, DENY][max(min(grants), max(ceilings))]


def rules_of(case: tuple[tuple[object, ...], ...]) -> list[CompiledRule]:
    return [make(effect, value) for effect, values in zip(Outcome, case, strict=True) for value in values]


def test_there_are_512_cases() -> None:
    assert len(SPACE) == len(set(SPACE)) == 512


@pytest.mark.parametrize("denies", subsets(VALUES))
def test_the_outcome_is_the_stricter_of_what_is_granted_and_the_ceiling(denies: tuple[object, ...]) -> None:
    for case in SPACE:
        if case[2] == denies:
            assert decided(*rules_of(case)).outcome is oracle(*case), case


def test_the_space_has_all_outcomes_and_most_of_it_is_denied() -> None:
    counts = [sum(oracle(*case) is outcome for case in SPACE) for outcome in Outcome]
    assert counts == [16, 80, 416]


def test_a_verdict_names_what_determined_it_and_everything_that_broke() -> None:
    for case in SPACE:
        verdict = decided(*rules_of(case))
        effect = verdict.outcome
        said = [hit for hit in verdict.rules if hit.effect is effect]
        assert list(verdict.rules) == said
        values = case[list(Outcome).index(effect)]
        applying = sum(value is not False for value in values) if effect is not ALLOW else 1
        assert len(verdict.rules) == applying
        assert all(hit.error for hit in verdict.broken)
        assert len(verdict.broken) == sum(BROKEN in values for values in case)
        assert {hit for hit in verdict.rules if hit.error} <= set(verdict.broken)
        assert len(verdict.reasons) == max(1, len(verdict.rules)) + len(set(verdict.broken) - set(verdict.rules))
        assert verdict.queues == (("finance",) if effect is ESCALATE else ())
        assert verdict.policies == "d" * 64


def test_require_denies_where_it_is_false_or_broken() -> None:
    allow = make(ALLOW, True)
    for value, outcome in ((True, ALLOW), (False, DENY), (BROKEN, DENY)):
        verdict = decided(allow, make(DENY, value, "required", negated=True))
        assert verdict.outcome is outcome
        assert verdict.broken == (verdict.rules if value is BROKEN else ())


def test_with_no_rule_at_all_the_call_is_denied() -> None:
    for verdict in (decided(), decide("other", {}, policies([make(ALLOW, True)]))):
        assert (verdict.outcome, verdict.rules) == (DENY, ())
    assert verdict.reasons == ("no rule allows `other`",)


def test_only_the_rules_of_the_tool_are_evaluated() -> None:
    other = make(DENY, True)
    known = make(ALLOW, True)
    both = replace(policies([]), enforced={"pay": (known,), "refund": (other,)})
    assert decide("pay", {}, both).outcome is ALLOW
    assert cast(Any, other.condition).asked == 0
    assert cast(Any, known.condition).asked == 1


# --- what never changes it -----------------------------------------------------------------------------

RULES = st.builds(make, st.sampled_from(Outcome), st.sampled_from(VALUES), st.from_regex("[a-z]{4}", fullmatch=True))
SETS = st.lists(RULES, max_size=8, unique_by=lambda rule: rule.id)
AGREED = st.dictionaries(st.just("finance"), st.frozensets(st.sampled_from(["a", "b"]).map("digest of {}".format)))


@given(SETS, st.randoms(use_true_random=False))
def test_the_order_of_rules_never_changes_a_verdict(rules: list[CompiledRule], random: Any) -> None:
    shuffled = random.sample(rules, len(rules))
    assert decided(*rules) == decided(*shuffled)


@given(SETS)
def test_repeating_rules_never_changes_an_outcome(rules: list[CompiledRule]) -> None:
    again = [make(rule.effect, cast(Any, rule.condition).value, rule.id + "-again") for rule in rules]
    assert decided(*rules, *again).outcome is decided(*rules).outcome


@given(SETS, st.sampled_from(VALUES), st.booleans())
def test_adding_a_deny_rule_never_widens(rules: list[CompiledRule], value: object, negated: bool) -> None:
    more = decided(*rules, make(DENY, value, "added", negated=negated))
    assert STRICTNESS[more.outcome] >= STRICTNESS[decided(*rules).outcome]


@given(SETS, st.sampled_from(VALUES))
def test_adding_an_escalate_rule_never_allows_and_only_asks_where_nothing_was_granted(
    rules: list[CompiledRule], value: object
) -> None:
    before, after = decided(*rules), decided(*rules, make(ESCALATE, value, "added"))
    if before.outcome is DENY and before.rules:
        assert after.outcome is DENY
    elif before.outcome is DENY:  # no rule allowed it: a person may now
        assert after.outcome is not ALLOW
    else:
        assert STRICTNESS[after.outcome] >= STRICTNESS[before.outcome]


@given(SETS, st.data())
def test_an_error_only_ever_makes_an_outcome_stricter(rules: list[CompiledRule], data: st.DataObject) -> None:
    if not rules:
        return
    chosen = data.draw(st.sampled_from(rules))
    rest = [rule for rule in rules if rule is not chosen]
    outcomes = [decided(*rest, make(chosen.effect, value, chosen.id)).outcome for value in (True, False)]
    broken = decided(*rest, make(chosen.effect, BROKEN, chosen.id)).outcome
    assert STRICTNESS[broken] >= max(STRICTNESS[outcome] for outcome in outcomes)


@given(SETS, st.lists(RULES, max_size=3, unique_by=lambda rule: rule.id))
def test_shadow_rules_are_recorded_and_never_enforced(rules: list[CompiledRule], shadow: list[CompiledRule]) -> None:
    plain = decided(*rules)
    shadowed = decide("pay", {}, policies(rules, shadow))
    assert replace(shadowed, shadow=()) == plain
    assert [hit.error for hit in shadowed.shadow] == [
        cast(Any, rule.condition).value is BROKEN
        for rule in sorted(shadow, key=lambda rule: rule.id)
        if cast(Any, rule.condition).value is not False
    ]


# --- after an approval ---------------------------------------------------------------------------------


def approved(*rules: CompiledRule) -> Approval:
    """An approval by reviewers who were shown these rules."""
    shown: dict[str, frozenset[str]] = {}
    for rule in rules:
        shown[rule.queue] = shown.get(rule.queue, frozenset()) | {rule.digest}
    return Approval(shown)


def test_an_approved_escalation_is_allowed_and_says_so() -> None:
    rule = make(ESCALATE, True, "large")
    verdict = decided(rule, approval=approved(rule))
    assert verdict.outcome is ALLOW
    assert verdict.rules == (rule.hit,)
    assert verdict.queues == ()
    assert verdict.reasons == ("rule `p/large` asked for a review, and it was approved",)


def test_a_deny_stands_whatever_was_approved() -> None:
    for case in SPACE:
        rules = rules_of(case)
        if decided(*rules).outcome is DENY:
            assert decided(*rules, approval=approved(*rules)).outcome is DENY


def test_an_approval_of_every_escalating_rule_allows_whatever_escalates() -> None:
    for case in SPACE:
        rules = rules_of(case)
        if decided(*rules).outcome is ESCALATE:
            assert decided(*rules, approval=approved(*rules)).outcome is ALLOW


@pytest.mark.parametrize("value", [True, BROKEN])
def test_an_escalation_that_the_reviewers_were_not_shown_still_stands(value: object) -> None:
    seen, unseen = make(ESCALATE, True, "seen"), make(ESCALATE, value, "unseen")
    verdict = decided(seen, unseen, approval=approved(seen))
    assert verdict.outcome is ESCALATE
    assert {hit.rule for hit in verdict.rules} == {"seen", "unseen"}
    assert decided(seen, unseen, approval=approved(seen, unseen)).outcome is ALLOW


def test_a_rule_that_was_shown_to_another_queue_still_stands() -> None:
    rule = make(ESCALATE, True, "large", queue="finance")
    elsewhere = Approval({"legal": frozenset({rule.digest})})
    assert decided(rule, approval=elsewhere).outcome is ESCALATE


def test_a_new_review_is_asked_only_of_the_queues_that_were_not_shown_everything() -> None:
    one, two = make(ESCALATE, True, "one", queue="finance"), make(ESCALATE, True, "two", queue="legal")
    more = make(ESCALATE, True, "three", queue="legal")
    verdict = decided(one, two, more, approval=approved(one, two))
    assert verdict.queues == ("legal",)
    assert [hit.rule for hit in verdict.rules] == ["three", "two"]
    assert decided(one, two, more).queues == ("finance", "legal")


def test_an_empty_approval_approves_nothing() -> None:
    assert decided(make(ESCALATE, True), approval=Approval()).outcome is ESCALATE
    assert decided(approval=Approval()).outcome is DENY


@given(SETS, st.data())
def test_an_approval_never_makes_an_outcome_stricter_nor_undoes_a_deny(
    rules: list[CompiledRule], data: st.DataObject
) -> None:
    shown = [rule for rule in rules if data.draw(st.booleans())]
    before, after = decided(*rules), decided(*rules, approval=approved(*shown))
    assert STRICTNESS[after.outcome] <= STRICTNESS[before.outcome]
    if before.outcome is not ESCALATE:
        assert after == before


# --- it raises nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("a defect"), RecursionError("deep"), MemoryError()])
def test_a_condition_that_raises_is_a_rule_that_broke(error: Exception) -> None:
    for effect in Outcome:
        verdict = decided(make(ALLOW, True, "known"), make(effect, error, "bad"))
        assert verdict.outcome is effect
        assert [hit.rule for hit in verdict.broken] == ["bad"]
        assert any(f"rule `p/bad` is broken: {type(error).__name__}" in reason for reason in verdict.reasons)


def test_a_value_that_is_no_truth_value_allows_nothing() -> None:
    for value in (1, "true", None, [True]):
        assert decided(make(ALLOW, value, "odd")).outcome is DENY


# --- with policy files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    name: str
    arguments: Mapping[str, Any]


PAY = Tool(
    "pay",
    {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "rows": {"type": "array", "items": {"type": "integer"}}},
        "required": ["amount", "rows"],
    },
)
TEXT = """\
policy: payments
rules:
  - {id: small, tools: [pay], allow: args.amount <= 1000}
  - id: large
    tools: [pay]
    escalate: args.amount > 1000
    to: finance
    because: "{{args.amount}} is above the limit, {{args.rows[7]}}."
  - {id: rows, tools: [pay], deny: "args.rows[0] > 5", because: "The first row is {{args.rows[0]}}."}
  - {id: even, tools: [pay], require: "args.rows.all(row, row % 2 == 0)"}
"""


def pay(amount: object, *rows: int) -> Verdict:
    files = {"p.yaml": TEXT, "queues.yaml": "single_operator: true\nqueues: {finance: {}}"}
    loaded = load_policies(files, [PAY], lambda tool: {"args": tool.arguments})
    return decide("pay", {"args": {"amount": amount, "rows": list(rows)}}, loaded)


def test_reasons_are_those_of_the_determining_rules_in_the_words_of_the_policy() -> None:
    assert pay(10, 2).reasons == ("rule `payments/small` allows it",)
    assert pay(1500, 2).reasons == ("1500 is above the limit, [?].",)
    assert pay(10, 6).reasons == ("The first row is 6.",)
    assert pay(10, 1).reasons == ("rule `payments/even` requires `args.rows.all(row, row % 2 == 0)`",)


def test_a_rule_that_is_broken_is_another_reason_than_a_rule_that_said_no() -> None:
    verdict = pay(10)
    assert (verdict.outcome, [hit.rule for hit in verdict.broken]) == (DENY, ["rows"])
    assert verdict.reasons[0].startswith("rule `payments/rows` is broken: ")


def test_not_a_number_allows_nothing() -> None:
    assert pay(float("nan"), 2).outcome is DENY


# --- its size ------------------------------------------------------------------------------------------


def test_the_decision_is_under_a_hundred_lines() -> None:
    assert len(inspect.getsource(module).splitlines()) < 100
