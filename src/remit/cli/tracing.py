"""`remit audit trace`, `original`, `prove`, `tiles` and `erase`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remit.cli.inputs import run_and_call
from remit.cli.output import escaped, fields, folded, heading, mark, moment, pretty, print_json, value
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.sources import export_option, source
from remit.cli.stores import open_store
from remit.errors import BadInput, UnknownId
from remit.export.tiles import write_tiles
from remit.policykit.explain import part_lines
from remit.runtime.ambient import System, user
from remit.runtime.checkpoints import Checkpoints
from remit.runtime.erasing import Selection
from remit.runtime.erasing import erase as erase_values
from remit.runtime.keys import KeyRing
from remit.runtime.tracing import original_arguments, original_result, trace_lineage
from remit.runtime.tracing import prove as prove_call
from remit.runtime.tracing import trace as trace_calls
from remit.store.projections import Projections


@click.command()
@click.argument("what", metavar="RUN[/CALL]")
@click.option("--lineage", is_flag=True, help="Where the values of each call's arguments came from, as a tree.")
@export_option
@store_option
@json_option
@asynchronous
async def trace(what: str, lineage: bool, bundle: str | None, store: str | None, as_json: bool) -> None:
    """Answer an auditor's questions about the calls of RUN, or about one: RUN/TASK#N.

    Who asked, what the agent had seen, which rules decided and the value of every part of their conditions, who
    approved what they were shown, what was run, with which result, and which proof covers it.
    """
    run, _, call = what.partition("/")
    async with source(store, bundle) as journal:
        found = (await Projections(journal).find_run(run)).run
        traced = await (trace_lineage if lineage else trace_calls)(journal, found, call)
    if bundle is not None and not lineage:
        for row in traced:  # the place in the tree is that of the journal, and an export needn't have all of it
            row["proof"] = {"entry": row["proof"]["entry"], "index": -1, "checkpoint": 0, "origin": ""}
    if as_json:
        return print_json(traced)
    for row in traced:
        if lineage:
            _print_lineage(row)
        else:
            _print(row)
    return None


@click.command()
@click.argument("call", metavar="RUN/CALL")
@store_option
@json_option
@asynchronous
async def original(call: str, store: str | None, as_json: bool) -> None:
    """Show what CALL returned before it was masked, where a policy says `keep: true`; or its masked arguments.

    It is in the store alone: whoever may read the store may read it, and no export holds it.
    """
    run, id = run_and_call(call)
    async with await open_store(settings(store=store)) as journal:
        whole = (await Projections(journal).find_run(run)).run
        args = await original_arguments(journal, whole, id)
        try:
            found = await original_result(journal, whole, id)
        except UnknownId:
            if not args:
                raise
            found = None
    if as_json:
        print_json([{"call": call, "result": found, "args": args}])
    elif args:
        click.echo(pretty({"args": args} if found is None else {"args": args, "result": found}))
    else:
        click.echo(pretty(found))


@click.command()
@click.argument("call", metavar="RUN/CALL")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; standard output if not given.")
@store_option
@json_option
@asynchronous
async def prove(call: str, output: str | None, store: str | None, as_json: bool) -> None:
    """Write a C2SP tlog-proof that the verdict on CALL is in the journal's signed tree."""
    run, id = run_and_call(call)
    async with await open_store(settings(store=store)) as journal:
        proof = await prove_call(journal, (await Projections(journal).find_run(run)).run, id)
    if output is not None:
        try:
            Path(output).write_text(proof, encoding="utf-8")
        except OSError as error:
            raise BadInput(f"`{output}` can't be written: {error.strerror}") from error
    if as_json:
        print_json([{"call": call, "proof": proof, "output": output or ""}])
    elif output is None:
        click.echo(proof, nl=False)


@click.command()
@click.argument("folder", metavar="DIR")
@keys_option
@store_option
@json_option
@asynchronous
async def tiles(folder: str, keys: str | None, store: str | None, as_json: bool) -> None:
    """Publish the journal's tree in DIR as C2SP tlog-tiles: a static log that other people's clients can read.

    Entries are in it, values are not. Said again, it adds what is new.
    """
    found = settings(store=store, keys=keys)
    async with await open_store(found) as journal:
        checkpoints = Checkpoints(journal, KeyRing(found.keys), System(), found.anchor)
        await checkpoints.check_anchor()
        note = await checkpoints.make()
        if note is None:
            raise BadInput("a published log is signed, and the journal has no key: make one with `remit keys new`")
        count = await write_tiles(journal, Path(folder), note)
    if as_json:
        return print_json([{"folder": folder, "files": count}])
    click.echo(f"{heading(escaped(folder))}: {count} files written")
    return None


