"""`remit audit`: what leaves, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from remit.cli.output import escaped, folded, heading, mark, print_json
from remit.cli.settings import asynchronous, json_option, settings, store_option
from remit.errors import BadInput
from remit.export.bundle import export as write_bundle
from remit.runtime.ambient import System, stamp, user
from remit.store.journal import Journal
from remit.store.projections import Projections
from remit.verify import Verification
from remit.verify import verify as check_bundle


@click.group()
def audit() -> None:
    """Export the journal and verify exports."""


@audit.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Everything in the store.")
@click.option("-o", "--output", required=True, metavar="FILE", help="A new folder, or a new .zip file.")
@store_option
@json_option
@asynchronous
async def export(runs: tuple[str, ...], all_: bool, output: str, store: str | None, as_json: bool) -> None:
    """Export RUNs, or everything with --all, for somebody who doesn't trust this machine.

    The export is recorded in the journal. Arguments, results and reasons are in it.
    """
    if bool(runs) == all_:
        raise BadInput("export what? name runs, or everything with --all")
    async with await Journal.open(settings(store=store).store, create=False) as journal:
        projections = Projections(journal)
        wanted = None if all_ else [(await projections.find_run(run)).run for run in runs]
        actor = f"operator:{user()}"
        manifest = await write_bundle(journal, Path(output), stamp(System().now()), actor, wanted)
    if as_json:
        return print_json([{**asdict(manifest), "output": output}])
    click.echo(
        f"{heading(output)}: {manifest.entries} entries of {manifest.streams} streams, {manifest.payloads} payloads"
    )
    click.echo(escaped(f"  check it with `remit audit verify {output}`, on any machine"))
    return None


@audit.command()
@click.argument("bundle", metavar="FILE")
@json_option
@click.pass_context
def verify(ctx: click.Context, bundle: str, as_json: bool) -> None:
    """Check an export, offline: FILE is a folder or .zip that `remit audit export` wrote.

    Exit codes: 0 it holds, 1 it doesn't, 2 it is no export.
    """
    found = check_bundle(Path(bundle))
    if as_json:
        print_json([_row(found)])
    else:
        _print(bundle, found)
    ctx.exit(0 if found.ok else 1)


def _row(found: Verification) -> dict[str, Any]:
    return {"ok": found.ok, **asdict(found)}


def _print(bundle: str, found: Verification) -> None:
    click.echo(f"{heading(bundle)} {mark('holds' if found.ok else 'DOES NOT HOLD')}")
    click.echo(f"  {found.entries} entries in {found.streams} streams: every hash chain checked")
    click.echo(f"  {found.payloads} payloads compared with what the entries commit to")
    click.echo(f"  {found.decisions} decisions made again from their facts and policies")
    click.echo(f"  {found.effects} effects, each with an allow verdict before it")
    click.echo(f"  {found.approvals} approvals: of exactly that call, in time, used once")
    for note in found.notes[:5]:
        click.echo(folded(escaped(note), "  note: "))
    if len(found.notes) > 5:
        click.echo(f"  and {len(found.notes) - 5} more notes; see --json")
    for problem in found.problems[:10]:
        click.echo(folded(escaped(str(problem)), "  problem: "))
    if len(found.problems) > 10:
        click.echo(f"  and {len(found.problems) - 10} more problems; see --json")
