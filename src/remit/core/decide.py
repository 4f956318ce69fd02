"""decide(call, facts, policies) -> Verdict: pure, total, deterministic, raises nothing.

granted = ALLOW if an allow rule is true, else ESCALATE if an escalate rule is true, else DENY
ceiling = DENY if a deny rule is true or in error, else ESCALATE if an escalate rule is, else ALLOW
outcome = the stricter of the two, so that an error can only make it stricter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from remit.core.conditions import Failure
from remit.core.entries import Obligation, Outcome, RuleHit
from remit.core.obligations import joined
from remit.core.policy import CompiledRule, PolicySet

_ALLOW, _ESCALATE, _DENY = Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY  # looking them up is slow
_Found = tuple[CompiledRule, Failure | None]  # a rule that applies, or is in error


@dataclass(frozen=True, slots=True)
class Approval:
    """Every review of the call was approved: unexpired, unused, and bound to the call's digest."""

    disclosed: Mapping[str, frozenset[str]] = field(default_factory=dict)  # digests of rules, by queue


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, by which rules, and why. `rules` determined it; none: no rule allows the call."""

    outcome: Outcome
    rules: tuple[RuleHit, ...]
    broken: tuple[RuleHit, ...]
    shadow: tuple[RuleHit, ...]
    reasons: tuple[str, ...]
    queues: tuple[str, ...]
    policies: str
    obliged: tuple[Obligation, ...] = ()


def decide(
    tool_name: str, roots: Mapping[str, object], policies: PolicySet, approval: Approval | None = None
) -> Verdict:
    """Returns the verdict on a call of a tool under `policies`; `roots` is all that conditions see."""
    found = _applying(policies.rules_for(tool_name), roots)
    denying = [hit for hit in found if hit[0].effect is _DENY]
    escalating = [hit for hit in found if hit[0].effect is _ESCALATE]
    allowing = [hit for hit in found if hit[0].effect is _ALLOW and hit[1] is None]
    granted = allowing or any(failure is None for _, failure in escalating)
    standing = _not_approved(escalating, approval)
    if denying or not granted:
        outcome, determining = _DENY, denying
    elif standing:
        outcome, determining = _ESCALATE, standing
    else:
        outcome, determining = _ALLOW, escalating or allowing
    broken = [hit for hit in found if hit[1] is not None]
    reasons = [_reason(hit, outcome, roots) for hit in determining] or [f"no rule allows `{tool_name}`"]
    reasons += [_reason(hit, outcome, roots) for hit in broken if hit not in determining]
    queues = {rule.queue for rule, _ in standing} if outcome is _ESCALATE else ()
    shadow = _hits(_applying(policies.shadow_for(tool_name), roots))
    rules, errors, obliged = _hits(determining), _hits(broken), joined(*[rule.oblige for rule, _ in found])
    return Verdict(outcome, rules, errors, shadow, tuple(reasons), tuple(sorted(queues)), policies.digest, obliged)


def _applying(rules: Sequence[CompiledRule], roots: Mapping[str, object]) -> list[_Found]:
    """Returns the rules that apply or are in error, in the policy set's order: by policy and id."""
    found: list[_Found] = []
    for rule in rules:
        try:
            value = rule.condition.evaluate(roots)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a rule, it is the rule that broke
            value = Failure(f"{type(error).__name__}: {error}", 1, 1)
        if value is not rule.negated:
            strange = None if isinstance(value, bool) else Failure("neither true nor false", 1, 1)
            found.append((rule, value if isinstance(value, Failure) else strange))
    return found


def _not_approved(escalating: list[_Found], approval: Approval | None) -> list[_Found]:
    """Returns the rules that still stand: all of each queue whose reviewers weren't shown one of them."""
    shown = approval.disclosed if approval is not None else {}
    asking = {rule.queue for rule, _ in escalating if rule.digest not in shown.get(rule.queue, ())}
    return [hit for hit in escalating if hit[0].queue in asking]


def _hits(found: Sequence[_Found]) -> tuple[RuleHit, ...]:
    return tuple([rule.hit if failure is None else rule.broken for rule, failure in found])


def _reason(hit: _Found, outcome: Outcome, roots: Mapping[str, object]) -> str:
    rule, failure = hit
    if failure is not None:
        return f"rule `{rule.name}` is broken: {failure.message}"
    if rule.effect is _ESCALATE and outcome is _ALLOW:
        return f"rule `{rule.name}` asked for a review, and it was approved"
    return f"rule `{rule.name}` {rule.says}" if rule.reason is None else rule.reason.render(roots)
