"""How things look: laid out with care, the same without colour and without a terminal; `--json` for programs."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson

STYLES = {
    "done": "green",
    "approved": "green",
    "allow": "green",
    "settled": "green",
    "consumed": "green",
    "failed": "red",
    "denied": "red",
    "deny": "red",
    "refused": "red",
    "rejected": "red",
    "expired": "red",
    "waiting": "yellow",
    "open": "yellow",
    "escalate": "yellow",
    "in_doubt": "yellow",
    "running": "cyan",
    "intended": "cyan",
}


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints an array of objects on stdout."""
    click.echo(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Prints rows under their columns; on a terminal with colour, elsewhere as plain aligned text."""
    if not rows:
        click.echo(empty, err=True)
        return
    if is_coloured():
        _rich_table(columns, rows)
        return
    widths = [max(len(columns[i]), *(len(row[i]) for row in rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is imported only when something is printed with it
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def is_coloured() -> bool:
    """Whether stdout is a terminal that may show colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def mark(word: str) -> str:
    """Returns a status word, coloured where that can be seen."""
    return click.style(word, fg=STYLES.get(word)) if is_coloured() else word


def heading(text: str) -> str:
    """Returns a heading, bold where that can be seen."""
    return click.style(text, bold=True) if is_coloured() else text


def fields(pairs: Iterable[tuple[str, str]], indent: int = 2) -> None:
    """Prints names and values under each other; long values are folded, not cut."""
    found = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in found), default=0)
    for name, value in found:
        lead = " " * indent + name.ljust(width) + "  "
        click.echo(folded(value, lead))


def folded(text: str, lead: str) -> str:
    """Returns `text` after `lead`, folded to the terminal, further lines below its first word."""
    columns = max(shutil.get_terminal_size((110, 24)).columns, 60)
    lines = []
    for index, line in enumerate(text.split("\n")):
        start = lead if index == 0 else " " * len(lead)
        lines.append(
            textwrap.fill(
                line, columns, initial_indent=start, subsequent_indent=" " * len(lead),
                break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
            ) or start.rstrip()
        )  # fmt: skip
    return "\n".join(lines)


def value(found: object, longest: int = 2_000) -> str:
    """Returns a JSON value as a person reads it: strings as they are, control characters made visible."""
    text = found if isinstance(found, str) else orjson.dumps(found).decode()
    text = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def moment(at: str) -> str:
    """Returns an entry's time for people: seconds, UTC."""
    return at[:19].replace("T", " ") + " UTC" if at else ""


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
