"""`remit keys`: what signs checkpoints and exports."""

from __future__ import annotations

import click

from remit.cli.output import heading, moment, print_json, print_table
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.notes import VerifierKey
from remit.runtime.ambient import System, new_id, user
from remit.runtime.keys import KeyRing


@click.group()
def keys() -> None:
    """Manage the keys that sign checkpoints and exports."""


@keys.command()
@click.argument("name", required=False)
@keys_option
@store_option
@json_option
@asynchronous
async def new(name: str | None, keys: str | None, store: str | None, as_json: bool) -> None:
    """Make a key called NAME, such as example.com/payables: it is the journal's name in every checkpoint.

    The private half goes to the folder of keys, readable by you only; the public half is recorded in the journal.
    Give the public half to your auditors, over a way that whoever runs this machine doesn't control.
    """
    found = settings(store=store, keys=keys)
    ambient = System()
    async with await open_store(found, create=True) as journal:
        ring = KeyRing(found.keys)
        key = await ring.new(journal, ambient, f"operator:{user()}", name or f"remit.invalid/{new_id(ambient)}")
    _show(key, as_json)


@keys.command()
@click.option("--reason", default="", help="Why; recorded.")
@keys_option
@store_option
@json_option
@asynchronous
async def rotate(reason: str, keys: str | None, store: str | None, as_json: bool) -> None:
    """Make a new key of the same name, and retire the one before. What it signed still holds."""
    found = settings(store=store, keys=keys)
    async with await open_store(found) as journal:
        key = await KeyRing(found.keys).rotate(journal, System(), f"operator:{user()}", reason)
    _show(key, as_json)


@keys.command("list")
@keys_option
@store_option
@json_option
@asynchronous
async def list_(keys: str | None, store: str | None, as_json: bool) -> None:
    """List the keys that the journal has had, the oldest first."""
    found = settings(store=store, keys=keys)
    async with await open_store(found) as journal:
        known = await KeyRing(found.keys).known(journal)
    rows = [
        {"key": str(row.key), "name": row.key.name, "added": row.added, "retired": row.retired, "here": row.here}
        for row in known
    ]
    if as_json:
        return print_json(rows)
    print_table(
        ("ADDED", "RETIRED", "SIGNS HERE", "KEY"),
        [
            (moment(row.added), moment(row.retired), "yes" if row.here and not row.retired else "no", str(row.key))
            for row in known
        ],
        "no key yet: make one with `remit keys new`",
    )
    return None


def _show(key: VerifierKey, as_json: bool) -> None:
    if as_json:
        return print_json([{"key": str(key), "name": key.name}])
    click.echo(f"{heading('public key')}: {key}")
    return None