@click.command()
@click.option("--run", metavar="RUN", help="Values of this run (an id, or its beginning).")
@click.option("--call", metavar="RUN/CALL", help="Values of this call, its reviews included.")
@click.option("--pointer", default="", metavar="/args/NAME", help="Only values at or below this JSON pointer.")
@click.option("--subject", default="", metavar="TEXT", help="Values in which this text stands, in any run.")
@click.option("--reason", required=True, help="Why; recorded.")
@store_option
@json_option
@asynchronous
async def erase(
    run: str | None, call: str | None, pointer: str, subject: str, reason: str, store: str | None, as_json: bool
) -> None:
    """Erase values for good. The entries stay, and everything that was proven about them.

    Salts and values go, from the file and its log too; that they were erased, by whom and why is an entry.
    Backups and exports that were made before are not touched. Refused while a run still needs the value.
    """
    of, _, id = (call or "").partition("/")
    if call and (run or not id):
        raise BadInput("name a run with --run, or a call of one with --call RUN/TASK#N")
    async with await open_store(settings(store=store)) as journal:
        prefix = run or of
        found = (await Projections(journal).find_run(prefix)).run if prefix else ""
        selection = Selection(found, id, pointer, subject)
        gone = await erase_values(journal, System(), selection, by=user(), reason=reason)
    if as_json:
        return print_json({"stream": place.stream, "seq": place.seq, "path": place.path} for place in gone)
    click.echo(f"{heading(str(len(gone)))} values are gone; their entries stay, and verify as before")
    return None


def _print(row: dict[str, Any]) -> None:
    call = escaped(row["call"])
    title = f"{call} {escaped(row['tool'])}"
    click.echo(f"{heading(title)}  {mark(row['status'])}")
    seen = row["facts"] or {}
    proof = row["proof"]
    size = proof["checkpoint"]
    covered = f" in the tree of {size} entries signed by {proof['origin']}" if size else ""
    fields(
        [
            ("asked by", escaped(f"agent {row['agent']} for {row['principal']}; started by {row['starter']}")),
            ("at", moment(seen.get("now", ""))),
            ("had read", escaped(", ".join(seen.get("labels", []))) or "nothing that is labelled"),
            *(
                (escaped(name), value(found))
                for name, found in (row["args"].items() if isinstance(row["args"], dict) else ())
            ),
            ("facts", value(seen["facts"]) if seen.get("facts") else ""),
            ("verdict", mark(row["outcome"])),
            ("changed", escaped(", ".join(row["changed"]))),
            *(("obliged", escaped(words)) for words in row["obliged"]),
            ("by grant", _granted(row["grants"], seen)),
            *(("because", escaped(reason)) for reason in row["reasons"]),
        ]
    )
    for rule in row["rules_considered"]:
        effect = "require" if rule["require"] else rule["effect"]
        click.echo(f"  {'>' if rule['decided'] else ' '} {escaped(rule['rule'])}  {effect}")
        for line in part_lines(rule["condition"], 6):
            click.echo(folded(escaped(line.lstrip(" ")), " " * (len(line) - len(line.lstrip(" ")))))
    for review in row["approvals"]:
        ruling = review["ruling"]
        said = (
            f"{'approved' if ruling['approved'] else 'denied'} by {ruling['reviewer']}" if ruling else review["status"]
        )
        fields(
            [
                ("review", escaped(f"{review['review']} in {review['queue']}: {said}")),
                ("reason", escaped(ruling["reason"]) if ruling else ""),
            ]
        )
    fields(
        [
            ("result", value(row["result"], 500) if row["ok"] and not row["lost"] else ""),
            ("error", escaped(": ".join(part for part in (row["cause"], row["error"]) if part))),
            ("proof", f"entry {proof['entry']}: `remit audit verify` checks it")
            if proof["index"] < 0
            else (
                "proof",
                f"entry {proof['entry']} is leaf {proof['index']}{covered or '; no checkpoint covers it yet'}",
            ),
        ]
    )
    click.echo("")


def _granted(grants: list[str], seen: dict[str, Any]) -> str:
    who = ", ".join(seen.get("approval", {}).get("reviewers", []))
    return escaped(f"{', '.join(grants)}, of {who}") if grants else ""


def _print_lineage(row: dict[str, Any]) -> None:
    title = f"{escaped(row['call'])} {escaped(row['tool'])}"
    click.echo(f"{heading(title)}  {mark(row['status'])}")
    for name, origin in row["provenance"].items():
        if origin["constant"] and not origin["value"]:
            continue
        labels = f" [{', '.join(origin['labels'])}]" if origin["labels"] else ""
        click.echo(folded(escaped(f"{name}: {origin['says']}{labels}"), "  "))
        for found in origin["identifiers"]:
            click.echo(folded(escaped(f"{found['kind']} {found['says']}"), "      "))
    for place in row["gone"]:
        click.echo(folded(escaped(f"not there, nor what came from it: {place}"), "  "))
