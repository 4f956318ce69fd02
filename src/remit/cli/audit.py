"""`remit audit`: what leaves, and whether it holds."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from remit.cli.output import escaped, folded, heading, mark, moment, print_json
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.sources import export_option, source
from remit.cli.stores import open_store
from remit.cli.tracing import erase, original, prove, tiles, trace
from remit.core.notes import VerifierKey
from remit.errors import BadInput, UnknownId
from remit.export.bundle import Request, export_view
from remit.export.bundle import export as write_bundle
from remit.export.formats import FORMATS
from remit.export.select import Selection, select_runs
from remit.export.withhold import withholding
from remit.runtime.ambient import System, stamp, user
from remit.runtime.checkpoints import Checkpoints
from remit.runtime.erasures import erasure_rows
from remit.runtime.keys import KeyRing
from remit.store.projections import Projections
from remit.verify import Verification, verifier
from remit.verify import verify as check_bundle


@click.group()
def audit() -> None:
    """Export the journal and verify exports."""


for command in (trace, original, prove, tiles, erase):
    audit.add_command(command)


@audit.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Everything in the store.")
@click.option("--since", default="", metavar="TIME", help="Runs started at this time (RFC 3339, UTC) or later.")
@click.option("--until", default="", metavar="TIME", help="Runs started before this time.")
@click.option("--principal", default="", metavar="P", help="Runs that act for this principal.")
@click.option("--tool", default="", metavar="NAME", help="Runs with a call of this tool.")
@click.option("--outcome", type=click.Choice(["allow", "escalate", "deny"]), help="Runs with a call so decided.")
@click.option("-o", "--output", required=True, metavar="FILE", help="A new folder, or a new .zip file.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="Write a view instead, to one file.")
@click.option("--withhold", multiple=True, metavar="RULE", help="Leave values out: tool:NAME, label:NAME, /args/NAME.")
@click.option("--from-checkpoint", metavar="FILE", help="Prove that the journal begins with this checkpoint's entries.")
@keys_option
@store_option
@json_option
@asynchronous
async def export(
    runs: tuple[str, ...],
    all_: bool,
    since: str,
    until: str,
    principal: str,
    tool: str,
    outcome: str | None,
    output: str,
    form: str | None,
    withhold: tuple[str, ...],
    from_checkpoint: str | None,
    keys: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Export RUNs, or everything with --all, for somebody who doesn't trust this machine.

    The export is recorded in the journal, and signed where the journal has a key. Arguments, results and reasons
    are in it, but for what is withheld: that still verifies.
    """
    selection = Selection(since, until, principal, tool, outcome or "")
    if sum(map(bool, (runs, all_, selection))) != 1:
        raise BadInput("export what? name runs, or conditions such as --principal, or everything with --all")
    found = settings(store=store, keys=keys)
    held = read_text(from_checkpoint) if from_checkpoint else ""
    async with await open_store(found) as journal:
        projections, ring = Projections(journal), KeyRing(found.keys)
        wanted: list[str] | None = [(await projections.find_run(run)).run for run in runs]
        if not runs:
            wanted = None if all_ else list(await select_runs(journal, selection))
        if wanted == []:
            raise UnknownId("no run meets these conditions: `remit runs list` shows what there is")
        checkpoints = Checkpoints(journal, ring, System(), found.anchor)
        await checkpoints.check_anchor()
        await checkpoints.make()  # and anchored, before anything leaves
        request = Request(
            stamp(System().now()),
            f"operator:{user()}",
            wanted,
            await ring.signer(journal),
            [known.key for known in await ring.known(journal)],
            held,
            withholding(withhold),
        )
        if form is not None:
            count = await export_view(journal, Path(output), form, request)
            return _wrote(output, form, count, as_json)
        manifest = await write_bundle(journal, Path(output), request)
    if as_json:
        return print_json([{**asdict(manifest), "output": output}])
    click.echo(
        f"{heading(output)}: {manifest.entries} entries of {manifest.streams} streams, {manifest.payloads} payloads"
        + (f", {manifest.withheld} withheld" if manifest.withheld else "")
    )
    if not manifest.signed:
        click.echo("  it is not signed: the journal has no key; make one with `remit keys new`")
    click.echo(escaped(f"  check it with `remit audit verify {output}`, or with the verify.py in it, on any machine"))
    return None


def _wrote(output: str, form: str, count: int, as_json: bool) -> None:
    if as_json:
        return print_json([{"output": output, "format": form, "runs": count}])
    click.echo(f"{heading(output)}: {count} runs as {form}: a view, not the evidence")
    return None


