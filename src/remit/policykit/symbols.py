"""Conditions as formulas: what z3 is asked of.

Every path that a condition reads (`args.amount`, `facts.supplier.known`) becomes a variable of its declared type,
every part of a condition a value and a formula that says when it is an error; `&&` and `||` treat errors as CEL does.
What can't be modelled (regexes, list macros, sizes, arithmetic of doubles, …) becomes a variable of its own, the
same one for the same text. So nothing is said to be impossible that is possible: what is proved holds, and what is
found is only an example once the real evaluator has confirmed it.

Source of the idea: SMT-based analysis of authorization policies, as in Backes et al., "Semantic-based Automated
Reasoning for AWS Access Policies using SMT" (FMCAD 2018).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any, Final

from remit.core.cel.shapes import Kind, Shape
from remit.core.cel.tree import (
    Bound,
    Call,
    Choice,
    Field,
    Has,
    Index,
    ListOf,
    Literal,
    Logic,
    Node,
    Root,
    Settle,
    Widen,
)
from remit.core.cel.unparse import show
from remit.core.cel.values import INT_MAX, INT_MIN, Duration, Timestamp, UInt
from remit.errors import BadInput

Path = tuple[str, ...]
Formula = Any
"""A z3 expression: z3 carries no types."""

_FIRST: Final = -62_135_596_800 * 10**9
_LAST: Final = 253_402_300_799 * 10**9
"""Nanoseconds from 1970 to the years 1 and 9999: what a timestamp can be, in microseconds."""
NUMERIC: Final = frozenset({Kind.INT, Kind.NUMBER, Kind.DECIMAL})
_LISTED: Final = 200
"""Entries of a list that are modelled one by one."""
_COMPARED: Final = {"_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
_MODELLED: Final = frozenset({Kind.BOOL, Kind.STRING, Kind.TIMESTAMP, Kind.DURATION, *NUMERIC})


def solver_library() -> Any:
    """Returns z3, imported on request. Raises BadInput where it isn't installed."""
    try:
        return import_module("z3")
    except ImportError as error:
        raise BadInput("z3-solver is not installed: pip install 'remit[analyse]'") from error


@dataclass(frozen=True, slots=True)
class Value:
    """A part of a condition: what it is, and the formula that says when it is an error instead."""

    kind: Kind
    formula: Formula
    error: Formula
    null: Formula | None = None
    """When it is null, where it may be."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition: when it is true, and when it is in error. Otherwise it is false."""

    true: Formula
    error: Formula


@dataclass(frozen=True, slots=True)
class Variable:
    """A path that conditions read: its value, and whether it is there and not null."""

    path: Path
    shape: Shape
    formula: Formula
    present: Formula
    null: Formula


