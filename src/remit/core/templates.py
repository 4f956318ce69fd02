"""Text with expressions in it: `{{args.amount}}`. A rule's `because` and a queue's `title` are such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remit.core.conditions import Environment, Expression, Failure, compile_expression, render_value
from remit.errors import ConditionError

Piece = tuple[str, int]
"""A part of a template: text (-1), or an expression and the offset at which it starts."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text with conditions' expressions in it, compiled for one tool."""

    parts: tuple[str | Expression, ...]

    def render(self, roots: Mapping[str, object]) -> str:
        """Returns the text; a part that fails is `[?]`, because words are never a reason to fail."""
        return "".join(part if isinstance(part, str) else _rendered(part, roots) for part in self.parts)


def pieces_of(text: str) -> tuple[list[Piece], int]:
    """Returns the parts of a template, and the offset of a `{{` that has no `}}`; -1 where there is none."""
    pieces: list[Piece] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        end = _end_of_expression(text, start + 2)
        if end < 0:
            return [*pieces, (text[at:], -1)], start
        pieces += [(text[at:start], -1), (text[start + 2 : end], start + 2)]
        at = end + 2
    return [*pieces, (text[at:], -1)], -1


def compile_pieces(
    pieces: Sequence[Piece], environment: Environment
) -> tuple[Template | None, list[tuple[int, ConditionError]]]:
    """Returns the template, None where nothing of it could be compiled, and each error with its expression's offset."""
    parts: list[str | Expression] = []
    errors = []
    for text, start in pieces:
        if start < 0:
            parts += [text] if text else []
            continue
        try:
            parts.append(compile_expression(text, environment))
        except ConditionError as error:
            errors.append((start, error))
    return (Template(tuple(parts)) if parts else None), errors


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Returns where an offset is, both counted from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def _end_of_expression(text: str, at: int) -> int:
    """Returns where the `}}` of an expression is that starts at `at`, or -1: not one in a text or a map."""
    depth = 0
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif text.startswith("}}", at):
            return at
        at += 1
    return -1


def _rendered(part: Expression, roots: Mapping[str, object]) -> str:
    try:
        value = part.evaluate(roots)
        text = "[?]" if isinstance(value, Failure) else render_value(value)
    except Exception:  # noqa: BLE001  # the decision stands, whatever becomes of its words
        return "[?]"
    # A value stays on its line: what an agent wrote can't pass for a reason of its own.
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
