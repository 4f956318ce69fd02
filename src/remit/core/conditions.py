"""The conditions of policies: CEL, typed when it loads, evaluated to true, false or an error, every leaf
explained.

    environment = Environment({"args": schema_of_the_tool, "facts": {"type": "object"}})
    condition = compile_condition("args.amount <= 1000 && facts.supplier_known", environment)
    condition.evaluate({"args": {"amount": 12}, "facts": {"supplier_known": True}})    # True

Google's checker parses and types (`cel.dialect`); what it hands back is made into Python once
(`cel.compiler`); evaluating copies no argument, raises nothing and stops at a step budget. What a condition
may say is in `docs/reference/conditions.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from remit.core.cel.choices import impossible
from remit.core.cel.compiler import compile_tree
from remit.core.cel.conversions import show_float
from remit.core.cel.dialect import Names, place
from remit.core.cel.guards import Guards
from remit.core.cel.interpret import Interpreter, as_error, truth
from remit.core.cel.problems import Translator, problem
from remit.core.cel.resolve import Refused, Resolver, strict
from remit.core.cel.shapes import shape_of_schema
from remit.core.cel.syntax import Decoder
from remit.core.cel.times import show_duration, show_timestamp
from remit.core.cel.tree import Literal, Node, Settle, Widen, children
from remit.core.cel.unparse import show
from remit.core.cel.values import (
    ABSORBED,
    ANYTHING,
    EPOCH,
    BoolKey,
    Duration,
    EvalError,
    OverBudget,
    Timestamp,
    TypeValue,
    UInt,
    of_datetime,
    of_timedelta,
)
from remit.errors import ConditionError

JsonSchema = Mapping[str, object]

SOURCE_MAX: Final = 20_000
RENDERED_MAX: Final = 200
STEPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Failure:
    """An evaluation error: what is wrong, and where in the condition's source (from 1)."""

    message: str
    line: int
    column: int


class Explanation(NamedTuple):
    """A part of a condition, its value, and its parts; without literals and what was not evaluated."""

    source: str
    value: object | Failure
    children: tuple[Explanation, ...]


class Environment:
    """The typed names a condition can see. Build once, use for many conditions."""

    __slots__ = ("_constants", "_decoder", "_lenient", "_names")

    def __init__(
        self,
        roots: Mapping[str, JsonSchema],
        *,
        lenient: bool = False,
        constants: Mapping[str, tuple[JsonSchema, object]] | None = None,
    ) -> None:
        """
        Args:
            lenient: for what loaded once: mistakes that change no value are not told.
            constants: names that have their value already, and its type: it fits, and is looked at no more.
        """
        self._lenient = lenient
        self._constants = {name: value for name, (_, value) in (constants or {}).items()}
        types = {**{name: schema for name, (schema, _) in (constants or {}).items()}, **roots}
        self._names = Names({name: shape_of_schema(schema) for name, schema in types.items()})
        self._decoder = Decoder()


class _Compiled:
    """What a condition and an expression share: a tree, and the function made of it."""

    __slots__ = ("_node", "_run", "source")

    def __init__(self, source: str, node: Node, *, boolean: bool) -> None:
        self.source = source
        self._node = node
        self._run = compile_tree(node, boolean=boolean) or self._interpret

    @property
    def tree(self) -> Node:
        """What is evaluated, for those who look at its parts."""
        return self._node

    def _interpret(self, roots: Mapping[str, object], steps: int) -> object:
        return Interpreter(roots, steps).value(self._node)

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, OverBudget):
            return Failure("step budget used up", 1, 1)
        if isinstance(error, MemoryError):
            return Failure("out of memory", 1, 1)
        known = as_error(error, self._node.at)
        return Failure(known.message, *place(self.source, known.at or 0))


@dataclass(frozen=True, slots=True)
class _Outline:
    """A part that an explanation shows: the identity of its node, its text, and its own parts."""

    node: int
    source: str
    parts: tuple[_Outline, ...]


_NOT_SEEN: Final = object()


def _outline(node: Node) -> tuple[_Outline, ...]:
    parts: list[_Outline] = []
    for child in children(node):
        while isinstance(child, (Settle, Widen)):
            child = child.operand
        if not isinstance(child, Literal):
            parts.append(_Outline(id(child), show(child), () if _is_path(child) else _outline(child)))
    return tuple(parts)


