"""Rule, Queue, PolicySet: load, validate, index by tool, digest.

A policy set is all rules loaded together. It loads whole or not at all: every problem of every file is found
first, each with its place. A rule is compiled once for each tool it speaks of, with that tool's types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from msgspec import to_builtins

from remit.core.calendarfile import CALENDAR_FILES, read_calendars
from remit.core.canonical import digest, digest_bytes
from remit.core.conditions import (
    Condition,
    Environment,
    Expression,
    compile_condition,
    compile_expression,
)
from remit.core.counterfile import (
    COUNTER_FILES,
    SCHEMA,
    Counter,
    CountersText,
    compile_counters,
    is_seen_by,
    looked_at,
    read_counters,
)
from remit.core.entries import Obligation, Outcome, RuleHit
from remit.core.filenames import FOLDERS, refusal
from remit.core.guardrailfile import FILES, matches, read_guardrails
from remit.core.lists import is_list, read_list
from remit.core.obligations import unfit
from remit.core.people import IN_DOUBT, Making, People, Queue
from remit.core.policyfiles import PolicyFile, RuleText, read_policy, suggest
from remit.core.purposes import PURPOSE_FILES, Purposes, read_purposes
from remit.core.templates import Piece, Template, compile_pieces, line_and_column, pieces_of
from remit.core.tools import JsonSchema, ToolSpec
from remit.core.yamltext import Path, Source
from remit.errors import ConditionError, PolicyError, Problem

_CASES: Final = (".cases.yaml", ".cases.yml")
_TOOLS: Final = ("tools.yaml", "tools.yml")
_DEFINING: Final = ("tools", "guardrails", "reviewers", "queues", "calendars", "counters", "purposes")
"""Files that define what rules refer to, those first that others of them refer to."""
_A_POLICY: Final = re.compile(r"(?m)^[\"']?(policy|rules|queues|reviewers)[\"']?\s*:")
_EFFECTS: Final = {
    "allow": Outcome.ALLOW,
    "escalate": Outcome.ESCALATE,
    "deny": Outcome.DENY,
    "require": Outcome.DENY,
}

_SAYS: Final = {
    Outcome.ALLOW: "allows it",
    Outcome.ESCALATE: "asks for a review",
    Outcome.DENY: "denies it",
}


class ToolLike(Protocol):
    """What a policy needs to know of a tool."""

    @property
    def name(self) -> str: ...

    @property
    def arguments(self) -> JsonSchema: ...


_Tool = TypeVar("_Tool", bound=ToolLike)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule, ready for one tool.

    Attributes:
        digest: of what it says; approvals and journals name the rule by it.
        effect: what it asks for where it applies; `require` denies.
        negated: it applies where its condition is false: a `require`.
        hit: how a verdict names it where it was true; `broken` where it was in error.
        oblige: what follows where it is either, and the call runs.
    """

    policy: str
    id: str
    digest: str
    effect: Outcome
    negated: bool
    queue: str
    condition: Condition
    reason: Template | None
    hit: RuleHit
    broken: RuleHit
    oblige: tuple[Obligation, ...] = ()

    @property
    def name(self) -> str:
        """`payments/large`."""
        return f"{self.policy}/{self.id}"

    @property
    def says(self) -> str:
        """What it does, for a reason where the rule gives none."""
        if self.negated:
            return f"requires `{' '.join(self.condition.source.split())}`"
        return _SAYS[self.effect]


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All rules loaded together.

    Attributes:
        digest: over the names and exact texts of all files.
        files: SHA-256 of each file's text, in hex, by name.
        texts: the files themselves, for the journal.
        enforced: rules by tool, sorted by policy and id; `shadowed` those in mode `shadow`.
        purposes: what runs may be for; what they forbid is among the rules already.
        people: who is in charge: the queues again, with the reviewers.
        priorities: by queue and tool, what says how urgent a review is.
        titles: by queue and tool, the text by which reviewers know one review from another.
        counters: by tool, those that its rules look at or that count its calls.
        constants: `lists` and `calendars`, each with its type and its value, where there are any.
    """

    digest: str
    files: Mapping[str, str]
    texts: Mapping[str, str]
    queues: Mapping[str, Queue]
    single_operator: bool = False
    enforced: Mapping[str, tuple[CompiledRule, ...]] = field(default_factory=dict)
    shadowed: Mapping[str, tuple[CompiledRule, ...]] = field(default_factory=dict)
    purposes: Purposes = field(default_factory=Purposes)
    people: People = field(default_factory=People)
    priorities: Mapping[tuple[str, str], Expression] = field(default_factory=dict)
    titles: Mapping[tuple[str, str], Template] = field(default_factory=dict)
    constants: Mapping[str, tuple[JsonSchema, object]] = field(default_factory=dict)
    counters: Mapping[str, tuple[Counter, ...]] = field(default_factory=dict)

    def rules_for(self, tool_name: str) -> tuple[CompiledRule, ...]:
        """Returns the enforced rules that speak of a tool, sorted by policy and id."""
        return self.enforced.get(tool_name, ())

    def shadow_for(self, tool_name: str) -> tuple[CompiledRule, ...]:
        """Returns the rules in mode `shadow` that speak of a tool, sorted by policy and id."""
        return self.shadowed.get(tool_name, ())


def load_policies(
    files: Mapping[str, str],
    tools: Sequence[_Tool],
    roots: Callable[[_Tool], Mapping[str, JsonSchema]],
    *,
    recorded: bool = False,
) -> PolicySet:
    """Returns the policy set that `files` (name to exact text) say for `tools`.

    Args:
        files: bytes that aren't UTF-8 are reported with their place if decoded with `surrogateescape`.
        roots: the names that a condition on a call of a tool can see, with their types.
        recorded: it was in force once, and loads again whatever mistakes we have learnt to tell since.

    Raises:
        PolicyError: anything at all is wrong; it carries every problem, causes first, then by file and line.
    """
    load = _Load(tools, roots, recorded)
    for name in sorted(files):
        load.file(name, files[name])
    load.finish(recorded=recorded)
    if load.problems:
        raise PolicyError(_in_order(load.problems))
    texts = {name: files[name] for name in sorted(files) if not is_beside(name)}
    sums = {name: digest_bytes(text.encode()) for name, text in texts.items()}
    return PolicySet(
        digest=digest(sums),
        files=MappingProxyType(sums),
        texts=MappingProxyType(texts),
        queues=MappingProxyType(load.making.queues),
        single_operator=load.making.single_operator,
        enforced=_index(load.compiled, "enforce"),
        shadowed=_index(load.compiled, "shadow"),
        purposes=load.purposes,
        people=load.making.people(),
        priorities=MappingProxyType(load.priorities),
        titles=MappingProxyType(load.titles),
        constants=MappingProxyType(load.constants()),
        counters=MappingProxyType(load.counters_by_tool()),
    )


def is_beside(name: str) -> bool:
    """Whether a file stands beside the policies and is none: cases, a pack's tools, or which folders stand apart."""
    return name.endswith(_CASES) or name.rpartition("/")[2] in (*_TOOLS, *FOLDERS)