class Symbols:
    """The variables of the calls of one tool, shared by all conditions on it."""

    def __init__(self, constants: Mapping[Path, object], arguments: Mapping[str, Any]) -> None:
        """Takes the paths whose value is known, such as `tool.name`, and the JSON Schema of the tool's arguments."""
        self.z3 = solver_library()
        self._constants = constants
        self._arguments = arguments
        self.variables: dict[Path, Variable] = {}
        self.members: dict[tuple[Path, str], tuple[Formula, Formula]] = {}
        """Whether a list of texts at a path holds a text, and that text; by the path and the text's source."""
        self.unmodelled: dict[str, str] = {}
        """Source text of what can't be modelled, and why."""
        self.about: list[Formula] = []
        """What holds of the variables because of their types."""
        self._opaque: dict[tuple[str, Kind], Value] = {}

    def truth(self, node: Node) -> Truth:
        """Returns the formulas of a condition."""
        value = self.value(node)
        if value.kind is not Kind.BOOL:
            value = self._unknown(node, Kind.BOOL, "its type is only known when it runs")
        return self._as_truth(value)

    def variable(self, path: Path, shape: Shape) -> Variable:
        """Returns the variable of a path; made when it is first asked for."""
        if path not in self.variables:
            self.variables[path] = self._made(path, shape)
        return self.variables[path]

    # --- parts ---

    def value(self, node: Node) -> Value:
        """Returns what a part of a condition is."""
        z3 = self.z3
        match node:
            case Settle() | Widen():
                return self.value(node.operand)
            case Literal():
                return self._literal(node)
            case Logic():
                return self._logic(node)
            case Choice():
                return self._choice(node)
            case Has():
                return self._has(node)
            case Call():
                return self._call(node)
            case Root() | Field() | Index():
                path = path_of(node)
                if path is not None and path in self._constants:
                    return self._constant(self._constants[path])
                if path is not None and node.shape.kind in _MODELLED:
                    found = self.variable(path, node.shape)
                    self.require(node, found)
                    missing = z3.Or(z3.Not(found.present), self._absent_above(node))
                    return Value(node.shape.kind, found.formula, missing, found.null if node.shape.nullable else None)
                return self._unknown(node, node.shape.kind, "its value has a type that isn't modelled")
            case Bound():
                return self._unknown(node, node.shape.kind, "a macro's variable")
        return self._unknown(node, node.shape.kind, "list macros and maps are not modelled")

    def _literal(self, node: Literal) -> Value:
        if isinstance(node.value, dict):
            return self._unknown(node, Kind.ANY, "lists and calendars are modelled only as what something is in")
        return self._constant(node.value)

    def _constant(self, value: object) -> Value:
        z3 = self.z3
        no = z3.BoolVal(False)
        match value:
            case bool():
                return Value(Kind.BOOL, z3.BoolVal(value), no)
            case UInt() | int():
                return Value(Kind.INT, z3.IntVal(int(value)), no)
            case float() if value == value and abs(value) != float("inf"):
                return Value(Kind.NUMBER, z3.RealVal(Decimal(value)), no)
            case Decimal():
                return Value(Kind.DECIMAL, z3.RealVal(str(value)), no)
            case str():
                return Value(Kind.STRING, z3.StringVal(value), no)
            case Timestamp():
                return Value(Kind.TIMESTAMP, z3.IntVal(value.nanos), no)
            case Duration():
                return Value(Kind.DURATION, z3.IntVal(value.nanos), no)
            case None:
                return Value(Kind.NULL, z3.BoolVal(True), no, z3.BoolVal(True))
        return self._opaque_value(repr(value), Kind.ANY, "a value that isn't modelled")

    def _logic(self, node: Logic) -> Value:
        z3 = self.z3
        left, right = self.truth(node.left), self.truth(node.right)
        if node.stop:
            true = z3.Or(left.true, right.true)
            error = z3.And(z3.Not(true), z3.Or(left.error, right.error))
        else:
            false = z3.Or(
                z3.And(z3.Not(left.true), z3.Not(left.error)), z3.And(z3.Not(right.true), z3.Not(right.error))
            )
            true = z3.And(left.true, right.true)
            error = z3.And(z3.Not(false), z3.Or(left.error, right.error))
        return Value(Kind.BOOL, true, error)

    def _choice(self, node: Choice) -> Value:
        z3 = self.z3
        test, yes, no = self.truth(node.test), self.value(node.yes), self.value(node.no)
        if yes.kind is not no.kind or yes.kind not in _MODELLED or yes.null is not None or no.null is not None:
            return self._unknown(node, node.shape.kind, "its two sides are of different types")
        error = z3.Or(test.error, z3.If(test.true, yes.error, no.error))
        return Value(yes.kind, z3.If(test.true, yes.formula, no.formula), error)

    def _has(self, node: Has) -> Value:
        path = path_of(node.operand)
        declared = node.operand.shape
        if path is None or (*path, node.name) in self._constants:
            return self._unknown(node, Kind.BOOL, "what it asks for isn't a plain path")
        shape = declared.fields.get(node.name, declared.item()) if declared.kind in (Kind.OBJECT, Kind.MAP) else None
        if shape is None:
            return self._unknown(node, Kind.BOOL, "its operand has a type that isn't modelled")
        found = self.variable((*path, node.name), shape)
        if (
            declared.kind is Kind.OBJECT
            and node.name not in declared.optional
            and path[0] not in ("facts", "findings", "counters")
        ):
            self.about.append(found.present)
        return Value(Kind.BOOL, found.present, self._absent(node.operand))

    # --- functions ---

    def _call(self, node: Call) -> Value:
        name, z3 = node.name, self.z3
        if name == "!_":
            inner = self.truth(node.args[0])
            return Value(Kind.BOOL, z3.And(z3.Not(inner.true), z3.Not(inner.error)), inner.error)
        if name in ("_==_", "_!=_"):
            return self._equal(node, negated=name == "_!=_")
        if name == "@in":
            return self._member(node)
        if node.fixed is not None or not node.args:
            return self._unknown(node, node.shape.kind, "patterns, paths, networks and parts of times are not modelled")
        if name not in (*_COMPARED, "startsWith", "endsWith", "contains", "_+_", "_-_", "_*_", "-_"):
            return self._unknown(node, node.shape.kind, f"`{name.strip('_')}` is not modelled")
        args = [self.value(arg) for arg in node.args]
        error = z3.Or(*(arg.error for arg in args), *(arg.null for arg in args if arg.null is not None))
        if name in _COMPARED:
            return self._compared(node, name, args, error)
        if name in ("startsWith", "endsWith", "contains"):
            return self._text(node, name, args, error)
        return self._arithmetic(node, name, args, error)

    def _equal(self, node: Call, *, negated: bool) -> Value:
        z3 = self.z3
        left, right = (self.value(arg) for arg in node.args)
        error = z3.Or(left.error, right.error)
        if Kind.NULL in (left.kind, right.kind):
            other = right if left.kind is Kind.NULL else left
            if other.null is None and other.kind not in _MODELLED:
                return self._unknown(node, Kind.BOOL, "a comparison with null of a type that isn't modelled")
            same = other.null if other.null is not None else z3.BoolVal(False)
        elif not _comparable(left.kind, right.kind):
            return self._unknown(node, Kind.BOOL, "an equation of types that aren't modelled")
        else:
            same = left.formula == right.formula
            nulls = [one.null if one.null is not None else z3.BoolVal(False) for one in (left, right)]
            if left.null is not None or right.null is not None:
                same = z3.If(z3.Or(*nulls), z3.And(*nulls), same)
        truth = z3.Not(same) if negated else same
        return Value(Kind.BOOL, z3.And(truth, z3.Not(error)), error)

    def _compared(self, node: Call, name: str, args: list[Value], error: Formula) -> Value:
        left, right = args
        if not _comparable(left.kind, right.kind):
            return self._unknown(node, Kind.BOOL, "a comparison of types that aren't modelled")
        z3, a, b = self.z3, left.formula, right.formula
        formula = {"<": a < b, "<=": a <= b, ">": b < a, ">=": b <= a}[_COMPARED[name]]
        return Value(Kind.BOOL, z3.And(formula, z3.Not(error)), error)

    def _text(self, node: Call, name: str, args: list[Value], error: Formula) -> Value:
        if any(arg.kind is not Kind.STRING for arg in args):
            return self._unknown(node, Kind.BOOL, "its operands aren't known to be texts")
        z3 = self.z3
        whole, part = (arg.formula for arg in args)
        formula = {
            "startsWith": z3.PrefixOf(part, whole),
            "endsWith": z3.SuffixOf(part, whole),
            "contains": z3.Contains(whole, part),
        }[name]
        return Value(Kind.BOOL, z3.And(formula, z3.Not(error)), error)

    def _arithmetic(self, node: Call, name: str, args: list[Value], error: Formula) -> Value:
        kinds = {arg.kind for arg in args}
        z3 = self.z3
        if name == "_+_" and kinds == {Kind.STRING}:
            return Value(Kind.STRING, z3.Concat(*(arg.formula for arg in args)), error)
        # Doubles round, and decimals have a longest length: only what is exact is modelled.
        if kinds != {Kind.INT} and not (kinds <= {Kind.INT, Kind.DECIMAL} and name in ("_+_", "_-_")):
            return self._unknown(node, node.shape.kind, "arithmetic that may round is not modelled")
        numbers = [arg.formula for arg in args]
        if name == "-_":
            made = -numbers[0]
        else:
            made = {"_+_": lambda a, b: a + b, "_-_": lambda a, b: a - b, "_*_": lambda a, b: a * b}[name](*numbers)
        if kinds == {Kind.INT}:
            error = z3.Or(error, made < INT_MIN, made > INT_MAX)
            return Value(Kind.INT, made, error)
        return Value(Kind.DECIMAL, made, error)

    def _member(self, node: Call) -> Value:
        z3 = self.z3
        sought, where = node.args
        while isinstance(where, (Settle, Widen)):
            where = where.operand
        if isinstance(where, ListOf):
            value = self.value(sought)
            items = [self.value(item) for item in where.items]
            if all(_comparable(value.kind, item.kind) for item in items) and value.null is None:
                found = z3.Or(*(value.formula == item.formula for item in items))
                error = z3.Or(value.error, *(item.error for item in items))
                return Value(Kind.BOOL, z3.And(found, z3.Not(error)), error)
        if isinstance(where, Literal) and isinstance(where.value, dict) and len(where.value) <= _LISTED:
            value = self.value(sought)
            if value.kind is Kind.STRING and value.null is None:
                found = z3.Or(*(value.formula == z3.StringVal(key) for key in where.value))
                return Value(Kind.BOOL, z3.And(found, z3.Not(value.error)), value.error)
        path = path_of(where)
        if path is not None and where.shape.kind is Kind.LIST and where.shape.item().kind is Kind.STRING:
            value = self.value(sought)
            if value.kind is Kind.STRING and value.null is None and not where.shape.nullable:
                return self._held(path, where, sought, value)
        in_map = where.shape.kind in (Kind.MAP, Kind.OBJECT) and not where.shape.nullable
        if path is not None and in_map and isinstance(sought, Literal) and isinstance(sought.value, str):
            shape = where.shape.fields.get(sought.value, where.shape.item())
            return Value(Kind.BOOL, self.variable((*path, sought.value), shape).present, self._absent(where))
        return self._unknown(node, Kind.BOOL, "what may be in the list isn't modelled")

    def _held(self, path: Path, where: Node, sought: Node, value: Value) -> Value:
        """Whether a list of texts holds one: known for a constant list, else a variable for each that is sought."""
        z3 = self.z3
        known = self._constants.get(path)
        if isinstance(known, (list, tuple)):
            found = z3.Or(*(value.formula == z3.StringVal(str(one)) for one in known))
            return Value(Kind.BOOL, z3.And(found, z3.Not(value.error)), value.error)
        source = show(sought)
        held, _ = self.members.setdefault((path, source), (z3.Bool(f"{source} in {'.'.join(path)}"), value.formula))
        error = z3.Or(self._absent(where), value.error)
        return Value(Kind.BOOL, z3.And(held, z3.Not(error)), error)

    # --- variables ---

    def _made(self, path: Path, shape: Shape) -> Variable:
        z3, name = self.z3, ".".join(path)
        formula = self._fresh(name, shape.kind)
        if shape.kind is Kind.INT:
            self.about += [formula >= INT_MIN, formula <= INT_MAX]
        if shape.kind is Kind.TIMESTAMP:
            self.about += [formula >= _FIRST, formula <= _LAST, formula % 1000 == 0]
        if shape.kind is Kind.STRING and shape.choices:
            self.about.append(z3.Or(*(formula == z3.StringVal(str(choice)) for choice in shape.choices)))
        elif shape.kind is Kind.INT and shape.choices:
            self.about.append(z3.Or(*(formula == choice for choice in shape.choices if isinstance(choice, int))))
        self.about += [limit(z3, formula) for limit in _limits(path, shape.kind, self._arguments)]
        present, null = z3.Bool(f"has {name}"), z3.Bool(f"{name} is null")
        if not shape.nullable:
            self.about.append(z3.Not(null))
        if path[0] == "args":
            self.about.append(z3.Implies(null, present))
        return Variable(path, shape, formula, present, null)

    def _fresh(self, name: str, kind: Kind) -> Formula:
        z3 = self.z3
        sorts = {Kind.BOOL: z3.Bool, Kind.STRING: z3.String, Kind.NUMBER: z3.Real, Kind.DECIMAL: z3.Real}
        sorts |= dict.fromkeys((Kind.INT, Kind.TIMESTAMP, Kind.DURATION), z3.Int)
        return sorts.get(kind, z3.Bool)(name)

    def _absent_above(self, node: Node) -> Formula:
        """When something on the way to a path isn't there; required fields always are."""
        return self._absent(node.operand) if isinstance(node, (Field, Index)) else self.z3.BoolVal(False)

    def _absent(self, node: Node) -> Formula:
        """When the value at a path isn't there, or is null where it may be."""
        z3 = self.z3
        while isinstance(node, (Settle, Widen)):
            node = node.operand
        if isinstance(node, Root):
            return z3.BoolVal(False)
        path = path_of(node)
        if path is None or not isinstance(node, (Field, Index)):
            return z3.BoolVal(False)
        found = self.variable(path, node.shape)
        self.require(node, found)
        return z3.Or(z3.Not(found.present), found.null, self._absent_above(node))

    def require(self, node: Node, found: Variable) -> None:
        """Notes that what is always there is: a name that conditions see, and a field its object needs."""
        if isinstance(node, Field) and node.operand.shape.kind is Kind.OBJECT:
            declared = node.operand.shape
            # A fact whose provider failed, or a finding of a guardrail that did, is not there whatever its type says.
            may_fail = len(found.path) == 2 and found.path[0] in ("facts", "findings", "counters")
            if node.name in declared.fields and node.name not in declared.optional and not may_fail:
                self.about.append(found.present)
        elif isinstance(node, Root) or found.path[:2] == ("spent", "by_tool"):  # an unused tool has counts of zero
            self.about.append(found.present)

    def _as_truth(self, value: Value) -> Truth:
        z3 = self.z3
        error = z3.Or(value.error, value.null) if value.null is not None else value.error
        return Truth(z3.And(value.formula, z3.Not(error)), error)

    def _unknown(self, node: Node, kind: Kind, why: str) -> Value:
        return self._opaque_value(show(node), kind, why)

    def _opaque_value(self, source: str, kind: Kind, why: str) -> Value:
        kind = kind if kind in _MODELLED else Kind.ANY
        self.unmodelled.setdefault(source, why)
        if (source, kind) not in self._opaque:
            formula = self._fresh(f"`{source}`", kind)
            self._opaque[source, kind] = Value(kind, formula, self.z3.Bool(f"`{source}` fails"))
        return self._opaque[source, kind]


