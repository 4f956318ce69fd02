"""What cases have tried: every rule true and false, and every operand of `&&`, `||`, `!` and `?:` both ways.

A part is tried when the evaluation really needed it: what `&&` and `||` skip is not. A part that only looks at
`tool` can't be but what it is for the rule's tools, so nothing more is asked of it; neither of a written truth value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remit.core.cel.interpret import Interpreter
from remit.core.cel.tree import Call, Choice, Literal, Logic, Node, Root, Settle, Widen, children
from remit.core.cel.unparse import show
from remit.core.cel.values import ANYTHING, EvalError
from remit.core.conditions import STEPS
from remit.core.facts import roots
from remit.core.policy import CompiledRule, PolicySet
from remit.core.policyfiles import read_policy
from remit.core.yamltext import Path, Source
from remit.policykit.situations import NOW, Situation
from remit.policykit.toolset import Toolset

ERROR = "error"
Tried = bool | str


@dataclass(slots=True)
class Part:
    """A condition (`whole`), or an operand in it: what it can be, and what it was."""

    source: str
    file: str
    line: int
    column: int
    whole: bool
    wanted: frozenset[bool] = frozenset({True, False})
    tried: set[Tried] = field(default_factory=set)

    @property
    def missing(self) -> list[bool]:
        """What it never was."""
        return sorted(self.wanted - {one for one in self.tried if isinstance(one, bool)}, reverse=True)


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """A rule and its parts; the first part is the condition itself."""

    rule: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """What was tried of a policy set."""

    rules: tuple[RuleCoverage, ...]

    @property
    def branches(self) -> int:
        """How many things there are to try."""
        return sum(len(part.wanted) for rule in self.rules for part in rule.parts)

    @property
    def tried(self) -> int:
        """How many of them were."""
        return sum(len(part.wanted) - len(part.missing) for rule in self.rules for part in rule.parts)

    @property
    def percent(self) -> float:
        """100 where everything was tried, and nowhere else."""
        return 100 * self.tried / self.branches if self.branches else 100.0

    @property
    def missing(self) -> list[tuple[str, Part]]:
        """Every part with something untried, by rule."""
        return [(rule.rule, part) for rule in self.rules for part in rule.parts if part.missing]

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "branches": self.branches,
            "tried": self.tried,
            "percent": round(self.percent, 2),
            "rules": [
                {
                    "rule": rule.rule,
                    "true": True in rule.parts[0].tried,
                    "false": False in rule.parts[0].tried,
                    "error": ERROR in rule.parts[0].tried,
                }
                for rule in self.rules
            ],
            "missing": [
                {"rule": rule, "file": part.file, "line": part.line, "column": part.column, "source": part.source,
                 "never": [str(one).lower() for one in part.missing]}
                for rule, part in self.missing
            ],
        }  # fmt: skip


class Coverage:
    """Watches situations being decided; see `cases.play`."""

    def __init__(self, rules: PolicySet, tools: Toolset) -> None:
        self._places = places(rules.texts)
        self._rules = rules
        self._found: dict[str, dict[str, Part]] = {}
        self._keys: dict[int, dict[int, str]] = {}
        for tool in sorted({*rules.enforced, *rules.shadowed}):
            for rule in self._of(tool):
                self._add(rule)
        self._limit(tools)

    def watch(self, found: Situation) -> None:
        """Notes what every rule that speaks of the tool, and every part of it, was."""
        seen = found.seen
        for rule in self._of(found.tool.name):
            parts = self._found[rule.name]
            interpreter = _Noting(seen, self._keys[id(rule)], parts)
            interpreter.evaluate(tree_of(rule))

    def _limit(self, tools: Toolset) -> None:
        """Asks of a part that only looks at `tool` no more than it can be."""
        possible: dict[tuple[str, str], set[bool]] = {}
        for tool, spec in tools.specs.items():
            about = roots({"now": NOW, "spent": {"by_tool": {}}, "history": {}}, spec, {})["tool"]
            for rule in self._of(tool):
                for node, key in _keyed(tree_of(rule)):
                    if _roots(node) <= {"tool"}:
                        try:
                            value = Interpreter({"tool": about}, STEPS).value(node)
                        except ANYTHING:
                            continue
                        if isinstance(value, bool):
                            possible.setdefault((rule.name, key), set()).add(value)
        for (rule_name, key), values in possible.items():
            self._found[rule_name][key].wanted = frozenset(values)

    def report(self) -> CoverageReport:
        """Returns what was tried so far."""
        return CoverageReport(
            tuple(RuleCoverage(rule, tuple(parts.values())) for rule, parts in sorted(self._found.items()))
        )

    def _of(self, tool: str) -> Sequence[CompiledRule]:
        # Not those that purposes.yaml means: nobody wrote a condition there that a case could try.
        found = (*self._rules.rules_for(tool), *self._rules.shadow_for(tool))
        return [rule for rule in found if (rule.policy, rule.id) in self._places]

    def _add(self, rule: CompiledRule) -> None:
        """A rule is compiled for each of its tools; the same place in each tree is the same part."""
        source, path = self._places[rule.policy, rule.id]
        parts = self._found.setdefault(rule.name, {})
        keys: dict[int, str] = {}
        for node, key in _keyed(tree_of(rule)):
            keys[id(node)] = key
            if key not in parts:
                place = source.within(path, *_line_and_column(rule.condition.source, _start(node)))
                text = " ".join(rule.condition.source.split()) if key == "0" else show(node)
                parts[key] = Part(text, source.name, *place, whole=key == "0")
        self._keys[id(rule)] = keys


class _Noting(Interpreter):
    """An evaluation, as lazy as the real one, that notes what the parts of a condition are."""

    def __init__(self, seen: Mapping[str, object], keys: Mapping[int, str], parts: Mapping[str, Part]) -> None:
        super().__init__(seen, STEPS)
        self._keys = keys
        self._parts = parts

    def evaluate(self, node: Node) -> None:
        """Evaluates a condition; an error is noted as well."""
        try:
            self.value(node)
        except ANYTHING:
            self._note(node, ERROR)

    def value(self, node: Node) -> object:
        """Returns the node's value, and notes it."""
        try:
            found = super().value(node)
        except EvalError:
            self._note(node, ERROR)
            raise
        if found is True or found is False:
            self._note(node, found)
        return found

    def _note(self, node: Node, value: Tried) -> None:
        key = self._keys.get(id(node))
        if key is not None:
            self._parts[key].tried.add(value)


