"""How things look: laid out with care, the same without colour and without a terminal; `--json` for programs.

What agents, tools and strangers wrote goes through `escaped` or `value`: it can't move the cursor, begin a line
or look like something else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import orjson

STYLES = {
    "done": "green",
    "holds": "green",
    "approved": "green",
    "allow": "green",
    "settled": "green",
    "consumed": "green",
    "failed": "red",
    "DOES NOT HOLD": "red",
    "denied": "red",
    "deny": "red",
    "refused": "red",
    "rejected": "red",
    "expired": "red",
    "unreadable": "red",
    "waiting": "yellow",
    "open": "yellow",
    "escalate": "yellow",
    "in_doubt": "yellow",
    "running": "cyan",
    "quarantined": "red",
    "intended": "cyan",
}

_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as printable and show nothing."""
_MARKS: Final = 2
"""Combining marks that a character may carry: more can cover the lines above."""
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_OURS: Final = re.compile(r"(\x1b\[(?:0|1|3[1-6])m)")
"""The colours of `mark` and `heading`."""
_LINE: Final = 76
"""Characters of JSON that stay on one line."""
_CELL: Final = 40
"""Columns after which a table's cell is cut; its last one never is."""
_LAST: Final = 24
"""Columns that a table's last cell needs; with less it goes below the others."""

# --- what others wrote, made harmless -------------------------------------------------------------------


