"""The tree that is evaluated: the checked syntax with names resolved, macros recognised and declared shapes
attached.

A node's `shape` says what its value certainly is (`ANY` if nothing is certain). A list, map or object with a
shape is still the caller's own JSON; its parts are checked and read when they are selected. Where such a
value is used as a whole, a `Settle` node stands around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from remit.core.cel.shapes import ANY, Kind, Shape, merged


class Macro(Enum):
    ALL = "all"
    EXISTS = "exists"
    ONE = "exists_one"
    MAP = "map"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class Literal:
    at: int
    shape: Shape
    value: object
    text: str = ""  # as written, where the value is what a call made at load


@dataclass(frozen=True, slots=True)
class Root:
    at: int
    shape: Shape
    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A macro's variable; `key` is unique in the tree, `name` is what the user wrote."""

    at: int
    shape: Shape
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Field:
    at: int
    shape: Shape
    operand: Node
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    at: int
    shape: Shape
    operand: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Has:
    at: int
    shape: Shape
    operand: Node
    name: str


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` (`stop` is False) or `||` (`stop` is True): the value that decides, whatever the other side is."""

    at: int
    shape: Shape
    stop: bool
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Choice:
    at: int
    shape: Shape
    test: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class Call:
    """`apply(*values of args, budget)`; `fixed` is a literal argument that was dealt with at load."""

    at: int
    shape: Shape
    name: str
    member: bool
    args: tuple[Node, ...]
    apply: Callable[..., object]
    fixed: Node | None = None


@dataclass(frozen=True, slots=True)
class ListOf:
    at: int
    shape: Shape
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    at: int
    shape: Shape
    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Each:
    """A macro over a list's elements or a map's keys. Only `map` and `filter` have a `result`."""

    at: int
    shape: Shape
    macro: Macro
    variable: Bound
    range: Node
    test: Node | None
    result: Node | None
    cost: int  # steps an iteration takes, by the size of what is evaluated in it


@dataclass(frozen=True, slots=True)
class Settle:
    at: int
    shape: Shape
    operand: Node
    declared: Shape


@dataclass(frozen=True, slots=True)
class Widen:
    """A declared number about to be calculated with: an integer becomes a double."""

    at: int
    shape: Shape
    operand: Node


Node = Literal | Root | Bound | Field | Index | Has | Logic | Choice | Call | ListOf | MapOf | Each | Settle | Widen

BOOL = Shape(Kind.BOOL)
SCALAR = frozenset({Kind.BOOL, Kind.INT, Kind.NUMBER, Kind.STRING, Kind.DECIMAL, Kind.TIMESTAMP, Kind.DURATION})


def sure(node: Node) -> Kind:
    """The kind a node's value certainly has; `ANY` if it may be null or anything."""
    shape = node.shape
    return shape.kind if shape.kind in SCALAR and not shape.nullable else Kind.ANY


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Field() | Has() | Settle() | Widen():
            return (node.operand,)
        case Index():
            return (node.operand, node.key)
        case Logic():
            return (node.left, node.right)
        case Choice():
            return (node.test, node.yes, node.no)
        case Call():
            return node.args
        case ListOf():
            return node.items
        case MapOf():
            return tuple(side for entry in node.entries for side in entry)
        case Each():
            return tuple(part for part in (node.range, node.test, node.result) if part is not None)
    return ()


def weight(node: Node | None) -> int:
    """How many nodes there are."""
    return 0 if node is None else 1 + sum(weight(child) for child in children(node))


def common(shapes: list[Shape]) -> Shape:
    if not shapes or shapes[0] is ANY or any(shape != shapes[0] for shape in shapes):
        return ANY
    return merged(shapes)
