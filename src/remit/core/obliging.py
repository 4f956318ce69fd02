"""From what was asked for to what may run: the call as policy obliges it to be, decided anew.

A verdict that doesn't deny may oblige to change arguments. The changed call is another call, so it is decided as one;
what stands is the stricter of both verdicts, with the obligations of both. A change that can't be made, or that calls
for yet another, is a deny. Pure and total: made again from the recorded facts it says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from remit.core.decide import Approval, Verdict, decide
from remit.core.detectors import Finding
from remit.core.entries import Outcome, VerdictRecord
from remit.core.facts import roots
from remit.core.obligations import COVERING, joined, names_changed, oblige_arguments, on_arguments
from remit.core.policy import PolicySet
from remit.core.tools import ToolSpec
from remit.errors import BadInput

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Obliged:
    """A verdict, and the arguments it is on.

    Attributes:
        changed: names of the arguments that are not as asked for.
        covered: those of them in which something was masked or redacted.
    """

    verdict: Verdict
    args: Mapping[str, object]
    changed: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()


def as_obliged(tool: ToolSpec, document: Document, args: Mapping[str, object], policies: PolicySet) -> Obliged:
    """Returns the verdict on a call as asked for, and what it obliges the arguments to be; `settled` comes next
    where they are changed."""
    verdict = decide(tool.name, roots(document, tool, args), policies)
    if verdict.outcome is Outcome.DENY or not (verdict.obliged or "guarded" in document):
        return Obliged(verdict, args)
    try:
        changed = _oblige(tool, document, args, verdict)
    except BadInput as error:
        return Obliged(_refused(verdict, str(error)), args)
    names = names_changed(args, changed)
    covering = {one.at.split("/")[2] for one in on_arguments(verdict.obliged) if one.kind in COVERING}
    covering |= {row["pointer"].split("/")[1] for row in document.get("guarded", ())}
    return Obliged(
        verdict, changed if names else args, names, tuple(n for n in names if n in covering or "*" in covering)
    )


def settled(tool: ToolSpec, first: Obliged, document: Document, policies: PolicySet) -> Obliged:
    """Returns the verdict on the call as changed, with `document` its facts: the stricter of both verdicts."""
    second = decide(tool.name, roots(document, tool, first.args), policies)
    whole = _together(first.verdict, second)
    if whole.outcome is not Outcome.DENY:
        whole = _resting(tool, document, first.args, whole, "what it obliges to calls for another change")
    return replace(first, verdict=whole)


def held(
    tool: ToolSpec, document: Document, args: Mapping[str, object], said: VerdictRecord, policies: PolicySet
) -> Verdict | str:
    """Returns the recorded verdict on a changed call, where the call as it was asked for is not there, if it can be.

    It can where it is no wider than the verdict on what ran, and what ran needs no other change; else, why not. Its
    reasons may be of the call as it was asked for, and are left empty.
    """
    second = decide(tool.name, roots(document, tool, args), policies)
    whole = replace(
        second, outcome=said.outcome, rules=said.rules, broken=said.broken, shadow=said.shadow, obliged=said.obliged,
        reasons=(),
    )  # fmt: skip
    if said.outcome is Outcome.DENY:
        return whole
    strict = (Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY).index
    if strict(said.outcome) < strict(second.outcome) or joined(said.obliged, second.obliged) != said.obliged:
        return "the recorded verdict is wider than that on the call as it was changed"
    if _resting(tool, document, args, whole, "").outcome is Outcome.DENY:
        return "what was run is not what the verdict obliges the call to be"
    return whole


def decide_approved(
    tool: ToolSpec, document: Document, args: Mapping[str, object], policies: PolicySet, approval: Approval | None
) -> Verdict:
    """Returns the verdict on a call that people ruled on: what they approved may not be changed any more."""
    verdict = decide(tool.name, roots(document, tool, args), policies, approval)
    if verdict.outcome is Outcome.DENY or not (verdict.obliged or "guarded" in document):
        return verdict
    return _resting(tool, document, args, verdict, "it would change what was approved")


def decide_granted(
    tool: ToolSpec, document: Document, args: Mapping[str, object], policies: PolicySet, approval: Approval,
    before: Verdict,
) -> Verdict:  # fmt: skip
    """Returns the verdict on a call that grants cover: `before` is the one that would have asked people about it.

    What that obliges the call to be holds, and so does every rule of it that the grants' makers were not shown.
    """
    asking = [hit for hit in (*before.rules, *before.broken) if hit.effect is Outcome.ESCALATE]
    if before.outcome is not Outcome.ESCALATE or any(
        hit.digest not in approval.disclosed.get(hit.queue, ()) for hit in asking
    ):
        return before
    verdict = decide_approved(tool, document, args, policies, approval)
    return replace(verdict, obliged=joined(before.obliged, verdict.obliged))


def _resting(tool: ToolSpec, document: Document, args: Mapping[str, object], verdict: Verdict, why: str) -> Verdict:
    try:
        again = names_changed(args, _oblige(tool, document, args, verdict))
    except BadInput as error:
        return _refused(verdict, str(error))
    return _refused(verdict, f"{why}: {', '.join(f'`{name}`' for name in again)}") if again else verdict


def _oblige(tool: ToolSpec, document: Document, args: Mapping[str, object], verdict: Verdict) -> dict[str, Any]:
    found = []
    for row in document.get("guarded", ()):
        if "error" in row:
            raise BadInput(f"guardrail `{row['guardrail']}` failed, so nobody knows what to mask")
        found.append(Finding("", row["pointer"], row["start"], row["end"]))
    return oblige_arguments(tool, args, verdict.obliged, found)


def _refused(verdict: Verdict, why: str) -> Verdict:
    reasons = (f"an obligation can't be fulfilled: {why}",)
    return replace(verdict, outcome=Outcome.DENY, rules=(), reasons=reasons, queues=())


def _together(first: Verdict, second: Verdict) -> Verdict:
    """The stricter of the verdicts on the call as asked for, which doesn't deny, and as changed."""
    broken = tuple(dict.fromkeys((*second.broken, *first.broken)))
    if second.outcome is Outcome.DENY:
        return replace(second, broken=broken)
    whole = replace(second, broken=broken, obliged=joined(first.obliged, second.obliged))
    if first.outcome is not Outcome.ESCALATE:
        return whole
    more = tuple(hit for hit in first.rules if hit not in second.rules)
    rules = (*(second.rules if second.outcome is Outcome.ESCALATE else ()), *more)
    # Its own words may quote what is covered now.
    said = tuple(f"rule `{hit.policy}/{hit.rule}` asks for a review of the call as it was asked for" for hit in more)
    reasons = (*(second.reasons if second.outcome is Outcome.ESCALATE else ()), *said)
    queues = tuple(sorted({*first.queues, *second.queues}))
    return replace(whole, outcome=Outcome.ESCALATE, rules=rules, reasons=reasons, queues=queues)
