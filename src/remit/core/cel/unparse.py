"""A tree as text again, for explanations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from remit.core.cel.indexes import can_be_selected
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
    MapOf,
    Node,
    Root,
    Settle,
    Widen,
)
from remit.core.cel.values import UInt

PRECEDENCE: Final[Mapping[str, int]] = {
    "_==_": 4,
    "_!=_": 4,
    "_<_": 4,
    "_<=_": 4,
    "_>_": 4,
    "_>=_": 4,
    "@in": 4,
    "_+_": 5,
    "_-_": 5,
    "_*_": 6,
    "_/_": 6,
    "_%_": 6,
}
SIGNS: Final[Mapping[str, str]] = {
    "@in": "in",
    **{name: name.strip("_") for name in PRECEDENCE if name != "@in"},
}


def show(node: Node, outer: int = 0) -> str:
    """The node as CEL; `outer` is how tightly what stands around it binds."""
    match node:
        case Literal():
            return node.text or literal(node.value)
        case Root() | Bound():
            return node.name
        case Field():
            return f"{show(node.operand, 9)}{_selection(node)}"
        case Index():
            return f"{show(node.operand, 9)}[{show(node.key)}]"
        case Has():
            return f"has({show(node.operand, 9)}{_selection(node)})"
        case Settle() | Widen():
            return show(node.operand, outer)
        case Logic():
            level = 2 if node.stop else 3
            text = f"{show(node.left, level)} {'||' if node.stop else '&&'} {show(node.right, level)}"
            return bracketed(text, level, outer)
        case Choice():
            return bracketed(f"{show(node.test, 2)} ? {show(node.yes, 2)} : {show(node.no, 1)}", 1, outer)
        case Call():
            return call(node, outer)
        case ListOf():
            return f"[{', '.join(show(item) for item in node.items)}]"
        case MapOf():
            return "{" + ", ".join(f"{show(key)}: {show(value)}" for key, value in node.entries) + "}"
        case Each():
            parts = [
                node.variable.name,
                *(show(part) for part in (node.test, node.result) if part is not None),
            ]
            if node.macro.value == "filter":
                parts = parts[:2]
            return f"{show(node.range, 9)}.{node.macro.value}({', '.join(parts)})"


def _selection(node: Field | Has) -> str:
    return selection(node.name, undeclared=node.name in node.operand.shape.undeclared)


def selection(name: str, *, undeclared: bool = False) -> str:
    """How a field is selected: `.user`, `["user-id"]`."""
    return f".{name}" if can_be_selected(name) and not undeclared else f"[{json.dumps(name, ensure_ascii=False)}]"


def call(node: Call, outer: int) -> str:
    args = (*node.args, node.fixed) if node.fixed is not None else node.args
    if node.name in PRECEDENCE and len(args) == 2:
        level = PRECEDENCE[node.name]
        return bracketed(f"{show(args[0], level)} {SIGNS[node.name]} {show(args[1], level + 1)}", level, outer)
    if node.name in ("!_", "-_"):
        return bracketed(f"{node.name[0]}{show(args[0], 8)}", 8, outer)
    if node.member:
        return f"{show(args[0], 9)}.{node.name}({', '.join(show(arg) for arg in args[1:])})"
    return f"{node.name}({', '.join(show(arg) for arg in args)})"


def bracketed(text: str, level: int, outer: int) -> str:
    return f"({text})" if level < outer else text


def literal(value: object) -> str:
    if isinstance(value, UInt):
        return f"{int(value)}u"
    if isinstance(value, bytes):
        return repr(value)
    if value is None or isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
