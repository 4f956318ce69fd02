"""Rules in mode shadow: what is told of them is what they would have done, and nothing they do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from packs import tools
from test_backtest import CALLS, FILES, POLICY, Loaded, Story, facts, types

from remit.core import entries as e
from remit.core.conditions import Failure
from remit.core.decide import decide
from remit.core.entries import Outcome, RuleHit
from remit.core.policy import CompiledRule, PolicySet
from remit.errors import Tampered
from remit.policykit.backtest import Row
from remit.policykit.shadow import Shadow, ShadowRule, enforced

VALUES = (True, False, Failure("no such field", 1, 1))
SHADOWED = {
    "deny": '  - {id: new, tools: [refund], deny: args.amount > 20, because: "{{args.amount}} of {{args.order}}"}\n',
    "escalate": "  - {id: new, tools: [refund], escalate: args.amount > 20, to: support}\n",
    "allow": "  - {id: new, tools: [refund], allow: args.amount < 60 && facts.known.customer}\n",
    "require": "  - {id: new, tools: [refund], require: facts.known.customer}\n",
}


class Fixed:
    source = "fixed"

    def __init__(self, value: object) -> None:
        self.value = value

    def evaluate(self, roots: object, steps: int = 0) -> object:
        return self.value


def rule(effect: Outcome, value: object, id: str) -> CompiledRule:
    hit = RuleHit("p", id, f"digest of {id}", effect, "q" if effect is Outcome.ESCALATE else "")
    broken = RuleHit("p", id, hit.digest, effect, hit.queue, error=True)
    return CompiledRule("p", id, hit.digest, effect, False, hit.queue, Fixed(value), None, hit, broken)  # type: ignore[arg-type]


def rules_set(rules: list[CompiledRule], shadow: tuple[CompiledRule, ...] = ()) -> PolicySet:
    return PolicySet("d" * 64, {}, {}, {}, enforced={"pay": tuple(rules)}, shadowed={"pay": shadow})


def test_the_verdict_with_a_shadowed_rule_in_force_follows_from_the_one_without_in_all_cases() -> None:
    subsets = [some for size in range(4) for some in itertools.combinations(VALUES, size)]
    tried = 0
    for case in itertools.product(subsets, repeat=3):
        rules = [
            rule(effect, value, f"{effect}-{index}")
            for effect, values in zip(Outcome, case, strict=True)
            for index, value in enumerate(values)
        ]
        for effect, value in itertools.product(Outcome, VALUES):
            new = rule(effect, value, "zzz")
            was = decide("pay", {}, rules_set(rules, (new,)))
            then = decide("pay", {}, rules_set([*rules, new]))
            granted = was.outcome is not Outcome.DENY or bool(was.rules)
            escalates = any(hit.effect is Outcome.ESCALATE for hit in was.broken)
            assert bool(was.shadow) is (value is not False)
            for hit in was.shadow:
                assert enforced(was.outcome, granted, escalates, hit) is then.outcome, (case, effect, value)
                tried += 1
    assert tried == 512 * 6


def run(story: Story, rows: list[Row] | None = None) -> list[ShadowRule]:
    made = Shadow(story.loaded)
    made.feed(story.rows if rows is None else rows)
    return made.rules()


@pytest.mark.parametrize("effect", SHADOWED)
@settings(max_examples=15)
@given(calls=CALLS)
def test_the_report_counts_what_the_rule_in_force_would_have_changed(effect: str, calls: list[dict[str, Any]]) -> None:
    toolset = tools()
    added = SHADOWED[effect]
    files = {**FILES, "new.yaml": f"policy: new\nmode: shadow\nrules:\n{added}"}
    story = Story(calls, toolset, files)
    (found,) = run(story)
    with_it = toolset.load({**FILES, "new.yaml": f"policy: new\nrules:\n{added}"})
    without = toolset.load(FILES)
    changes: dict[tuple[str, str], int] = {}
    for call in calls:
        seen = facts(call, toolset).seen
        was, then = decide("refund", seen, without).outcome, decide("refund", seen, with_it).outcome
        if was is not then:
            changes[was.value, then.value] = changes.get((was.value, then.value), 0) + 1
    assert found.changes == changes
    assert found.calls == len(calls)
    assert found.name == "new/new" and found.newest
    applied = sum(bool(decide("refund", facts(call, toolset).seen, story.rules).shadow) for call in calls)
    assert found.applied == applied
    assert len(found.examples) == min(applied, 5)
    # Those whose verdict it would have changed come first, the newest of each first.
    differs = [one.was != one.would_be for one in found.examples]
    assert differs == sorted(differs, reverse=True)
    for one in found.examples:
        number = int(one.call.partition("#")[2])
        if effect == "deny" and one.why:
            assert one.why in (f"{calls[number]['amount']} of A1", "")


def call(amount: str, ruled: str = "open") -> dict[str, Any]:
    return {"amount": amount, "kind": "goods", "known": True, "calls": 0, "ruled": ruled}


def test_a_call_is_counted_once_however_often_it_is_decided() -> None:
    files = {**FILES, "new.yaml": f"policy: new\nmode: shadow\nrules:\n{SHADOWED['deny']}"}
    story = Story([call("80", "approved"), call("80", "denied"), call("80", "expired"), call("80")], tools(), files)
    assert sum(row.kind == "call.decided_again" for row in story.rows) == 1
    (found,) = run(story)
    assert (found.calls, found.applied, found.changed) == (4, 4, 4)
    made = Shadow(story.loaded)
    made.feed([*story.rows, story._entry("run/r", e.RunFinished(True, None), {})])
    assert made._waiting == {}, "calls that wait no more are kept"


def test_a_rule_that_never_applied_is_told_of_too_and_the_newest_set_comes_first() -> None:
    never = "policy: never\nrules:\n  - {id: never, mode: shadow, tools: [look], deny: 'false'}\n"
    old = {**FILES, "old.yaml": f"policy: old\nmode: shadow\nrules:\n{SHADOWED['deny']}"}
    new = {**FILES, "never.yaml": never}
    story = Story([call("80")], tools(), old)
    made = Shadow([*story.loaded, Loaded(tools().load(new).digest, types(tools()), new)])
    made.feed(story.rows)
    assert [(one.name, one.newest, one.applied) for one in made.rules()] == [
        ("never/never", True, 0),
        ("old/new", False, 1),
    ]


def test_a_rule_may_have_another_mode_than_its_file() -> None:
    text = POLICY.replace("policy: refunds", "policy: refunds\nmode: shadow").replace(
        "  - id: shipping", "  - id: shipping\n    mode: enforce"
    )
    loaded = tools().load({**FILES, "refunds.yaml": text})
    assert [rule.id for rule in loaded.rules_for("refund")] == ["shipping"]
    assert [rule.id for rule in loaded.shadow_for("refund")] == ["large", "small"]
    assert [rule.id for rule in loaded.shadow_for("look")] == ["look"]


def test_without_the_values_it_quotes_a_rule_says_what_it_does() -> None:
    files = {**FILES, "new.yaml": f"policy: new\nmode: shadow\nrules:\n{SHADOWED['deny']}"}
    story = Story([call("80")], tools(), files)
    rows = [row._replace(values=b"{}") for row in story.rows]
    assert "erased or withheld" in run(story, rows)[0].examples[0].why
    assert run(story)[0].examples[0].why == "80 of A1"


def test_what_is_no_entry_is_refused() -> None:
    story = Story([call("5")], tools(), FILES)
    with pytest.raises(Tampered, match="after 0 decisions, an entry can't be read"):
        run(story, [Row("call.decided", b"{", b"{}")])
