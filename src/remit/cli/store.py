"""`remit store`: what a store is, and who answers for it."""

from __future__ import annotations

import click

from remit.cli.output import escaped, print_json
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.stores import open_store
from remit.runtime.adopting import adopt_store
from remit.runtime.ambient import System, user
from remit.store.journal import JournalKeys
from remit.store.tables import SCHEMA


@click.group()
def store() -> None:
    """Look at a store, and answer for it."""


@store.command()
@store_option
@keys_option
@json_option
@asynchronous
async def info(store: str | None, keys: str | None, as_json: bool) -> None:
    """Show where the store is, how much is in it, and whether anything may run on it.

    Nothing runs on a store whose journal key isn't here, or that isn't as a holder of the key left it. Reading,
    exporting and verifying it takes no key.
    """
    found = settings(store=store, keys=keys)
    async with await open_store(found) as journal:
        authority = journal.authority
        row = {
            "store": journal.path,
            "schema": SCHEMA,
            "entries": await journal.position(),
            "journal_key": authority.keyed,
            "runs": not authority.refusal,
            "because": authority.refusal,
        }
    if as_json:
        print_json([row])
        return
    key = f"`{authority.keyed}`" + ("" if authority.key else ", which isn't here") if authority.keyed else "none"
    rows = [("store", journal.path), ("schema", str(SCHEMA)), ("entries", str(row["entries"])), ("journal key", key)]
    for name, value in rows:
        click.echo(f"{name:<12} {escaped(value)}")
    if authority.refusal:
        click.echo(f"{'runs':<12} nothing: {escaped(authority.refusal)}; `remit store adopt` answers for it")
    else:
        click.echo(f"{'runs':<12} yes")


@store.command()
@store_option
@keys_option
@click.option("--reason", required=True, metavar="TEXT", help="Where the store comes from, and who looked at it.")
@json_option
@asynchronous
async def adopt(store: str | None, keys: str | None, reason: str, as_json: bool) -> None:
    """Answer for a store on which nothing runs, so that its runs can go on.

    For a store that was written by an older Remit, was restored from a backup or copied, or whose journal key was lost.
    What was done since the backup isn't in it: a call that ran then may run again. So look first: `remit audit export
    --all`, `remit audit verify` with the newest checkpoint that you have, `remit runs list`. The adoption is an entry.
    """
    found = settings(store=store, keys=keys)
    by = f"operator:{user()}"
    said = await adopt_store(found.store, JournalKeys(found.keys, found.journal_key), System(), by, reason)
    if as_json:
        print_json([{"store": found.store, "entries": said.size, "root": said.root, "by": by, "refused": said.refused}])
        return
    click.echo(f"adopted {escaped(found.store)} with {said.size} entries, root {said.root[:16]}: its runs can go on")
    click.echo(f"until now: {escaped(said.refused)}", err=True)