class Condition(_Compiled):
    """A condition of a policy: true, false, or an error."""

    __slots__ = ("_outline",)

    def __init__(self, source: str, node: Node, *, boolean: bool = True) -> None:
        super().__init__(source, node, boolean=boolean)
        self._outline: tuple[_Outline, ...] | None = None  # made when it is first explained

    def evaluate(self, roots: Mapping[str, object], steps: int = STEPS) -> bool | Failure:
        """Never raises: whatever goes wrong is a Failure."""
        try:
            return self._run(roots, steps)  # type: ignore[return-value]
        except ABSORBED:
            return self._slowly(roots, steps)
        except ANYTHING as error:
            return self._failure(error)

    def _slowly(self, roots: Mapping[str, object], steps: int) -> bool | Failure:
        """A part failed; `&&` and `||` may absorb that, and if not, the place is wanted."""
        try:
            return truth(self._interpret(roots, steps), "the condition")
        except ANYTHING as error:
            return self._failure(error)

    def explain(self, roots: Mapping[str, object]) -> Explanation:
        """The condition's value and that of every part; `evaluate` says the same."""
        interpreter = Interpreter(roots, STEPS, eager=True)
        value: object
        try:
            value = truth(interpreter.value(self._node), "the condition")
        except ANYTHING as error:
            value = self._failure(error)
        if self._outline is None:
            self._outline = _outline(self._node)
        return Explanation(self.source, value, self._parts(self._outline, interpreter.seen))

    def _shown(self, value: object) -> object:
        try:
            return _plain(value)
        except ANYTHING as error:
            return self._failure(error)

    def _parts(self, outline: tuple[_Outline, ...], seen: Mapping[int, object]) -> tuple[Explanation, ...]:
        parts: list[Explanation] = []
        for part in outline:
            value = seen.get(part.node, _NOT_SEEN)
            if value is True or value is False or value.__class__ is str:
                parts.append(Explanation(part.source, value, self._parts(part.parts, seen)))
            elif value is not _NOT_SEEN:
                shown = self._failure(value) if isinstance(value, EvalError) else self._shown(value)
                parts.append(Explanation(part.source, shown, self._parts(part.parts, seen)))
        return tuple(parts)


class Expression(_Compiled):
    """An expression of any type, as in `{{...}}` of a template."""

    __slots__ = ()

    def evaluate(self, roots: Mapping[str, object], steps: int = STEPS) -> object | Failure:
        """A plain Python value. Never raises."""
        try:
            return _plain(self._run(roots, steps))
        except ABSORBED:
            return self._slowly(roots, steps)
        except ANYTHING as error:
            return self._failure(error)

    def _slowly(self, roots: Mapping[str, object], steps: int) -> object | Failure:
        try:
            return _plain(self._interpret(roots, steps))
        except ANYTHING as error:
            return self._failure(error)


def compile_condition(source: str, environment: Environment) -> Condition:
    """Raises ConditionError with every problem that can be known now."""
    return Condition(source, _load(source, environment, boolean=True), boolean=True)


def compile_expression(source: str, environment: Environment) -> Expression:
    """Raises ConditionError with every problem that can be known now."""
    return Expression(source, _load(source, environment, boolean=False), boolean=False)


def _load(source: str, environment: Environment, *, boolean: bool) -> Node:
    if not isinstance(source, str) or not source.strip():
        raise ConditionError((problem("", 0, 0, "empty condition" if boolean else "empty expression"),))
    if len(source) > SOURCE_MAX:
        message = f"longer than the {SOURCE_MAX:,} characters a condition may have"
        raise ConditionError((problem("", 0, 0, message, "split it into several rules"),))
    reading = environment._names.reading(source)
    names = reading.names
    try:
        found, tree = reading.check()
    except (RuntimeError, ValueError, TypeError) as error:
        translator = Translator(source, list(names.shapes), names.messages, names.paths)
        raise ConditionError(tuple(translator.problems(str(error)))) from None
    try:
        resolver = Resolver(names.shapes, environment._constants, names=reading.fields, indexes=reading.indexes)
        node = strict(resolver.resolve(environment._decoder.decode(tree)))
    except Refused as error:
        raise ConditionError((problem(source, *place(source, error.at), error.message, error.hint),)) from None
    guards = Guards(boolean=boolean)
    guards.visit(node)
    problems = [problem(source, *place(source, each.at), each.message, each.hint) for each in guards.refused]
    if not environment._lenient:
        problems += [problem(source, *place(source, each.at), each.message, each.hint) for each in impossible(node)]
    if boolean and found not in ("BOOL", "DYN"):
        found = "an object" if found.lower().startswith("remit_condition.") else found
        hint = 'compare it with something, as in `... > 0` or `... == "x"`'
        problems.append(problem(source, 1, 1, f"the condition is {found.lower()}, not true or false", hint))
    if problems:
        raise ConditionError(tuple(problems))
    return node


def _is_path(node: Node) -> bool:
    """`args.supplier.name` is one leaf, not three."""
    inner = children(node)
    return len(inner) == 1 and hasattr(node, "operand") and (not children(inner[0]) or _is_path(inner[0]))


def _plain(value: object) -> object:
    """A value of the evaluator as Python's own."""
    match value:
        case bool() | str() | float() | Decimal() | bytes() | None:
            return value
        case UInt():
            return int(value)
        case Timestamp():
            return EPOCH + timedelta(microseconds=value.nanos // 1000)
        case Duration():
            return timedelta(microseconds=value.nanos // 1000)
        case TypeValue():
            return value.name
        case BoolKey():
            return value.value
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def render_value(value: object) -> str:
    """How a value appears in a reason: for people, in one line, not too long."""
    text = _rendered(value)
    return text if len(text) <= RENDERED_MAX else text[: RENDERED_MAX - 1] + "…"


def _rendered(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Decimal():
            return f"{value:f}" if value.is_finite() and abs(value.adjusted()) < RENDERED_MAX else str(value)
        case float():
            return show_float(value)
        case datetime() if value.tzinfo is not None:
            return show_timestamp(of_datetime(value))
        case timedelta():
            return show_duration(of_timedelta(value))
        case Failure():
            return f"error: {value.message}"
        case list() | tuple() | Mapping():
            try:
                return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))
            except (TypeError, ValueError, RecursionError):
                return f"a {type(value).__name__} that can't be shown"
    return str(value)


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else _rendered(value)
