"""What people write who know another language, and what they have to write here.

The table is asked only about conditions that the parser has refused, so nothing in it has to be certain: it says what
was most likely meant. Texts in quotes are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from remit.core.cel.resolve import Refused

_TEXT: Final = re.compile(r"""(?s)[rR]?("{3}.*?"{3}|'{3}.*?'{3})|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""")
_COMMENT: Final = re.compile(r"//[^\n]*")
_BEFORE: Final = r"(?<![\w.])"
_COMPARE: Final = "`args.amount >= 1 && args.amount <= 5`"
_SLIPS: Final[tuple[tuple[str, str, str], ...]] = (
    ("[\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb]", "typographic quotes", 'put text in `"` or `\'`'),
    (r"`", "a backtick", 'put text in `"` or `\'`'),
    (rf"{_BEFORE}[fF](?=\u0000)", "a text with `f` before it", 'join texts with `+`: `"EUR " + args.iban`'),
    (r"\{\{|\}\}", "`{{` and `}}` in a condition", "they are for `because`; a condition is an expression without them"),
    (r"===", "`===`", "write `==`"),
    (r"!==", "`!==`", "write `!=`"),
    (r"=>", "`=>`", "write `>=`"),
    (r"=<", "`=<`", "write `<=`"),
    (r"<>", "`<>`", "write `!=`"),
    (r"=~|!~|~", "an operator for patterns", 'write `args.iban.matches("^DE")`'),
    (r"(?<![<>=!~])=(?![=~<>])", "`=` compares nothing", "write `==`"),
    (rf"{_BEFORE}not\s+in\b", "`not in`", 'write `!(args.currency in ["EUR", "CHF"])`'),
    (rf"{_BEFORE}is\s+not\b", "`is not`", "write `!=`; whether an argument is there at all is `has(args.memo)`"),
    (rf"{_BEFORE}is\b", "`is`", "write `==`; whether an argument is there at all is `has(args.memo)`"),
    (rf"(?i){_BEFORE}and\b", "`and`", "write `&&`"),
    (rf"(?i){_BEFORE}or\b", "`or`", "write `||`"),
    (rf"(?i){_BEFORE}not\b(?!\s+in\b)", "`not`", "write `!`, with brackets round what it is about: `!(a == b)`"),
    (r"(?<!&)&(?!&)", "a single `&`", "write `&&`"),
    (r"(?<!\|)\|(?!\|)", "a single `|`", "write `||`"),
    (r"(?<=[\w\])\u0000])\s+contains\b", "`contains` between two values", 'write `args.iban.contains("DE")`'),
    (
        r"(?<=[\w\])\u0000])\s+(?:starts|ends)[wW]ith\b",
        "`startsWith` or `endsWith` between two values", 'write `args.iban.startsWith("DE")`',
    ),
    (r"(?<=[\w\])\u0000])\s+(?:matches|like|LIKE)\b", "a pattern after a value", 'write `args.iban.matches("^DE")`'),
    (r"(?<=[\w\])\u0000])\s+between\b", "`between`", f"write {_COMPARE}"),
    (r"\.\.", "a range", f"write {_COMPARE}"),
    (r"\bin\s*[({]", "a list in the wrong brackets", 'write `in ["EUR", "CHF"]`'),
    (r"\bin\s*\u0000+\s*,", "a list without brackets", 'write `in ["EUR", "CHF"]`'),
    (r"\.\w+\u0020+(?=\u0000)", "a function without brackets", 'write `args.iban.startsWith("DE")`'),
    (
        r"\.(?:exists|all|filter|map|exists_one)\(\s*\w+\s*(?::|=>|->)", "a name and what it is for, without a comma",
        'write `args.tags.exists(tag, tag == "x")`',
    ),
    (rf"{_BEFORE}if\b", "`if`", "write `test ? yes : no`; a condition itself needs no `if`"),
    (r"\?\?|\?\.", "`??` or `?.`", 'write `has(args.memo) ? args.memo : ""`'),
    (r"\d(?:,\d{3})+(?!\d)", "a number with `,` in it", "write it without: `1000`"),
    (r"\d_\d", "a number with `_` in it", "write it without: `1000`"),
    (r"\d[kKM%](?!\w)", "a number with a unit", "write it in full: `1000`"),
    (r"\*\*|\+\+|--|->", "an operator that isn't there", "there are `+`, `-`, `*`, `/` and `%`"),
    (r";", "`;`", "remove it; two conditions are joined with `&&` or `||`"),
    (r"\$", "`$`", "take it out: names have none, and amounts are plain numbers"),
    (r"@|#", "text without quotes", 'put it in quotes: `"ann@firm.example"`'),
    (r"\\", "`\\` outside a text", "take it out, or put the text in quotes"),
    (r"(?:&&|\|\|)\s*(?:&&|\|\|)", "two operators after each other", "remove one of them"),
)  # fmt: skip
"""What is found, what it is called, and the remedy. A text in quotes stands there as NULs."""
_COMPILED: Final = tuple((re.compile(pattern), what, hint) for pattern, what, hint in _SLIPS)
_ENDS: Final = re.compile(r"(&&|\|\||[<>=!]=|[-+*/%<>!?:.,]|\bin)\s*$")
_BEGINS: Final = re.compile(r"\s*(&&|\|\||[<>=!]=|[*/%<>?:.,])")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("None", "nil", "NULL", "Null", "undefined"), "write `null`; of an argument ask `has(args.memo)`"),
    **dict.fromkeys(("True", "TRUE", "yes"), "write `true`"),
    **dict.fromkeys(("False", "FALSE", "no"), "write `false`"),
    **dict.fromkeys(("NOT", "Not", "not"), "write `!`: `!(a == b)`"),
    **dict.fromkeys(("len", "length", "count", "strlen"), "write `size(args.iban)`"),
    **dict.fromkeys(
        ("lower", "upper", "toLowerCase", "toUpperCase", "lowercase", "casefold", "lowerAscii"),
        'texts compare as they are written; without case: `args.iban.matches("(?i)^de")`',
    ),
    **dict.fromkeys(
        ("includes", "include", "has_key", "indexOf"), 'write `.contains("x")` of a text, `"x" in list` of a list'
    ),
    **dict.fromkeys(("any", "some"), 'write `args.tags.exists(tag, tag == "x")`'),
    **dict.fromkeys(("every",), 'write `args.tags.all(tag, tag == "x")`'),
    **dict.fromkeys(("default", "coalesce", "get", "ifnull"), 'write `has(args.memo) ? args.memo : ""`'),
    **dict.fromkeys(
        ("today", "date", "Date", "datetime"), 'the time is `now`; a fixed one `timestamp("2026-01-31T00:00:00Z")`'
    ),
    **dict.fromkeys(("str", "String", "toString"), "write `string(...)`"),
    **dict.fromkeys(("float", "number", "Number", "parseFloat"), "write `double(...)`, or `decimal(...)` of money"),
    "xor": "write `!=` between the two",
}  # fmt: skip
"""Names and functions of other languages, and the remedy."""
FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("length", "size", "len", "count"), "write `size(args.iban)`"),
    **dict.fromkeys(("hour", "hours"), 'write `now.getHours("Europe/Berlin")`'),
    **dict.fromkeys(("weekday", "day_of_week", "dayOfWeek"), 'write `now.getDayOfWeek("Europe/Berlin")`, 0 for Sunday'),
    **dict.fromkeys(("day", "date"), 'write `now.getDate("Europe/Berlin")`'),
    **dict.fromkeys(("month",), 'write `now.getMonth("Europe/Berlin")`, 0 for January'),
    **dict.fromkeys(("year",), 'write `now.getFullYear("Europe/Berlin")`'),
}  # fmt: skip
"""What is taken for a field of a text, a list or a time, and the remedy."""


def slips(source: str) -> list[Refused]:
    """Returns what is wrong with a condition that can't be parsed, in its order; nothing where that isn't known."""
    masked = _COMMENT.sub(lambda match: " " * len(match[0]), _TEXT.sub(lambda match: "\0" * len(match[0]), source))
    open_ = re.search(r"[\"']", masked)
    if open_ is not None:
        return [Refused(open_.start(), f"text that begins with `{open_[0]}` and doesn't end", "add the closing quote")]
    found: list[tuple[int, int, Refused]] = []
    for pattern, what, hint in _COMPILED:
        match = pattern.search(masked)
        if match is not None:
            start = match.start() + len(match[0]) - len(match[0].lstrip())
            message = what if " " in what and what.startswith("`=`") else f"{what} can't stand here"
            found.append((start, match.end(), Refused(start, message, hint)))
    made: list[Refused] = []
    end = 0
    for start, until, slip in sorted(found, key=lambda one: one[0]):
        if start >= end:  # what overlaps says the same in other words
            made.append(slip)
            end = until
    return made or list(_shape(masked))


def _shape(masked: str) -> Iterator[Refused]:
    """What is missing, or too much: brackets, operands, the other half of a choice."""
    opened: list[tuple[str, int]] = []
    for at, character in enumerate(masked):
        if character in "([{":
            opened.append((character, at))
        elif character in _PAIRS and (not opened or opened.pop()[0] != _PAIRS[character]):
            yield Refused(at, f"`{character}` without its `{_PAIRS[character]}`", "remove it, or open one before it")
            return
    if opened:
        closing = next(after for after, before in _PAIRS.items() if before == opened[-1][0])
        yield Refused(opened[-1][1], f"`{opened[-1][0]}` without its `{closing}`", "close it")
    elif match := _ENDS.search(masked):
        yield Refused(match.start(), f"nothing comes after `{match[1]}`", "say what does, or remove it")
    elif match := _BEGINS.match(masked):
        yield Refused(match.start(1), f"nothing comes before `{match[1]}`", "say what does, or remove it")
    elif "?" in masked and ":" not in masked:
        yield Refused(masked.index("?"), "`?` without its `:`", "write `test ? yes : no`")
