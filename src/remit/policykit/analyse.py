"""What can be said of a policy set without running anything: proofs, and examples that the real evaluator confirms.

Questions are asked of z3 tool by tool (see `symbols`). A "never" is proved, for every call and all facts of their
declared types; an example is only told once `decide` has decided it so. Where something that isn't modelled stands
between the two, the answer is that it isn't known, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from remit.core.conditions import Condition, Environment, compile_condition
from remit.core.counterfile import POLICY as COUNTERS
from remit.core.decide import Verdict, decide
from remit.core.entries import Outcome
from remit.core.policy import CompiledRule, PolicySet
from remit.core.tools import ToolSpec
from remit.errors import BadInput, ConditionError
from remit.policykit.examples import example
from remit.policykit.situations import Situation
from remit.policykit.symbols import Formula, Path, Symbols, Truth
from remit.policykit.toolset import Toolset

MILLISECONDS: Final = 5_000
"""How long the solver may think about one question; then the answer is not known."""
_TRIES: Final = 12
"""Models that are tried before an example counts as not found."""


class Found(Enum):
    """What a rule was found to be."""

    NEVER = "never applies"
    OVERRULED = "overruled"
    """An allow or escalate rule that applies only where a deny rule does."""
    COVERED = "covered"
    """An allow rule that applies only where people are asked, or a deny rule applies: it allows nothing by itself."""
    REDUNDANT = "redundant"
    """Without it no verdict would be another."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """A rule that does nothing on a tool, which is seldom what its author meant; `by` are the rules that see to it."""

    rule: str
    tool: str
    found: Found
    by: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {"rule": self.rule, "tool": self.tool, "found": self.found.value, "by": list(self.by)}


@dataclass(frozen=True, slots=True)
class Example:
    """A call that answers a question, as the `given` of a case, with what the real evaluator decided."""

    tool: str
    given: dict[str, Any]
    verdict: Verdict
    before: Verdict | None = None
    """Under the other policy set, where two were compared."""

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        row = {"tool": self.tool, "given": self.given, "outcome": self.verdict.outcome.value}
        return row if self.before is None else {**row, "before": self.before.outcome.value}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found: examples, or that there is none (`proved`), or what stands in the way of knowing.

    Attributes:
        proved: there is no such call, of any tool that was asked about.
        unknown: tool to why nothing is known of it.
        asked: the tools that the question fits.
    """

    examples: tuple[Example, ...]
    unknown: dict[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether there certainly is no such call."""
        return not self.examples and not self.unknown

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "found": bool(self.examples),
            "proved": self.proved,
            "examples": [one.row() for one in self.examples],
            "unknown": self.unknown,
            "tools": list(self.asked),
        }


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: CompiledRule
    applies: Formula
    error: Formula


class _Tool:
    """The rules of one tool as formulas, over one set of variables."""

    def __init__(self, spec: ToolSpec, tools: Toolset) -> None:
        constants: dict[Path, object] = {
            ("tool", "name"): spec.name,
            ("tool", "effect"): spec.effect.value,
            ("tool", "repeat"): spec.repeat.value,
            ("tool", "tags"): list(spec.tags),
            ("tool", "authority"): sorted(spec.authority),
            ("tool", "content"): sorted(spec.content),
            ("approval", "given"): False,
            ("approval", "reviewers"): [],
        }
        self.spec, self.tools = spec, tools
        self.symbols = Symbols(constants, spec.normal)
        self.z3 = self.symbols.z3

    def rules(self, policies: PolicySet) -> list[_Rule]:
        """Returns the enforced rules of a set."""
        return [self._rule(rule) for rule in policies.rules_for(self.spec.name)]

    def _rule(self, rule: CompiledRule) -> _Rule:
        truth = self.symbols.truth(rule.condition.tree)
        applies = self._false(truth) if rule.negated else truth.true
        return _Rule(rule, applies, truth.error)

    def _false(self, truth: Truth) -> Formula:
        return self.z3.And(self.z3.Not(truth.true), self.z3.Not(truth.error))

    def outcomes(self, rules: Sequence[_Rule]) -> dict[Outcome, Formula]:
        """Returns when each outcome comes out: the formula of `decide`."""
        z3 = self.z3
        by = {effect: [one for one in rules if one.rule.effect is effect] for effect in Outcome}
        granted = z3.Or(*(one.applies for one in (*by[Outcome.ALLOW], *by[Outcome.ESCALATE])))
        denies = z3.Or(*(z3.Or(one.applies, one.error) for one in by[Outcome.DENY]))
        asks = z3.Or(*(z3.Or(one.applies, one.error) for one in by[Outcome.ESCALATE]))
        deny = z3.Or(denies, z3.Not(granted))
        return {
            Outcome.DENY: deny,
            Outcome.ESCALATE: z3.And(z3.Not(deny), asks),
            Outcome.ALLOW: z3.And(z3.Not(deny), z3.Not(asks)),
        }

    def models(self, question: Formula) -> Iterator[Any]:
        """Yields models of a question, each another than those before; ends with None where the solver gave up."""
        z3 = self.z3
        solver = z3.Solver()
        solver.set("timeout", MILLISECONDS)
        solver.set("random_seed", 0)
        solver.add(*self.symbols.about, question)
        for _ in range(_TRIES):
            said = solver.check()
            if said == z3.unsat:
                return
            if said == z3.unknown:
                yield None
                return
            model = solver.model()
            yield model
            differs = [
                variable.formula != model.eval(variable.formula, model_completion=True)
                for variable in self.symbols.variables.values()
            ]
            if not differs:
                break
            solver.add(z3.Or(*differs))
        yield None

    def never(self, question: Formula) -> bool:
        """Whether it is proved that there is no such call."""
        return next(self.models(question), _NONE) is _NONE

    def why_unknown(self) -> str:
        """Returns what isn't modelled, in words."""
        opaque = [f"`{source}` ({why})" for source, why in self.symbols.unmodelled.items()]
        return "; ".join(opaque[:3]) or "the solver gave up"


_NONE: Final = object()
Confirm = Callable[[Situation], tuple[Verdict, Verdict | None] | None]


def weaknesses(policies: PolicySet, tools: Toolset) -> tuple[list[Weakness], dict[str, str]]:
    """Returns the rules that do nothing, and for each tool what isn't modelled (and so may hide more of them).

    Raises:
        BadInput: z3-solver isn't installed.
    """
    found: list[Weakness] = []
    unmodelled: dict[str, str] = {}
    for spec in tools.specs.values():
        tool = _Tool(spec, tools)
        rules = tool.rules(policies)
        # The rules of counters are there to be in error: they deny what can't be counted.
        written = [one for one in rules if one.rule.policy != COUNTERS]
        found += [weak for one in written if (weak := _weakness(tool, rules, one)) is not None]
        if tool.symbols.unmodelled:
            unmodelled[spec.name] = tool.why_unknown()
    return found, unmodelled


def _weakness(tool: _Tool, rules: Sequence[_Rule], one: _Rule) -> Weakness | None:
    z3, name = tool.z3, tool.spec.name
    if tool.never(one.applies):
        # One that can still be in error denies or asks by that: it is no use, but not for nothing.
        return Weakness(one.rule.name, name, Found.NEVER)
    others = [other for other in rules if other is not one]
    if one.rule.effect is not Outcome.DENY:
        denying = [other for other in others if other.rule.effect is Outcome.DENY]
        for other in denying:
            if tool.never(z3.And(one.applies, z3.Not(z3.Or(other.applies, other.error)))):
                return Weakness(one.rule.name, name, Found.OVERRULED, (other.rule.name,))
        if denying and tool.never(
            z3.And(one.applies, *(z3.Not(z3.Or(other.applies, other.error)) for other in denying))
        ):
            return Weakness(one.rule.name, name, Found.OVERRULED, tuple(other.rule.name for other in denying))
    if one.rule.effect is Outcome.ALLOW and not one.rule.oblige and (by := _covering(tool, others, one)):
        return Weakness(one.rule.name, name, Found.COVERED, by)
    for other in others:
        if one.rule.oblige and one.rule.oblige != other.rule.oblige:
            continue  # what it obliges to is its own
        if other.rule.effect is one.rule.effect and other.rule.queue == one.rule.queue:
            mine = z3.Or(one.applies, one.error) if one.rule.effect is not Outcome.ALLOW else one.applies
            its = z3.Or(other.applies, other.error) if one.rule.effect is not Outcome.ALLOW else other.applies
            if one.rule.effect is Outcome.ESCALATE:  # a broken one asks, but only a true one grants
                same = z3.And(z3.Implies(mine, its), z3.Implies(one.applies, other.applies))
            else:
                same = z3.Implies(mine, its)
            if tool.never(z3.Not(same)) and (rules.index(other) < rules.index(one) or not _both(tool, one, other)):
                return Weakness(one.rule.name, name, Found.REDUNDANT, (other.rule.name,))
    return None


def _covering(tool: _Tool, others: Sequence[_Rule], one: _Rule) -> tuple[str, ...]:
    """Returns the rules without which an allow rule would allow something; none where it does.

    An escalation that is only in error covers nothing: it asks, and what it asks about is granted by the allow rule.
    """
    z3 = tool.z3
    stricter = [other for other in others if other.rule.effect is not Outcome.ALLOW]
    covers = [
        other.applies if other.rule.effect is Outcome.ESCALATE else z3.Or(other.applies, other.error)
        for other in stricter
    ]
    for other, covered in zip(stricter, covers, strict=True):
        if tool.never(z3.And(one.applies, z3.Not(covered))):
            return (other.rule.name,)
    if stricter and tool.never(z3.And(one.applies, *map(z3.Not, covers))):
        return tuple(other.rule.name for other in stricter)
    return ()


def _both(tool: _Tool, one: _Rule, other: _Rule) -> bool:
    """Whether two rules apply to exactly the same calls: then only the later one is said to be redundant."""
    z3 = tool.z3
    return tool.never(z3.Xor(one.applies, other.applies)) and tool.never(z3.Xor(one.error, other.error))


def difference(old: PolicySet, new: PolicySet, tools: Toolset) -> Answer:
    """Returns calls that two policy sets decide differently; `proved` where they decide every call the same.

    Raises:
        BadInput: z3-solver isn't installed.
    """
    answers = []
    for spec in tools.specs.values():
        tool = _Tool(spec, tools)
        before, after = tool.outcomes(tool.rules(old)), tool.outcomes(tool.rules(new))
        question = tool.z3.Or(*(tool.z3.Xor(before[outcome], after[outcome]) for outcome in Outcome))

        def confirm(seen: Situation) -> tuple[Verdict, Verdict | None] | None:
            was, now = _decided(seen, old), _decided(seen, new)
            return (now, was) if was.outcome is not now.outcome else None

        answers.append(_answer(tool, question, confirm))
    return _joined(answers)


def ask(question: str, policies: PolicySet, tools: Toolset) -> Answer:
    """Returns calls for which a condition holds that may also speak of `outcome` (ALLOW, ESCALATE or DENY).

    Such as `tool.name == "pay" && args.amount > 1000 && outcome == ALLOW`. It is asked of each tool whose arguments it
    fits, before any approval.

    Raises:
        ConditionError: it fits no tool: it carries what is wrong with it for the one it fits best.
        BadInput: z3-solver isn't installed, or there are no tools.
    """
    answers: list[Answer] = []
    refused: list[ConditionError] = []
    for spec in tools.specs.values():
        try:
            asked = compile_condition(question, _asking(tools, spec, policies))
        except ConditionError as error:
            refused.append(error)
            continue
        answers.append(_asked(spec, asked, policies, tools))
    if not answers:
        if refused:
            raise min(refused, key=lambda error: len(error.problems))
        raise BadInput("there are no tools to ask about")
    return _joined(answers)


def _asking(tools: Toolset, spec: ToolSpec, policies: PolicySet) -> Environment:
    outcome = {"type": "string", "enum": [one.value for one in Outcome]}
    constants = {one.name: {"type": "string", "const": one.value} for one in Outcome}
    return Environment(
        {**tools.roots(spec), "outcome": outcome, **constants}, lenient=True, constants=policies.constants
    )


def _asked(spec: ToolSpec, asked: Condition, policies: PolicySet, tools: Toolset) -> Answer:
    tool = _Tool(spec, tools)
    z3 = tool.z3
    outcomes = tool.outcomes(tool.rules(policies))
    truth = tool.symbols.truth(asked.tree)
    for one in Outcome:
        if (constant := tool.symbols.variables.get((one.name,))) is not None:
            tool.symbols.about.append(constant.formula == z3.StringVal(one.value))
    if (outcome := tool.symbols.variables.get(("outcome",))) is not None:
        for one, formula in outcomes.items():
            tool.symbols.about.append(z3.Implies(formula, outcome.formula == z3.StringVal(one.value)))

    def confirm(seen: Situation) -> tuple[Verdict, Verdict | None] | None:
        verdict = _decided(seen, policies)
        names = {one.name: one.value for one in Outcome}
        held = asked.evaluate({**seen.seen, **names, "outcome": verdict.outcome.value})
        return (verdict, None) if held is True else None

    return _answer(tool, truth.true, confirm, hidden=("outcome", *(one.name for one in Outcome)))


def _answer(tool: _Tool, question: Formula, confirm: Confirm, hidden: Sequence[str] = ()) -> Answer:
    name = tool.spec.name
    for model in tool.models(question):
        if model is None:
            return Answer((), {name: tool.why_unknown()}, (name,))
        made = example(tool.symbols, model, tool.spec, tool.tools, hidden)
        if made is not None and (verdicts := confirm(made[1])) is not None:
            return Answer((Example(name, made[0], *verdicts),), {}, (name,))
    return Answer((), {}, (name,)) if tool.never(question) else Answer((), {name: tool.why_unknown()}, (name,))


def _decided(seen: Situation, policies: PolicySet) -> Verdict:
    return decide(seen.tool.name, seen.seen, policies)


def _joined(answers: Sequence[Answer]) -> Answer:
    return Answer(
        tuple(one for answer in answers for one in answer.examples),
        {name: why for answer in answers for name, why in answer.unknown.items()},
        tuple(name for answer in answers for name in answer.asked),
    )
