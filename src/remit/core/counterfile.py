"""The file `counters.yaml`: what is counted across calls and runs, for limits and sequences.

A counter is a fact like any other: what it stands at is captured, recorded and decided on as `counters.<name>`. That a
call which can't be counted isn't allowed is an ordinary rule of the policy `counters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from remit.core.canonical import canonical
from remit.core.cel.tree import Field as Selected
from remit.core.cel.tree import Node, Root, children
from remit.core.conditions import (
    Condition,
    Environment,
    Expression,
    Failure,
    compile_condition,
    compile_expression,
)
from remit.core.guardrailfile import matches
from remit.core.identity import looks
from remit.core.people import seconds_of
from remit.core.peoplefiles import Duration, Strict
from remit.core.policyfiles import PolicyFile, RuleText, suggest
from remit.core.tools import JsonSchema
from remit.core.yamlmodels import checked
from remit.core.yamltext import Path, Source, read_yaml
from remit.errors import ConditionError

SCHEMA: Final[JsonSchema] = {"type": "string", "format": "decimal"}
"""What a counter is to a condition: an exact number."""
COUNTER_FILES: Final = ("counters.yaml", "counters.yml")
POLICY: Final = "counters"
MOST: Final = 32
"""Counters that a policy set may have."""
_NAMES: Final = "small letters, digits and `_`, a letter first"
_HINTS: Final = {"window": "say a duration: `90s`, `30m`, `72h` or `7d`"}
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Text = Annotated[str, StringConstraints(min_length=1)]
_PER: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("run", "id"),
    "principal": ("run", "principal"),
    "graph": ("run", "graph"),
    "agent": ("agent", "name"),
    "task": ("task", "id"),
    "tool": ("tool", "name"),
}
_NAMES_OF: Final = ("principal", "agent")
"""What of these is a name, and compared as one."""


class CounterText(Strict):
    """What is counted: calls of some tools, each as one or by an amount."""

    description: str = Field("", description="For those who read the policy.")
    tools: list[_Text] = Field(min_length=1, description="The tools whose calls count; `*` stands for any characters.")
    count: Literal["allowed", "waiting"] = Field(
        "allowed", description="`allowed`: calls that were allowed; `waiting`: those that wait for people now."
    )
    when: _Text | None = Field(None, description="A condition in CEL: only calls for which it is true count.")
    sum: _Text | None = Field(None, description="A number in CEL that a call adds; it counts as one, if not said.")
    per: list[Literal["run", "principal", "graph", "agent", "task", "tool"]] = Field(
        default_factory=list, description="What has a count of its own; all together, if nothing is named."
    )
    by: _Text | None = Field(None, description="A text in CEL that has a count of its own, such as `args.customer`.")
    signed: bool = Field(
        False,
        description="`true`: an amount may be negative, and the sum fall. If not said, such a call can't be counted.",
    )
    window: Duration | None = Field(
        None, description="How far back calls count: `90s`, `1h`, `30d`; for ever, if not said."
    )


class CountersText(Strict):
    """The file `counters.yaml`."""

    counters: dict[_Name, CounterText] = Field(min_length=1, description="The counters, by name.")


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """A counter, compiled for the tools whose rules see it.

    Attributes:
        window: seconds; 0 for ever.
        tools: those whose calls count.
        by, when, amount: by tool; of a tool that isn't there, nothing is said.
        signed: whether an amount may be negative.
    """

    name: str
    waits: bool
    per: tuple[str, ...]
    window: int
    tools: frozenset[str]
    by: Mapping[str, Expression]
    when: Mapping[str, Condition]
    amount: Mapping[str, Expression]
    signed: bool = False

    @property
    def sums(self) -> bool:
        """Whether calls count by an amount."""
        return bool(self.amount)

    def keys(self, tool: str, roots: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Returns what has this count of its own, as canonical JSON; () where that can't be said of the call.

        Names that look the same have one count. A second key is the one that an older Remit counted under, which took
        names as they are written.
        """
        written = [str(roots[root][name]) for root, name in (_PER[one] for one in self.per)]
        parts = [looks(said) if one in _NAMES_OF else said for one, said in zip(self.per, written, strict=True)]
        by, more = self.by.get(tool), list[str]()
        if by is not None:
            said = by.evaluate(roots)
            if not isinstance(said, str):
                return ()
            more.append(said)
        return tuple(dict.fromkeys(canonical([self.name, *of, *more]) for of in (parts, written)))

    def adds(self, tool: str, roots: Mapping[str, Any]) -> Decimal | None:
        """Returns what a call adds, 0 where it doesn't count; None where that can't be said of it."""
        if tool not in self.tools:
            return Decimal(0)
        if (when := self.when.get(tool)) is not None:
            counted = when.evaluate(roots)
            if isinstance(counted, Failure):
                return None
            if not counted:
                return Decimal(0)
        if (amount := self.amount.get(tool)) is None:
            return Decimal(1)
        found = amount.evaluate(roots)
        if isinstance(found, bool) or not isinstance(found, (int, Decimal)):
            return None
        number = Decimal(found)
        return number if number.is_finite() and (self.signed or number >= 0) else None


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the file, for editors."""
    schema = CountersText.model_json_schema()
    for about in schema["$defs"]["CounterText"]["properties"].values():
        if "anyOf" in about:
            about.update(about.pop("anyOf")[0])
            about.pop("default", None)
    schema["properties"]["counters"]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def read_counters(name: str, text: str) -> tuple[Source, CountersText | None]:
    """Returns what the file says, or None; the source's `problems` are what is wrong with it."""
    source, value = read_yaml(name, text)
    if source.problems:
        return source, None
    said = checked(
        source, value if value is not None else {}, CountersText, what="a counter", name=_NAMES, hints=_HINTS
    )
    if said is None:
        return source, None
    if len(said.counters) > MOST:
        source.add(source.value_at(("counters",)), f"more than {MOST} counters", "each costs a read at every call")
    return source, said


