"""Why a verdict is what it is: every rule with its condition's parts and their values, and what would change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any, Final

from remit.core.cel.interpret import Interpreter
from remit.core.cel.tree import Call, Choice, Literal, Logic, Node, Settle, Widen
from remit.core.cel.unparse import show
from remit.core.cel.values import ANYTHING
from remit.core.conditions import STEPS, Condition, Explanation, Failure, render_value
from remit.core.decide import Approval, Verdict, decide
from remit.core.entries import Outcome
from remit.core.obligations import in_words
from remit.core.obliging import Obliged, as_obliged, decide_approved, settled
from remit.core.policy import CompiledRule, PolicySet
from remit.policykit.situations import Situation

_MOST: Final = 3
"""How many parts may have to differ at once; more help nobody."""
_TRIES: Final = 4_000
_SETS: Final = 4
"""How many ways to another outcome are told."""
_NEGATED: Final = {"_>_": "<=", "_<_": ">=", "_!=_": "=="}

Truth = bool | None
"""What a part is; None: it is in error."""


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule that speaks of the tool: whether it applied, and each part of its condition.

    Attributes:
        applies: it was true (a `require`: false), or in error.
        decided: it is one of those that determined the outcome.
    """

    rule: CompiledRule
    shadow: bool
    applies: bool
    decided: bool
    condition: Explanation


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a condition that would have to be something else."""

    source: str
    now: Truth
    then: bool


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Another outcome, and the fewest parts that would have to differ for it, confirmed by deciding so."""

    outcome: Outcome
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision, explained."""

    tool: str
    verdict: Verdict
    rules: tuple[Considered, ...]
    otherwise: tuple[Otherwise, ...] = ()
    changed: Mapping[str, object] = field(default_factory=dict)
    """The arguments that obligations change, as they would run."""

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "tool": self.tool,
            "outcome": self.verdict.outcome.value,
            "reasons": list(self.verdict.reasons),
            "obligations": list(map(in_words, self.verdict.obliged)),
            "changed": dict(self.changed),
            "policies": self.verdict.policies,
            "rules": [
                {
                    "rule": one.rule.name,
                    "effect": one.rule.effect.value,
                    "require": one.rule.negated,
                    "queue": one.rule.queue,
                    "shadow": one.shadow,
                    "applies": one.applies,
                    "decided": one.decided,
                    "condition": part_row(one.condition),
                }
                for one in self.rules
            ],
            "otherwise": [
                {
                    "outcome": one.outcome.value,
                    "changes": [
                        {"source": change.source, "now": _word(change.now), "then": _word(change.then)}
                        for change in one.changes
                    ],
                }
                for one in self.otherwise
            ],
        }


def explain(found: Situation, rules: PolicySet, approval: Approval | None = None) -> Explained:
    """Returns the verdict with every rule that was considered, without looking for what would change it."""
    seen, tool = found.seen, found.tool.name
    if approval is not None or found.approved:
        obliged = Obliged(decide_approved(found.tool, found.document, found.args, rules, approval), found.args)
    else:
        obliged = as_obliged(found.tool, found.document, found.args, rules)
        obliged = settled(found.tool, obliged, found.document, rules) if obliged.changed else obliged
    verdict = obliged.verdict
    decided = {hit.digest for hit in verdict.rules}
    considered = [
        _considered(rule, seen, shadow, rule.digest in decided)
        for shadow, some in ((False, rules.rules_for(tool)), (True, rules.shadow_for(tool)))
        for rule in some
    ]
    changed = {name: obliged.args[name] for name in obliged.changed}
    return Explained(tool, verdict, tuple(considered), changed=changed)


def explain_fully(found: Situation, rules: PolicySet, approval: Approval | None = None) -> Explained:
    """Returns the explanation with what would have to differ for every other outcome."""
    explained = explain(found, rules, approval)
    return replace(explained, otherwise=tuple(_Search(found, rules, approval, explained.verdict).run()))


def part_row(explained: Explanation) -> dict[str, Any]:
    """Returns a condition's part, its value and its parts as JSON."""
    value = explained.value
    shown = f"error: {value.message}" if isinstance(value, Failure) else render_value(value)
    return {"source": explained.source, "value": shown, "parts": [part_row(part) for part in explained.children]}


