"""`remit init`: a working project in an empty folder."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

import click

from remit.cli.output import escaped
from remit.errors import BadInput

_FILES = (
    "app.py",
    "test_app.py",
    "remit.toml",
    "policies/notes.yaml",
    "policies/notes.cases.yaml",
    "policies/queues.yaml",
    ".gitignore",
)


@click.command()
@click.argument("folder", default=".")
def init(folder: str) -> None:
    """Make a working project in FOLDER: an agent, a tool, policies, a test. Nothing that is there is changed."""
    place = Path(folder)
    there = [name for name in _FILES if (place / name).exists()]
    if there:
        raise BadInput(f"`{place / there[0]}` is there already: name an empty folder")
    skeleton = files("remit.cli") / "skeleton"
    for name in _FILES:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = skeleton / (name.replace("/", "_").lstrip(".") + ".txt")
        path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        click.echo(escaped(f"  {path}"))
    lead = "" if folder == "." else f"cd {escaped(shlex.quote(folder))} && "
    click.echo(f"\nTry it:\n  {lead}remit policy check\n  remit run --input topic=tea\n  remit review list")