def escaped(text: str) -> str:
    """Returns `text` on one line: what isn't plainly visible becomes an escape, as JSON writes it."""
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], _MARKS  # a mark at the very start would sit on what stands before
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        hidden = not character.isprintable() or character in _BLANK or marks > _MARKS
        shown.append(_escape(character) if hidden else character)
    return "".join(shown)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return _SHORT.get(character) or "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def value(found: object, longest: int | None = None, *, quoted: bool = False) -> str:
    """Returns a JSON value on one line, as a person reads it; over `longest` characters it is cut, and that is said.

    A text stands as it is, or in quotes where that would not be plain: with escapes in it, empty, or with
    spaces at its ends; with `quoted` always.
    """
    text = found if isinstance(found, str) else _json(found)
    part = text if longest is None else text[:longest]
    cut = f"… ({len(text)} characters)" if len(part) < len(text) else ""
    shown = escaped(part)
    quoted = quoted or shown != part or "\\" in part or part[:1] in ("", " ", '"') or part[-1:] == " "
    if isinstance(found, str) and quoted:
        shown = '"' + escaped(part.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    return shown + cut


def pretty(found: object, longest: int | None = None) -> str:
    """Returns a JSON value for reading: objects and arrays over several lines, each line harmless."""
    if not isinstance(found, (dict, list)) or not found:
        return value(found, longest)
    text = _laid_out(found, "")
    cut = ""
    if longest is not None and len(text) > longest:
        cut = f"\n… ({len(text)} characters; all of them with --json)"
        text = text[:longest].rpartition("\n")[0]
    return "\n".join(escaped(line) for line in text.split("\n")) + cut


def _json(found: object) -> str:
    return json.dumps(found, ensure_ascii=False)


def _laid_out(found: object, indent: str) -> str:
    """Returns JSON with as many lines as it needs: what is short stays on one."""
    line = _json(found)
    if len(indent) + len(line) <= _LINE or not isinstance(found, (dict, list)) or not found:
        return line
    deeper = indent + "  "
    if isinstance(found, dict):
        items = [f"{_json(name)}: {_laid_out(item, deeper)}" for name, item in found.items()]
    else:
        items = [_laid_out(item, deeper) for item in found]
    first, last = "{}" if isinstance(found, dict) else "[]"
    inner = ",\n".join(deeper + item for item in items)
    return f"{first}\n{inner}\n{indent}{last}"


def complaint(text: str) -> str:
    """Returns an error's words: further lines are indented, so that none of them passes for another message."""
    return "\n    ".join(escaped(line.removeprefix("    ")) for line in text.split("\n"))


# --- printing -------------------------------------------------------------------------------------------


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints an array of objects on stdout: UTF-8, whatever the locale, and nothing that moves a cursor."""
    text = orjson.dumps(list(rows), option=orjson.OPT_INDENT_2).decode()
    if not text.isascii() or "\x7f" in text:
        text = "".join(c if c == "\n" or c.isprintable() else _escape(c) for c in text)
    click.echo(text.encode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Prints rows under their columns. The last cell is folded to a terminal's width, and in a pipe never."""
    if not rows:
        click.echo(empty, err=True)
        return
    last = len(columns) - 1
    shown = [
        [escaped(cell) if index == last else _cut(escaped(cell), _CELL) for index, cell in enumerate(row)]
        for row in rows
    ]
    widths = [max(width(columns[i]), *(width(row[i]) for row in shown)) for i in range(len(columns))]
    limit = terminal() if sys.stdout.isatty() or os.environ.get("COLUMNS") else sys.maxsize
    places = _places(widths, limit)
    click.echo(_row(columns, places, limit, heading))
    for row in shown:
        click.echo(_row(row, places, limit, mark))


def _places(widths: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Returns the line and the column at which each cell begins: what doesn't fit goes to a line below."""
    places, line, start = [], 0, 0
    for index, wide in enumerate(widths):
        need = min(wide, _LAST) if index == len(widths) - 1 else wide
        if start and start + need > limit:
            line, start = line + 1, 4
        places.append((line, start))
        start += wide + 2
    return places


def _row(cells: Sequence[str], places: Sequence[tuple[int, int]], limit: int, style: Callable[[str], str]) -> str:
    lines: dict[int, str] = {}
    used: dict[int, int] = {}
    for index, (cell, (line, start)) in enumerate(zip(cells, places, strict=True)):
        parts = fold(cell, max(limit - start, _LAST)) if index == len(cells) - 1 else [cell]
        for offset, part in enumerate(parts):
            gap = " " * (start - used.get(line + offset, 0))
            lines[line + offset] = lines.get(line + offset, "") + gap + style(part)
            used[line + offset] = start + width(part)
    return "\n".join(text.rstrip() for _, text in sorted(lines.items()) if text.strip())


def fields(pairs: Iterable[tuple[str, str]], indent: int = 2) -> None:
    """Prints names and values under each other; long values are folded, not cut."""
    found = [(name, value) for name, value in pairs if value]
    widest = max((len(name) for name, _ in found), default=0)
    for name, value in found:
        click.echo(folded(value, " " * indent + name.ljust(widest) + "  "))


def mark(word: str, like: str = "") -> str:
    """Returns a status word, coloured (as the word `like` is) where that can be seen."""
    style = STYLES.get(like or word)
    return click.style(word, fg=style) if style and is_coloured() else word


def heading(text: str) -> str:
    """Returns a heading, bold where that can be seen."""
    return click.style(escaped(text), bold=True) if is_coloured() else escaped(text)


def is_coloured() -> bool:
    """Whether stdout is a terminal that may show colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal() -> int:
    """Returns the terminal's columns; 110 where there is none."""
    return max(shutil.get_terminal_size((110, 24)).columns, 40)


# --- folding --------------------------------------------------------------------------------------------


def folded(text: str, lead: str = "", hang: int | None = None) -> str:
    """Returns `text` after `lead`, folded to the terminal; further lines begin `hang` columns in, or below the text.

    What nobody escaped is escaped here, but for line ends and our own colours.
    """
    room = terminal() - max(width(lead), hang or 0)
    indent = " " * (width(lead) if hang is None else hang)
    text = "\n".join(_tamed(line) for line in text.split("\n"))
    lines = [part for line in text.split("\n") for part in fold(line, max(room, _LAST))]
    return "\n".join((lead if index == 0 else indent) + line for index, line in enumerate(lines)).rstrip()


def _tamed(line: str) -> str:
    if not is_coloured():
        return escaped(line)
    return "".join(part if _OURS.fullmatch(part) else escaped(part) for part in _OURS.split(line))


def fold(line: str, columns: int) -> list[str]:
    """Returns `line` in lines of at most `columns`, broken at spaces, or inside a word that is longer than that.

    Further lines keep the indentation of the first.
    """
    indent = " " * min(len(line) - len(line.lstrip(" ")), columns // 2)
    lines, current = [], ""
    for gap, word in re.findall(r"( *)([^ ]+)", line):
        wide = width(word)
        if current.strip() and width(current) + len(gap) + wide > columns:
            lines.append(current)
            current, gap = indent, ""
        current += gap if current else gap[: len(indent)]
        room = columns - width(current)
        if wide <= room:
            current += word
            continue
        for character in word:  # one by one: a word may be a megabyte long
            room -= _columns(character)
            if room < 0 and current != indent:
                lines.append(current)
                current, room = indent, columns - len(indent) - _columns(character)
            current += character
    return [*lines, current]


def _fitting(word: str, columns: int) -> int:
    """Returns how many characters of `word` fit; at least one."""
    used = 0
    for index, character in enumerate(word):
        used += width(character)
        if used > columns:
            return max(index, 1)
    return len(word)


def _cut(text: str, columns: int) -> str:
    return text if width(text) <= columns else text[: _fitting(text, columns - 1)] + "…"


def width(text: str) -> int:
    """Returns how many columns a terminal gives to `text`, without colours."""
    text = click.unstyle(text)
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# --- times ----------------------------------------------------------------------------------------------


def moment(at: str) -> str:
    """Returns an entry's time for people: UTC to the second, and beside it the time here where that is another."""
    if not at:
        return ""
    utc = escaped(at[:19].replace("T", " ") + " UTC")
    try:
        here = datetime.fromisoformat(at).astimezone()
    except ValueError:  # what a stranger wrote is shown as it is
        return utc
    if not here.utcoffset():
        return utc
    day = "" if here.date().isoformat() == at[:10] else f"{here:%Y-%m-%d} "
    return f"{utc} ({day}{here:%H:%M} {escaped(here.tzname() or '')})"


def until(at: str, now: datetime) -> str:
    """Returns how long it is from now until `at`: `in 2 d 3 h`, or `over`."""
    if not at:
        return ""
    seconds = int((datetime.fromisoformat(at) - now.astimezone(UTC)).total_seconds())
    if seconds <= 0:
        return "over"
    parts = [(seconds // 86_400, "d"), (seconds % 86_400 // 3_600, "h"), (seconds % 3_600 // 60, "min")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return "in " + (" ".join(shown) or f"{seconds} s")
