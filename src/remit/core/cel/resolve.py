"""From the checked syntax to the tree that is evaluated. What can't be evaluated is refused here, when a
condition loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from remit.core.cel import syntax
from remit.core.cel.conversions import Pattern, in_zone
from remit.core.cel.dialect import TYPES
from remit.core.cel.library import ADDED, FUNCTIONS
from remit.core.cel.matchers import PREPARED
from remit.core.cel.shapes import ANY, TEXT, Kind, Shape, settles
from remit.core.cel.times import PARTS, parse_duration, parse_timestamp, zone
from remit.core.cel.tree import (
    BOOL,
    Bound,
    Call,
    Choice,
    Each,
    Field,
    Has,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Node,
    Root,
    Settle,
    Widen,
    common,
    sure,
    weight,
)
from remit.core.cel.values import EvalError, TypeValue, UInt

ARITHMETIC: Final = frozenset({"_+_", "_-_", "_*_", "_/_", "_%_", "-_"})
TRUTHS: Final = frozenset(
    {
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "!_",
        "@in",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "bool",
    }
)
RESULTS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(TRUTHS, Kind.BOOL),
    **dict.fromkeys((*PARTS, "getMilliseconds", "size", "int"), Kind.INT),
    "string": Kind.STRING,
    "double": Kind.NUMBER,
    "timestamp": Kind.TIMESTAMP,
    "duration": Kind.DURATION,
    **{name: added.result for name, added in ADDED.items()},
}
LITERALS: Final[Mapping[type, Kind]] = {bool: Kind.BOOL, int: Kind.INT, float: Kind.NUMBER, str: Kind.STRING}


class Refused(Exception):
    """A place in the source and what is wrong there."""

    def __init__(self, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at, self.message, self.hint = at, message, hint


class Resolver:
    def __init__(
        self,
        roots: Mapping[str, Shape],
        constants: Mapping[str, object] | None = None,
        *,
        names: Mapping[str, str] | None = None,
        indexes: Mapping[int, str] | None = None,
    ) -> None:
        """
        Args:
            names: what fields are called whose name the checker was given an alias of.
            indexes: places where the source has an index by a text, and the checker was given a selection.
        """
        self._roots = roots
        self._constants = constants or {}
        self._names = names or {}
        self._indexes = indexes or {}
        self._scopes: list[tuple[str, Bound]] = []
        self._made = 0

    def resolve(self, raw: syntax.Raw) -> Node:
        match raw:
            case syntax.Const():
                value = UInt(raw.value) if raw.unsigned else raw.value  # type: ignore[call-overload]
                kind = LITERALS.get(value.__class__)
                return Literal(raw.at, ANY if kind is None else Shape(kind), value)
            case syntax.Ident():
                return self._name(raw.name, raw.at)
            case syntax.Select():
                return self._select(raw)
            case syntax.Invoke():
                return self._invoke(raw)
            case syntax.MakeList():
                items = [self.resolve(item) for item in raw.elements]
                shape = common([item.shape for item in items])
                if shape is ANY:
                    items = [kept(item) for item in items]
                return ListOf(raw.at, ANY if shape is ANY else Shape(Kind.LIST, items=shape), tuple(items))
            case syntax.MakeMap():
                entries = [(strict(self.resolve(key)), kept(self.resolve(value))) for key, value in raw.entries]
                return MapOf(raw.at, ANY, tuple(entries))
            case syntax.Comprehension():
                return self._each(raw)
            case syntax.Unknown():
                raise Refused(raw.at, f"{raw.what} is not supported in conditions")

    def _name(self, name: str, at: int) -> Node:
        for known, bound in reversed(self._scopes):
            if known == name:
                return Bound(at, bound.shape, bound.name, bound.key)
        name = name.removeprefix(".")
        if name in self._constants:
            return Literal(at, self._roots[name], self._constants[name], name)
        if name in self._roots:
            return Root(at, self._roots[name], name)
        if name in TYPES:
            return Literal(at, ANY, TypeValue(name), name)
        return Root(at, ANY, name)

    def _qualified(self, raw: syntax.Raw) -> str:
        """`a.b.c` as one name, if it is a root or a type rather than a selection."""
        path: list[str] = []
        while isinstance(raw, syntax.Select) and not raw.test_only:
            path.append(raw.field)
            raw = raw.operand
        if not isinstance(raw, syntax.Ident) or any(known == raw.name for known, _ in self._scopes):
            return ""
        name = ".".join([raw.name.removeprefix("."), *reversed(path)])
        return name if path and (name in self._roots or name in TYPES) else ""

    def _select(self, raw: syntax.Select) -> Node:
        if not raw.test_only and raw.at not in self._indexes and (name := self._qualified(raw)):
            return self._name("." + name, raw.at)
        operand = self.resolve(raw.operand)
        if raw.field in self._names:
            raw = replace(raw, field=self._names[raw.field])
        if raw.test_only:
            return Has(raw.at, BOOL, operand, raw.field)
        if raw.at in self._indexes and operand.shape.kind is not Kind.OBJECT:
            return index(raw.at, operand, Literal(raw.at, TEXT, raw.field))
        declared = operand.shape
        shape = ANY
        if declared.kind is Kind.OBJECT:
            shape = declared.fields.get(raw.field, ANY)
        elif declared.kind is Kind.MAP:
            shape = declared.item()
        if isinstance(operand, Literal) and isinstance(operand.value, dict) and raw.field in operand.value:
            return Literal(raw.at, shape, operand.value[raw.field], f"{operand.text}.{raw.field}")
        return Field(raw.at, shape, operand, raw.field)

    def _invoke(self, raw: syntax.Invoke) -> Node:
        name = raw.function
        parts = (*(() if raw.target is None else (raw.target,)), *raw.args)
        args = [self.resolve(part) for part in parts]
        if name in ("_&&_", "_||_") and len(args) == 2:
            return Logic(raw.at, BOOL, name == "_||_", strict(args[0]), strict(args[1]))
        if name == "_?_:_" and len(args) == 3:
            shape = common([args[1].shape, args[2].shape])
            yes, no = args[1:] if shape is not ANY else (kept(args[1]), kept(args[2]))
            return Choice(raw.at, shape, strict(args[0]), yes, no)
        if name == "_[_]" and len(args) == 2:
            return index(raw.at, args[0], args[1])
        if name not in FUNCTIONS:
            raise Refused(raw.at, f"function `{name}` is not supported in conditions")
        return self._call(raw, name, args)

    def _call(self, raw: syntax.Invoke, name: str, args: list[Node]) -> Node:
        member = raw.target is not None
        if name == "size":
            return Call(raw.at, Shape(Kind.INT), name, member, tuple(args), FUNCTIONS[name])
        if not (name in ("_==_", "_!=_") and any(is_null(arg) for arg in args)):
            args = [strict(arg) for arg in args]
        if name in ARITHMETIC or name in ("dyn", "type"):
            args = [widened(arg) for arg in args]
        if name in ("isMoneyIn", "decimal") and sure(args[0]) is Kind.NUMBER:
            hint = "money is exact: give it `type: string, format: decimal` in the tool's schema"
            raise Refused(raw.at, f"`{name}` can't be applied to a double", hint)
        ready = self._prepared(raw.at, name, member, args)
        if ready is not None:
            return ready
        return Call(raw.at, result(name, args), name, member, tuple(args), FUNCTIONS[name])

    @staticmethod
    def _prepared(at: int, name: str, member: bool, args: list[Node]) -> Node | None:
        """What can be done now for a literal argument is done now, and a bad one is refused now."""
        last = args[-1]
        if not isinstance(last, Literal) or not isinstance(last.value, str):
            return None
        try:
            if name == "timestamp" and len(args) == 1:
                return Literal(at, Shape(Kind.TIMESTAMP), parse_timestamp(last.value), f"timestamp({last.value!r})")
            if name == "duration" and len(args) == 1:
                return Literal(at, Shape(Kind.DURATION), parse_duration(last.value), f"duration({last.value!r})")
            if name == "matches" and len(args) == 2:
                return Call(at, BOOL, name, member, (args[0],), Pattern(last.value).matches, last)
            if name in PREPARED and len(args) == 2:
                return Call(at, BOOL, name, member, (args[0],), PREPARED[name](last.value), last)
            if name in PARTS and len(args) == 2:
                return Call(at, Shape(Kind.INT), name, member, (args[0],), in_zone(name, zone(last.value)), last)
        except EvalError as error:
            raise Refused(last.at, error.message) from None
        return None

    def _each(self, raw: syntax.Comprehension) -> Node:
        over = self.resolve(raw.range)
        if over.shape.kind is Kind.LIST:
            item = over.shape.item()
        else:
            item = TEXT if over.shape.kind in (Kind.MAP, Kind.OBJECT) else ANY
        self._made += 1
        variable = Bound(raw.at, item, raw.variable, f"{raw.variable}@{self._made}")
        macro, test, made = recognise(raw)
        self._scopes.append((raw.variable, variable))
        try:
            tested = None if test is None else strict(self.resolve(test))
            shown = None if made is None else self.resolve(made)
        finally:
            self._scopes.pop()
        shape = BOOL
        if shown is not None:
            shape = ANY if shown.shape is ANY else Shape(Kind.LIST, items=shown.shape)
            if macro is Macro.MAP and isinstance(shown, Bound) and shown.key == variable.key and tested is not None:
                macro = Macro.FILTER
        cost = 1 + (weight(tested) + weight(shown)) // 10
        return Each(raw.at, shape, macro, variable, over, tested, shown, cost)


def is_null(node: Node) -> bool:
    return isinstance(node, Literal) and node.value is None


def strict(node: Node) -> Node:
    """The node where its value is used as a whole. What a list made here holds has been read already."""
    if isinstance(node, Literal):
        return node  # a constant was looked at when it was read
    shape = node.shape.item() if isinstance(node, (ListOf, Each)) else node.shape
    return Settle(node.at, ANY, node, node.shape) if settles(shape) else node


def widened(node: Node) -> Node:
    return Widen(node.at, node.shape, node) if node.shape.kind is Kind.NUMBER else node


def kept(node: Node) -> Node:
    """The node where its value is put among others, and what it was declared to be is forgotten."""
    return widened(strict(node))


def index(at: int, operand: Node, key: Node) -> Node:
    key = strict(key)
    if operand.shape.first and isinstance(key, Literal) and key.value.__class__ is int:
        return Index(at, operand.shape.at(key.value), operand, key)
    if operand.shape.kind in (Kind.LIST, Kind.MAP):
        return Index(at, operand.shape.item(), operand, key)
    if operand.shape.kind is Kind.OBJECT and isinstance(key, Literal) and isinstance(key.value, str):
        return Index(at, operand.shape.fields.get(key.value, ANY), operand, key)
    return Index(at, ANY, strict(operand), key)


def result(name: str, args: list[Node]) -> Shape:
    """What a function's result certainly is."""
    if name in RESULTS:
        return Shape(RESULTS[name])
    kinds = {sure(arg) for arg in args}
    if name in ARITHMETIC and kinds <= {Kind.NUMBER, Kind.DECIMAL, Kind.INT}:
        if Kind.DECIMAL in kinds:
            return Shape(Kind.DECIMAL)
        if len(kinds) == 1 and kinds != {Kind.ANY}:
            return Shape(kinds.pop())
    if name == "_+_" and kinds == {Kind.STRING}:
        return TEXT
    return ANY


def recognise(raw: syntax.Comprehension) -> tuple[Macro, syntax.Raw | None, syntax.Raw | None]:
    """Which macro the parser expanded, its test and what it makes. Only macros make comprehensions."""
    step, accumulator = raw.step, raw.accumulator
    if isinstance(step, syntax.Invoke) and step.target is None and step.args:
        first = step.args[0]
        carried = isinstance(first, syntax.Ident) and first.name == accumulator
        if carried and step.function == "_&&_":
            return Macro.ALL, step.args[1], None
        if carried and step.function == "_||_":
            return Macro.EXISTS, step.args[1], None
        if carried and step.function == "_+_" and isinstance(step.args[1], syntax.MakeList):
            return Macro.MAP, None, step.args[1].elements[0]
        if step.function == "_?_:_" and isinstance(step.args[1], syntax.Invoke):
            more = step.args[1].args[1]
            if isinstance(more, syntax.MakeList):
                return Macro.MAP, first, more.elements[0]
            return Macro.ONE, first, None
    raise Refused(raw.at, "a comprehension that no known macro makes")
