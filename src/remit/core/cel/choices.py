"""A value that is compared with what it can never be: `args.document == "invoce"` where the schema lists the values.

Such a comparison is no error when it is evaluated, it is a mistake: the rule never applies, or always.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.core.cel.guards import suggestion
from remit.core.cel.resolve import Refused
from remit.core.cel.shapes import ANY, Shape
from remit.core.cel.tree import Call, ListOf, Literal, Node, Settle, Widen, children
from remit.core.cel.unparse import literal, show

_SHOWN = 8


def impossible(node: Node) -> list[Refused]:
    """Returns every comparison of a value with one that its schema doesn't list."""
    return [found for part in _parts(node) for found in _compared(part)]


def _parts(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _parts(child)


def _compared(node: Node) -> Iterator[Refused]:
    if not isinstance(node, Call) or len(node.args) != 2:
        return
    left, right = (_bare(arg) for arg in node.args)
    if node.name in ("_==_", "_!=_"):
        for value, known in ((left, right), (right, left)):
            if isinstance(value, Literal):
                yield from _never(value, known, known.shape)
    elif node.name == "@in":
        if isinstance(left, Literal):
            yield from _never(left, right, _element(right))
        elif isinstance(right, ListOf):
            for item in right.items:
                bare = _bare(item)
                if isinstance(bare, Literal):
                    yield from _never(bare, left, left.shape)


def _never(value: Literal, known: Node, shape: Shape) -> Iterator[Refused]:
    if not shape.choices or value.value is None or value.value in shape.choices:
        return
    words = [str(choice) for choice in shape.choices]
    hint = suggestion(str(value.value), words)
    if not hint:
        more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        hint = "it is one of " + ", ".join(literal(choice) for choice in shape.choices[:_SHOWN]) + more
    yield Refused(value.at, f"`{show(known)}` is never `{literal(value.value)}`", hint)


def _element(node: Node) -> Shape:
    node = _bare(node)
    return node.shape.item() if not isinstance(node, ListOf) else ANY


def _bare(node: Node) -> Node:
    while isinstance(node, (Settle, Widen)):
        node = node.operand
    return node