# --- the parts of a condition ----------------------------------------------------------------------------


def tree_of(rule: CompiledRule) -> Node:
    """Returns the tree that a rule's condition evaluates."""
    return rule.condition.tree


def _keyed(tree: Node) -> Iterator[tuple[Node, str]]:
    """Yields the condition and every operand in it that is tried both ways, each with its place in the tree."""
    yield tree, "0"
    yield from _operands(tree, "0")


def _operands(node: Node, key: str) -> Iterator[tuple[Node, str]]:
    mine = [id(operand) for operand in _branching(node)]
    for number, child in enumerate(children(node)):
        below = f"{key}.{number}"
        bare = _bare(child)
        # A chain `a && b && c` has three operands; and what `!` negates says all about `!` itself.
        counts = id(child) in mine and not _chains(node, bare) and not _negates(bare) and not isinstance(bare, Literal)
        if counts:
            yield child, below
        yield from _operands(child, below)


def _branching(node: Node) -> tuple[Node, ...]:
    match node:
        case Logic():
            return (node.left, node.right)
        case Choice():
            return (node.test,)
        case Call() if _negates(node):
            return node.args
    return ()


def _negates(node: Node) -> bool:
    return isinstance(node, Call) and node.name == "!_"


def _chains(node: Node, below: Node) -> bool:
    return isinstance(node, Logic) and isinstance(below, Logic) and node.stop is below.stop


def _bare(node: Node) -> Node:
    while isinstance(node, (Settle, Widen)):
        node = node.operand
    return node


def _roots(node: Node) -> frozenset[str]:
    if isinstance(node, Root):
        return frozenset({node.name})
    return frozenset().union(*(_roots(child) for child in children(node)))


def _start(node: Node) -> int:
    return min([node.at, *(_start(child) for child in children(node))])


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def places(texts: Mapping[str, str]) -> dict[tuple[str, str], tuple[Source, Path]]:
    """Returns the file and the place in it of every rule's condition, by policy and id."""
    found: dict[tuple[str, str], tuple[Source, Path]] = {}
    for name, text in texts.items():
        file = read_policy(name, text)
        for number, rule in file.rules:
            found[file.policy, rule.id] = (file.source, ("rules", number, rule.effect))
    return found