@audit.command()
@click.argument("bundle", metavar="FILE")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="A public key that you got elsewhere; repeatable.")
@click.option("--checkpoint", metavar="FILE", help="A checkpoint you hold: the journal must begin with its entries.")
@click.option("--strict", is_flag=True, help="A decision that can't be made again is a problem, whatever the reason.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, bundle: str, keys: tuple[str, ...], checkpoint: str | None, strict: bool, as_json: bool
) -> None:
    """Check an export, offline: FILE is a folder or .zip that `remit audit export` wrote.

    Without --key, signatures are checked against the keys in the export itself, and that is said.

    A value that is not there was erased by an entry, or is withheld as the manifest says: otherwise it doesn't hold.

    With everything exported and nothing withheld or erased, every decision must be made again, as with --strict.

    Exit codes: 0 it holds; 1 it doesn't; 2 it is no export, or an option is wrong, which says nothing about the export.
    """
    known = tuple(map(_key, keys))
    held = read_text(checkpoint) if checkpoint else ""
    shown = sys.stderr.isatty()
    found = check_bundle(Path(bundle), keys=known, held=held, strict=strict, progress=_tick if shown else None)
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)
    with suppress(BrokenPipeError):  # what it found is its exit code, whether or not somebody reads on
        if as_json:
            print_json([_row(found)])
        else:
            _print(bundle, found)
        sys.stdout.flush()
    ctx.exit(0 if found.ok else 1)


def _key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text)
    except BadInput as error:
        raise BadInput(f"--key takes a public key, written NAME+ID+BASE64: {error}") from error


@audit.command()
@export_option
@store_option
@json_option
@asynchronous
async def erasures(bundle: str | None, store: str | None, as_json: bool) -> None:
    """List every erasure: when, by whom, why, and which values."""
    async with source(store, bundle) as journal:
        found = await erasure_rows(journal)
    if as_json:
        return print_json(found)
    for row in found:
        click.echo(f"{moment(row['at'])} by {escaped(row['by'])}: {escaped(row['reason'])}")
        for place in row["places"]:
            click.echo(f"  {escaped(place)}")
    if not found:
        click.echo("nothing was erased")
    return None


@audit.command("verifier")
def print_verifier() -> None:
    """Print the verify.py that this Remit writes into exports: your own copy, to check an export without Remit.

    `remit audit verifier > verify.py`, then `python -I verify.py EXPORT`.
    """
    click.echo(verifier(), nl=False)


def _tick(entries: int) -> None:
    """Shows how far it is, on a terminal only."""
    click.echo(f"\r{entries} entries checked", nl=False, err=True)


def read_text(name: str) -> str:
    """Returns a file's text. Raises BadInput."""
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"`{name}` can't be read: {error}") from error


def _row(found: Verification) -> dict[str, Any]:
    return {"ok": found.ok, **asdict(found)}


def _print(bundle: str, found: Verification) -> None:
    click.echo(f"{heading(bundle)} {mark('holds' if found.ok else 'DOES NOT HOLD')}")
    click.echo(f"  {found.entries} entries in {found.streams} streams: every hash chain checked")
    if found.signed:
        click.echo(f"  signed by {', '.join(found.signed)}: {found.tree}")
    click.echo(f"  {found.payloads} payloads compared with what the entries commit to")
    click.echo(f"  {found.decisions} decisions made again from their facts and policies")
    if found.undecided:
        click.echo(f"  {found.undecided} decisions not made again: values that they rest on are withheld or erased")
    if found.withheld or found.erased:
        click.echo(f"  {found.withheld} values are withheld, {found.erased} were erased")
    for erasure in found.erasures:
        click.echo(folded(escaped(erasure), "  erased: "))
    if found.verifier:
        click.echo(folded(escaped(found.verifier), "  verifier: "))
    click.echo(f"  {found.effects} effects, each with an allow verdict before it")
    click.echo(f"  {found.approvals} approvals: of exactly that call, in time, used once")
    if found.activations:
        click.echo(f"  {found.activations} activations of policy sets: signed, each newer, approved as it took")
    if found.rulings:
        click.echo(f"  {found.rulings} rulings signed by reviewers who might rule then")
    if found.vouched:
        click.echo(f"  {found.vouched} endorsed sources and removed labels, by who might say so then")
    for note in found.notes[:5]:
        click.echo(folded(escaped(note), "  note: "))
    if len(found.notes) > 5:
        click.echo(f"  and {len(found.notes) - 5} more notes; see --json")
    for problem in found.problems[:10]:
        click.echo(folded(escaped(str(problem)), "  problem: "))
    if len(found.problems) > 10:
        click.echo(f"  and {len(found.problems) - 10} more problems; see --json")