def part_lines(part: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Yields a part as `part_row` gives it, a line each: for the trace, a review and `policy explain` alike."""
    source = " ".join(str(part["source"]).split())
    yield f"{' ' * indent}{source}  =  {part['value']}"
    for below in part["parts"]:
        yield from part_lines(below, indent + 2)


def words(otherwise: Otherwise) -> str:
    """Returns what would have to differ, in words."""
    return " and ".join(
        f"`{' '.join(change.source.split())}` were {_word(change.then)}" for change in otherwise.changes
    )


def _considered(rule: CompiledRule, seen: Mapping[str, object], shadow: bool, decided: bool) -> Considered:
    explained = rule.condition.explain(seen)
    return Considered(rule, shadow, explained.value is not rule.negated, decided, explained)


def _word(value: Truth) -> str:
    return "error" if value is None else str(value).lower()


# --- what would change it --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Atom:
    """A part of a condition without `&&`, `||`, `!` and `?:`; the same text is the same atom in every rule."""

    source: str
    negated: bool


_Values = dict[str, Truth]
_Formula = Callable[[_Values], Truth]


class _Supposed(Condition):
    """A condition with the truth of its atoms given: for looking for a change, which is confirmed afterwards."""

    __slots__ = ("_formula", "_values")

    def __init__(self, source: str, formula: _Formula, values: _Values) -> None:
        self.source = source
        self._formula = formula
        self._values = values

    def evaluate(self, roots: Mapping[str, object], steps: int = STEPS) -> bool | Failure:
        """Returns what the atoms say."""
        found = self._formula(self._values)
        return Failure("in error", 1, 1) if found is None else found


class _Replaced(Condition):
    """A condition really evaluated, but for some parts whose truth is replaced."""

    __slots__ = ("_then",)

    def __init__(self, condition: Condition, then: Mapping[int, bool]) -> None:
        self.source = condition.source
        self._node = condition.tree
        self._then = then

    def evaluate(self, roots: Mapping[str, object], steps: int = STEPS) -> bool | Failure:
        """Returns the condition's value with those parts replaced."""
        try:
            found = _Replacing(roots, steps, self._then).value(self._node)
        except ANYTHING as error:
            return self._failure(error)
        return found if isinstance(found, bool) else Failure("neither true nor false", 1, 1)


class _Replacing(Interpreter):
    def __init__(self, roots: Mapping[str, object], steps: int, then: Mapping[int, bool]) -> None:
        super().__init__(roots, steps)
        self._then = then

    def value(self, node: Node) -> object:
        """Returns what stands in the node's place, or its value."""
        return self._then[id(node)] if id(node) in self._then else super().value(node)


class _Search:
    """Looks for the fewest atoms whose truth, were it another, would give another outcome."""

    def __init__(self, found: Situation, rules: PolicySet, approval: Approval | None, verdict: Verdict) -> None:
        self._tool, self._seen, self._approval, self._verdict = found.tool.name, found.seen, approval, verdict
        self._rules = rules
        self._nodes: dict[str, list[tuple[Node, bool]]] = {}
        self._sources: dict[str, tuple[str, bool]] = {}
        self._values: _Values = {}
        self._fixed: set[str] = set()
        decided = {hit.digest for hit in verdict.rules}
        mine = rules.rules_for(self._tool)
        for rule in sorted(mine, key=lambda rule: rule.digest not in decided):
            self._learn(rule)
        supposed = [
            replace(
                rule,
                condition=_Supposed(rule.condition.source, self._formula(rule.condition.tree), self._values),
                reason=None,
            )
            for rule in mine
        ]
        self._supposed = self._with(supposed)

    def run(self) -> list[Otherwise]:
        """Returns the ways to other outcomes, the nearest first."""
        if self._outcome() is not self._verdict.outcome:
            return []  # an atom depends on more than its truth: nothing is said rather than something wrong
        found: dict[Outcome, list[Otherwise]] = {}
        wanted = {Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY} - {self._verdict.outcome}
        tries = 0
        for size in range(1, _MOST + 1):
            for changed in combinations([key for key in self._values if key not in self._fixed], size):
                for then in product(*(self._others(key) for key in changed)):
                    tries += 1
                    if tries > _TRIES or not wanted:
                        return [one for some in found.values() for one in some]
                    changes = dict(zip(changed, then, strict=True))
                    outcome = self._outcome(changes)
                    if outcome in wanted and len(found.get(outcome, ())) < _SETS and self._confirmed(changes, outcome):
                        found.setdefault(outcome, []).append(Otherwise(outcome, self._told(changes)))
            wanted -= set(found)
        return [one for some in found.values() for one in some]

    def _others(self, key: str) -> tuple[bool, ...]:
        now = self._values[key]
        return (True, False) if now is None else (not now,)

    def _outcome(self, changes: Mapping[str, bool] | None = None) -> Outcome:
        before = {key: self._values[key] for key in changes or ()}
        self._values.update(changes or {})
        outcome = decide(self._tool, self._seen, self._supposed, self._approval).outcome
        self._values.update(before)
        return outcome

    def _confirmed(self, changes: Mapping[str, bool], outcome: Outcome) -> bool:
        """Whether the real evaluation says the same with these parts replaced."""
        then = {id(node): value is not negated for key, value in changes.items() for node, negated in self._nodes[key]}
        rules = [replace(rule, condition=_Replaced(rule.condition, then)) for rule in self._rules.rules_for(self._tool)]
        return decide(self._tool, self._seen, self._with(rules), self._approval).outcome is outcome

    def _with(self, rules: Sequence[CompiledRule]) -> PolicySet:
        return replace(self._rules, enforced={self._tool: tuple(rules)}, shadowed={})

    def _told(self, changes: Mapping[str, bool]) -> tuple[Change, ...]:
        told = []
        for key, then in changes.items():
            source, negated = self._sources[key]
            now = self._values[key]
            told.append(Change(source, now if now is None else now is not negated, then is not negated))
        return tuple(told)

    def _learn(self, rule: CompiledRule) -> None:
        """Notes the atoms of a condition, and what each is."""
        interpreter = Interpreter(self._seen, STEPS)
        for node in _atoms(rule.condition.tree):
            atom = _atom(node)
            self._nodes.setdefault(atom.source, []).append((node, atom.negated))
            self._sources.setdefault(atom.source, (show(node), atom.negated))
            if isinstance(node, Call) and node.name in ("_!=_", "_==_") and show(node.args[0]) == show(node.args[1]):
                self._fixed.add(atom.source)  # nothing differs from itself: no call could make it otherwise
            if atom.source not in self._values:
                try:
                    value = interpreter.value(node)
                except ANYTHING:
                    value = None
                self._values[atom.source] = (value is not atom.negated) if isinstance(value, bool) else None

    def _formula(self, node: Node) -> _Formula:
        match node:
            case Settle() | Widen():
                return self._formula(node.operand)
            case Logic():
                left, right, stop = self._formula(node.left), self._formula(node.right), node.stop
                return lambda values: _either(left(values), right(values), stop)
            case Call() if node.name == "!_":
                inner = self._formula(node.args[0])
                return lambda values: None if (found := inner(values)) is None else not found
            case Choice():
                test, yes, no = (self._formula(part) for part in (node.test, node.yes, node.no))
                return lambda values: None if (found := test(values)) is None else yes(values) if found else no(values)
            case Literal():
                value = node.value if isinstance(node.value, bool) else None
                return lambda values: value
        atom = _atom(node)
        return lambda values: None if (found := values[atom.source]) is None else found is not atom.negated


def _either(left: Truth, right: Truth, stop: bool) -> Truth:
    if left is stop or right is stop:
        return stop
    return None if left is None or right is None else not stop


def _atoms(node: Node) -> Iterator[Node]:
    match node:
        case Settle() | Widen():
            yield from _atoms(node.operand)
        case Logic():
            yield from _atoms(node.left)
            yield from _atoms(node.right)
        case Call() if node.name == "!_":
            yield from _atoms(node.args[0])
        case Choice():
            for part in (node.test, node.yes, node.no):
                yield from _atoms(part)
        case Literal():
            return
        case _:
            yield node


def _atom(node: Node) -> _Atom:
    """`a > b` is `a <= b` negated: they are never changed apart from each other."""
    if isinstance(node, Call) and node.name in _NEGATED and len(node.args) == 2:
        left, right = node.args
        return _Atom(f"{show(left, 5)} {_NEGATED[node.name]} {show(right, 5)}", True)
    if isinstance(node, Call) and node.name in ("_<=_", "_>=_", "_==_") and len(node.args) == 2:
        left, right = node.args
        return _Atom(f"{show(left, 5)} {node.name.strip('_')} {show(right, 5)}", False)
    return _Atom(show(node), False)