def compile_counters(
    source: Source, said: CountersText, tools: Iterable[str], environments: Mapping[str, Environment]
) -> tuple[dict[str, Counter], PolicyFile]:
    """Returns the counters, and the rules that deny what can't be counted; problems are the source's."""
    known = sorted(tools)
    counters = {name: _compile(source, name, text, known, environments) for name, text in said.counters.items()}
    rules = [
        RuleText.model_validate(
            {
                "id": name,
                "tools": sorted(counter.tools),
                "deny": f"counters.{name} != counters.{name}",  # never true: in error where it can't be counted
                "because": f"the call can't be counted as `{name}`",
            }
        )
        for name, counter in counters.items()
        if counter.tools
    ]
    return counters, PolicyFile(source, POLICY, tuple(enumerate(rules)))


def _compile(
    source: Source, name: str, said: CounterText, known: list[str], environments: Mapping[str, Environment]
) -> Counter:
    path: Path = ("counters", name)
    counted = {tool for tool in known if any(matches(pattern, tool) for pattern in said.tools)}
    for number, pattern in enumerate(said.tools):
        if not any(matches(pattern, tool) for tool in known):
            place = source.value_at((*path, "tools", number))
            source.add(place, f"there is no tool `{pattern}`", suggest(pattern.replace("*", ""), known))
    if said.signed and said.sum is None:
        source.add(source.key_at((*path, "signed")), "nothing is summed", "take `signed` out, or say `sum`")
    if said.count == "waiting" and (said.sum or said.window):
        source.add(source.key_at((*path, "count")), "what waits is counted as it is now", "take `sum` and `window` out")
    by: dict[str, Expression] = {}
    when: dict[str, Condition] = {}
    amount: dict[str, Expression] = {}
    for tool in known:
        environment = environments[tool]
        if said.by is not None:
            try:
                compile_condition(f'({said.by}) == ""', environment)  # typed: a text
                by[tool] = compile_expression(said.by, environment)
            except ConditionError as error:
                if tool in counted:
                    _note(source, (*path, "by"), tool, "a text", error)
        if tool in counted and said.when is not None:
            try:
                when[tool] = compile_condition(said.when, environment)
            except ConditionError as error:
                _note(source, (*path, "when"), tool, "true or false", error)
        if tool in counted and said.sum is not None:
            try:
                compile_condition(f"({said.sum}) < 1", environment)  # typed: a number
                amount[tool] = compile_expression(said.sum, environment)
            except ConditionError as error:
                _note(source, (*path, "sum"), tool, "a number", error)
    window = seconds_of(said.window) if said.window else 0
    per = tuple(dict.fromkeys(said.per))
    return Counter(name, said.count == "waiting", per, window, frozenset(counted), by, when, amount, said.signed)


def is_seen_by(counter: Counter, tool: str, said: CountersText) -> bool:
    """Whether rules on a tool can look at a counter: not where what it counts by isn't there."""
    return said.counters[counter.name].by is None or tool in counter.by


def looked_at(node: Node) -> set[str] | None:
    """Returns the counters that a condition looks at; None where it looks at all of them as a whole."""
    if isinstance(node, Selected) and isinstance(node.operand, Root) and node.operand.name == "counters":
        return {node.name}
    if isinstance(node, Root) and node.name == "counters":
        return None
    found: set[str] = set()
    for child in children(node):
        below = looked_at(child)
        if below is None:
            return None
        found |= below
    return found


def _note(source: Source, path: Path, tool: str, wanted: str, error: ConditionError) -> None:
    first = error.problems[0]
    source.add(source.value_at(path), f"`{path[-1]}` must be {wanted}: {first.message} (for `{tool}`)", first.hint)