def _index(compiled: Iterable[tuple[str, str, CompiledRule]], mode: str) -> Mapping[str, tuple[CompiledRule, ...]]:
    found: dict[str, list[CompiledRule]] = {}
    for tool, of_mode, rule in compiled:
        if of_mode == mode:
            found.setdefault(tool, []).append(rule)
    return MappingProxyType(
        {tool: tuple(sorted(rules, key=lambda rule: (rule.policy, rule.id))) for tool, rules in found.items()}
    )


def _record(fields: Mapping[str, tuple[JsonSchema, object]]) -> tuple[JsonSchema, object]:
    properties = {name: schema for name, (schema, _) in fields.items()}
    schema = {"type": "object", "properties": properties, "required": sorted(fields), "additionalProperties": False}
    return schema, {name: value for name, (_, value) in fields.items()}


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Causes first: files that define what others refer to stand before those that refer, each from its top."""

    def place(found: Problem) -> tuple[int, str, int, int, str]:
        name = found.file.rpartition("/")[2]
        defines = next((at for at, kind in enumerate(_DEFINING) if name.rpartition(".")[0] == kind), len(_DEFINING))
        rank = 0 if is_list(name) else defines
        return rank, found.file, found.line, found.column, found.message

    return tuple(sorted(set(problems), key=place))


class _Load:
    """The loading of one policy set: what was read so far, and what is wrong with it."""

    def __init__(
        self, tools: Sequence[_Tool], roots: Callable[[_Tool], Mapping[str, JsonSchema]], recorded: bool
    ) -> None:
        self._recorded = recorded
        self.problems: list[Problem] = []
        self.purposes = Purposes()
        self.making = Making()
        self.priorities: dict[tuple[str, str], Expression] = {}
        self.titles: dict[tuple[str, str], Template] = {}
        self.compiled: list[tuple[str, str, CompiledRule]] = []
        self._types: dict[str, Callable[[], Mapping[str, JsonSchema]]] = {
            tool.name: lambda tool=tool: roots(tool)  # type: ignore[misc]  # the default binds this very tool
            for tool in tools
        }
        self._environments: dict[str, Environment] = {}
        self._tools = tools
        self._policies: list[PolicyFile] = []
        self._purposes: list[PolicyFile] = []
        self._lists: dict[str, tuple[str, JsonSchema, object]] = {}
        self._calendars: dict[str, object] = {}
        self._counting: tuple[Source, CountersText] | None = None
        self._counters: dict[str, Counter] = {}
        self._broken: dict[str, JsonSchema] = {}

    def file(self, name: str, text: str) -> None:
        """Reads one file; rules are compiled in `finish`, when all queues are known."""
        last = name.rpartition("/")[2]
        if is_beside(name):
            if last in (*_TOOLS, *FOLDERS) and (found := _A_POLICY.search(text)):
                what = "the file that describes tools" if last in _TOOLS else "the file that names folders"
                self._refuse(name, f"a policy (`{found[1]}`) in {what}", "it would not be loaded: name the file anew")
            return
        if last in FILES:
            source, _ = read_guardrails(name, text, self._types)
            self.problems += source.problems
            return
        if last in PURPOSE_FILES:
            if self._purposes:
                self._refuse(name, f"{self._purposes[0].source.name} has the purposes already", "keep one of them")
            file, self.purposes = read_purposes(name, text, self._tools)
            self._purposes.append(file)
            return
        if self.making.take(name, text):
            return
        if last in CALENDAR_FILES:
            source, calendars = read_calendars(name, text)
            self.problems += source.problems
            if source.problems:
                self._defined("calendars", source)
            if self._calendars:
                self._refuse(name, "there is another file of calendars already", "keep one of them")
            self._calendars.update(calendars)
            return
        if last in COUNTER_FILES:
            self._count(name, text)
            return
        if is_list(name):
            self._list(name, text)
            return
        if last.endswith((".yaml", ".yml")):
            self._policies.append(read_policy(name, text))
        else:
            self._refuse(name, *(refusal(last) or ("not a policy file", "move it out of the folder")))

    def _defined(self, kind: str, source: Source) -> None:
        """Notes the names of a broken file: they count as defined, so that its fault is told once and where it is."""
        names = source.names_below(kind)
        self._broken[kind] = {} if names is None else {
            "type": "object", "properties": {name: {} for name in names}, "required": sorted(names),
            "additionalProperties": False,
        }  # fmt: skip

    def _list(self, file: str, text: str) -> None:
        read = read_list(file, text)
        self.problems += read.problems
        if read.name in self._lists:
            hint = "rename one of them"
            self._refuse(file, f"list `{read.name}` is in {self._lists[read.name][0]} already", hint)
        # Of what a broken list has, nothing is known: what looks at it is not told to be wrong as well.
        self._lists[read.name] = (file, {} if read.problems else read.schema, read.entries)

    def _count(self, name: str, text: str) -> None:
        if self._counting is not None:
            self._refuse(name, f"{self._counting[0].name} has the counters already", "keep one of them")
        source, said = read_counters(name, text)
        if said is None:
            self.problems += source.problems
            self._defined("counters", source)
        else:
            self._counting = source, said

    def counters_by_tool(self) -> dict[str, tuple[Counter, ...]]:
        """Returns by tool the counters that its rules look at, or that count its calls."""
        found: dict[str, set[str]] = {}
        for tool, _, rule in self.compiled if self._counters else ():
            parts = rule.reason.parts if rule.reason else ()
            trees = [rule.condition.tree, *(part.tree for part in parts if not isinstance(part, str))]
            for names in map(looked_at, trees):
                found.setdefault(tool, set()).update(self._counters if names is None else names)
        return {tool: tuple(self._counters[name] for name in sorted(names)) for tool, names in found.items() if names}

    def constants(self) -> dict[str, tuple[JsonSchema, object]]:
        """Returns what conditions see that is the same for every call: its type and its value, by name."""
        lists = {name: (schema, entries) for name, (_, schema, entries) in self._lists.items()}
        calendars: dict[str, tuple[JsonSchema, object]] = {
            name: ({"type": "object"}, calendar) for name, calendar in self._calendars.items()
        }
        found = {"lists": lists, "calendars": calendars}
        made = {name: _record(of) for name, of in found.items() if of}
        broken = self._broken.get("calendars")
        return made if broken is None else {**made, "calendars": (broken, {})}

    @property
    def queues(self) -> Mapping[str, Queue]:
        """The queues that were read."""
        return self.making.queues

    def finish(self, *, recorded: bool = False) -> None:
        """Compiles every rule, and notes what is wrong with the files together."""
        if not self._policies:
            hint = "nothing may run without one: write a file such as policies/payments.yaml"
            self._refuse("", "there is no policy", hint)
        first: dict[str, str] = {}
        self.making.complete()
        for file in (*self._policies, *self._purposes, *self._counted()):
            if file.policy and file.policy in first:
                place = file.source.value_at(("policy",))
                file.source.add(place, f"policy `{file.policy}` is in {first[file.policy]} already", "rename one")
            first.setdefault(file.policy, file.source.name)
            self._compile(file)
            self.problems += file.source.problems
        if not recorded:
            rules = [rule for file in self._policies for _, rule in file.rules]
            self.making.check({rule.to: rule.id for rule in rules if rule.to})
        self._prioritise()
        self._title()
        self.problems += self.making.problems

    def _counted(self) -> list[PolicyFile]:
        """Compiles the counters, and returns the rules that deny what can't be counted."""
        if self._counting is None:
            return []
        environments = {tool: self._environment(tool, {}) for tool in self._types}
        self._counters, file = compile_counters(*self._counting, self._types, environments)
        return [file]

    def _prioritise(self) -> None:
        """Compiles each queue's priority for every tool whose calls can come there."""
        for queue in self.queues.values():
            for tool in self._tools_in(queue) if queue.priority else ():
                try:
                    compile_condition(f"({queue.priority}) < 1", self.environment(tool))  # typed: a number
                    self.priorities[queue.name, tool] = compile_expression(queue.priority, self.environment(tool))
                except ConditionError as error:
                    first = error.problems[0]
                    words = f"`priority` must be a whole number: {first.message} (for `{tool}`)"
                    self._refuse_queue(queue, "priority", words, first.hint)

    def _title(self) -> None:
        """Compiles each queue's title for every tool whose calls can come there."""
        for queue in self.queues.values():
            pieces, unclosed = pieces_of(queue.title)
            if unclosed >= 0:
                self._refuse_queue(queue, "title", "`{{` without its `}}`", "such as `{{args.amount}}`")
                continue
            for tool in self._tools_in(queue) if queue.title else ():
                template, errors = compile_pieces(pieces, self.environment(tool))
                if template is not None:
                    self.titles[queue.name, tool] = template
                for _, error in errors[:1]:
                    first = error.problems[0]
                    self._refuse_queue(queue, "title", f"`title`: {first.message} (for `{tool}`)", first.hint)

    def _tools_in(self, queue: Queue) -> list[str]:
        """The tools whose calls begin to wait in a queue: those of its rules; all, where it is for calls in doubt."""
        if queue.name == IN_DOUBT:
            return sorted(self._types)
        return sorted({tool for tool, _, rule in self.compiled if rule.queue == queue.name})

    def _refuse_queue(self, queue: Queue, name: str, message: str, hint: str) -> None:
        source = self.making.queues_source
        assert source is not None  # it has the queue
        source.add(source.value_at(("queues", queue.name, name)), message, hint)
        self.problems.append(source.problems[-1])

    def _refuse(self, name: str, message: str, hint: str) -> None:
        self.problems.append(Problem(name, 0, 0, message, hint))

    def _compile(self, file: PolicyFile) -> None:
        ids: dict[str, int] = {}
        for number, rule in file.rules:
            path: Path = ("rules", number)
            line, _ = file.source.value_at((*path, "id"))
            if rule.id in ids:
                place = file.source.value_at((*path, "id"))
                file.source.add(place, f"rule `{rule.id}` is here twice", f"the first is on line {ids[rule.id]}")
            ids.setdefault(rule.id, line)
            if rule.to is not None and not self.making.is_queue(rule.to):
                hint = suggest(rule.to, self.queues) or "name the queues in queues.yaml"
                place = file.source.value_at((*path, "to"))
                file.source.add(place, f"there is no queue `{rule.to}`", hint)
            _RuleLoad(self, file, path, rule).compile()

    def tools_of(self, source: Source, path: Path, patterns: Sequence[str]) -> list[str]:
        """Returns the tools that a rule speaks of; notes each name or glob that is none."""
        found: set[str] = set()
        for number, pattern in enumerate(patterns):
            matched = [tool for tool in self._types if matches(pattern, tool)]
            if not matched:
                what = "no tool is named like" if "*" in pattern else "there is no tool"
                hint = suggest(pattern.replace("*", ""), self._types) or "no tools are registered"
                source.add(source.value_at((*path, "tools", number)), f"{what} `{pattern}`", hint)
            found.update(matched)
        return sorted(found)

    def spec(self, tool: str) -> ToolLike | None:
        """Returns what is known of a tool."""
        return next((one for one in self._tools if one.name == tool), None)

    def environment(self, tool: str) -> Environment:
        """Returns what conditions on a tool are compiled against; one for all of them."""
        if tool not in self._environments:
            said = self._counting[1] if self._counting else None
            sound = self._counting is None or not self._counting[0].problems
            seen = {
                name: SCHEMA
                for name, one in self._counters.items()
                if said and (not sound or is_seen_by(one, tool, said))
            }
            self._environments[tool] = self._environment(tool, seen)
        return self._environments[tool]

    def _environment(self, tool: str, counters: Mapping[str, JsonSchema]) -> Environment:
        about = {"type": "object", "properties": counters, "required": sorted(counters), "additionalProperties": False}
        if (broken := self._broken.get("counters")) is not None:
            return Environment(
                {**self._types[tool](), "counters": broken}, lenient=self._recorded, constants=self.constants()
            )
        types = {**self._types[tool](), **({"counters": about} if counters else {})}
        return Environment(types, lenient=self._recorded, constants=self.constants())


