"""The tree made into a Python function, once, when a condition loads.

The function is right whenever it returns: it follows the tree in the order of `interpret`, so where no part
fails, plain `and`, `or` and `if` are CEL's. Where a part fails it raises, and the condition is evaluated anew
by `interpret`, which knows what `&&` and `||` make of errors. Both charge the step budget alike.

What a user wrote reaches the source only as `repr` of a str, int, float, bool or None; everything else is a
name bound here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from remit.core.cel.functions import element, invert, signed, widen
from remit.core.cel.interpret import elements, make_map
from remit.core.cel.shapes import LOADERS, Kind, Shape, load_list, load_map, settle
from remit.core.cel.tree import (
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
    sure,
)
from remit.core.cel.values import INT_MAX, INT_MIN, PLAIN, Budget, EvalError, OverBudget

Run = Callable[[Mapping[str, object], int], object]
COMPARISONS: Final = {"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
INLINE_TEXT: Final = 1000  # a literal this short costs no steps to compare with
INLINE_LIST: Final = 15
CHECKS: Final[Mapping[Kind, str]] = {
    Kind.ANY: "{0}.__class__ not in PLAIN",
    Kind.BOOL: "{0} is not True and {0} is not False",
    Kind.INT: f"{{0}}.__class__ is not int or not {INT_MIN} <= {{0}} <= {INT_MAX}",
    Kind.NUMBER: "{0}.__class__ is not float and {0}.__class__ is not int",
    Kind.STRING: "{0}.__class__ is not str",
    Kind.LIST: "{0}.__class__ is not list",
    Kind.MAP: "{0}.__class__ is not dict",
    Kind.OBJECT: "{0}.__class__ is not dict",
}


def fail() -> None:
    """Leaves the fast way; the interpreter says what is wrong."""
    raise EvalError("")


def compile_tree(node: Node, *, boolean: bool) -> Run | None:
    """None if Python refuses the source (it nests 20 loops at most): then the interpreter does it all."""
    writer = Writer()
    source = writer.function(node, boolean=boolean)
    space = writer.names
    try:
        exec(compile(source, "<condition>", "exec"), space)
    except (SyntaxError, RecursionError, MemoryError):
        return None
    made = space["run"]
    return made if callable(made) else None


class Writer:
    def __init__(self) -> None:
        self.names: dict[str, object] = {
            "PLAIN": PLAIN,
            "Budget": Budget,
            "OverBudget": OverBudget,
            "element": element,
            "invert": invert,
            "signed": signed,
            "widen": widen,
            "elements": elements,
            "make_map": make_map,
            "load_list": load_list,
            "load_map": load_map,
            "settle": settle,
            "fail": fail,
            **{f"load_{kind.name}": loader for kind, loader in LOADERS.items()},
        }
        self._lines: list[str] = []
        self._indent = 1
        self._made = 0
        self._roots: dict[str, str] = {}
        self._bound: dict[str, str] = {}
        self._budgeted = False

    def function(self, node: Node, *, boolean: bool) -> str:
        result = self.truth(node) if boolean else self.text(node)
        self.line(f"return {result}")
        head = ["def run(roots, steps):"]
        if self._budgeted:
            head.append("    b = Budget(steps)")
        head += [f"    {name} = roots[{root!r}]" for root, name in self._roots.items()]
        return "\n".join(head + self._lines) + "\n"

    def line(self, text: str) -> None:
        self._lines.append("    " * self._indent + text)

    def fresh(self) -> str:
        self._made += 1
        return f"t{self._made}"

    def constant(self, value: object) -> str:
        self._made += 1
        name = f"k{self._made}"
        self.names[name] = value
        return name

    def budget(self) -> str:
        self._budgeted = True
        return "b"

    def atom(self, node: Node) -> str:
        """The node's value in a name or a literal, so that it can be written twice."""
        text = self.text(node)
        if text.isidentifier() or isinstance(node, Literal):
            return text
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    def name(self, node: Node) -> str:
        """The node's value in a name, where Python would warn about a literal."""
        text = self.atom(node)
        if not isinstance(node, Literal):
            return text
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    def check(self, name: str, shape: Shape) -> None:
        """What `shapes.load` does, with the usual case inline."""
        if shape.nullable:
            self.line(f"if {name} is not None:")
            self._indent += 1
        usual = CHECKS.get(shape.kind)
        prefix = f"if {usual.format(name)}: " if usual else ""
        self.line(f"{prefix}{name} = load_{shape.kind.name}({name})")
        if shape.nullable:
            self._indent -= 1

    def text(self, node: Node) -> str:
        """Writes what is needed before, and returns an expression of the node's value."""
        match node:
            case Literal():
                return self._literal(node.value)
            case Root():
                return self._root(node, check=True)
            case Bound():
                return self._bound[node.key]
            case Field() | Index():
                return self._selected(node)
            case Has():
                operand = self.name(node.operand)
                if node.operand.shape.kind not in (Kind.MAP, Kind.OBJECT) or node.operand.shape.nullable:
                    self.line(f"if {operand}.__class__ is not dict: load_map({operand})")
                return f"({node.name!r} in {operand})"
            case Logic():
                return self._logic(node)
            case Choice():
                return self._choice(node)
            case Call():
                return self._call(node)
            case ListOf():
                return "[" + ", ".join(self.atom(item) for item in node.items) + "]"
            case MapOf():
                pairs = [f"({self.atom(key)}, {self.atom(value)})" for key, value in node.entries]
                return f"make_map({', '.join(pairs)})"
            case Each():
                return self._each(node)
            case Settle():
                return f"settle({self.constant(node.declared)}, {self.atom(node.operand)}, {self.budget()})"
            case Widen():
                operand = self.name(node.operand)
                name = self.fresh()
                self.line(f"{name} = widen({operand}) if {operand}.__class__ is int else {operand}")
                return name

    def _literal(self, value: object) -> str:
        if value is None or value.__class__ in (bool, int):
            return f"({value!r})" if value.__class__ is int else repr(value)
        if value.__class__ is str and len(value) <= INLINE_TEXT:
            return repr(value)
        if isinstance(value, float) and math.isfinite(value):
            return f"({value!r})"
        return self.constant(value)

    def _root(self, node: Root, *, check: bool) -> str:
        if node.name not in self._roots:
            self._roots[node.name] = self.fresh()
        name = self._roots[node.name]
        if not check:
            return name
        loaded = self.fresh()
        self.line(f"{loaded} = {name}")
        self.check(loaded, node.shape)
        return loaded

    def _selected(self, node: Field | Index, *, check: bool = True) -> str:
        """A selection from anything but a map raises by itself, so what is selected from needs no check."""
        operand = self._unchecked(node.operand) if isinstance(node, Field) else self.atom(node.operand)
        name = self.fresh()
        if isinstance(node, Field):
            self.line(f"{name} = {operand}[{node.name!r}]")
        elif node.operand.shape.kind is Kind.MAP and sure(node.key) is Kind.STRING:
            self.line(f"{name} = {operand}[{self.atom(node.key)}]")
        else:
            self.line(f"{name} = element({operand}, {self.atom(node.key)}, None)")
        if check:
            self.check(name, node.shape)
        return name

    def _unchecked(self, node: Node) -> str:
        if isinstance(node, Root):
            return self._root(node, check=False)
        if isinstance(node, Field):
            return self._selected(node, check=False)
        return self.name(node)

    def truth(self, node: Node) -> str:
        """A value that is surely True or False."""
        if sure(node) is Kind.BOOL:
            return self.text(node)
        if isinstance(node, (Field, Index)) and node.shape.kind is Kind.ANY:
            name = self._selected(node, check=False)  # this check is the stricter one
        else:
            name = self.name(node)
        self.line(f"if {name} is not True and {name} is not False: fail()")
        return name

    def _logic(self, node: Logic) -> str:
        name = self.fresh()
        self.line(f"{name} = {self.truth(node.left)}")
        self.line(f"if {'not ' if node.stop else ''}{name}:")
        self._indent += 1
        self.line(f"{name} = {self.truth(node.right)}")
        self._indent -= 1
        return name

    def _choice(self, node: Choice) -> str:
        name = self.fresh()
        self.line(f"if {self.truth(node.test)}:")
        self._indent += 1
        self.line(f"{name} = {self.text(node.yes)}")
        self._indent -= 1
        self.line("else:")
        self._indent += 1
        self.line(f"{name} = {self.text(node.no)}")
        self._indent -= 1
        return name

    def _call(self, node: Call) -> str:
        inline = self._inline(node)
        if inline is not None:
            return inline
        args = [self.atom(arg) for arg in node.args]
        return f"{self.constant(node.apply)}({', '.join([*args, self.budget()])})"

    def _inline(self, node: Call) -> str | None:
        """The everyday calls without a call; only where both ways mean the same for every value."""
        args, kinds = node.args, [sure(arg) for arg in node.args]
        if node.name in COMPARISONS:
            return self._comparison(node, kinds)
        if node.name == "!_" and kinds[0] is Kind.BOOL:
            return f"(not {self.text(args[0])})"
        if node.name == "size":
            shape = args[0].shape
            if not shape.nullable and shape.kind in (Kind.STRING, Kind.LIST, Kind.MAP, Kind.OBJECT):
                return f"len({self.text(args[0])})"
        if node.name in ("_+_", "_-_", "_*_") and len(args) == 2 and kinds == [Kind.INT, Kind.INT]:
            return f"signed({self.atom(args[0])} {node.name[1]} {self.atom(args[1])})"
        if node.name in ("startsWith", "endsWith") and kinds == [Kind.STRING, Kind.STRING] and short(args[1]):
            return f"{self.atom(args[0])}.{node.name.lower()}({self.text(args[1])})"
        if node.name == "@in" and kinds[0] is Kind.STRING and isinstance(args[1], ListOf):
            items = args[1].items
            if 0 < len(items) <= INLINE_LIST and all(sure(item) is Kind.STRING and short(item) for item in items):
                value = self.atom(args[0])
                return f"({value} in ({', '.join(self.text(item) for item in items)},))"
        return None

    def _comparison(self, node: Call, kinds: list[Kind]) -> str | None:
        left, right = node.args
        sign, pair = COMPARISONS[node.name], set(kinds)
        if sign in ("==", "!="):
            for one, other in ((left, right), (right, left)):
                if isinstance(other, Literal) and other.value is None:
                    return f"({self.name(one)} {'is' if sign == '==' else 'is not'} None)"
            if pair == {Kind.BOOL}:
                return f"({self.atom(left)} {sign} {self.atom(right)})"
        if pair == {Kind.STRING} and (short(left) or short(right)):
            return f"({self.atom(left)} {sign} {self.atom(right)})"
        if Kind.DECIMAL in pair and pair <= {Kind.DECIMAL, Kind.INT}:
            return f"({self.atom(left)} {sign} {self.atom(right)})"  # finite since it was read: Python is exact
        if not pair <= {Kind.INT, Kind.NUMBER}:
            return None
        first, second = self.atom(left), self.atom(right)
        plain = f"({first} {sign} {second})"
        sides = ((first, left, kinds[0]), (second, right, kinds[1]))
        decimal = [name for name, side, kind in sides if kind is Kind.NUMBER and not isinstance(side, Literal)]
        if Kind.INT in pair or not decimal:
            return plain  # Python compares an int with a double, and with a decimal, exactly
        test = " and ".join(f"{name}.__class__ is not DECIMAL" for name in decimal)
        self.names["DECIMAL"] = Decimal
        return f"({plain} if {test} else {self.constant(node.apply)}({first}, {second}, {self.budget()}))"

    def _each(self, node: Each) -> str:
        over = self.name(node.range)
        if node.range.shape.kind is not Kind.LIST or node.range.shape.nullable:
            name = self.fresh()
            self.line(f"{name} = {over} if {over}.__class__ is list else elements({over})")
            over = name
        result, item = self.fresh(), self.fresh()
        self._bound[node.variable.key] = item
        start = {
            Macro.ALL: "True",
            Macro.EXISTS: "False",
            Macro.ONE: "0",
            Macro.MAP: "[]",
            Macro.FILTER: "[]",
        }
        self.line(f"{result} = {start[node.macro]}")
        self.line(f"for {item} in {over}:")
        self._indent += 1
        self.line(f"{self.budget()}.left -= {node.cost}")
        self.line("if b.left < 0: raise OverBudget")
        self.check(item, node.variable.shape)
        self._body(node, result)
        self._indent -= 1
        return f"({result} == 1)" if node.macro is Macro.ONE else result

    def _body(self, node: Each, result: str) -> None:
        depth = self._indent
        if node.test is not None:
            test = self.truth(node.test)
            if node.macro in (Macro.ALL, Macro.EXISTS):
                self.line(f"if {'' if node.macro is Macro.EXISTS else 'not '}{test}:")
                self._indent += 1
                self.line(f"{result} = {node.macro is Macro.EXISTS}")
                self.line("break")
            else:
                self.line(f"if {test}:")
                self._indent += 1
                if node.macro is Macro.ONE:
                    self.line(f"{result} += 1")
        if node.result is not None:
            self.line(f"{result}.append({self.text(node.result)})")
        self._indent = depth


def short(node: Node) -> bool:
    return isinstance(node, Literal) and isinstance(node.value, str) and len(node.value) <= INLINE_TEXT
