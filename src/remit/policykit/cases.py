"""Playing cases: each is decided by the real `decide`, and compared with what it expects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from remit.core.canonical import canonical
from remit.core.decide import Approval, Verdict, decide
from remit.core.entries import Outcome, RuleHit
from remit.core.obligations import in_words
from remit.core.obliging import Obliged, as_obliged, decide_approved, settled
from remit.core.policy import PolicySet
from remit.errors import PolicyError, Problem
from remit.policykit.casefiles import Case
from remit.policykit.situations import Situation, approval_of, before_approval, shaped, situation
from remit.policykit.toolset import Toolset


@dataclass(frozen=True, slots=True)
class Difference:
    """What a case expected, and what was found."""

    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Played:
    """A case and how it came out; it passed where nothing differs."""

    case: Case
    verdict: Verdict
    situation: Situation
    differences: tuple[Difference, ...]
    changed: Mapping[str, object] = field(default_factory=dict)
    """The arguments that obligations change, as they run."""

    @property
    def passed(self) -> bool:
        """Whether the verdict is the one that was expected."""
        return not self.differences

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "case": self.case.id,
            "place": self.case.place,
            "name": self.case.name,
            "passed": self.passed,
            "outcome": self.verdict.outcome.value,
            "rules": names(self.verdict.rules),
            "reasons": list(self.verdict.reasons),
            "queues": list(self.verdict.queues),
            "obligations": list(map(in_words, self.verdict.obliged)),
            "changed": dict(self.changed),
            "differences": [
                {"what": one.what, "expected": one.expected, "found": one.found} for one in self.differences
            ],
        }


Watch = Callable[[Situation], None]


def play(cases: Iterable[Case], tools: Toolset, rules: PolicySet, watch: Watch | None = None) -> list[Played]:
    """Returns how every case came out; `watch` is told of every situation that is decided.

    Raises:
        PolicyError: a case gives what can't be; with every problem of every case.
    """
    made: list[tuple[Case, Situation]] = []
    problems: list[Problem] = []
    for case in cases:
        try:
            made.append((case, situation(case, tools)))
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(tuple(dict.fromkeys(problems)))
    return [_play(case, found, rules, watch) for case, found in made]


def decided(found: Situation, rules: PolicySet) -> tuple[Obliged, Approval | None]:
    """Returns the verdict, and the approval that it was made with: people approved what was escalated to them.

    Where obligations change the call it is decided anew as changed, from the same facts.
    """
    approval = None
    if found.approved:
        before = decide(found.tool.name, before_approval(found).seen, rules)
        asked = frozenset(hit.digest for hit in (*before.rules, *before.broken) if hit.effect is Outcome.ESCALATE)
        if before.outcome is Outcome.ESCALATE:
            approval = approval_of(rules, found.tool.name, asked)
    if found.approved:
        verdict = decide_approved(found.tool, found.document, found.args, rules, approval)
        return Obliged(verdict, found.args), approval
    first = as_obliged(found.tool, found.document, found.args, rules)
    return settled(found.tool, first, found.document, rules) if first.changed else first, None


def names(hits: Iterable[RuleHit]) -> list[str]:
    """Returns `policy/id` of each rule, sorted, once."""
    return sorted({f"{hit.policy}/{hit.rule}" for hit in hits})


def _play(case: Case, found: Situation, rules: PolicySet, watch: Watch | None) -> Played:
    if watch is not None:
        if found.approved:
            watch(before_approval(found))
        watch(found)
    obliged, approval = decided(found, rules)
    if watch is not None and obliged.changed:
        watch(replace(found, args=obliged.args))
    changed = {name: obliged.args[name] for name in obliged.changed}
    told = [*_differences(case, found, obliged.verdict, approval), *_obligations(case, found, obliged.verdict, changed)]
    return Played(case, obliged.verdict, found, tuple(told), changed)


def _obligations(case: Case, found: Situation, verdict: Verdict, changed: Mapping[str, object]) -> Iterator[Difference]:
    there = [in_words(one) for one in verdict.obliged]
    if case.expect.obligations is not None and sorted(case.expect.obligations) != sorted(there):
        yield Difference("obligations", _listed(sorted(case.expect.obligations)), _listed(there))
    if case.expect.changed is not None:
        properties: Mapping[str, Any] = found.tool.normal.get("properties", {})
        # As written: the digits of a decimal matter.
        given = case.changed
        wanted = {name: shaped(value, properties.get(name, {}), found.tool.normal) for name, value in given.items()}
        if canonical(wanted) != canonical(dict(changed)):
            yield Difference("changed", canonical(wanted).decode(), canonical(dict(changed)).decode())


def _differences(case: Case, found: Situation, verdict: Verdict, approval: Approval | None) -> list[Difference]:
    expect, told = case.expect, []
    if found.approved and approval is None:
        told.append(Difference("approval", "a call that people are asked about", "one that nobody is asked about"))
    if verdict.outcome is not expect.outcome:
        told.append(Difference("outcome", expect.outcome.value, verdict.outcome.value))
    sets: Sequence[tuple[str, Sequence[str] | None, Sequence[str]]] = (
        ("rules", expect.rules, names(verdict.rules)),
        ("broken", expect.broken, names(verdict.broken)),
        ("shadow", expect.shadow, names(verdict.shadow)),
        ("queue", expect.queue, verdict.queues),
    )
    for what, wanted, there in sets:
        if wanted is not None and not _same(wanted, there):
            told.append(Difference(what, _listed(sorted(wanted)), _listed(there)))
    for text in expect.reason:
        if not any(text in reason for reason in verdict.reasons):
            told.append(Difference("reason", f"… {text} …", " | ".join(verdict.reasons)))
    return told


def _same(wanted: Sequence[str], there: Sequence[str]) -> bool:
    """Whether they are the same rules; a name without its policy stands for the only rule of that name."""
    meant = set()
    for name in wanted:
        short = [one for one in there if one.rpartition("/")[2] == name]
        if name in there:
            meant.add(name)
        elif len(short) == 1:
            meant.add(short[0])
        else:
            return False
    return meant == set(there)


def _listed(found: Iterable[str]) -> str:
    return ", ".join(found) or "none"
