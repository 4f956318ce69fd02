"""`remit review approve --edit`: a reviewer's editor on what may be changed, and the difference before it is signed."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from remit.cli.inputs import parse_json
from remit.cli.output import STYLES, escaped, is_coloured
from remit.errors import BadInput, NotEntitled

_CLOSE = {"+": STYLES["done"], "-": STYLES["failed"]}


def edited_by_hand(view: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that the reviewer changed in $VISUAL or $EDITOR, and agreed to after seeing how.

    Raises:
        BadInput: there is no terminal, it isn't a JSON object of these arguments, or nothing was changed.
        NotEntitled: the queue permits nothing to be changed.
        click.Abort: they didn't agree.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("--edit opens an editor, and this is no terminal: use `remit review edit --set name=value`")
    may = {name: view["args"][name] for name in view["may_edit"] if name in (view["args"] or {})}
    if not may:
        raise NotEntitled(f"queue `{view['queue']}` permits nothing of this call to be edited")
    before = laid_out(may)
    try:
        after = click.edit(before, extension=".json")
    except click.ClickException as error:
        raise BadInput(f"the editor failed: {error.format_message()}") from error
    if after is None:
        raise BadInput("nothing was saved: the review is as it was")
    changed = changes(may, after)
    show_difference(before, laid_out({**may, **changed}))
    click.confirm("Approve the call with these changes?", abort=True)
    return changed


def laid_out(args: Mapping[str, Any]) -> str:
    """Returns arguments as JSON to edit: what can't be seen stands there as an escape."""
    text = json.dumps(args, ensure_ascii=False, indent=2)
    return "".join(f"{escaped(line)}\n" for line in text.split("\n"))


def changes(before: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Returns what differs in an edited text. Raises BadInput."""
    after = parse_json(text, "what you saved")
    if not isinstance(after, dict):
        raise BadInput("what you saved is no JSON object: keep the braces and the names")
    if unknown := sorted(set(after) ^ set(before)):
        raise BadInput(f"what you saved has other arguments: `{unknown[0]}` was added or removed")
    found = {name: value for name, value in after.items() if _as_text(value) != _as_text(before[name])}
    if not found:
        raise BadInput("nothing was changed: approve it as it is")
    return found


def show_difference(before: str, after: str) -> None:
    """Prints the lines that were taken out and put in, with one around them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    for line in [*lines][2:]:
        colour = _CLOSE.get(line[:1]) if is_coloured() else None
        click.echo(click.style(escaped(line), fg=colour) if colour else escaped(line))


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