class _RuleLoad:
    """The compiling of one rule for each of its tools."""

    def __init__(self, load: _Load, file: PolicyFile, path: Path, rule: RuleText) -> None:
        self._load = load
        self._file = file
        self._source = file.source
        self._path = path
        self._rule = rule
        self._found: dict[tuple[int, int, str], tuple[str, list[str]]] = {}

    def compile(self) -> None:
        rule = self._rule
        condition = (*self._path, rule.effect)
        text = getattr(rule, rule.effect)
        pieces = self._pieces()
        sum_ = self._digest(text)
        tools = self._load.tools_of(self._source, self._path, rule.tools)
        for tool in tools:
            environment = self._load.environment(tool)
            try:
                compiled = compile_condition(text, environment)
            except ConditionError as error:
                self._note(error, tool, condition, (1, 1))
                compiled = None
            reason = self._template(pieces, environment, tool)
            if compiled is not None:
                self._load.compiled.append((tool, rule.mode, self._ready(sum_, compiled, reason)))
            self._check_obligations(tool)
        self._tell(tools)

    def _check_obligations(self, tool: str) -> None:
        """Notes each obligation that can't be one on a tool, by its schemas."""
        said_of = self._rule.oblige
        spec = self._load.spec(tool) if said_of is not None else None
        if said_of is None or not isinstance(spec, ToolSpec):
            return
        for one in said_of.obligations:
            if why := unfit(spec, one):
                said = getattr(said_of, one.kind)
                path = (*self._path, "oblige", one.kind, one.at if isinstance(said, dict) else said.index(one.at))
                place = self._source.key_at(path) if isinstance(said, dict) else self._source.value_at(path)
                self._source.add(place, why, "a JSON pointer to what it has: `/args/limit`, `/result/*/card`")

    def _ready(self, sum_: str, condition: Condition, reason: Template | None) -> CompiledRule:
        rule, policy = self._rule, self._file.policy
        effect, queue = _EFFECTS[rule.effect], rule.to or ""
        return CompiledRule(
            policy=policy,
            id=rule.id,
            digest=sum_,
            effect=effect,
            negated=rule.effect == "require",
            queue=queue,
            condition=condition,
            reason=reason,
            hit=RuleHit(policy, rule.id, sum_, effect, queue),
            broken=RuleHit(policy, rule.id, sum_, effect, queue, error=True),
            oblige=rule.oblige.obligations if rule.oblige else (),
        )

    def _digest(self, text: str) -> str:
        rule = self._rule
        return digest(
            {
                "effect": rule.effect,
                "condition": text,
                "tools": sorted(set(rule.tools)),
                "to": rule.to,
                "because": rule.because,
                "mode": rule.mode,
                **({"oblige": [to_builtins(one) for one in rule.oblige.obligations]} if rule.oblige else {}),
            }
        )

    def _pieces(self) -> list[Piece]:
        """Returns the parts of `because`, and notes an expression without its end."""
        text = self._rule.because or ""
        pieces, unclosed = pieces_of(text)
        if unclosed >= 0:
            place = self._source.within((*self._path, "because"), *line_and_column(text, unclosed))
            self._source.add(place, "`{{` without its `}}`", "such as `{{args.amount}}`")
        return pieces

    def _template(self, pieces: list[Piece], environment: Environment, tool: str) -> Template | None:
        template, errors = compile_pieces(pieces, environment)
        for start, error in errors:
            self._note(error, tool, (*self._path, "because"), line_and_column(self._rule.because or "", start))
        return template

    def _note(self, error: ConditionError, tool: str, path: Path, start: tuple[int, int]) -> None:
        """Keeps a compiler's problems at their places in the file; `start` is where its text starts."""
        for found in error.problems:
            line, column = found.line, found.column
            if line == 1:
                column += start[1] - 1
            if line > 0:
                line += start[0] - 1
            place = self._source.within(path, line, column)
            _, of = self._found.setdefault((*place, found.message), (found.hint, []))
            of.append(tool)

    def _tell(self, tools: Sequence[str]) -> None:
        """Tells each problem once, with the tools that it is one for."""
        for (line, column, message), (hint, of) in self._found.items():
            names = sorted(set(of))
            shown = ", ".join(f"`{name}`" for name in names[:3])
            if len(names) > 3:
                shown = "each of its tools" if names == list(tools) else f"{shown} and {len(names) - 3} more"
            self._source.add((line, column), f"{message} (for {shown})", hint)
