"""`args["user-id"]`: fields whose names CEL can't write after a dot.

The checker types a field that is selected, `args.user`, and knows no index into an object. So an index by a text is
given to it as a selection, of the same length, so that every place in the source stays where it is; a name that is
no identifier has an alias there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_KEYWORDS: Final = frozenset({"false", "in", "null", "true"})
"""What no field can be called after a dot."""
_TOKEN: Final = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:\\.|(?!\"\"\").)*\"\"\"|'''(?:\\.|(?!''').)*'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
ALIASES: Final = tuple(f"z{one}{two}" for one in _DIGITS for two in _DIGITS)


@dataclass(frozen=True, slots=True)
class Indexed:
    """An index by a text: where its bracket opens and where it closes, where the text is, and what it says."""

    opens: int
    closes: int
    text: int
    name: str


def can_be_selected(name: str) -> bool:
    """Whether a field of this name can be written after a dot."""
    return NAME.fullmatch(name) is not None and name not in _KEYWORDS


def indexed(source: str) -> list[Indexed]:
    """Returns the indexes by a text in a source, such as `a["b"]`; not lists of one text."""
    if "[" not in source:
        return []
    tokens = [token for token in _TOKEN.finditer(source) if token.lastgroup != "skip"]
    found: list[Indexed] = []
    for before, bracket, text, end in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if bracket.group() != "[" or end.group() != "]" or text.lastgroup != "text":
            continue
        operand = before.group() in (")", "]") or (before.lastgroup == "name" and before.group() not in _KEYWORDS)
        said = text.group()
        if operand and said[0] in "\"'" and said[:3] not in ('"""', "'''") and "\\" not in said and len(said) > 2:
            found.append(Indexed(bracket.start(), end.end(), text.start(), said[1:-1]))
    return found


def selected(source: str, found: Iterable[Indexed], aliases: Mapping[str, str]) -> str:
    """Returns the source with its indexes as selections; a name without an alias is written as it is."""
    letters = list(source)
    for one in found:
        for place in range(one.opens, one.closes):
            if letters[place] != "\n":
                letters[place] = " "
        letters[one.opens] = "."
        name = aliases.get(one.name, one.name)
        letters[one.text : one.text + len(name)] = name
    return "".join(letters)


def aliased(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Returns an alias for each name that can't be selected, as far as there are any."""
    used = set(taken)
    free = (alias for alias in ALIASES if alias not in used)
    odd = (name for name in dict.fromkeys(names) if not can_be_selected(name))
    return dict(zip(odd, free, strict=False))
