"""Optional fields must be asked for before they are used: `has(args.memo) && args.memo != ""`.

An absent field is an error when it is selected, and an error only ever makes an outcome stricter; but a
condition that must fail on ordinary calls is a mistake to be told when it loads. `&&` and `||` are
commutative in CEL, so a guard may stand on either side.
"""

from __future__ import annotations

import difflib

from remit.core.cel.resolve import Refused
from remit.core.cel.shapes import Kind
from remit.core.cel.tree import (
    Bound,
    Call,
    Choice,
    Each,
    Field,
    Has,
    Index,
    Literal,
    Logic,
    Node,
    Root,
    Settle,
    Widen,
    children,
)
from remit.core.cel.unparse import show

Paths = frozenset[str] | None  # None: every path, where a place can't be reached
NOTHING: Paths = frozenset()


def both(one: Paths, other: Paths) -> Paths:
    return None if one is None or other is None else one | other


def either(one: Paths, other: Paths) -> Paths:
    if one is None:
        return other
    return one if other is None else one & other


def path(node: Node) -> str | None:
    """The same text for the same place, if the place is written out."""
    match node:
        case Root():
            return node.name
        case Bound():
            return node.key
        case Settle() | Widen():
            return path(node.operand)
        case Field():
            inner = path(node.operand)
            return None if inner is None else f"{inner}.{node.name!r}"
        case Index():
            inner = path(node.operand)
            literal = isinstance(node.key, Literal) and isinstance(node.key.value, (str, int))
            return None if inner is None or not literal else f"{inner}[{show(node.key)}]"
    return None


def implied(node: Node) -> tuple[Paths, Paths]:
    """The fields that are surely present if the node is true, and if it is false."""
    match node:
        case Literal():
            if node.value is True:
                return NOTHING, None
            return (None, NOTHING) if node.value is False else (NOTHING, NOTHING)
        case Has():
            inner = path(node.operand)
            return (NOTHING if inner is None else frozenset({f"{inner}.{node.name!r}"})), NOTHING
        case Logic():
            (true, false), (also_true, also_false) = implied(node.left), implied(node.right)
            if node.stop:
                return either(true, also_true), both(false, also_false)
            return both(true, also_true), either(false, also_false)
        case Choice():
            test, yes, no = implied(node.test), implied(node.yes), implied(node.no)
            return either(both(test[0], yes[0]), both(test[1], no[0])), either(
                both(test[0], yes[1]), both(test[1], no[1])
            )
        case Call() if node.name == "!_":
            true, false = implied(node.args[0])
            return false, true
        case Settle() | Widen():
            return implied(node.operand)
    return NOTHING, NOTHING


class Guards:
    def __init__(self, *, boolean: bool = True) -> None:
        self._boolean = boolean
        self.refused: list[Refused] = []
        self._told: set[str] = set()

    def visit(self, node: Node, known: Paths = NOTHING) -> None:
        match node:
            case Field():
                self.visit(node.operand, known)
                self._field(node, known)
            case Has():
                self.visit(node.operand, known)
                self._declared(node)
            case Logic():
                side = 1 if node.stop else 0
                self.visit(node.left, both(known, implied(node.right)[side]))
                self.visit(node.right, both(known, implied(node.left)[side]))
            case Choice():
                true, false = implied(node.test)
                self.visit(node.test, known)
                self.visit(node.yes, both(known, true))
                self.visit(node.no, both(known, false))
            case Each():
                self.visit(node.range, known)
                if node.test is not None:
                    self.visit(node.test, known)
                if node.result is not None:
                    self.visit(node.result, known if node.test is None else both(known, implied(node.test)[0]))
            case _:
                for child in children(node):
                    self.visit(child, known)

    def _field(self, node: Field, known: Paths) -> None:
        if not self._declared(node) or node.name not in node.operand.shape.optional:
            return
        here = path(node)
        if known is None or (here is not None and here in known):
            return
        text = show(node)
        if text not in self._told:
            self._told.add(text)
            self.refused.append(Refused(node.at, f"`{text}` may be absent", self._remedy(text)))

    def _remedy(self, text: str) -> str:
        return f"write `has({text}) && ...`" if self._boolean else f'write `has({text}) ? {text} : "none"`'

    def _declared(self, node: Field | Has) -> bool:
        """The checker doesn't know the fields of objects inside lists of lists and nullable lists; we do."""
        shape = node.operand.shape
        if shape.kind is not Kind.OBJECT:
            return False
        if node.name in shape.fields:
            return True
        message = f"no field `{node.name}` in `{show(node.operand)}`"
        self.refused.append(Refused(node.at, message, suggestion(node.name, list(shape.fields))))
        return False


def suggestion(name: str, known: list[str]) -> str:
    """`did you mean ...`, if anything is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""