def _limits(path: Path, kind: Kind, arguments: Mapping[str, Any]) -> list[Callable[[Any, Formula], Formula]]:
    """Returns what the schema of an argument, or what a count is, says of its value."""
    if path[0] in ("spent", "history") and kind in NUMERIC:
        return [lambda _, found: found >= 0]
    schema: Any = arguments if path[0] == "args" else {}
    for part in path[1:]:
        schema = schema.get("properties", {}).get(part, {}) if isinstance(schema, Mapping) else {}
    if not isinstance(schema, Mapping):
        return []
    made: list[Callable[[Any, Formula], Formula]] = []
    for key, compare in _LIMITS.items():
        bound = schema.get(key)
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            on_text = key.endswith("Length")
            if (kind is Kind.STRING) if on_text else kind in (Kind.INT, Kind.NUMBER):
                made.append(partial(_limit, compare, bound, on_text))
    return made


def _limit(compare: Callable[[Any, Any], Any], bound: float, on_text: bool, z3: Any, found: Formula) -> Formula:
    return compare(z3.Length(found) if on_text else found, bound)


_LIMITS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
    "minLength": operator.ge,
    "maxLength": operator.le,
}


def path_of(node: Node) -> Path | None:
    """Returns the path that a part of a condition reads, None where it is no plain path."""
    match node:
        case Settle() | Widen():
            return path_of(node.operand)
        case Root():
            return (node.name,)
        case Field():
            above = path_of(node.operand)
            return None if above is None else (*above, node.name)
        case Index():
            above = path_of(node.operand)
            key = node.key.operand if isinstance(node.key, (Settle, Widen)) else node.key
            if above is None or not isinstance(key, Literal) or not isinstance(key.value, str):
                return None
            return (*above, key.value)
    return None


def _comparable(left: Kind, right: Kind) -> bool:
    return (left in NUMERIC and right in NUMERIC) or (left is right and left in _MODELLED)
